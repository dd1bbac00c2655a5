"""The ingest, step by step: weights and tokenizer -> features -> Parquet -> a published catalog."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as replaced
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.publish import already_there, conflicts, staging
from token_catalog.catalog.selection import check_conditions
from token_catalog.catalog.state import read_state
from token_catalog.catalog.tables import TableWriter, as_rows, lists_of, vector_row_group, write_table
from token_catalog.ingest.arithmetic.distances import Ids, blocks
from token_catalog.ingest.devices import described, enough_memory, fp64_device, native_device
from token_catalog.ingest.features import scan as features
from token_catalog.ingest.features.scan import Linked, Rows, Scan
from token_catalog.ingest.features.sky import Components
from token_catalog.ingest.linkage.scale import Choice
from token_catalog.ingest.recipe.recipe import (
    AXES,
    LinkageDistances,
    Recipe,
    chosen_for,
    errors_from,
    load_recipe,
    shipped,
)
from token_catalog.ingest.references.clusters import Clusters, ScoredReference, members, recipe_columns
from token_catalog.ingest.references.resolve import (
    MatrixView,
    ScoringContext,
    check_texts,
    check_vectors,
    resolve_and_score,
    write_references,
)
from token_catalog.ingest.report import Report, progress_bar
from token_catalog.ingest.source.matrix import Matrix
from token_catalog.ingest.source.resolve import Options, Source, resolve
from token_catalog.ingest.source.vocabulary import Token, load_vocabulary, require_rows, token_columns


@dataclass(frozen=True)
class Job:
    """What the matrices of one ingest have in common.

    `vocabulary` is None with `--no-tokenizer`; `native` is the device whose own bf16 products are told.
    """

    source: Source
    vocabulary: dict[int, Token] | None
    recipe: Recipe
    device: torch.device
    native: torch.device
    with_vectors: bool
    report: Report


def ingest(
    catalog: Path,
    source: str,
    options: Options,
    *,
    recipe: Recipe | None = None,
    limits: LinkageDistances | None = None,
    device: str = "auto",
    replace: bool = False,
    with_vectors: bool = True,
    with_tokenizer: bool = True,
) -> Report:
    """Catalogue every matrix of a source, and publish them together; `limits` go before the recipe's.

    Without a recipe, the one that ships for this model, or else the default. On bad input: CatalogError, and the
    catalog is as it was.
    """
    report = Report()
    limits = limits or LinkageDistances()
    (recipe or Recipe()).linked(limits)  # refused before anything is fetched
    where, native = fp64_device(device), native_device(device)
    with report.stage("source"):
        found = resolve(source, options)
    report.warnings += found.warnings
    chosen = None if recipe else _chosen(found)
    if chosen:
        origin = f"recipe {chosen}, which is for this model (--recipe gives another)"
        recipe = replaced(load_recipe(shipped(chosen)), origin=origin)
        report.note(found.name, origin)
    recipe = (recipe or Recipe()).linked(limits)
    _refuse_early(catalog, found, recipe, replace=replace)
    with report.stage("tokenizer"):
        vocabulary = _vocabulary(found) if with_tokenizer else None
    job = Job(found, vocabulary, recipe, where, native, with_vectors, report)
    with staging(catalog) as area:
        for model, (role, matrix) in found.matrices.items():
            with enough_memory(model):
                _catalogue(job, area.version(model, found.name), model, role, matrix)
        with report.stage("publish"):
            area.publish(replace=replace)
    report.models = list(found.matrices)
    return report


def _chosen(found: Source) -> str | None:
    """Return the name of the shipped recipe that is for a model by itself."""
    _, matrix = next(iter(found.matrices.values()))
    return chosen_for(found.name, found.source, matrix.n_tokens, matrix.n_dims)


def _refuse_early(catalog: Path, found: Source, recipe: Recipe, *, replace: bool) -> None:
    """Refuse what can be refused before any work is done."""
    with errors_from(recipe.origin):
        for _, matrix in found.matrices.values():
            recipe.check(matrix.n_tokens, matrix.n_dims)
            check_vectors(recipe.references, matrix.n_dims, matrix.row)
        check_conditions({cluster.key: cluster.where for cluster in recipe.clusters})
    taken = conflicts(read_state(catalog), dict.fromkeys(found.matrices, found.name))
    if taken and not replace:
        raise already_there(taken)


def _vocabulary(found: Source) -> dict[int, Token]:
    if found.tokenizer is None:
        raise CatalogError(
            f"{found.source}: a bare matrix has no tokenizer; give one with --tokenizer, or --no-tokenizer"
        )
    vocabulary = load_vocabulary(found.tokenizer)
    for _, matrix in found.matrices.values():
        require_rows(vocabulary, matrix.n_tokens)
    return vocabulary


def _catalogue(job: Job, folder: Path, model: str, role: str | None, matrix: Matrix) -> None:
    """Write every table of one matrix into its version folder."""
    stage = job.report.stage
    tokens = token_columns(job.vocabulary or {}, matrix.n_tokens)
    with errors_from(job.recipe.origin):
        check_texts(job.recipe.references, tokens)  # before any work is done
    rows = Rows(matrix, job.device, progress_bar)
    with stage("scan"):
        scanned = features.scan(rows)
    about = _about(job, role, matrix, scanned)
    provenance = json.dumps(about)
    with _in_background(partial(_write_vectors, job, folder, model, matrix, provenance)) as vectors:
        with stage("components"), errors_from(job.recipe.origin):
            components = features.principal_components(rows, scanned, job.recipe.sky)
        with stage("sky"):
            columns = features.project(rows, scanned, components, job.recipe.sky)
        with stage("linkage"):
            W, basis = rows.whole(), components.vectors
            linked = features.link(W, scanned.digests, basis, columns, job.recipe.linkage, progress_bar)
        columns |= linked.columns
        about |= chosen(linked.choice)
        tell(job.report, model, linked, linked.choice)
        inside, scored = _see(job, model, W, columns, tokens, components)
        with stage("vectors' rest"):
            vectors.result()
    provenance = json.dumps(about)
    with stage("tables"):
        write_table(folder, schemas.FEATURES, model, provenance, columns)
        write_table(folder, schemas.COMPONENT_DIAMETERS, model, provenance, linked.diameters)
        write_table(folder, schemas.RECIPE_CLUSTERS, model, provenance, recipe_columns(job.recipe.clusters, inside))
        write_references(folder, model, provenance, scored)
        _write_components(folder, model, components, provenance)
        write_table(folder, schemas.TOKENS, model, provenance, tokens)
        about["ingested_at"] = datetime.now(UTC).replace(tzinfo=None)
        write_table(folder, schemas.MODELS, model, provenance, {key: [value] for key, value in about.items()})
    job.report.warnings += [f"{model}: {warning}" for warning in _warnings(job, matrix, scanned, components)]


def _see(
    job: Job, model: str, W: Tensor, columns: Mapping[str, Any], tokens: Mapping[str, Any], components: Components
) -> tuple[dict[str, Ids], list[ScoredReference]]:
    """Return the tokens of the recipe's clusters, and its references with their scores."""
    seen = MatrixView(
        W,
        as_rows(schemas.FEATURES, model, columns),
        lambda: as_rows(schemas.TOKENS, model, tokens),
        lambda: components.vectors,
        job.recipe.sky.axes(),
    )
    note = partial(job.report.note, model)
    with errors_from(job.recipe.origin):
        with job.report.stage("clusters"):
            inside = members(job.recipe.clusters, seen.features, seen.tokens, note)
        work = ScoringContext(job.native, job.report.stage, note, progress_bar)
        return inside, resolve_and_score(job.recipe.references, seen, Clusters(seen.features, inside), work, {})


