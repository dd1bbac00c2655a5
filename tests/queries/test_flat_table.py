"""A model as one flat Parquet file, read back with polars, pandas, datasets and the DuckDB shell."""

import math
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.command_line import run
from tests.support.helpers import REPLICA, in_shell, ingest_bare, rows
from tests.support.reading import members, scores
from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.quoting import identifier, quoted
from token_catalog.ingest.recipe.entries import Cluster, Reference
from token_catalog.ingest.recipe.recipe import LinkageDistances, Recipe
from token_catalog.queries.export import export_parquet
from token_catalog.queries.session import run_query

SCORES = ("dot", "dot_bf16", "cosine", "cosine_bf16", "dot_native", "cosine_native")


@pytest.fixture(scope="module")
def flat(replica_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the replica's file, as the command line writes it."""
    path = tmp_path_factory.mktemp("flat") / "it's flat.parquet"
    done = run("export", REPLICA, "--to", "parquet", "-o", str(path), "--catalog", str(replica_catalog))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"wrote {path}\n", "")
    return path


def differing(catalog: Path, path: Path, columns: str, others: str, source: str) -> int:
    """Return how many rows of columns of a file and of a relation aren't among the other's; NULLs are equal."""
    left = f"select {columns} from {quoted(str(path))}"
    right = f"select {others} from {source}"
    query = f"select count(*) as n from (({left} except all {right}) union all ({right} except all {left}));"
    return int(in_shell(catalog, query)[0]["n"])


@pytest.mark.parametrize("table", [schemas.TOKENS, schemas.FEATURES], ids=lambda table: table.name)
def test_tokens_and_features_are_those_of_the_views(table: schemas.Table, replica_catalog: Path, flat: Path) -> None:
    columns = ", ".join(column.name for column in table.columns if column.name != "pcs")
    assert differing(replica_catalog, flat, columns, columns, table.name) == 0


def test_pcs_is_eight_columns(replica_catalog: Path, flat: Path) -> None:
    apart = ", ".join(f"pc{k}" for k in range(1, 9))
    assert differing(replica_catalog, flat, f"token_id, [{apart}]", "token_id, pcs", "features") == 0


@pytest.mark.parametrize("reference", ["1.4a", "1.5c", "1.5d", "1.6a", "row-124", "mean"])
def test_a_references_columns_are_its_scores(reference: str, replica_catalog: Path, flat: Path) -> None:
    columns = ", ".join(identifier(f"{reference}:{column}") for column in SCORES)
    of_it = f"scores where reference = '{reference}'"
    assert differing(replica_catalog, flat, f"token_id, {columns}", f"token_id, {', '.join(SCORES)}", of_it) == 0


def test_a_clusters_column_says_who_is_in_it(replica_catalog: Path, flat: Path) -> None:
    inside = pl.read_parquet(flat, columns=["token_id", "spike:member"])
    assert inside["spike:member"].null_count() == 0
    assert inside.filter(pl.col("spike:member"))["token_id"].to_list() == members(replica_catalog, "spike")


def test_every_column_is_a_number_text_bytes_or_a_truth_value(flat: Path) -> None:
    kinds = {pa.string(), pa.binary(), pa.bool_(), pa.int32(), pa.float32(), pa.float64()}
    schema = pq.read_schema(flat)
    assert {field.type for field in schema} <= kinds
    assert schema.names[:2] == ["model", "token_id"]
    assert len(set(schema.names)) == len(schema.names)


