"""The command line as users run it."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.command_line import refused, run, run_apart
from tests.support.crash import publish
from tests.support.helpers import MINILM, bf16_matrix, save_bare
from tests.support.models import EMBEDDING, matrix_of, save_tensors, save_tokenizer
from token_catalog.queries.session import find_shell

COMMANDS = (
    "ingest", "demo", "relink", "add-references", "spectrum", "compare", "models", "remove", "rebuild", "shell", "sql",
    "verify", "export",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_to_paste(command: str) -> None:
    done = run(command, "-h")
    assert done.returncode == 0
    assert f"token-catalog {command}" in done.stdout
    assert "--catalog" in done.stdout


def test_the_commands_are_those_of_the_table() -> None:
    listed = run_apart("--help").stdout.partition("Commands:")[2]
    assert tuple(line.split()[0] for line in listed.strip().splitlines()) == COMMANDS


def test_the_demo_answers_and_says_what_to_type_next(demo: Path) -> None:
    printed, errors = ((demo / name).read_text() for name in ("stdout", "stderr"))
    assert "[MASK]" in printed
    assert "[unused733]" in printed
    assert "linked up to a distance of 0.33 (1/3 of " in printed
    assert "components at 0.3 (0.9 of the radius)" in printed
    assert re.search("unused +│ +993 ", printed)
    assert re.search("│ +1603 │ +1 │", printed)
    assert f"duckdb -readonly -init {demo / 'catalog' / 'open.sql'}" in printed
    assert "peak memory" in errors


def test_the_demo_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tensors(tmp_path / "m", {EMBEDDING: matrix_of(1)})
    save_tokenizer(tmp_path / "m", 40, "[unused{}]")
    monkeypatch.setattr("token_catalog.ingest.demo.demo_model", lambda: tmp_path / "m")
    monkeypatch.setattr("token_catalog.queries.demo.show_demo", lambda *_: None)  # it asks for tokens that are not here
    for _ in range(2):
        done = run("demo", "--catalog", tmp_path / "c")
        assert done.returncode == 0, done.stderr
        assert f"catalogued {MINILM}" in done.stdout


def test_sql_writes_tables_csv_json_and_parquet(minilm: Path, tmp_path: Path) -> None:
    query = "select token_id, text, bytes, kind from tokens where token_id in (0, 103, 1996, 2000) order by token_id"
    base = ["sql", "--catalog", str(minilm), query]
    expected = ["[PAD]", "[MASK]", "the", "to"]
    assert "[MASK]" in run(*base).stdout
    assert [row["text"] for row in csv.DictReader(io.StringIO(run(*base, "--format", "csv").stdout))] == expected
    assert [row["text"] for row in json.loads(run(*base, "--format", "json").stdout)] == expected
    done = run(*base, "--format", "parquet", "--output", str(tmp_path / "it's.parquet"))
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "it's.parquet").column("text").to_pylist() == expected


def test_sql_appends_to_a_file_that_stdout_goes_to(minilm: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("kept\n")
    with (tmp_path / "out").open("a") as file:
        command = [sys.executable, "-m", "token_catalog", "sql", "--catalog", str(minilm), "select 1 as a"]
        subprocess.run([*command, "--format", "csv"], stdout=file, check=True, timeout=60)
    assert (tmp_path / "out").read_text() == "kept\na\n1\n"


def test_sql_runs_several_statements_and_any_that_gives_rows(minilm: Path) -> None:
    base = ["sql", "--catalog", str(minilm), "--format", "csv"]
    done = run(*base, f"set variable model = '{MINILM}'; select count(*) as n from tokens;")
    assert done.stdout.split() == ["n", "30522"]
    assert "column_name" in run(*base, "describe tokens").stdout
    assert run(*base, "select 1 as a; select ';' as b; -- and no more").stdout.split() == ["b", ";"]
    assert run(*base, "set variable model = 'x'").returncode == 0
    assert run(*base, "select count(*) as n from tokens -- not ours", "--model", MINILM).stdout.split() == [
        "n",
        "30522",
    ]


def test_wrong_sql_and_wrong_options_are_told_in_a_line_or_two(minilm: Path, tmp_path: Path) -> None:
    at = ["--catalog", str(minilm)]
    assert "tokns" in run("sql", *at, "from tokns").stderr
    assert run("sql", *at, "from tokns").returncode == 2
    assert "read-only" in refused("sql", *at, "create table mine as select 1")
    assert "no query" in refused("sql", *at, "  ")
    assert "unknown; one of" in refused("sql", *at, "from models", "--format", "xml")
    assert "no such model" in refused("sql", *at, "from models", "--model", "nobody")
    assert "no such model" in refused("shell", *at, "nobody")
    assert "no such model" in refused("remove", *at, "nobody")
    assert "no catalog" in refused("models", "--catalog", str(tmp_path / "none"))
    assert "no catalog" in refused("shell", "--catalog", str(tmp_path / "none"))
    assert "no catalog" in refused("rebuild", "--catalog", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    assert "No such option" in run("models", "--nonsense").stderr
    assert run("models", "--nonsense").returncode == 2


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run_apart("--debug", "models", "--catalog", str(tmp_path / "none"))
    assert "Traceback" in done.stderr
    assert done.returncode != 0


def test_the_shell_is_narrowed_to_a_model_and_locks_nobody_out(tmp_path: Path) -> None:
    """A read-write opener is who DuckDB would lock out."""
    catalog = tmp_path / "c"
    publish(catalog, {"a": 3})
    publish(catalog, {"b": 4})
    opener = f".shell '{find_shell()}' '{catalog / 'catalog.duckdb'}' '.tables'"
    script = f"select 10 * count(*) as n, getvariable('model') as model from tokens;\n{opener}"
    done = run_apart("shell", "--catalog", catalog, "a", stdin=script)
    assert re.search("30 │ a ", done.stdout)
    assert "principal_components" in done.stdout
    assert "lock" not in done.stderr


def test_the_catalog_is_found_through_the_environment(minilm: Path) -> None:
    done = run_apart("models", env={"TOKEN_CATALOG": str(minilm)})
    assert MINILM in done.stdout


def test_ingest_tells_what_it_did_and_models_lists_it(tmp_path: Path) -> None:
    save_bare(tmp_path / "my-model" / "W.safetensors", bf16_matrix(50, 8))
    at = ["--catalog", str(tmp_path / "c")]
    done = run("ingest", str(tmp_path / "my-model" / "W.safetensors"), "--no-tokenizer", "--no-vectors", *at)
    assert done.returncode == 0, done.stderr
    assert "catalogued my-model" in done.stdout
    assert "my-model" in run("models", *at).stdout
    assert "already in the catalog" in refused(
        "ingest", str(tmp_path / "my-model" / "W.safetensors"), "--no-tokenizer", *at
    )
    assert "removed my-model" in run("remove", "my-model", *at).stdout
    assert "models: 0" in run("rebuild", *at).stdout


def test_a_closed_pipe_is_no_error(minilm: Path) -> None:
    command = f"'{sys.executable}' -m token_catalog sql --catalog '{minilm}' 'from tokens' --format csv | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("model,token_id,piece")
    assert "Traceback" not in done.stderr
