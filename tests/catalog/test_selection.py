"""Conditions of recipes in SQL: which tokens they find, and every way out of where they are asked."""

import contextlib
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from token_catalog.catalog import conditions, selection
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.schemas import FEATURES, TOKENS
from token_catalog.catalog.selection import check_conditions, tokens_where
from token_catalog.catalog.tables import as_rows

KEY = "cluster 'c'.where"
IDS = np.arange(20, dtype=np.int32)
TEXTS = [None if i % 5 == 4 else f"t{i}" for i in IDS]
# The ids backwards, as nothing says in which order a table's rows are.
FEATURES_MADE = as_rows(FEATURES, "m", {"token_id": IDS[::-1], "lat": IDS[::-1] - 10.0, "norm": IDS[::-1] % 3 + 0.0})
TOKENS_MADE = as_rows(TOKENS, "m", {"token_id": IDS, "text": TEXTS, "kind": ["byte", "normal"] * 10})
TABLES_MADE = (FEATURES_MADE, TOKENS_MADE)
ENDLESS = "exists(with recursive r as (select 1 as i union all select i + 1 from r) select 1 from r where i < 0)"


def where(condition: str, seconds: float = 30) -> list[int]:
    """Return the tokens for which a condition holds, of 20 with lat = token_id - 10, norm = token_id % 3."""
    found = tokens_where({KEY: condition}, FEATURES_MADE, TOKENS_MADE, seconds)[KEY]
    assert found.dtype == np.int32
    return [int(token) for token in found]


