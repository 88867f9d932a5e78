"""Compile the API: `python protos/build.py generate | check | lint | breaking`.

generate  write the Python code of every .proto under brandloom/api (and buf/validate, which it imports)
check     fail when the committed code differs from what `generate` would write
lint      buf lint on the compiled image
breaking  buf breaking against the API on the main branch
"""

from __future__ import annotations

import filecmp
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import grpc_tools
from google.api import annotations_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
VALIDATE = "buf/validate/validate.proto"


def write_validate_descriptors(path: Path) -> None:
    """Write buf/validate/validate.proto and its imports as a FileDescriptorSet.

    The protovalidate package ships the compiled descriptor but not the .proto text.
    """
    from protobuf.wkt.google.protobuf.descriptor_pb import FileDescriptorSet
    from protovalidate._gen.buf.validate import validate_pb

    files: dict[str, object] = {}

    def add(descriptor: object) -> None:
        for dependency in descriptor.dependencies:  # type: ignore[attr-defined]
            add(dependency)
        files.setdefault(descriptor.name, descriptor.proto)  # type: ignore[attr-defined]

    add(validate_pb._DESC)
    path.write_bytes(FileDescriptorSet(file=list(files.values())).to_binary())  # type: ignore[arg-type]


def run_protoc(protos: Path, arguments: list[str], files: list[str], scratch: Path) -> None:
    """Run protoc over `files` (relative to `protos`).

    `validate.proto` is found in the descriptor set, everything else as source.
    """
    descriptors = scratch / "validate.binpb"
    if not descriptors.exists():
        write_validate_descriptors(descriptors)
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    google_api = Path(annotations_pb2.__file__).parent.parent.parent
    includes = [f"-I{protos}", f"-I{well_known}", f"-I{google_api}"]
    command = ["protoc", *includes, f"--descriptor_set_in={descriptors}"]
    if protoc.main([*command, *arguments, *files]) != 0:
        raise SystemExit("protoc failed: see above")


def own_files(protos: Path) -> list[str]:
    """The .proto files of the API, relative to `protos`."""
    return sorted(str(path.relative_to(protos)) for path in (protos / "brandloom").rglob("*.proto"))


def build_image(protos: Path, image: Path, scratch: Path) -> None:
    """Compile all files and their imports to one FileDescriptorSet with comments."""
    arguments = ["--include_imports", "--include_source_info", f"--descriptor_set_out={image}"]
    run_protoc(protos, arguments, own_files(protos), scratch)


def generate(out: Path, scratch: Path) -> None:
    """Write messages, type stubs and service classes under `out`."""
    outputs = [f"--python_out={out}", f"--pyi_out={out}"]
    run_protoc(PROTOS, [*outputs, f"--grpc_python_out={out}"], own_files(PROTOS), scratch)
    run_protoc(PROTOS, outputs, [VALIDATE], scratch)


def check(scratch: Path) -> None:
    """Fail when the committed code is not what the .proto files give."""
    out = scratch / "generated"
    out.mkdir()
    generate(out, scratch)
    fresh = {path.relative_to(out) for path in out.rglob("*.py*")}
    committed = {
        path.relative_to(ROOT)
        for folder in ("brandloom/api", "buf")
        for path in (ROOT / folder).rglob("*_pb2*.py*")
        if "__pycache__" not in path.parts
    }
    differing = [
        str(path) for path in fresh & committed if not filecmp.cmp(out / path, ROOT / path, shallow=False)
    ]
    drift = sorted([*differing, *map(str, fresh ^ committed)])
    if drift:
        raise SystemExit("generated code differs, run `make protos`:\n  " + "\n  ".join(drift))


def buf(*arguments: str) -> None:
    """Run buf with our configuration."""
    command = [str(Path(sys.executable).parent / "buf"), *arguments, "--config", str(PROTOS / "buf.yaml")]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise SystemExit("buf " + arguments[0] + " failed: see above")


def lint(scratch: Path) -> None:
    """buf lint over our files only."""
    image = scratch / "image.binpb"
    build_image(PROTOS, image, scratch)
    buf("lint", str(image), "--path", "brandloom")


def breaking(scratch: Path) -> None:
    """buf breaking against the API of the main branch."""
    reference = next((name for name in ("origin/main", "main") if git_has(name)), None)
    if reference is None:
        raise SystemExit("buf breaking: there is no main branch to compare with")
    archive = subprocess.run(
        ["git", "archive", reference, "protos"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode != 0:
        print(f"buf breaking: {reference} holds no protos yet, nothing to compare with")
        return
    old = scratch / "old"
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(old, filter="data")
    build_image(old / "protos", scratch / "old.binpb", scratch)
    build_image(PROTOS, scratch / "new.binpb", scratch)
    buf(
        "breaking", str(scratch / "new.binpb"), "--against", str(scratch / "old.binpb"), "--path", "brandloom"
    )


def git_has(reference: str) -> bool:
    """Whether git knows the reference."""
    command = ["git", "rev-parse", "--verify", "--quiet", reference + "^{commit}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def main() -> None:
    """Run the command named on the command line."""
    commands = {"generate": lambda s: generate(ROOT, s), "check": check, "lint": lint, "breaking": breaking}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        commands[sys.argv[1]](Path(scratch))


if __name__ == "__main__":
    main()
