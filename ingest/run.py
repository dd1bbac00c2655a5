"""The ingest, step by step: weights and tokenizer -> features -> Parquet -> a published catalog."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from dataclasses import replace as with_changes
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import numpy as np
import torch

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError, listed
from token_catalog.catalog.publish import already_there, catalogued, conflicts, staging
from token_catalog.catalog.selection import check_conditions
from token_catalog.catalog.state import read_state
from token_catalog.catalog.tables import as_rows, lists_of, vector_row_group

from .arithmetic.arrays import Floats, blocks
from .arithmetic.components import PrincipalComponents
from .dependents import borrow, surroundings
from .devices import described, enough_memory, fp64_device, native_device
from .dimensions.columns import ColumnValues, column_values, dimension_columns
from .features.causal import condition_number
from .features.principal_components import oriented_components
from .features.scan import Rows, Scan, scan
from .features.sky import feature_columns
from .frames.places import place_recipe, write_frames
from .lattice.link import MOST_STEPS, lattice_columns
from .linkage.link import link
from .new_version import NewVersion
from .recipe.entries import conditions
from .recipe.recipe import AXES, LinkageDistances, Recipe, errors_from
from .recipe.shipping import recipe_for
from .references.matrix_view import MatrixView
from .references.resolve import check_texts, check_vectors
from .references.score_recipe import ScoredRecipe, ScoringContext, score_recipe
from .references.token_files import read_token_files
from .report import Report, progress_bar
from .shared_sky import SharedSky, own_axes, write_shared
from .source.matrix import Matrix
from .source.resolve import Source, SourceOptions, resolve_source
from .source.vocabulary import Token, load_vocabulary, require_rows, token_columns

Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """A matrix's place in a series: its step, and its role where it isn't the weights themselves."""

    series: str | None = None
    step: int | None = None
    role: str | None = None


@dataclass(frozen=True)
class Job:
    """What the matrices of one ingest have in common.

    `vocabulary` is None without a tokenizer; `borrowed` are axes of frames that are other models'; `native` is the
    device whose own bf16 products are told. `place` is what `models` has of a series; `shared` returns the sky that a
    matrix of this kind (input, output or tied) takes from its series, None where it has its own; CatalogError where
    the series has none for it.
    """

    source: Source
    vocabulary: dict[int, Token] | None
    recipe: Recipe
    borrowed: Mapping[tuple[str, str], Floats]
    device: torch.device
    native: torch.device
    with_vectors: bool
    place: Place = Place()
    shared: Callable[[str | None], SharedSky | None] = lambda matrix: None


@dataclass(frozen=True)
class Asked:
    """How to ingest a source: distances `linked` go before the recipe's, and without a recipe the source's own is."""

    recipe: Recipe | None = None
    linked: LinkageDistances = field(default_factory=LinkageDistances)
    device: str = "auto"
    with_vectors: bool = True
    with_tokenizer: bool = True


def ingest(
    catalog: Path,
    source: str,
    options: SourceOptions,
    *,
    recipe: Recipe | None = None,
    asked: LinkageDistances | None = None,
    device: str = "auto",
    replace: bool = False,
    with_vectors: bool = True,
    with_tokenizer: bool = True,
) -> Report:
    """Catalogue every matrix of a source, and publish them together; distances `asked` for go before the recipe's.

    Without a recipe, the one that ships for this model, or else the default. On bad input: CatalogError, and the
    catalog is as it was.
    """
    report = Report()
    job = prepare(
        catalog,
        source,
        options,
        Asked(recipe, asked or LinkageDistances(), device, with_vectors, with_tokenizer),
        report,
    )
    refuse_taken(catalog, job.source, replace=replace)
    with staging(catalog) as area:
        for model, (role, matrix) in job.source.matrices.items():
            new = NewVersion(model, area.version(model, job.source.name), {}, report)
            with enough_memory(model):
                ingest_matrix(job, new, role, matrix)
            note_same_tensor(tensors_in(catalog), new)
        with report.stage("publish"):
            area.publish(replace=replace)
    report.models = list(job.source.matrices)
    return report


def prepare(
    catalog: Path,
    source: str,
    options: SourceOptions,
    asked: Asked,
    report: Report,
    load: Callable[[Path], dict[int, Token]] = load_vocabulary,
) -> Job:
    """Find a source's matrices, recipe and tokenizer, and refuse what can be refused before any work is done.

    `load` returns the entries of the tokenizer in a folder.
    """
    (asked.recipe or Recipe()).linked(asked.linked)  # refused before anything is fetched
    where, native = fp64_device(asked.device), native_device(asked.device)
    with report.stage("source"):
        resolved = resolve_source(source, options)
    report.warnings += resolved.warnings
    recipe = (asked.recipe or _recipe_of(resolved, report)).linked(asked.linked)
    borrowed = _refuse_early(catalog, resolved, recipe)
    with report.stage("tokenizer"):
        vocabulary = _vocabulary(resolved, load) if asked.with_tokenizer else None
    return Job(resolved, vocabulary, recipe, borrowed, where, native, asked.with_vectors)


def refuse_taken(catalog: Path, source: Source, *, replace: bool) -> None:
    """Raise CatalogError where a source's models are there, unless they are to be replaced."""
    taken = conflicts(read_state(catalog), dict.fromkeys(source.matrices, source.name))
    if taken and not replace:
        raise already_there(taken)


