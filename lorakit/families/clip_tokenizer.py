"""CLIP's tokenizer for checkpoints in one file, which hold none.

It is the same for every Stable Diffusion 1.x model, and is data that this project does not carry. It is taken
from a place that the caller names, or from the hub's cache; nothing is fetched.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, Final

from huggingface_hub import try_to_load_from_cache
from transformers import CLIPTokenizer

from lorakit.errors import BaseModelError
from lorakit.families.sd15_configs import TOKENIZER_REPOSITORY

_CACHED: Final = (
    (TOKENIZER_REPOSITORY, ""),
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "tokenizer/"),
    ("runwayml/stable-diffusion-v1-5", "tokenizer/"),
)
_FILE_SETS: Final = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_SPECIAL: Final = ("<|startoftext|>", "<|endoftext|>")
_MERGES: Final = 49_152 - 256 - 2
"""Of the published list, CLIP uses the first ones only."""
_MAX_MERGES_BYTES: Final = 16 << 20


def load_tokenizer(place: Path | None, *, length: int, words: int) -> Any:
    """A CLIPTokenizer for texts of ``length`` tokens out of ``words``.

    ``place`` is a folder with tokenizer.json, or with vocab.json and merges.txt; a pipeline directory; or
    CLIP's published list of merges (``bpe_simple_vocab_16e6.txt.gz``). None means the hub's cache. Raises
    BaseModelError saying what is missing, or that the tokenizer is of another vocabulary than the model.
    """
    found = place if place is not None else _in_hub_cache()
    if found is None:
        raise BaseModelError(
            "a checkpoint in one file holds no tokenizer, and the hub's cache has none of CLIP either: set "
            "BRANDLOOM_CLIP_TOKENIZER to a folder with its vocab.json and merges.txt, or to "
            f"bpe_simple_vocab_16e6.txt.gz, or put {TOKENIZER_REPOSITORY} into the cache"
        )
    tokenizer = _from_merges(found, length) if found.is_file() else _from_folder(found, length)
    if len(tokenizer) != words:
        raise BaseModelError(
            f"the tokenizer in {found} knows {len(tokenizer)} tokens, the text encoder {words}: not its own"
        )
    return tokenizer


def _from_folder(folder: Path, length: int) -> Any:
    place = folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder
    if not _is_complete(place):
        raise BaseModelError(
            f"{place} holds no CLIP tokenizer: it needs tokenizer.json, or vocab.json and merges.txt"
        )
    try:
        return CLIPTokenizer.from_pretrained(str(place), local_files_only=True, model_max_length=length)
    except Exception as error:  # raised as such by the tokenizer in Rust
        raise BaseModelError(f"the tokenizer in {place} cannot be loaded: {error}") from error


def _from_merges(file: Path, length: int) -> Any:
    merges = _read_merges(file)
    letters = _letters()
    symbols = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), *_SPECIAL]
    vocabulary = {symbol: index for index, symbol in enumerate(symbols)}
    kind: Any = CLIPTokenizer  # its annotations know of files only
    try:
        return kind(vocab=vocabulary, merges=merges, model_max_length=length)
    except Exception as error:  # raised as such by the tokenizer in Rust
        raise BaseModelError(f"{file} is not CLIP's list of merges: {error}") from error


def _read_merges(file: Path) -> list[tuple[str, str]]:
    try:
        with file.open("rb") as raw, gzip.open(raw) if file.suffix == ".gz" else raw as stream:
            text = stream.read(_MAX_MERGES_BYTES + 1)
        lines = text.decode("utf-8").split("\n")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise BaseModelError(f"{file} cannot be read as a list of merges: {error}") from error
    # The first line names the version.
    merges = [tuple(line.split()) for line in lines[1 : _MERGES + 1]]
    if len(text) > _MAX_MERGES_BYTES or len(merges) < _MERGES or any(len(pair) != 2 for pair in merges):
        raise BaseModelError(f"{file} is not CLIP's list of merges: {_MERGES} pairs of symbols are needed")
    return [(first, second) for first, second in merges]


def _letters() -> list[str]:
    """A visible character for each byte, in the order of CLIP's vocabulary: first those that are visible
    themselves, the others moved beyond Latin-1.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = 256 - len(visible)
    return [*map(chr, visible), *(chr(256 + index) for index in range(hidden))]


def _in_hub_cache() -> Path | None:
    for repository, folder in _CACHED:
        for names in _FILE_SETS:
            paths = [try_to_load_from_cache(repository, folder + name) for name in names]
            if isinstance(paths[0], str) and all(isinstance(path, str) for path in paths):
                return Path(paths[0]).parent
    return None


def _is_complete(folder: Path) -> bool:
    return any(all((folder / name).is_file() for name in names) for names in _FILE_SETS)
