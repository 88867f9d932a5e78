from __future__ import annotations

import subprocess
import sys
from contextvars import Context, copy_context
from pathlib import Path

import pytest

from servicekit.errors import PermissionDenied, Unauthenticated
from servicekit.identity import (
    LocalTokenAuthenticator,
    Principal,
    caller_subject,
    current_principal,
    ensure_local_token,
    require_administrator,
    require_brand,
    set_principal,
)


async def test_the_holder_of_the_token_is_the_administrator() -> None:
    principal = await LocalTokenAuthenticator("secret").authenticate({"authorization": "Bearer secret"})
    assert principal.administrator
    assert principal.may_use("any-brand")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "CREDENTIALS_MISSING"),
        ({"authorization": "Basic secret"}, "CREDENTIALS_INVALID"),
        ({"authorization": "Bearer wrong"}, "CREDENTIALS_INVALID"),
        ({"authorization": "Bearer "}, "CREDENTIALS_INVALID"),
        ({"authorization": "Bearer sécret"}, "CREDENTIALS_INVALID"),
    ],
)
async def test_everybody_else_is_refused(metadata: dict[str, str], reason: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await LocalTokenAuthenticator("secret").authenticate(metadata)
    assert caught.value.reason == reason


def test_an_empty_token_is_no_token() -> None:
    with pytest.raises(ValueError, match="empty"):
        LocalTokenAuthenticator("")


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    token = ensure_local_token(home)
    assert len(token) >= 32
    assert ensure_local_token(home) == token
    assert [path.name for path in home.iterdir()] == ["token"]
    assert (home / "token").stat().st_mode & 0o777 == 0o600


def test_a_token_that_others_could_read_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("mine\n")
    path.chmod(0o644)
    assert ensure_local_token(tmp_path) == "mine"
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_token_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    with pytest.raises(ValueError, match="is empty"):
        ensure_local_token(tmp_path)


def test_services_that_start_at_once_agree_on_the_token(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from servicekit.identity import ensure_local_token;"
        "print(ensure_local_token(Path(sys.argv[1])))"
    )
    starting = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    tokens = {process.communicate()[0].strip() for process in starting}
    assert len(tokens) == 1
    assert all(tokens)


def test_nobody_is_identified_outside_a_call() -> None:
    def outside() -> None:
        assert caller_subject() == ""
        with pytest.raises(Unauthenticated):
            current_principal()

    # Other tests of this process may have identified somebody in its own context.
    Context().run(outside)


def test_brands_and_administration_are_checked() -> None:
    def within_a_call() -> None:
        set_principal(Principal(subject="ann", brands=frozenset({"acme"})))
        assert require_brand("acme").subject == "ann"
        with pytest.raises(PermissionDenied) as caught:
            require_brand("other")
        assert caught.value.metadata == {"brand": "other"}
        with pytest.raises(PermissionDenied):
            require_administrator()

    copy_context().run(within_a_call)