def _about(job: Job, role: str | None, matrix: Matrix, scanned: Scan) -> dict[str, Any]:
    """Return the row of `models`, but for its key and the time."""
    sky = job.recipe.sky
    return {
        "name": job.source.name,
        "source": job.source.source,
        "revision": job.source.revision,
        "tensor": matrix.tensor,
        "matrix": role,
        "dtype": matrix.dtype,
        "n_tokens": matrix.n_tokens,
        "n_dims": matrix.n_dims,
        "n_vocab": len(job.vocabulary or {}),
        "n_nonfinite": int((~scanned.finite).sum()),
        "tensor_sha256": scanned.sha256,
        **{f"{axis}_pc": getattr(sky, axis) for axis in AXES},
        "recipe": job.recipe.dumps(),
        "device": described(job.device),
        "torch_version": torch.__version__,
        "catalog_version": version("token-catalog"),
    }


def chosen(choice: Choice) -> dict[str, Any]:
    """Return what `models` says of a linkage."""
    return {
        "linkage_radius": choice.radius,
        "linkage_threshold": choice.threshold,
        "linkage_rule": choice.rule,
    }


def tell(report: Report, model: str, linked: Linked, choice: Choice) -> None:
    """Report how far a model was linked, and where that found nothing."""
    report.note(model, str(choice))
    distance = linked.columns["nn_distance"]
    if len(distance) > 1 and np.ma.getmaskarray(distance).all():
        report.note(
            model,
            f"no two different rows are nearer than {choice.radius:g}; "
            f"`token-catalog relink {model} --radius R` links further",
        )


