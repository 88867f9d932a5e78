"""Callers of several kinds, told apart by their tokens."""

from __future__ import annotations

from collections.abc import Mapping

from servicekit.identity import AUTHORIZATION, LocalTokenAuthenticator, Principal

GUEST_TOKEN = "a-guest"


class AdministratorAndGuest:
    """The holder of the token administers; `GUEST_TOKEN` is that of a guest who may use some brands."""

    def __init__(self, token: str, *brands: str) -> None:
        self._others = LocalTokenAuthenticator(token)
        self._guest = Principal(subject="guest", brands=frozenset(brands))

    async def authenticate(self, metadata: Mapping[str, str]) -> Principal:
        if metadata.get(AUTHORIZATION) == f"Bearer {GUEST_TOKEN}":
            return self._guest
        return await self._others.authenticate(metadata)
