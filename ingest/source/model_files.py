"""The small files of a Hugging Face model folder: what they are called, and how they are read."""

import json
from pathlib import Path
from typing import Any

from token_catalog.catalog.errors import CatalogError

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"


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
