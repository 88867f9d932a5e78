"""What a torch-free service imports of lorakit leaves torch and numpy alone."""

from __future__ import annotations

import subprocess
import sys

MODULES = [
    "base_digest",
    "errors",
    "formats",
    "hashes",
    "key_names",
    "metadata",
    "module_shape",
    "peft_config",
    "picture_metadata",
    "prompt_syntax",
    "safetensors_header",
    "safetensors_writer",
    "families.detection",
    "families.language_layers",
    "families.naming",
]


def test_no_torch_no_numpy() -> None:
    program = "\n".join(f"import lorakit.{name}" for name in MODULES)
    program += (
        "\nimport sys\nheavy = {'torch', 'numpy', 'PIL', 'safetensors', 'diffusers'} & set(sys.modules)"
    )
    program += "\nassert not heavy, heavy"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
