"""Dependencies flow one way: these tests read every import in the tree."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("labeler", "trainer", "registry", "inference")
OUTER_WORLD = ("grpc", "brandloom", "torch", "minio", "sqlalchemy", "prometheus_client")
CORE_FILES = ("domain", "ports", "service")


def imports_of(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, wherever the statement stands."""
    names: set[str] = set()
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = ".".join(package[: len(package) - node.level]) + "." if node.level else ""
            module = prefix + (node.module or "")
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def sources(folder: str) -> list[Path]:
    """Hand-written Python files below a folder."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [path for path in paths if "brandloom/api" not in path.as_posix()]


def offences(paths: list[Path], forbidden: tuple[str, ...]) -> list[str]:
    """`file imports name` for every import of a forbidden package."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imports_of(path))
        if any(name == package or name.startswith(package + ".") for package in forbidden)
    ]


def core_files(service: str) -> list[Path]:
    """domain, ports and service: each one file, or a package, or files such as service_jobs.py."""
    folder = ROOT / "services" / service
    return [
        path
        for path in sources(f"services/{service}")
        if any(
            path.relative_to(folder).parts[0].removesuffix(".py").split("_")[0] == name for name in CORE_FILES
        )
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_the_core_knows_no_outer_world(service: str) -> None:
    files = core_files(service)
    assert {path.name for path in files} >= {"domain.py", "ports.py", "service.py"}
    assert offences(files, OUTER_WORLD) == []


@pytest.mark.parametrize("service", SERVICES)
def test_services_do_not_import_one_another(service: str) -> None:
    others = tuple(f"services.{other}" for other in SERVICES if other != service)
    assert offences(sources(f"services/{service}"), others) == []


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("lorakit", ("servicekit", "services", "brandloom", "grpc", "sqlalchemy", "minio")),
        ("servicekit", ("lorakit", "services", "brandloom", "torch")),
        ("brandloom", ("lorakit", "servicekit", "services", "torch", "numpy", "PIL")),
        ("services/registry", ("torch", "diffusers", "transformers")),
        (
            "services/trainer/engine",
            ("grpc", "brandloom", "servicekit", "sqlalchemy", "minio", "prometheus_client"),
        ),
    ],
)
def test_lower_layers_know_no_upper_ones(folder: str, forbidden: tuple[str, ...]) -> None:
    files = sources(folder)
    assert files, f"no sources under {folder}"
    assert offences(files, forbidden) == []


def test_only_the_command_line_needs_its_libraries() -> None:
    files = [path for path in sources("brandloom") if "cli" not in path.parts]
    assert offences(files, ("click", "rich")) == []


@pytest.mark.parametrize(
    "module",
    ["brandloom", "services.registry.__main__", "services.trainer.__main__", "services.labeler.__main__"],
)
def test_light_processes_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_scan_sees_what_it_should() -> None:
    """The checks above can fail: this very file imports pytest and ast."""
    assert {"ast", "pytest", "pathlib.Path"} <= imports_of(Path(__file__))
    assert offences([Path(__file__)], ("ast",)) == ["tests/architecture/test_layers.py imports ast"]
