"""What tells how long a text is to a language model: its tokenizer, and its limit. Needs no weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from lorakit.errors import BaseModelError

__all__ = ["load_tokenizer", "max_tokens", "read_model_config"]

_LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length")
# Tokenizers that know no limit say so by a huge number.
_NO_LIMIT = 1 << 30
_FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError)


def load_tokenizer(path: Path) -> Any:
    """The fast tokenizer of a directory, with its chat template; no code of the directory is run.

    Raises BaseModelError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = AutoTokenizer.from_pretrained(
                str(path), local_files_only=True, trust_remote_code=False
            )
    except _FAULTS as error:
        raise BaseModelError(f"the tokenizer of {path} cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise BaseModelError(f"{path} has no tokenizer.json, and its tokenizer cannot be made into one")
    return tokenizer


def read_model_config(path: Path) -> Any:
    """The configuration of the model in a directory. Raises BaseModelError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return AutoConfig.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except _FAULTS as error:
        raise BaseModelError(f"the configuration of {path} cannot be read: {error}") from error


def max_tokens(config: Any, tokenizer: Any) -> int:
    """The longest text that a model of this configuration was made for."""
    of_text = config.get_text_config()
    known = [getattr(of_text, name, None) for name in _LENGTHS] + [tokenizer.model_max_length]
    return min((int(length) for length in known if length), default=_NO_LIMIT)
