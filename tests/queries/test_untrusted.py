"""SQL of a stranger's table of figures: what it can't do, by what is on the disk afterwards and what it is told."""

import shutil
from pathlib import Path

import duckdb
import pytest

from tests.support.helpers import MINILM
from tests.support.own_figures import SHIPPED, outcome, write_own
from token_catalog.catalog.errors import CatalogError
from token_catalog.queries.figures import read_figures
from token_catalog.queries.untrusted import check_query, sandboxed_catalog
from token_catalog.queries.verify import print_comparison, verify

NO_SELECT = (
    "select 1; select 2",
    "selekt 1",
    "-- nothing",
    ";",
    "copy (select 1) to 'out.csv'",
    "attach 'other.db'",
    "set threads = 1",
    "set variable model = 'other'",
    "pragma threads = 1",
    "install httpfs",
    "load httpfs",
    "call pragma_version()",
    "create table mine as select 1",
    "create temp macro n_dims() as 1",
    "insert into models values (1)",
    "delete from models",
    "update models set n_dims = 1",
    "drop view features",
    "export database 'out'",
    "explain analyze select 1",
    "prepare mine as select 1",
    "begin",
    "use memory",
    "vacuum",
    "describe features",
    # DuckDB 2 has statements that write inside a WITH; DuckDB 1 parses none of them.
    "with x as (copy (select 1) to '{written}') select 1",
    "with x as (copy (select 1) to '{written}') from x",
    "select (with x as (copy (select 1) to '{written}') select 1)",
    "from (with x as (copy (select 1) to '{written}') select 1)",
    "with x as (insert into models values (1) returning *) select 1",
    "with x as (create table mine (a int)) select 1",
    "with x as (delete from models returning *) from x",
)
GIVING = (
    "from json_execute_serialized_sql(json_serialize_sql('with x as (copy (select 1) to ''{written}'') select 1'))",
    "from query('copy (select 1) to ''{written}''')",
    "from query('select 1')",
    "from query_table('features')",
    "select (select count(*) from read_text('{inside}'))",
    "select 1 where exists (from read_parquet('{inside}'))",
    "from glob('/*')",
    "from read_csv('/etc/passwd')",
    "from sniff_csv('/etc/passwd')",
    "from enable_logging(level = 'trace', storage = 'file', storage_path = '{written}')",
    "from enable_profiling(format = 'json', save_location = '{written}')",
    "from force_checkpoint('catalog')",
    "from duckdb_secrets()",
    "from pragma_version()",
)


def test_every_query_that_ships_is_let_pass(minilm: Path) -> None:
    with sandboxed_catalog(minilm, MINILM) as connection:
        for figure in read_figures(Path(SHIPPED)):
            check_query(connection, figure.query)
        for query in (
            "with recursive t as (select 1 as a union all select a + 1 from t where a < 3) select max(a) from t",
            "select count(*) from features as f, range(3), unnest([1, 2])",
            "select len([x for x in [1, 2] if x > 1])",
            "select max(n) from (select count(*) as n from members('unused') group by kind) where n in (from range(9))",
            "SELECT count(*) FROM Components_At(0.3)",
        ):
            check_query(connection, query)


@pytest.mark.parametrize("query", [*NO_SELECT, *GIVING])
def test_a_query_that_isnt_one_select_of_the_catalog_is_refused_before_any_is_run(
    query: str, minilm: Path, tmp_path: Path
) -> None:
    """In the catalog's folder, too, which DuckDB itself may read and so write."""
    version = next((minilm / "models").glob("*/*"))
    before = sorted(path for path in minilm.rglob("*"))
    asked = query.format(written=version / "written.parquet", inside=version / "features.parquet")
    table = write_own(tmp_path / "mine.csv", [("fine", "1", "exact", "select 1"), ("mine", "1", "exact", asked)])
    lines = []
    with pytest.raises(CatalogError, match=r"mine\.csv, line 3: mine: its query ") as caught:
        lines.extend(verify(minilm, MINILM, table))
    assert lines == []
    assert "\n" not in str(caught.value)
    assert sorted(path for path in minilm.rglob("*")) == before


def test_files_that_are_named_like_tables_are_out_of_reach_but_for_the_models(minilm: Path, tmp_path: Path) -> None:
    beside = minilm.with_name(f"{minilm.name}-beside.csv")
    beside.write_text("n\n1\n")
    places = (
        "/etc/passwd", str(beside), f"{minilm}/../{beside.name}", f"{minilm}/open.sql", beside.name,
        "https://example.invalid/a.csv",
    )  # fmt: skip
    queries = [f"select count(*) from '{place}'" for place in places]
    lines = outcome(minilm, MINILM, tmp_path / "mine.csv", queries)
    assert [line.figure.query for line in lines if line.verdict.passes or line.found != "-"] == []
    told = ("Permission Error", "Catalog Error", "IO Error", "HTTP Error", "Missing Extension")
    assert [line for line in lines if not line.verdict.remark.startswith(told)] == []


def test_a_closed_connection_stays_closed(minilm: Path) -> None:
    with sandboxed_catalog(minilm, MINILM) as connection:
        for way in ("set enable_external_access = true", "set threads = 1", "set temp_directory = '/tmp'"):
            with pytest.raises(duckdb.InvalidInputException, match="configuration has been locked"):
                connection.execute(way)


def test_variables_of_this_process_are_no_tables(minilm: Path, tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": [1]})
    (line,) = outcome(minilm, MINILM, tmp_path / "mine.csv", ["select count(*) from frame"])
    assert line.verdict.remark.startswith("Catalog Error")
    assert len(frame) == 1


def test_what_a_stranger_wrote_is_printed_without_what_a_terminal_obeys(
    minilm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = [
        ("erro\x1b[31mr", "\x1b[2J", "exact", "select error(chr(27) || '[31mRED' || chr(13) || 'n_dims  pass')"),
        ("list", "1", "exact", "select [chr(27) || '[2J']"),
    ]
    assert not print_comparison(minilm, MINILM, write_own(tmp_path / "mine.csv", figures))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\r" not in printed
    assert "\\x1b[31mRED\\rn_dims" in printed


def test_a_models_folder_on_another_disk_is_read(minilm: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    shutil.copytree(minilm, catalog, symlinks=True)
    (catalog / "models").rename(tmp_path / "elsewhere")
    (catalog / "models").symlink_to(tmp_path / "elsewhere")
    table = write_own(tmp_path / "mine.csv", [("n_tokens", "30522", "exact")])
    assert [line.verdict for line in verify(catalog, MINILM, table)] == [(True, "")]
