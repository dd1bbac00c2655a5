"""What a recipe's keys may hold: checks of their types, each naming the key that is wrong."""

import math
import os
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from token_catalog.catalog.errors import CatalogError


def check_known(given: Mapping[str, Any], prefix: str, keys: Sequence[str]) -> None:
    """Raise CatalogError where a key is none of those."""
    for key in given:
        if key not in keys:
            raise CatalogError(f"{prefix}{key}: unknown key; here are known: {', '.join(keys)}")


def as_table(value: object, key: str) -> Mapping[str, Any]:
    """Return a table."""
    if not isinstance(value, Mapping):
        raise CatalogError(f"{key}: {value!r} is no table; docs/recipes.md has one")
    return value


def as_tables(value: object, key: str) -> list[Mapping[str, Any]]:
    """Return an array of tables."""
    if not isinstance(value, list | tuple) or not all(isinstance(entry, Mapping) for entry in value):
        raise CatalogError(f"{key}: is no array of tables; write [[{key}]] above each")
    return list(value)


def as_integer(value: object, key: str) -> int:
    """Return a whole number."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise CatalogError(f"{key}: {value!r} is no whole number")
    return int(value)


def as_number(value: object, key: str) -> float:
    """Return a number; what is past fp64 is infinite."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise CatalogError(f"{key}: {value!r} is no number")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def as_finite(value: object, key: str) -> float:
    """Return a finite number."""
    number = as_number(value, key)
    if not math.isfinite(number):
        raise CatalogError(f"{key}: {number} is not finite")
    return number


def as_text(value: object, key: str) -> str:
    """Return a text that isn't empty."""
    if not isinstance(value, str):
        raise CatalogError(f"{key}: {value!r} is no text; put it in quotes")
    if not value:
        raise CatalogError(f"{key}: is empty")
    return value


def as_path(value: object, key: str) -> str:
    """Return a path as text."""
    return as_text(os.fspath(value) if isinstance(value, os.PathLike) else value, key)


def as_switch(value: object, key: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise CatalogError(f"{key}: {value!r} is neither true nor false")
    return value
