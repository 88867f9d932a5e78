"""The C2PA manifest of a PNG file: whether there is one, and whether it holds."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

_CHUNK: Final = b"caBX"
_GENERATION: Final = "org.brandloom.generation"
_UNTRUSTED: Final = "signingCredential.untrusted"


class ManifestState(StrEnum):
    """What became of the check."""

    NONE = "none"
    TRUSTED = "trusted"
    VALID = "valid"
    """It holds; whether its signer is to be trusted is not known."""
    INVALID = "invalid"
    NOT_CHECKED = "not checked"
    """The library for it is not installed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What was found."""

    state: ManifestState
    signer: str = ""
    problems: tuple[str, ...] = ()
    digital_source_type: str = ""
    made_from: Mapping[str, Any] | None = None
    """Base and LoRA versions by digest, as the signer says."""


def read_manifest(png: bytes, authorities_pem: str) -> Manifest:
    """Checks the manifest of a PNG; ``authorities_pem`` are certificates of those whom the caller trusts.

    Nothing is fetched: a manifest that is kept elsewhere counts as none.
    """
    try:
        import c2pa
    except ImportError:
        state = ManifestState.NOT_CHECKED if _CHUNK in png else ManifestState.NONE
        return Manifest(state=state)
    trust = {"trust_anchors": authorities_pem} if authorities_pem else {}
    settings = {"trust": trust, "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    try:
        with c2pa.Context.from_dict(settings) as context:
            reader = c2pa.Reader.try_create("image/png", io.BytesIO(png), context=context)
            if reader is None:
                return Manifest(state=ManifestState.NONE)
            with reader:
                return _manifest(json.loads(reader.json()))
    except c2pa.C2paError as error:
        return Manifest(state=ManifestState.INVALID, problems=(str(error),))


def _manifest(store: Mapping[str, Any]) -> Manifest:
    active: Mapping[str, Any] = store["manifests"][store["active_manifest"]]
    words = {"Trusted": ManifestState.TRUSTED, "Valid": ManifestState.VALID}
    state = words.get(store.get("validation_state", ""), ManifestState.INVALID)
    problems = [
        f"{status['code']}: {status.get('explanation', '')}"
        for status in store.get("validation_status", ())
        if status["code"] != _UNTRUSTED
    ]
    signature = active.get("signature_info", {})
    assertions = {entry["label"]: entry["data"] for entry in active.get("assertions", ())}
    return Manifest(
        state=state,
        signer=", ".join(str(signature[name]) for name in ("common_name", "issuer") if signature.get(name)),
        problems=tuple(problems),
        digital_source_type=_source_type(assertions),
        made_from=assertions.get(_GENERATION),
    )


def _source_type(assertions: Mapping[str, Any]) -> str:
    for label, data in assertions.items():
        if label.startswith("c2pa.actions"):
            for action in data.get("actions", ()):
                if action.get("digitalSourceType"):
                    return str(action["digitalSourceType"]).rpartition("/")[2]
    return ""
