"""Recipes: what a study chose, in TOML.

This file knows `[sky]`, which components span the sky, and their signs; and `[linkage]`, how far tokens are linked.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError

AXES = ("north", "meridian", "equinox")
LIMITS = ("radius", "threshold")
# Far past all weights; its square doesn't overflow.
MOST_DISTANCE = 1e100
# The coordinate that each axis gives: x = w·meridian, y = w·equinox, z = w·north.
COORDINATES = {"x": "meridian", "y": "equinox", "z": "north"}


@dataclass(frozen=True)
class Orient:
    """The signs (+1 or -1) that one token's x, y and z must have: they settle the signs of the three components."""

    token: int
    signs: Mapping[str, int]


@dataclass(frozen=True)
class Sky:
    """The axes of the sky: numbers of components from 1; a negative one flips the axis."""

    north: int = 2
    meridian: int = 1
    equinox: int = 3
    orient: Orient | None = None

    def axes(self) -> tuple[int, int, int]:
        """Return the components of the x, y and z axes."""
        return self.meridian, self.equinox, self.north

    def check(self, n_tokens: int, n_dims: int) -> None:
        """Raise CatalogError where a matrix of this shape has no such component or token."""
        for axis in AXES:
            if abs(getattr(self, axis)) > n_dims:
                raise CatalogError(
                    f"sky.{axis} is PC{abs(getattr(self, axis))}, but W has {n_dims} columns, so as many components; "
                    "choose others in a recipe's [sky]"
                )
        if self.orient and self.orient.token >= n_tokens:
            raise CatalogError(f"recipe: sky.orient.token is {self.orient.token}, but W has rows 0 to {n_tokens - 1}")


@dataclass(frozen=True)
class Limits:
    """How far tokens are linked, and at which distance they are called one component; None leaves it to the rule."""

    radius: float | None = None
    threshold: float | None = None

    def check(self, prefix: str) -> None:
        """Raise CatalogError where no linkage can be so; the prefix says where the numbers were written."""
        for name, value in self.as_dict().items():
            if not 0 < value <= MOST_DISTANCE:
                raise CatalogError(f"{prefix}{name} {value:g}: must be a distance above 0 (and at most 1e100)")
        if self.radius is not None and self.threshold is not None and self.threshold > self.radius:
            raise CatalogError(
                f"{prefix}threshold {self.threshold:g} is past {prefix}radius {self.radius:g}, "
                "up to which components are known; lower the one or widen the other"
            )

    def as_dict(self) -> dict[str, float]:
        """Return what was asked for."""
        return {key: value for key in LIMITS if (value := getattr(self, key)) is not None}


@dataclass(frozen=True)
class Recipe:
    """What an ingest computes beyond the defaults."""

    sky: Sky = Sky()
    linkage: Limits = Limits()

    def linked(self, limits: Limits) -> "Recipe":
        """Return the recipe with these limits in the place of its own, where they are given; CatalogError if bad."""
        limits.check("--")
        together = replace(self.linkage, **limits.as_dict())
        together.check("")
        return replace(self, linkage=together)

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe in the shape it is written in, for `models.recipe`."""
        sky: dict[str, Any] = {axis: getattr(self.sky, axis) for axis in AXES}
        if self.sky.orient:
            signs = {key: "+" if sign > 0 else "-" for key, sign in self.sky.orient.signs.items()}
            sky["orient"] = {"token": self.sky.orient.token, **signs}
        return {"sky": sky, "linkage": self.linkage.as_dict()}


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file; CatalogError names the key that is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"{path}: can't be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: not TOML: {error}") from None
    try:
        return parse_recipe(table)
    except CatalogError as error:
        raise CatalogError(f"{path}: {error}") from None


def parse_recipe(table: Mapping[str, Any]) -> Recipe:
    """Check a parsed recipe.

    >>> parse_recipe({"sky": {"north": -3, "equinox": 2}}).sky.axes()
    (1, 2, -3)
    >>> parse_recipe({"sky": {"nroth": 3}})
    Traceback (most recent call last):
    ...
    catalog.errors.CatalogError: sky.nroth: unknown key; here are known: north, meridian, equinox, orient
    """
    _known(table, "", ("sky", "linkage"))
    return Recipe(_sky(_table(table.get("sky", {}), "sky")), _limits(_table(table.get("linkage", {}), "linkage")))


def _sky(table: Mapping[str, Any]) -> Sky:
    _known(table, "sky.", (*AXES, "orient"))
    axes = {axis: _integer(table[axis], f"sky.{axis}") for axis in AXES if axis in table}
    sky = Sky(**axes, orient=_orient(_table(table["orient"], "sky.orient")) if "orient" in table else None)
    if 0 in sky.axes():
        raise CatalogError("sky: components are numbered from 1; 0 is none")
    if len({abs(axis) for axis in sky.axes()}) < len(AXES):
        raise CatalogError(
            f"sky: north {sky.north}, meridian {sky.meridian} and equinox {sky.equinox} must be three different ones"
        )
    if sky.orient and min(sky.axes()) < 0:
        raise CatalogError("sky.orient: settles the signs by itself; it can't go with a negative component")
    return sky


def _limits(table: Mapping[str, Any]) -> Limits:
    _known(table, "linkage.", LIMITS)
    limits = Limits(**{key: _number(value, f"linkage.{key}") for key, value in table.items()})
    limits.check("linkage.")
    return limits


def _orient(table: Mapping[str, Any]) -> Orient:
    keys = ("token", *COORDINATES)
    _known(table, "sky.orient.", keys)
    for key in keys:
        if key not in table:
            raise CatalogError(
                f"sky.orient.{key}: missing; write orient = {{ token = 124, x = '+', y = '+', z = '-' }}"
            )
    token = _integer(table["token"], "sky.orient.token")
    if token < 0:
        raise CatalogError(f"sky.orient.token: {token} is no token_id; they are numbered from 0")
    signs = {}
    for key in COORDINATES:
        if table[key] not in ("+", "-"):
            raise CatalogError(f"sky.orient.{key}: {table[key]!r} is no sign; write '+' or '-'")
        signs[key] = 1 if table[key] == "+" else -1
    return Orient(token, signs)


def _known(table: Mapping[str, Any], prefix: str, keys: tuple[str, ...]) -> None:
    for key in table:
        if key not in keys:
            raise CatalogError(f"{prefix}{key}: unknown key; here are known: {', '.join(keys)}")


def _table(value: object, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CatalogError(f"{key}: {value!r} is no table; see the README's recipe")
    return value


def _integer(value: object, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise CatalogError(f"{key}: {value!r} is no whole number")
    return value


def _number(value: object, key: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise CatalogError(f"{key}: {value!r} is no number")
    try:
        return float(value)
    except OverflowError:
        return math.inf
