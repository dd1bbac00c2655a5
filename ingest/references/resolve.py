"""A recipe's references -> their vectors and every row's scores, in the order in which they build on each other.

References that build on no other's clusters are resolved first, and scored in one pass over W; then those that build on
theirs; and so on.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.tables import TableWriter, lists_of, write_table
from token_catalog.ingest.arithmetic.distances import Ids
from token_catalog.ingest.arithmetic.means import centroid
from token_catalog.ingest.devices import described
from token_catalog.ingest.features.sky import Floats
from token_catalog.ingest.recipe.entries import Reference
from token_catalog.ingest.references.clusters import Clusters, ScoredReference
from token_catalog.ingest.references.scores import QueryVector, Scores, Vector, query_vector, score
from token_catalog.ingest.report import Progress, silent
from token_catalog.ingest.source.matrix import read_vector


@dataclass(frozen=True)
class MatrixView:
    """A catalogued matrix, as far as references need it; what few of them need is read when it is asked for.

    `W` (n_tokens, n_dims) as stored; `features` and `tokens`, those tables; `components` (n_dims, n_dims), in rows;
    `axes`, the components of the x, y and z axes, negative where flipped.
    """

    W: Tensor
    features: pa.Table
    tokens: Callable[[], pa.Table]
    components: Callable[[], Floats]
    axes: tuple[int, int, int]


@dataclass(frozen=True)
class ScoringContext:
    """How references are scored: on which device natively, and whom to tell of it."""

    native: torch.device
    stage: Callable[[str], AbstractContextManager[None]]
    note: Callable[[str], None]
    progress: Progress = silent


def check_vectors(references: Sequence[Reference], n_dims: int, row: Callable[[int], Tensor] | None = None) -> None:
    """Raise CatalogError where a file's vector, or a token's row (if rows are at hand), can't be a reference."""
    for reference in references:
        if reference.optional:
            continue
        with _errors_naming(reference):
            if reference.kind == "vector":
                _pointing(reference, _from_file(reference, n_dims))
            elif reference.kind == "token" and row is not None:
                _pointing(reference, row(reference.value).float().numpy())


def check_texts(references: Sequence[Reference], tokens: Mapping[str, Sequence[Any]]) -> None:
    """Raise CatalogError where the text of a reference isn't one token's; `tokens` has the columns of that table."""
    for reference in references:
        if reference.kind == "text" and not reference.optional:
            with _errors_naming(reference):
                _of_text(reference.value, tokens["text"], tokens["roundtrips"])


def resolve_and_score(
    references: Sequence[Reference],
    matrix: MatrixView,
    clusters: Clusters,
    work: ScoringContext,
    known: Mapping[str, ScoredReference],
) -> list[ScoredReference]:
    """Resolve and score references, in their order; CatalogError names the one that can't be had.

    What is `known` of them already stays; of those that build on clusters, as long as their vector is the same.
    """
    found: dict[str, ScoredReference] = {}
    left = list(references)
    while left:
        waiting = {reference.name for reference in left}
        ready = [reference for reference in left if reference.builds_on not in waiting]
        fresh = []
        with work.stage("references"):
            for reference in ready:
                before = known.get(reference.name)
                if before is not None and reference.kind != "centroid":
                    found[reference.name] = before
                elif there := _resolve_optional(reference, matrix, clusters, work):
                    if before is not None and np.array_equal(before.vector, there.vector):
                        found[reference.name] = before
                    else:
                        fresh.append((reference, there))
        for (reference, there), scores in zip(fresh, _scored(matrix, [there for _, there in fresh], work), strict=True):
            found[reference.name] = ScoredReference(reference.name, _about(reference, there, work.native), scores)
        for reference in ready:
            if scored := found.get(reference.name):
                clusters.add(scored)
        left = [reference for reference in left if reference.builds_on in waiting]
    return [found[reference.name] for reference in references if reference.name in found]


def write_references(folder: Path, model: str, provenance: str, found: Sequence[ScoredReference]) -> None:
    """Write `reference_vectors` and `scores`."""
    keys = [column.name for column in schemas.REFERENCE_VECTORS.columns if column.name not in ("model", "reference")]
    columns: dict[str, Any] = {key: [scored.about[key] for scored in found] for key in keys}
    columns["vector"] = lists_of(np.stack([scored.vector for scored in found])) if found else []
    columns["reference"] = [scored.name for scored in found]
    write_table(folder, schemas.REFERENCE_VECTORS, model, provenance, columns)
    with TableWriter(folder, schemas.SCORES, model, provenance) as writer:
        for scored in found:
            n_tokens = len(scored.scores["dot"])
            ids = np.arange(n_tokens, dtype=np.int32)
            writer.write({"reference": [scored.name] * n_tokens, "token_id": ids, **scored.scores})


def _resolve_optional(
    reference: Reference, matrix: MatrixView, clusters: Clusters, work: ScoringContext
) -> QueryVector | None:
    """Resolve a reference; None, with a note, where it is optional and can't be had."""
    try:
        with _errors_naming(reference):
            return _pointing(reference, _vector(reference, matrix, clusters))
    except CatalogError as error:
        if not reference.optional:
            raise
        work.note(f"left out: {error}")
        return None


