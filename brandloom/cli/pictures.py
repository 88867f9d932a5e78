"""`brandloom pictures`."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from brandloom.cli import exit_codes
from brandloom.cli.framework import Group
from brandloom.cli.lora_parts import parts_of_record
from brandloom.cli.picture_manifest import Manifest, ManifestState, read_manifest
from brandloom.cli.picture_texts import PictureFileError, read_texts
from brandloom.cli.session import Session, facts, pass_session

_SOURCE_TYPE: Final = re.compile(r'DigitalSourceType="[^"]*/(\w+)"')
_SETTINGS: Final = ("steps", "sampler", "guidance_scale", "seed", "width", "height", "strength")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureFacts:
    """What a generated picture says of itself."""

    file: Path
    sha256: str
    record: dict[str, Any] | None
    """Brandloom's own, which names every digest."""
    parameters: str
    """A1111's."""
    digital_source_type: str
    """The IPTC's, as the picture's XMP has it."""
    manifest: Manifest


@click.group(cls=Group)
def pictures() -> None:
    """Generated pictures in files. No service is asked."""


@pictures.command()
@click.argument("file", type=_FILE)
@click.option("--trust", type=_FILE, help="PEM file with certificates of authorities whom you trust.")
@pass_session
def inspect(session: Session, file: Path, trust: Path | None) -> None:
    """Show how a picture was made, and whether its signed manifest holds.

    The exit status is 1 if there is a manifest that does not hold.
    """
    authorities = _authorities(trust) if trust else ""
    png = file.read_bytes()
    try:
        texts = read_texts(png)
    except PictureFileError as error:
        raise click.UsageError(f"{file} {error}") from error
    found = PictureFacts(
        file=file,
        sha256=hashlib.sha256(png).hexdigest(),
        record=_record(texts.get("brandloom", "")),
        parameters=texts.get("parameters", ""),
        digital_source_type=_source_type(texts.get("XML:com.adobe.xmp", "")),
        manifest=read_manifest(png, authorities),
    )
    session.show(found, _table)
    if found.manifest.state is ManifestState.INVALID:
        sys.exit(exit_codes.FAILED)


def _authorities(file: Path) -> str:
    """The PEM of a file of certificates; a usage error for one that holds none."""
    try:
        pem = file.read_bytes().decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ValueError, ssl.SSLError) as error:
        raise click.UsageError(f"--trust: {file} holds no certificates in PEM") from error
    return pem


def _record(text: str) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _source_type(xmp: str) -> str:
    match = _SOURCE_TYPE.search(xmp)
    return match[1] if match else ""


def _table(found: PictureFacts) -> Any:
    record, manifest = found.record or {}, found.manifest
    base, sweep = record.get("base_model"), record.get("sweep")
    return facts(
        [
            ("sha256", found.sha256),
            ("source", manifest.digital_source_type or found.digital_source_type),
            ("brand", record.get("brand")),
            ("prompt", record.get("prompt") or "\n".join(_listed(sweep, "prompts"))),
            ("negative prompt", record.get("negative_prompt")),
            ("base", _named(base)),
            ("stack", "\n".join(_named(entry) for entry in _entries(record))),
            ("composition", _composition(record)),
            ("seeds", ", ".join(_listed(sweep, "seeds"))),
            ("weights", ", ".join(f"x {weight}" for weight in _listed(sweep, "weights"))),
            ("settings", ", ".join(f"{name} {record[name]}" for name in _SETTINGS if name in record)),
            ("parameters", "" if record else found.parameters),
            ("manifest", manifest.state.value),
            ("signed by", manifest.signer),
            ("problems", "\n".join(manifest.problems)),
        ]
    )


def _entries(record: dict[str, Any]) -> list[Any]:
    stack = record.get("stack")
    return stack if isinstance(stack, list) else []


def _named(entry: Any) -> str:
    """A base or a LoRA: its name, weight and digest, as far as they are there."""
    if not isinstance(entry, dict):
        return ""
    name = entry.get("version") or entry.get("name") or entry.get("reference")
    weight = f" at {entry['weight']}" if "weight" in entry else ""
    parts = parts_of_record(entry)
    return f"{name}{weight}{f' {parts}' if parts else ''}  {str(entry.get('sha256', ''))[:12]}"


def _composition(record: dict[str, Any]) -> Any:
    every = f", {record['switch_every']} steps each" if "switch_every" in record else ""
    return f"{record['composition']}{every}" if "composition" in record else ""


def _listed(sweep: Any, name: str) -> list[str]:
    """Prompts, seeds or weights of a sweep's sheet, as far as they are there."""
    listed = sweep.get(name) if isinstance(sweep, dict) else None
    if not isinstance(listed, list):
        return []
    return [str(entry.get("prompt", "") if isinstance(entry, dict) else entry) for entry in listed]