def _write_components(folder: Path, model: str, components: Components, provenance: str) -> None:
    n_dims = len(components.eigenvalues)
    n_rows = vector_row_group(2 * n_dims)  # DOUBLE is twice as wide
    shares = components.variance_shares
    with TableWriter(folder, schemas.PRINCIPAL_COMPONENTS, model, provenance) as writer:
        for part in blocks(n_dims, n_rows):
            writer.write(
                {
                    "pc": np.arange(part.start + 1, part.stop + 1, dtype=np.int32),
                    "eigenvalue": components.eigenvalues[part],
                    "variance_share": shares[part],
                    "vector": lists_of(components.vectors[part]),
                }
            )


@contextmanager
def _in_background(work: Callable[[Event], None]) -> Iterator[Future[None]]:
    """Run `work` in a thread beside the block; an error in the block tells it, by the event, to stop early."""
    stop = Event()
    with ThreadPoolExecutor(max_workers=1) as thread:
        try:
            yield thread.submit(work, stop)
        except BaseException:
            stop.set()
            raise


def _write_vectors(job: Job, folder: Path, model: str, matrix: Matrix, provenance: str, stop: Event) -> None:
    """Write the rows as stored. Compressing them takes one processor, and so goes beside the linear algebra."""
    if not job.with_vectors:
        return
    n_rows = vector_row_group(matrix.n_dims)
    with TableWriter(folder, schemas.VECTORS, model, provenance) as writer:
        for start, rows in progress_bar(matrix.chunks(n_rows), "vectors", -(-matrix.n_tokens // n_rows)):
            if stop.is_set():
                raise CatalogError("stopped")  # half a table must not be closed as a whole one
            ids = np.arange(start, start + len(rows), dtype=np.int32)
            writer.write({"token_id": ids, "vector": lists_of(rows.float().numpy())})


def _warnings(job: Job, matrix: Matrix, scanned: Scan, components: Components) -> Iterator[str]:
    """Give what a user should know of a matrix before trusting its numbers."""
    n_nonfinite = int((~scanned.finite).sum())
    if n_nonfinite:
        yield f"rows with a NaN or an infinity: {n_nonfinite:,}; their features are NULL, and the PCA is without them"
    if scanned.n_zero:
        yield f"rows that are zero: {scanned.n_zero:,}; they have no place on the sky"
    if job.vocabulary is not None and len(job.vocabulary) < matrix.n_tokens:
        yield (
            f"W has {matrix.n_tokens:,} rows but the tokenizer has {len(job.vocabulary):,} entries; "
            "rows without one get kind 'missing'"
        )
    degenerate = [f"PC{abs(axis)}" for axis in job.recipe.sky.axes() if components.degenerate(abs(axis))]
    if degenerate:
        yield (
            f"sky axes with an equal eigenvalue beside theirs: {', '.join(degenerate)}; "
            "their directions, and so latitudes and longitudes, are arbitrary"
        )