def tensors_in(catalog: Path) -> dict[str, list[str]]:
    """Return the models of a catalog by the hash of their tensor."""
    rows = catalogued(catalog)
    return by_tensor(zip(rows["model"].to_pylist(), rows["tensor_sha256"].to_pylist(), strict=True))


def by_tensor(told: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return models by the hash of their tensor, given each with its."""
    models: dict[str, list[str]] = {}
    for model, sha256 in told:
        models.setdefault(sha256, []).append(model)
    return models


def note_same_tensor(tensors: Mapping[str, list[str]], new: NewVersion) -> None:
    """Note which other models hold the very same tensor, given models by the hash of theirs."""
    same = [model for model in tensors.get(new.about["tensor_sha256"], ()) if model != new.model]
    if same:
        new.note(f"holds the same tensor as {listed(same)}")


def _recipe_of(source: Source, report: Report) -> Recipe:
    """Return the recipe that ships for this very model, with a note; else the default."""
    _, matrix = next(iter(source.matrices.values()))
    recipe = recipe_for(source.name, source.source, matrix.n_tokens, matrix.n_dims)
    if recipe is None:
        return Recipe()
    origin = f"recipe {recipe.origin}, which is for this model (`recipe=` gives another)"
    report.note(source.name, origin)
    return with_changes(recipe, origin=origin)


def _refuse_early(catalog: Path, source: Source, recipe: Recipe) -> dict[tuple[str, str], Floats]:
    """Refuse what can be refused before any work is done; return the axes that frames have from other models."""
    with errors_from(recipe.origin):
        for _, matrix in source.matrices.values():
            recipe.check(matrix.n_tokens, matrix.n_dims)
            check_vectors(recipe.references, matrix.n_dims, matrix.row)
            read_token_files(recipe, matrix.n_tokens)
        check_conditions(conditions(recipe.clusters))
        widths = {matrix.n_dims for _, matrix in source.matrices.values()}
        return {axis: vector for n in widths for axis, vector in borrow(catalog, recipe.frames, n).items()}


def _vocabulary(source: Source, load: Callable[[Path], dict[int, Token]]) -> dict[int, Token]:
    if source.tokenizer is None:
        raise CatalogError(
            f"{source.source}: a bare matrix has no tokenizer; give one with `tokenizer=`, or `with_tokenizer=False`"
        )
    vocabulary = load(source.tokenizer)
    for _, matrix in source.matrices.values():
        require_rows(vocabulary, matrix.n_tokens)
    return vocabulary


def ingest_matrix(job: Job, new: NewVersion, role: str | None, matrix: Matrix) -> None:
    """Write every table of one matrix: W from the file to the scores, the recipe from TOML to the tables."""
    tokens = token_columns(job.vocabulary or {}, matrix.n_tokens)
    shared = job.shared(role)
    if shared:
        shared.check(matrix.n_tokens, matrix.n_dims)
    with errors_from(job.recipe.origin):  # before any work is done
        recipe, members = read_token_files(job.recipe, matrix.n_tokens)
        check_texts(recipe.references, tokens)
    job = with_changes(job, recipe=recipe)
    rows = Rows(matrix, job.device)
    with new.stage("scan"):
        scanned = scan(rows)
    new.about |= _about(job, role, matrix, scanned)
    with _in_background(partial(_write_and_count, job, new, matrix, scanned)) as counted:
        with new.stage("components"), errors_from(recipe.origin):
            components = oriented_components(rows, scanned, recipe.sky)
        with new.stage("sky"):
            features = feature_columns(rows, scanned, components, recipe, shared.axes if shared else None)
            sky = shared.axes if shared else own_axes(components.vectors, recipe.sky)
        W = rows.whole()
        with new.stage("linkage"):
            distances = shared.linked(recipe.linkage) if shared else recipe.linkage
            linked = link(W, scanned.digests, components.vectors, features, distances)
            if shared and distances != recipe.linkage:
                taken = distances.as_dict().keys() - recipe.linkage.as_dict().keys()
                linked = with_changes(linked, chosen=linked.chosen.with_rule(f"as {shared.frame_of}", taken))
        for note in linked.notes(new.model):
            new.note(note)
        features |= linked.columns
        with new.stage("lattice"):
            lattice = lattice_columns(W, features["duplicate_of"]) if matrix.dtype == "bf16" else None
        view = _view(new.model, W, features, tokens, components, sky)
        with errors_from(recipe.origin):
            scored = score_recipe(recipe, view, ScoringContext(job.native, new.stage, new.note), members=members)
            _place_frames(job, new, view, scored)
        with new.stage("vectors' rest"):
            values = counted.result()
    new.about |= {**linked.chosen.as_row(), "lattice_most_steps": None if lattice is None else MOST_STEPS}
    new.about |= _about_causal(recipe, components)
    with new.stage("tables"):
        new.write(schemas.FEATURES, features)
        new.write(schemas.COMPONENT_DIAMETERS, linked.diameters)
        if lattice is not None:
            new.write(schemas.LATTICE, lattice)
        scored.write_clusters(new)
        scored.write_references(new)
        _write_dimensions(new, matrix, values, components)
        _write_components(new, components)
        new.write(schemas.TOKENS, tokens)
        if job.place.series is not None:
            write_shared(new, shared.frame_of if shared else new.model, sky)
        new.about["ingested_at"] = datetime.now(UTC).replace(tzinfo=None)
        new.write_models()
    new.report.warnings += [f"{new.model}: {warning}" for warning in _warnings(job, role, matrix, scanned, components)]


def _view(
    model: str,
    W: torch.Tensor,
    features: Mapping[str, Any],
    tokens: Mapping[str, Any],
    components: PrincipalComponents,
    sky: Floats,
) -> MatrixView:
    """Return the matrix as references see it."""
    return MatrixView(
        W,
        as_rows(schemas.FEATURES, model, features),
        lambda: as_rows(schemas.TOKENS, model, tokens),
        lambda: components.vectors,
        lambda: sky,
    )


def _about(job: Job, role: str | None, matrix: Matrix, scanned: Scan) -> dict[str, Any]:
    """Return the row of `models`, but for its key, linkage and the time."""
    sky = job.recipe.sky
    return {
        "name": job.source.name,
        "source": job.source.source,
        "revision": job.source.revision,
        "tensor": matrix.tensor,
        "matrix": role,
        **asdict(job.place),
        "dtype": matrix.dtype,
        "n_tokens": matrix.n_tokens,
        "n_dims": matrix.n_dims,
        "n_vocab": len(job.vocabulary or {}),
        "n_nonfinite": scanned.n_nonfinite,
        "tensor_sha256": scanned.sha256,
        **{f"{axis}_pc": getattr(sky, axis) for axis in AXES},
        "recipe": job.recipe.dumps(),
        "device": described(job.device),
        "torch_version": torch.__version__,
    }


def _about_causal(recipe: Recipe, components: PrincipalComponents) -> dict[str, Any]:
    """Return what `models` says of the causal metric."""
    return {
        "causal_epsilon": recipe.causal_epsilon,
        "causal_condition_number": condition_number(components, recipe.causal_epsilon),
    }


def _place_frames(job: Job, new: NewVersion, view: MatrixView, scored: ScoredRecipe) -> None:
    """Write every token's place in the recipe's frames, if it has any."""
    if not job.recipe.frames:
        return
    around = surroundings(view, scored.clusters(view), scored.references, job.borrowed)
    with new.stage("frames"):
        write_frames(new, place_recipe(job.recipe.frames, around, new.note))


def _write_dimensions(new: NewVersion, matrix: Matrix, values: ColumnValues, components: PrincipalComponents) -> None:
    """Write `dimensions`."""
    columns = dimension_columns(values, components.mean, components.variances, matrix.dtype)
    new.write(schemas.DIMENSIONS, columns)


def _write_components(new: NewVersion, components: PrincipalComponents) -> None:
    """Write `principal_components`, some row groups."""
    n_dims = len(components.eigenvalues)
    n_rows = vector_row_group(2 * n_dims)  # DOUBLE is twice as wide
    shares = components.variance_shares
    with new.writer(schemas.PRINCIPAL_COMPONENTS) as writer:
        for part in blocks(n_dims, n_rows):
            writer.write(
                {
                    "pc": np.arange(part.start + 1, part.stop + 1, dtype=np.int32),
                    "eigenvalue": components.eigenvalues[part],
                    "variance_share": shares[part],
                    "vector": lists_of(components.vectors[part]),
                    "mean_projection": components.vectors[part] @ components.mean,
                }
            )


@contextmanager
def _in_background(work: Callable[[Event], Result]) -> Iterator[Future[Result]]:
    """Run `work` in a thread beside the block; an error in the block tells it, by the event, to stop early."""
    stop = Event()
    with ThreadPoolExecutor(max_workers=1) as thread:
        try:
            yield thread.submit(work, stop)
        except BaseException:
            stop.set()
            raise


def _write_and_count(job: Job, new: NewVersion, matrix: Matrix, scanned: Scan, stop: Event) -> ColumnValues:
    """Write the rows as stored, and count their columns' values.

    Each takes one processor, and so goes beside the linear algebra.
    """
    _write_vectors(job, new, matrix, stop)
    _go_on(stop)
    return column_values(matrix.whole(), scanned.finite)


def _write_vectors(job: Job, new: NewVersion, matrix: Matrix, stop: Event) -> None:
    if not job.with_vectors:
        return
    n_rows = vector_row_group(matrix.n_dims)
    with new.writer(schemas.VECTORS) as writer:
        for start, rows in progress_bar(matrix.chunks(n_rows), "vectors", -(-matrix.n_tokens // n_rows)):
            _go_on(stop)  # else an error: half a table must not be closed as a whole one
            ids = np.arange(start, start + len(rows), dtype=np.int32)
            writer.write({"token_id": ids, "vector": lists_of(rows.float().numpy())})


def _go_on(stop: Event) -> None:
    if stop.is_set():
        raise CatalogError("stopped")


def _warnings(
    job: Job, role: str | None, matrix: Matrix, scanned: Scan, components: PrincipalComponents
) -> Iterator[str]:
    """Yield what a user should know of a matrix before trusting its numbers."""
    if scanned.n_nonfinite:
        yield (
            f"rows with a NaN or an infinity: {scanned.n_nonfinite:,}; their features are NULL, and the PCA is without "
            "them"
        )
    if scanned.n_zero:
        yield f"rows that are zero: {scanned.n_zero:,}; they have no place on the sky"
    if job.vocabulary is not None and len(job.vocabulary) < matrix.n_tokens:
        yield (
            f"W has {matrix.n_tokens:,} rows but the tokenizer has {len(job.vocabulary):,} entries; "
            "rows without one get kind 'missing'"
        )
    own = () if job.shared(role) else job.recipe.sky.axes()
    degenerate = [f"PC{abs(axis)}" for axis in own if components.degenerate(abs(axis))]
    if degenerate:
        yield (
            f"sky axes with an equal eigenvalue beside theirs: {', '.join(degenerate)}; "
            "their directions, and so latitudes and longitudes, are arbitrary"
        )