def test_polars_pandas_and_datasets_read_the_same(
    replica_catalog: Path, flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    expected = rows(replica_catalog, "select text, bytes from tokens order by token_id")
    texts, contents = ([row[i] for row in expected] for i in (0, 1))
    dots = scores(replica_catalog, "1.5c", "dot_bf16")
    polars, pandas = pl.read_parquet(flat), pd.read_parquet(flat)
    given = {"train": [str(flat)]}
    hub = datasets.load_dataset("parquet", data_files=given, cache_dir=str(tmp_path), split="train")
    assert polars.columns == list(pandas.columns) == hub.column_names == pq.read_schema(flat).names
    assert polars["token_id"].to_list() == pandas["token_id"].tolist() == hub["token_id"][:] == [*range(len(texts))]
    assert polars["text"].to_list() == hub["text"][:] == [None if pd.isna(t) else t for t in pandas["text"]] == texts
    assert polars["bytes"].to_list() == hub["bytes"][:] == pandas["bytes"].tolist() == contents
    assert polars["1.5c:dot_bf16"].to_list() == pandas["1.5c:dot_bf16"].tolist() == hub["1.5c:dot_bf16"][:] == dots
    assert str(polars["1.5c:dot_bf16"].dtype) == "Float32"


# --- on rows that are known by hand


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog without tokenizers of `m`, in three dimensions, and of `bare`, without references or clusters.

    token    0        1        2        3         4
    row   (3,0,0)  (3,0,0)  (0,4,0)  (0,0,0)  (NaN,0,0)
    """
    catalog = tmp_path_factory.mktemp("odd") / "c"
    W = torch.zeros(5, 3)
    W[0, 0] = W[1, 0] = 3
    W[2, 1], W[4, 0] = 4, math.nan
    recipe = Recipe(
        references=(Reference('it\'s "h" 1', "token", 0), Reference("h", "token", 2)),
        clusters=(Cluster("my 'own' \"c\"", "norm > 0"),),
    )
    ingest_bare(catalog, W, "m", recipe=recipe, asked=LinkageDistances(9, 1))
    ingest_bare(catalog, W, "bare", recipe=Recipe(references=()), asked=LinkageDistances(9, 1))
    return catalog


def read(catalog: Path, model: str, path: Path) -> pl.DataFrame:
    """Return a model's file as polars reads it."""
    assert export_parquet(catalog, model, path, replace=False) == [path]
    return pl.read_parquet(path)


def test_names_with_quotes_and_spaces_are_columns(odd: Path, tmp_path: Path) -> None:
    found = read(odd, "m", tmp_path / "m.parquet")
    assert found['it\'s "h" 1:dot'].to_list() == [9, 9, 0, 0, None]
    assert found["h:dot_bf16"].to_list() == [0, 0, 16, 0, None]
    assert found["my 'own' \"c\":member"].to_list() == [True, True, True, False, False]


def test_rows_that_are_zero_or_not_finite_stay_and_what_they_lack_is_null(odd: Path, tmp_path: Path) -> None:
    found = read(odd, "m", tmp_path / "m.parquet")
    assert found["norm"].to_list() == [3, 3, 4, 0, None]
    assert found["lat"].is_null().to_list() == [False, False, False, True, True]
    assert found["h:cosine_bf16"].to_list() == [0, 0, 1, None, None]
    assert found["duplicate_of"].to_list() == [0, 0, 2, 3, None]


def test_of_three_dimensions_there_are_three_pcs_and_the_others_are_null(odd: Path, tmp_path: Path) -> None:
    found = read(odd, "m", tmp_path / "m.parquet")
    assert found["pc3"].null_count() == 1
    assert [found[f"pc{k}"].null_count() for k in range(4, 9)] == [5] * 5
    assert {found[f"pc{k}"].dtype for k in range(1, 9)} == {pl.Float64}


def test_without_a_tokenizer_there_is_no_text_and_every_kind_is_missing(odd: Path, tmp_path: Path) -> None:
    found = read(odd, "m", tmp_path / "m.parquet")
    assert [found[name].null_count() for name in ("piece", "bytes", "text", "roundtrips")] == [5] * 4
    assert set(found["kind"]) == {"missing"}


def test_without_references_and_clusters_there_are_tokens_and_features_alone(odd: Path, tmp_path: Path) -> None:
    found = read(odd, "bare", tmp_path / "bare.parquet")
    assert len(found) == 5
    columns = [name for name in found.columns if ":" not in name]
    assert found.columns[len(columns) :] == ["largest-component:member"]
    assert columns == read(odd, "m", tmp_path / "m.parquet").columns[: len(columns)]


def test_references_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    """DuckDB would call the second one's columns h:dot_1."""
    recipe = Recipe(references=(Reference("h", "token", 0), Reference("H", "token", 1)))
    ingest_bare(tmp_path / "c", torch.eye(4)[:3], "m", recipe=recipe, asked=LinkageDistances(2, 2))
    with pytest.raises(CatalogError, match="H and h differ in case only"):
        read(tmp_path / "c", "m", tmp_path / "m.parquet")
    assert not (tmp_path / "m.parquet").exists()


# --- any view, any query


def test_a_view_and_a_query_in_parquet_load_in_polars(replica_catalog: Path, tmp_path: Path) -> None:
    view, query = tmp_path / "view.parquet", tmp_path / "query.parquet"
    run_query(replica_catalog, "from dot_classes", format_="parquet", output=view)
    assert pl.read_parquet(view).rows() == rows(replica_catalog, "from dot_classes")
    text = "select duplicate_of, token_ids from duplicate_groups order by duplicate_of"
    run_query(replica_catalog, text, format_="parquet", output=query, model=REPLICA)
    assert pl.read_parquet(query).rows() == rows(replica_catalog, text)


def test_no_relation_has_a_type_that_parquet_lacks(replica_catalog: Path) -> None:
    """DuckDB writes a HUGEINT as a DOUBLE without a word."""
    types = rows(replica_catalog, "select distinct data_type from duckdb_columns() where not internal")
    plain = {"VARCHAR", "BLOB", "BOOLEAN", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "TIMESTAMP"}
    assert {type_.removesuffix("[]") for (type_,) in types} <= plain
