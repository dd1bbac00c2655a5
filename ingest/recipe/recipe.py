"""Recipes: what a study chose, in TOML.

`[sky]`, which components span the sky, and their signs; `[linkage]`, how far tokens are linked; `[[reference]]` and
`[[cluster]]` are read in `entries`; `[model]` says whose recipe it is. Files are read, and found, in `shipping`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from token_catalog.catalog.errors import CatalogError

from .checks import as_finite, as_integer, as_number, as_table, as_tables, check_known
from .entries import (
    DEFAULTS,
    Cluster,
    Reference,
    parse_clusters,
    parse_references,
)
from .frames import Frame, parse_frames

AXES = ("north", "meridian", "equinox")
DISTANCES = ("radius", "threshold")
SECTIONS = ("model", "sky", "pca", "causal", "linkage", "reference", "cluster", "frame")
# How many leading components `features.pcs` holds where nobody says.
N_LEADING = 8
# A list column of Parquet can't hold more values in one piece.
MOST_VALUES = 2**31 - 1
# Its inverse must be finite, and its root no subnormal number.
LEAST_EPSILON = 1e-300
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
class Pca:
    """How many leading components `features.pcs` holds; None is 8, or as many as there are."""

    keep: int | None = None

    def n_leading(self, n_dims: int) -> int:
        """Return how many those are, of so many."""
        return min(N_LEADING, n_dims) if self.keep is None else self.keep

    def check(self, n_tokens: int, n_dims: int) -> None:
        """Raise CatalogError where a matrix of this shape hasn't so many, or they can't be stored."""
        if self.keep is not None and self.keep > n_dims:
            raise CatalogError(f"pca.keep is {self.keep}, but W has {n_dims} columns, so as many components")
        if self.keep is not None and self.keep * n_tokens > MOST_VALUES:
            raise CatalogError(
                f"pca.keep is {self.keep}: for {n_tokens:,} rows, {MOST_VALUES // n_tokens:,} is the most that can be "
                "stored"
            )


@dataclass(frozen=True)
class LinkageDistances:
    """How far tokens are linked, and at which distance they are called one component; None leaves it to the rule."""

    radius: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Take any kind of number; CatalogError where one is none: what is stored must be read again."""
        for name in DISTANCES:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_number(value, name))

    def check(self, written: str = "`{}={:g}`") -> None:
        """Raise CatalogError where no linkage can be so; `written` is how a name and its number are told."""
        for name, value in self.as_dict().items():
            if not 0 < value <= MOST_DISTANCE:
                told = written.format(name, value)
                raise CatalogError(f"{told}: must be a distance above 0 (and at most 1e100)")
        if self.radius is not None and self.threshold is not None and self.threshold > self.radius:
            threshold, radius = (written.format(name, getattr(self, name)) for name in ("threshold", "radius"))
            raise CatalogError(
                f"{threshold} is past {radius}, up to which components are known; lower the one or widen the other"
            )

    def as_dict(self) -> dict[str, float]:
        """Return what was asked for."""
        return {key: value for key in DISTANCES if (value := getattr(self, key)) is not None}