def refusal(condition: str, seconds: float = 30) -> str:
    """Return the message with which a condition is refused, without the key that it begins with."""
    with pytest.raises(CatalogError) as error:
        where(condition, seconds)
    message = str(error.value)
    assert message.startswith(f"{KEY}: ")
    return message.removeprefix(f"{KEY}: ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with files to be read, if one could."""
    folder = tmp_path_factory.mktemp("here")
    pq.write_table(pa.table({"a": [1]}), folder / "there.parquet")
    (folder / "there.csv").write_text("a\n1\n")
    return folder


@pytest.fixture(autouse=True)
def _nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    yield
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


GOOD = {
    "lat >= 8": [18, 19],
    "text = 't3'": [3],
    "features.lat > 7 and tokens.kind = 'byte'": [18],
    "features.token_id = tokens.token_id and token_id < 2": [0, 1],
    "main.features.lat > 8": [19],
    "lat > 8 -- the northernmost": [19],
    "lat /* in degrees */ > 8": [19],
    "lat > 8 or\nlat < -9": [0, 19],
    "true": list(IDS),
    "false": [],
    "null::boolean": [],
    # A NULL is no true: neither the comparison nor its contrary keeps a token without text.
    "text = 't3' or text <> 't3'": [i for i in IDS if TEXTS[i]],
    "not (text = 't3')": [i for i in IDS if TEXTS[i] and i != 3],
    "text is null": [4, 9, 14, 19],
    "case when lat > 8 then true end": [19],
    "model = 'm' and lat = (select max(lat) from features)": [19],
    "norm = 1 and lat < (select avg(f.lat) from features as f where f.norm = features.norm)": [1, 4, 7],
    "token_id in (select token_id from Tokens where text like 't1_')": [10, 11, 12, 13, 15, 16, 17, 18],
    "token_id in (with top as (select token_id from features order by lat desc limit 2) from top)": [18, 19],
    "token_id in (with a as (select 3 as i), b as (select i + 1 from a) from b)": [4],
    "token_id in (with recursive r as (select 1 as i union all select i * 2 from r where i < 9) from r)": [
        1,
        2,
        4,
        8,
        16,
    ],
    "token_id in (values (5), (7))": [5, 7],
    "exists(select 1 from tokens as t where t.token_id = features.token_id + 19)": [0],
    "token_id in (select token_id from features qualify row_number() over (order by lat) < 3)": [0, 1],
    "list_contains([1, 2], token_id)": [1, 2],
    "len(list_filter(range(3), lambda i: i = token_id)) > 0": [0, 1, 2],
    "regexp_matches(text, '^t[01]$')": [0, 1],
}


def test_a_condition_gives_the_tokens_for_which_it_is_true_in_ascending_order() -> None:
    found = tokens_where({condition: condition for condition in GOOD}, FEATURES_MADE, TOKENS_MADE)
    assert {condition: tokens.tolist() for condition, tokens in found.items()} == {
        condition: [int(i) for i in expected] for condition, expected in GOOD.items()
    }
    assert {tokens.dtype for tokens in found.values()} == {np.dtype(np.int32)}


def test_conditions_can_be_checked_before_there_is_a_model() -> None:
    check_conditions({condition: condition for condition in GOOD})


def test_several_conditions_are_told_apart_by_their_keys() -> None:
    found = tokens_where({"a": "lat > 8", "b": "lat < -9", "c": "false"}, FEATURES_MADE, TOKENS_MADE)
    assert {key: [int(token) for token in tokens] for key, tokens in found.items()} == {"a": [19], "b": [0], "c": []}


def test_the_key_of_the_bad_one_of_several_is_named() -> None:
    with pytest.raises(CatalogError, match=r"^second: .*nolat"):
        check_conditions({"first": "lat > 0", "second": "nolat > 0", "third": "lat > 0"})


def test_no_conditions_find_nothing() -> None:
    assert tokens_where({}, FEATURES_MADE, TOKENS_MADE) == {}
    check_conditions({})


def test_a_matrix_without_rows_has_no_tokens() -> None:
    none = [table.arrow_schema.empty_table() for table in (FEATURES, TOKENS)]
    assert len(tokens_where({KEY: "lat > 0"}, *none)[KEY]) == 0


NO_SQL = "is no condition in SQL"
SEVERAL = "is more than a condition"
ONLY = "a condition may read features and tokens only"
NO_TABLE = f"reads what isn't a table, and {ONLY}"
CHANGES = "which depends on more than its arguments"

NO_CONDITION = {
    "lat >": NO_SQL,
    "lat > 0 and": NO_SQL,
    "(lat > 0": NO_SQL,
    "lat > 0)": NO_SQL,
    "true /* and": NO_SQL,
    "true */ --": NO_SQL,
    "true;": "syntax error",
    "a; drop table features": NO_SQL,
    "true); drop table features; select (true": NO_SQL,
    "lat > 0 order by lat": SEVERAL,
    "lat > 0 limit 1": SEVERAL,
    "attach 'x.db'": "Type with name attach does not exist",
    "copy features to 'x.csv'": NO_SQL,
    "set threads = 1": NO_SQL,
    "set variable a = 1": NO_SQL,
    "install httpfs": SEVERAL,
    "load httpfs": SEVERAL,
    "pragma version": SEVERAL,
    "call pragma_version()": NO_SQL,
    "export database 'x'": NO_SQL,
    "exists(copy features to 'x.csv')": NO_SQL,
    "exists(attach 'x.db')": NO_SQL,
    "exists(from (pivot tokens on kind))": NO_SQL,
    "true) from features where (true": NO_SQL,
    "true) from features -- ": NO_SQL,
    "true), (true": NO_SQL,
    "true) or (true": NO_SQL,
    "true, true": SEVERAL,
    "true from features": SEVERAL,
    "true union select true": SEVERAL,
    "true as x": SEVERAL,
    "distinct true": SEVERAL,
    "true) union select (true": NO_SQL,
    "true) where (true": NO_SQL,
    "lat > 0) order by (lat": NO_SQL,
    "lat > 0) limit (1": NO_SQL,
    "lat": "gives DOUBLE, and a condition is true or false",
    "'true'": "gives VARCHAR",
    "1": "gives INTEGER",
    "null": 'gives "NULL"',
    "[true]": r"gives BOOLEAN\[\]",
    "(true, true)": "gives ",
    " ": "",
    "-- true": "",
    "nolat > 0": 'column "nolat" not found',
    "features.text = 't3'": "text",
    "lat > 'north'": "Conversion Error",
    "token_id in (select 1, 2)": "Subquery returns 2 columns",
    "no_function(lat)": "no_function does not exist",
    "count(*) > 1": "aggregates",
    "max(lat) = 3": "aggregates",
    "max(lat) = lat": "GROUP BY",
    "row_number() over () = 1": "window functions",
    "unnest([true, false])": "UNNEST not supported",
    "? > 0": "parameters",
    "$a": "parameters",
    "lat > \0": "",
    "not " * 3000 + "true": "",
}


OUTSIDE = {
    "exists(from 'there.parquet')": "reads 'there.parquet'",
    'exists(from "there.csv")': "reads 'there.csv'",
    "exists(from '/etc/passwd')": "reads '/etc/passwd'",
    "exists(from 'https://example.com/a.parquet')": "reads 'https://example.com/a.parquet'",
    "exists(from read_csv('there.csv'))": NO_TABLE,
    "exists(from read_parquet('there.parquet'))": NO_TABLE,
    "exists(from parquet_metadata('there.parquet'))": NO_TABLE,
    "exists(from read_text('there.csv'))": NO_TABLE,
    "exists(from read_blob('there.csv'))": NO_TABLE,
    "exists(from read_json('there.csv'))": NO_TABLE,
    "exists(from sniff_csv('there.csv'))": NO_TABLE,
    "exists(from glob('*'))": NO_TABLE,
    "(select count(*) from features, glob('*')) > 0": NO_TABLE,
    "exists(with a as (from glob('*')) from a)": NO_TABLE,
    "exists(select 1 union all from glob('*'))": NO_TABLE,
    "list_contains([exists(from glob('*'))], lat > 0)": NO_TABLE,
    "exists(select 1 from features order by (select count(*) from glob('*')))": NO_TABLE,
    "exists(from duckdb_settings())": NO_TABLE,
    "exists(from duckdb_functions())": NO_TABLE,
    "exists(from duckdb_secrets())": NO_TABLE,
    "exists(from duckdb_tables)": "reads 'duckdb_tables'",
    "exists(from information_schema.tables)": "reads 'tables'",
    "exists(from pg_catalog.pg_settings)": "reads 'pg_settings'",
    "exists(from sqlite_master)": "reads 'sqlite_master'",
    "exists(from pragma_version())": NO_TABLE,
    "exists(from pragma_table_info('features'))": NO_TABLE,
    "exists(from query('select 1'))": NO_TABLE,
    "exists(from query_table('features'))": NO_TABLE,
    "exists(from json_execute_serialized_sql('{}'))": NO_TABLE,
    "exists(from checkpoint())": NO_TABLE,
    "exists(from range(3))": NO_TABLE,
    "exists(describe features)": NO_TABLE,
    "exists(from (describe features))": NO_TABLE,
    "exists(from (show tables))": NO_TABLE,
    "exists(from (summarize features))": NO_TABLE,
    "exists(from FEATURES_MADE)": "reads 'FEATURES_MADE'",
    "exists(from mine)": "reads 'mine'",
    'exists(from "rows")': "reads 'rows'",
    "exists(from other.features)": "other",
    "exists(from temp.features)": "features",
    "getenv('HOME') is not null": "getenv",
    "current_setting('threads') > 0": CHANGES,
    "getvariable('a') is null": CHANGES,
    "current_query() is null": CHANGES,
    "current_database() = 'memory'": CHANGES,
    "current_schema() = 'main'": CHANGES,
    "write_log('a') is null": "",
}


CALLED = [
    "random() < 0.5",
    "RANDOM() < 0.5",
    '"random"() < 0.5',
    "system.main.random() < 0.5",
    "token_id in (select token_id from features order by random() limit 3)",
    "len(list_filter([1], lambda i: random() > 0)) > 0",
    "uuid() is null",
    "gen_random_uuid() is null",
    "setseed(0.5) is null",
    "nextval('a') > 0",
    "now() > '2000-01-01'",
    "now() is null",
    "today() is null",
    "current_date > '2000-01-01'",
    "CURRENT_DATE() is null",
    "get_current_timestamp() is null",
    "transaction_timestamp() is null",
    "txid_current() > 0",
    "error('stop') is null",
    *(
        f"{call} is not null"
        for call in (
            "ago(interval 1 day)", "pg_postmaster_start_time()", "pg_conf_load_time()", "pg_sleep(0)",
            "current_catalog", "current_timestamp", "current_time", "localtime", "localtimestamp",
            "current_localtimestamp()", "user",
            "age(timestamp '2020-01-01')", "json_serialize_plan('select 1')", "pg_get_viewdef(1)", "format_type(1, 1)",
            "(select reservoir_quantile(lat, 0.5) from features)",
        )
    ),
]  # fmt: skip

# A WITH opens no table of its name elsewhere; a sample is another one every time.
SLY = {
    **{
        f"exists(with {name} as (select 1) from {name}) and (select count(*) from {schema}{name}) >= 0": ONLY
        for schema, name in (
            ("pg_catalog.", "pg_settings"), ("information_schema.", "tables"), ("main.", "sqlite_master"),
            ("", "pg_settings"), ("", "duckdb_columns"),
        )
    },
    "token_id in (select token_id from features using sample 3 rows)": "draws a sample",
    "token_id in (select token_id from features tablesample 50%)": "draws a sample",
    "*": "gives VARCHAR, INTEGER",
    "features.*": "gives VARCHAR, INTEGER",
    "columns('lat|norm') > 0": "gives BOOLEAN, BOOLEAN",
    "columns(['lat', 'norm']) > 0": "gives BOOLEAN, BOOLEAN",
    "not " * 500 + "true": "is nested too deeply",
    "len(range(5000000000)) > 0": "Lists larger",
    "len(range(token_id + 3000000000)) > 0": "took too much memory, and was stopped",
}  # fmt: skip


@pytest.fixture(scope="module")
def refusals(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what every bad condition is answered, all asked in one process, in a folder with files to be read."""
    asked = tmp_path_factory.mktemp("asked")
    conditions = [*NO_CONDITION, *OUTSIDE, *CALLED, *SLY]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with contextlib.chdir(folder):
        answers, _ = selection._ask(asked, dict(zip(conditions, conditions, strict=True)), TABLES_MADE, 100)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    return {condition: str(answer.get("error", answer)) for condition, answer in answers.items()}


@pytest.mark.parametrize(("condition", "message"), NO_CONDITION.items(), ids=lambda text: text[:60])
def test_what_is_no_condition_is_refused(refusals: dict[str, str], condition: str, message: str) -> None:
    assert re.search(message, refusals[condition])
    assert not refusals[condition].startswith("{")


@pytest.mark.parametrize(("condition", "message"), OUTSIDE.items())
def test_what_reaches_past_features_and_tokens_is_refused(
    refusals: dict[str, str], condition: str, message: str
) -> None:
    assert re.search(message, refusals[condition])
    assert not refusals[condition].startswith("{")


@pytest.mark.parametrize("condition", CALLED)
def test_what_may_be_another_answer_the_next_time_is_refused(refusals: dict[str, str], condition: str) -> None:
    assert CHANGES in refusals[condition]


@pytest.mark.parametrize(("condition", "message"), SLY.items(), ids=lambda text: text[:60])
def test_what_is_sly_or_greedy_is_refused(refusals: dict[str, str], condition: str, message: str) -> None:
    assert message in refusals[condition]


@pytest.mark.parametrize(
    "condition",
    [
        ENDLESS,
        "(with recursive r as (select 1 as i union all select i + 1 from r) select count(*) from r) > 0",
        f"(select sum(a.lat * b.lat) from {', '.join(f'features as {name}' for name in 'abcdefghij')}) > 0",
        "levenshtein(repeat('a', 300000), repeat('b', 300000)) > 0",  # no interruption is heard in one function
    ],
)
def test_an_endless_question_is_stopped(condition: str) -> None:
    assert "took longer than 0.2 s, and was stopped" in refusal(condition, seconds=0.2)


def test_after_one_that_was_stopped_another_can_be_asked() -> None:
    refusal(ENDLESS, seconds=0.1)
    assert where("lat > 8") == [19]


@pytest.mark.parametrize(
    "condition",
    [
        "exists(from 'there.parquet')",
        "exists(from read_csv('there.csv'))",
        "exists(from read_text('there.csv'))",
        "exists(from glob('*'))",
        "exists(from mine)",
        "exists(from FEATURES_MADE)",
        "false); copy features to 'out.csv'; select (true",
        "false); attach 'out.db'; select (true",
        "false); set threads = 1; select (true",
        "false); set enable_external_access = true; select (true",
        "false); set lock_configuration = false; select (true",
        "false); load httpfs; select (true",
        "false); install httpfs; select (true",
    ],
)
def test_the_database_is_closed_even_to_what_its_first_reader_would_miss(
    condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = pa.table({"a": [1]})
    monkeypatch.setattr(conditions, "_check_condition", lambda *_: None)
    with conditions.sandboxed_tables([FEATURES_MADE, TOKENS_MADE]) as connection:
        answer = conditions._answer(connection, condition, set())
    assert re.search("disabled|locked|does not exist|Cannot|cannot", answer["error"])
    assert len(mine) == 1


def test_a_process_that_dies_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the operating system ends one that takes all memory."""
    original = subprocess.Popen.communicate

    def killed(process: subprocess.Popen[bytes], *arguments: object, **options: object) -> object:
        process.kill()
        return original(process, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(subprocess.Popen, "communicate", killed)
    ended = "ended the process that asked it (code -9; most likely, it took too much memory)"
    assert refusal(ENDLESS) == f"{ended}: {ENDLESS}"


def test_no_limit_of_this_process_changes() -> None:
    limits = [resource.getrlimit(limit) for limit in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE)]
    assert where("lat > 8") == [19]
    assert [resource.getrlimit(limit) for limit in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE)] == limits
