"""Who is calling, and which brands they may touch. Adapters of `Authenticator` decide; services only ask."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from servicekit.errors import PermissionDenied, Unauthenticated

AUTHORIZATION: Final = "authorization"
_SCHEME: Final = "bearer "


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """The caller: a stable subject for the logs, the brands it may use (None: all), whether it
    administers."""

    subject: str
    brands: frozenset[str] | None
    administrator: bool = False

    def may_use(self, brand: str) -> bool:
        """Whether the brand of that id is one of the caller's."""
        return self.brands is None or brand in self.brands


class Authenticator(Protocol):
    """Turns the metadata of a call into the caller."""

    async def authenticate(self, metadata: Mapping[str, str]) -> Principal:
        """The caller; Unauthenticated when the credentials are missing or wrong. Keys are lower case."""
        ...


class LocalTokenAuthenticator:
    """The embedded adapter: one shared token, whose holder administers everything."""

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("an empty token would let everybody in")
        self._token = token.encode()

    async def authenticate(self, metadata: Mapping[str, str]) -> Principal:
        """The local administrator, when the metadata carries the token as a bearer."""
        value = metadata.get(AUTHORIZATION, "")
        if not value:
            raise Unauthenticated("the call carries no authorization metadata", reason="CREDENTIALS_MISSING")
        if value[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthenticated("authorization must be a bearer token", reason="CREDENTIALS_INVALID")
        if not hmac.compare_digest(value[len(_SCHEME) :].strip().encode(), self._token):
            raise Unauthenticated("the token is not valid", reason="CREDENTIALS_INVALID")
        return Principal(subject="local-administrator", brands=None, administrator=True)


_principal: ContextVar[Principal | None] = ContextVar("brandloom_principal", default=None)


def set_principal(principal: Principal | None) -> None:
    """Says who is calling, for the rest of the current task; the identity interceptor does this once for each
    call."""
    _principal.set(principal)


def current_principal() -> Principal:
    """The caller of the RPC being served; Unauthenticated outside of one."""
    principal = _principal.get()
    if principal is None:
        raise Unauthenticated("nobody is identified here")
    return principal


def caller_subject() -> str:
    """The caller's subject for the logs; empty when nobody is identified."""
    principal = _principal.get()
    return principal.subject if principal else ""


def require_brand(brand: str) -> Principal:
    """The caller, when it may use the brand of that id; else PermissionDenied."""
    principal = current_principal()
    if not principal.may_use(brand):
        raise PermissionDenied(
            f"{principal.subject} may not use brand {brand!r}",
            reason="BRAND_FORBIDDEN",
            metadata={"brand": brand},
        )
    return principal


def require_administrator() -> Principal:
    """The caller, when it administers the installation; else PermissionDenied."""
    principal = current_principal()
    if not principal.administrator:
        raise PermissionDenied(f"{principal.subject} is no administrator", reason="ADMINISTRATOR_REQUIRED")
    return principal


def ensure_local_token(home: Path) -> str:
    """The token in `home/token`, made on first use with mode 0600.

    Several services may start at once: each writes a complete file of its own and tries to link it into
    place, so one of them wins and all of them read the winner's.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = home / "token"
    if not path.exists():
        draft = home / f".token-{os.getpid()}-{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(32))
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first
        finally:
            draft.unlink()
    path.chmod(0o600)
    token = path.read_text(encoding="ascii").strip()
    if not token:
        raise ValueError(f"{path} is empty; delete it, and a new token is made at the next start")
    return token