@dataclass(frozen=True)
class Recipe:
    """What an ingest computes."""

    sky: Sky = Sky()
    linkage: LinkageDistances = LinkageDistances()
    references: tuple[Reference, ...] = DEFAULTS
    clusters: tuple[Cluster, ...] = ()
    frames: tuple[Frame, ...] = ()
    pca: Pca = Pca()
    # Added to every eigenvalue of the covariance before it is inverted, in the causal metric; None asks for none.
    causal_epsilon: float | None = None
    # Where it was written, for messages.
    origin: str = field(default="", compare=False)

    def linked(self, asked: LinkageDistances) -> "Recipe":
        """Return the recipe with these distances in the place of its own, where they are given; CatalogError if bad."""
        asked.check()
        together = replace(self.linkage, **asked.as_dict())
        together.check("{} {:g}")
        return replace(self, linkage=together)

    def check(self, n_tokens: int, n_dims: int) -> None:
        """Raise CatalogError where a matrix of this shape has no such component or token."""
        self.sky.check(n_tokens, n_dims)
        self.pca.check(n_tokens, n_dims)
        for reference in self.references:
            if reference.kind == "token" and reference.value >= n_tokens:
                raise CatalogError(f"{reference.key}: {reference.value}: W has rows 0 to {n_tokens - 1}")
            if reference.kind == "pc" and abs(reference.value) > n_dims:
                raise CatalogError(f"{reference.key}: {reference.value}: W has {n_dims} columns, so as many components")
        for frame in self.frames:
            for key, asked in frame.parts():
                if asked.get("token", 0) >= n_tokens:
                    raise CatalogError(f"{key}.token: {asked['token']}: W has rows 0 to {n_tokens - 1}")
                if abs(asked.get("pc", 0)) > n_dims:
                    raise CatalogError(f"{key}.pc: {asked['pc']}: W has {n_dims} columns, so as many components")

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe in the shape it is written in; `parse_recipe` reads it."""
        sky: dict[str, Any] = {axis: getattr(self.sky, axis) for axis in AXES}
        if self.sky.orient:
            signs = {key: "+" if sign > 0 else "-" for key, sign in self.sky.orient.signs.items()}
            sky["orient"] = {"token": self.sky.orient.token, **signs}
        return {
            "sky": sky,
            "pca": {} if self.pca.keep is None else {"keep": self.pca.keep},
            **({} if self.causal_epsilon is None else {"causal": {"epsilon": self.causal_epsilon}}),
            "linkage": self.linkage.as_dict(),
            "reference": [reference.as_dict() for reference in self.references],
            "cluster": [cluster.as_dict() for cluster in self.clusters],
            "frame": [frame.as_dict() for frame in self.frames],
        }

    def dumps(self) -> str:
        """Return the recipe as JSON, for `models.recipe`."""
        return json.dumps(self.as_dict())


@contextmanager
def errors_from(origin: str) -> Iterator[None]:
    """Say in errors where the recipe was written, if that is known."""
    try:
        yield
    except CatalogError as error:
        raise CatalogError(f"{origin}: {error}" if origin else str(error)) from None


def parse_recipe(table: Mapping[str, Any], folder: Path = Path()) -> Recipe:
    """Check a parsed recipe; files that it names are found from `folder`.

    >>> parse_recipe({"sky": {"north": -3, "equinox": 2}}).sky.axes()
    (1, 2, -3)
    >>> parse_recipe({"sky": {"nroth": 3}})
    Traceback (most recent call last):
    ...
    token_catalog.catalog.errors.CatalogError: sky.nroth: unknown key; here are known: north, meridian, equinox, orient
    """
    check_known(table, "", SECTIONS)
    return Recipe(
        _sky(as_table(table.get("sky", {}), "sky")),
        _linkage(as_table(table.get("linkage", {}), "linkage")),
        parse_references(as_tables(table["reference"], "reference"), folder) if "reference" in table else DEFAULTS,
        parse_clusters(as_tables(table.get("cluster", []), "cluster"), folder),
        parse_frames(as_tables(table.get("frame", []), "frame")),
        _pca(as_table(table.get("pca", {}), "pca")),
        _causal_epsilon(as_table(table["causal"], "causal")) if "causal" in table else None,
    )


def _sky(table: Mapping[str, Any]) -> Sky:
    check_known(table, "sky.", (*AXES, "orient"))
    axes = {axis: as_integer(table[axis], f"sky.{axis}") for axis in AXES if axis in table}
    sky = Sky(**axes, orient=_orient(as_table(table["orient"], "sky.orient")) if "orient" in table else None)
    if 0 in sky.axes():
        raise CatalogError("sky: components are numbered from 1; 0 is none")
    if len({abs(axis) for axis in sky.axes()}) < len(AXES):
        raise CatalogError(
            f"sky: north {sky.north}, meridian {sky.meridian} and equinox {sky.equinox} must be three different ones"
        )
    if sky.orient and min(sky.axes()) < 0:
        raise CatalogError("sky.orient: settles the signs by itself; it can't go with a negative component")
    return sky


def _pca(table: Mapping[str, Any]) -> Pca:
    check_known(table, "pca.", ("keep",))
    if "keep" not in table:
        return Pca()
    keep = as_integer(table["keep"], "pca.keep")
    if keep < len(AXES):
        raise CatalogError(f"pca.keep: {keep}: from {len(AXES)}, which the sky needs, to the number of W's columns")
    return Pca(keep)


def _causal_epsilon(table: Mapping[str, Any]) -> float:
    check_known(table, "causal.", ("epsilon",))
    if "epsilon" not in table:
        raise CatalogError("causal.epsilon: missing; epsilon = 1e-6, say")
    epsilon = as_finite(table["epsilon"], "causal.epsilon")
    if epsilon < LEAST_EPSILON:
        raise CatalogError(
            f"causal.epsilon: {epsilon:g}: must be above 0 (and at least {LEAST_EPSILON:g}); 1e-6, say: it is added to "
            "every eigenvalue, so that there is an inverse"
        )
    return epsilon


def _linkage(table: Mapping[str, Any]) -> LinkageDistances:
    check_known(table, "linkage.", DISTANCES)
    distances = LinkageDistances(**{key: as_number(value, f"linkage.{key}") for key, value in table.items()})
    distances.check("linkage.{} {:g}")
    return distances


def _orient(table: Mapping[str, Any]) -> Orient:
    keys = ("token", *COORDINATES)
    check_known(table, "sky.orient.", keys)
    for key in keys:
        if key not in table:
            raise CatalogError(
                f"sky.orient.{key}: missing; write orient = {{ token = 124, x = '+', y = '+', z = '-' }}"
            )
    token = as_integer(table["token"], "sky.orient.token")
    if token < 0:
        raise CatalogError(f"sky.orient.token: {token} is no token_id; they are numbered from 0")
    signs = {}
    for key in COORDINATES:
        if table[key] not in ("+", "-"):
            raise CatalogError(f"sky.orient.{key}: {table[key]!r} is no sign; write '+' or '-'")
        signs[key] = 1 if table[key] == "+" else -1
    return Orient(token, signs)