@contextmanager
def _errors_naming(reference: Reference) -> Iterator[None]:
    """Say in errors which reference can't be had."""
    try:
        yield
    except CatalogError as error:
        raise CatalogError(f"{reference.key}: {error}") from None


def _pointing(reference: Reference, vector: Floats | Vector) -> QueryVector:
    with np.errstate(over="ignore"):
        scale = 1.0 if reference.scale is None else reference.scale
        scaled = (vector.astype(np.float64) * scale).astype(np.float32)
    try:
        return query_vector(scaled)
    except ValueError as error:
        times = "" if reference.scale is None else f", scaled by {reference.scale:g},"
        raise CatalogError(f"the vector{times} {error}") from None


def _vector(reference: Reference, matrix: MatrixView, clusters: Clusters) -> Floats | Vector:
    """Return the vector that a reference asks for, before it is scaled."""
    value = reference.value
    match reference.kind:
        case "mean":
            return centroid(matrix.W, _finite(matrix.features))
        case "centroid":
            return centroid(matrix.W, _finite(matrix.features, clusters.ids(value)))
        case "sky":
            return _towards(matrix, value["lat"], value["lon"])
        case "pc":
            component: Floats = math.copysign(1.0, value) * matrix.components()[abs(value) - 1]
            return component
        case "vector":
            return _from_file(reference, matrix.W.shape[1])
        case _:
            row: Vector = matrix.W[_token(reference, matrix)].float().cpu().numpy()
            return row


def _token(reference: Reference, matrix: MatrixView) -> int:
    """Return the token whose row is the reference."""
    if reference.kind == "text":
        tokens = matrix.tokens()
        token = _of_text(reference.value, tokens["text"].to_pylist(), tokens["roundtrips"].to_pylist())
    elif reference.kind == "first_in_box":
        token = _first_in_box(reference.value, matrix.features)
    else:
        token = int(reference.value)
    if token >= len(matrix.W):
        raise CatalogError(f"{token}: W has rows 0 to {len(matrix.W) - 1}")
    return token


def _of_text(text: str, texts: Sequence[str | None], roundtrips: Sequence[bool | None]) -> int:
    """Return the token of a text: of several, the one that the text is tokenized to."""
    found = [i for i, own in enumerate(texts) if own == text]
    surest = [i for i in found if roundtrips[i]] if len(found) > 1 else found
    if len(surest) == 1:
        return surest[0]
    if found:
        raise CatalogError(f"{text!r} is the text of {len(found)} tokens: {_some(found)}; name one with token = ID")
    if not any(texts):
        raise CatalogError(f"{text!r}: there is no text at all without a tokenizer; name the token with token = ID")
    near = [i for i, own in enumerate(texts) if own and own.strip().casefold() == text.strip().casefold()]
    like = f", but {texts[near[0]]!r} is token {near[0]}'s" if near else ""
    raise CatalogError(f"{text!r} is no one token's text{like}; name a token with token = ID")


def _some(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:6])) + (" and others" if len(ids) > 6 else "")


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


def _towards(matrix: MatrixView, lat: float, lon: float) -> Floats:
    """Return the unit vector that points to a place on the sky (notebook 1.4a)."""
    up, around = math.radians(lat), math.radians(lon)
    place = (math.cos(up) * math.cos(around), math.cos(up) * math.sin(around), math.sin(up))
    components = matrix.components()
    direction: Floats = sum(
        part * math.copysign(1.0, axis) * components[abs(axis) - 1]
        for part, axis in zip(place, matrix.axes, strict=True)
    )
    unit: Floats = direction / np.linalg.norm(direction)
    return unit


def _from_file(reference: Reference, n_dims: int) -> Vector:
    vector = read_vector(Path(reference.value["file"]), reference.value["key"])
    if len(vector) != n_dims:
        raise CatalogError(f"has {len(vector):,} numbers, and W's rows have {n_dims:,}")
    return vector


def _scored(matrix: MatrixView, query_vectors: Sequence[QueryVector], work: ScoringContext) -> list[Scores]:
    if not query_vectors:
        return []
    features = matrix.features
    norms = features["norm_bf16"].combine_chunks().fill_null(0).to_numpy()
    own = np.arange(len(features), dtype=np.int32)
    duplicate_of = features["duplicate_of"].combine_chunks()
    firsts: Ids = np.where(duplicate_of.is_valid(), duplicate_of.fill_null(0), own).astype(np.int32)
    return score(matrix.W, norms, firsts, query_vectors, work.native, work.stage, work.progress)


def _finite(features: pa.Table, ids: Ids | None = None) -> Ids:
    """Return those of some tokens, or of all, whose rows are finite; CatalogError where there is none."""
    finite = features["norm"].combine_chunks().is_valid().to_numpy(zero_copy_only=False)
    kept = np.flatnonzero(finite).astype(np.int32) if ids is None else ids[finite[ids]]
    if not len(kept):
        raise CatalogError("none of its rows is finite")
    return kept


def _about(reference: Reference, there: QueryVector, native: torch.device) -> dict[str, Any]:
    return {
        "kind": reference.kind,
        "recipe": json.dumps(reference.as_dict()),
        "vector": there.vector,
        "norm": there.norm,
        "self_dot_bf16": there.self_dot_bf16,
        "device": described(native),
        "torch_version": torch.__version__,
    }
