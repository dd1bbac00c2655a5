"""A recipe's reference -> its vector, and the token whose row that is, if it is one's."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from token_catalog.catalog.errors import CatalogError

from ..arithmetic.arrays import Floats, Vector
from ..arithmetic.means import centroid
from ..recipe.entries import Reference
from ..source.matrix import read_vector
from .clusters import Clusters
from .matrix_view import MatrixView
from .scores import QueryVector, query_vector

# Ambiguous tokens that a message names.
MOST_NAMED = 6


class UnresolvedError(CatalogError):
    """A reference that can't be had; the message begins with where it stands in the recipe."""


@dataclass(frozen=True)
class Resolved:
    """A reference's vector; and the token that it was resolved to, where its kind is token, text or first_in_box."""

    h: QueryVector
    token_id: int | None


def check_vectors(references: Sequence[Reference], n_dims: int, row: Callable[[int], Tensor] | None = None) -> None:
    """Raise CatalogError where a file's vector, or a token's row (if rows are at hand), can't be a reference."""
    for reference in references:
        if reference.optional:
            continue
        with _errors_naming(reference):
            if reference.kind == "vector":
                _scaled(reference, _vector_in_file(reference, n_dims))
            elif reference.kind == "token" and row is not None:
                _scaled(reference, row(reference.value).float().numpy())


def check_texts(references: Sequence[Reference], tokens: Mapping[str, Sequence[Any]]) -> None:
    """Raise CatalogError where the text of a reference isn't one token's; `tokens` has the columns of that table."""
    for reference in references:
        if reference.kind == "text" and not reference.optional:
            with _errors_naming(reference):
                _token_of_text(reference.value, tokens["text"], tokens["roundtrips"])


def resolve_reference(reference: Reference, matrix: MatrixView, clusters: Clusters) -> Resolved:
    """Return the vector that a reference asks for; UnresolvedError where it can't be had."""
    with _errors_naming(reference):
        token = token_of(reference, matrix)
        vector = _vector(reference, matrix, clusters) if token is None else _row_of(matrix, token)
        return Resolved(_scaled(reference, vector), token)


def token_of(reference: Reference, matrix: MatrixView) -> int | None:
    """Return the token whose row is the reference; None where its kind is no token's."""
    match reference.kind:
        case "text":
            tokens = matrix.tokens()
            token = _token_of_text(reference.value, tokens["text"].to_pylist(), tokens["roundtrips"].to_pylist())
        case "first_in_box":
            token = _first_in_box(reference.value, matrix.features)
        case "token":
            token = int(reference.value)
        case _:
            return None
    if token >= len(matrix.features):
        raise CatalogError(f"{token}: W has rows 0 to {len(matrix.features) - 1}")
    return token


@contextmanager
def _errors_naming(reference: Reference) -> Iterator[None]:
    """Say in errors which reference can't be had."""
    try:
        yield
    except CatalogError as error:
        raise UnresolvedError(f"{reference.key}: {error}") from None


def _scaled(reference: Reference, vector: Floats | Vector) -> QueryVector:
    with np.errstate(over="ignore"):
        scale = 1.0 if reference.scale is None else reference.scale
        scaled = (vector.astype(np.float64) * scale).astype(np.float32)
    try:
        return query_vector(scaled)
    except ValueError as error:
        times = "" if reference.scale is None else f", scaled by {reference.scale:g},"
        raise CatalogError(f"the vector{times} {error}") from None


def _vector(reference: Reference, matrix: MatrixView, clusters: Clusters) -> Floats | Vector:
    """Return the vector of a reference that is no token's, before it is scaled."""
    value = reference.value
    match reference.kind:
        case "mean":
            return centroid(matrix.W, matrix.finite())
        case "centroid":
            return centroid(matrix.W, matrix.finite(clusters.ids(value)))
        case "sky":
            return _direction(matrix, value["lat"], value["lon"])
        case "pc":
            component: Floats = math.copysign(1.0, value) * matrix.components()[abs(value) - 1]
            return component
        case "vector":
            return _vector_in_file(reference, matrix.W.shape[1])
        case kind:
            raise NotImplementedError(kind)


def _row_of(matrix: MatrixView, token: int) -> Vector:
    row: Vector = matrix.W[token].float().cpu().numpy()
    return row


def _token_of_text(text: str, texts: Sequence[str | None], roundtrips: Sequence[bool | None]) -> int:
    """Return the token of a text: of several, the one that the text is tokenized to."""
    ids = [i for i, own in enumerate(texts) if own == text]
    surest = [i for i in ids if roundtrips[i]] if len(ids) > 1 else ids
    if len(surest) == 1:
        return surest[0]
    if ids:
        some = ", ".join(map(str, ids[:MOST_NAMED])) + (" and others" if len(ids) > MOST_NAMED else "")
        raise CatalogError(f"{text!r} is the text of {len(ids)} tokens: {some}; name one with token = ID")
    if not any(texts):
        raise CatalogError(f"{text!r}: there is no text at all without a tokenizer; name the token with token = ID")
    near = [i for i, own in enumerate(texts) if own and own.strip().casefold() == text.strip().casefold()]
    like = f", but {texts[near[0]]!r} is token {near[0]}'s" if near else ""
    raise CatalogError(f"{text!r} is no one token's text{like}; name a token with token = ID")


def _first_in_box(box: Mapping[str, float], features: pa.Table) -> int:
    """Return the lowest token in a window of the sky, as `box_search` has it."""
    half = box["diameter"] / 2
    inside = np.ones(len(features), np.bool_)
    for name in ("lat", "lon"):
        degrees = features[name].to_numpy()  # NaN where NULL
        inside &= (degrees >= box[name] - half) & (degrees <= box[name] + half)
    if not inside.any():
        raise CatalogError(
            f"no token is in the window of {box['diameter']:g} degrees at ({box['lat']:g}, {box['lon']:g}); widen it: "
            "box_search shows what is there"
        )
    return int(inside.argmax())


def _direction(matrix: MatrixView, lat: float, lon: float) -> Floats:
    """Return the unit vector that points to a place on the sky (notebook 1.4a)."""
    up, around = math.radians(lat), math.radians(lon)
    place = (math.cos(up) * math.cos(around), math.cos(up) * math.sin(around), math.sin(up))
    direction: Floats = sum(part * axis for part, axis in zip(place, matrix.sky(), strict=True))
    unit: Floats = direction / np.linalg.norm(direction)
    return unit


def _vector_in_file(reference: Reference, n_dims: int) -> Vector:
    vector = read_vector(Path(reference.value["file"]), reference.value["key"])
    if len(vector) != n_dims:
        raise CatalogError(f"has {len(vector):,} numbers, and W's rows have {n_dims:,}")
    return vector
