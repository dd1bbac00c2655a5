"""The small files of a Hugging Face model folder: what they are called, and how they are read."""

import json
from pathlib import Path
from typing import Any

from token_catalog.catalog.errors import CatalogError

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
TOKENIZER_JSON = "tokenizer.json"
# A tokenizer can be made of any of these: patterns of names.
VOCABULARY_FILES = (TOKENIZER_JSON, "tekken.json", "vocab.json", "vocab.txt", "*.model")
# All that a tokenizer's files may be.
TOKENIZER_FILES = (
    *VOCABULARY_FILES, "*.tiktoken", "merges.txt",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; CatalogError where it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path}: can't be read as JSON ({error})") from None
    if not isinstance(value, dict):
        raise CatalogError(f"{path}: no JSON object")
    return value


def read_index(path: Path) -> dict[str, str]:
    """Return the file that each tensor is in, by name: a folder in it would reach outside, so it is dropped."""
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CatalogError(f"{path}: has no weight_map; download it again")
    return {str(name): Path(str(file)).name for name, file in weight_map.items()}


def is_pickled(name: str) -> bool:
    """Whether a file's name is one of pickled weights, which can run code when they are opened."""
    return name.endswith(PICKLE_SUFFIXES)
