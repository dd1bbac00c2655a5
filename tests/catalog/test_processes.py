"""Publishing among other processes: killed and interrupted ones, rivals, open shells; and a catalog that was moved."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.crash import RARE, SCENARIOS, assert_no_torn_table, contents, leftovers, publish
from tests.support.helpers import bf16_matrix, in_shell, rows, save_bare
from token_catalog import cli, exits
from token_catalog.catalog import paths
from token_catalog.catalog.publish import rebuild, remove
from token_catalog.catalog.state import current_generation
from token_catalog.queries.session import connected, find_shell, run_query

pytestmark = pytest.mark.usefixtures("tables_only")
REPOSITORY = Path(cli.__file__).parents[1]


class Shell:
    """A DuckDB shell on a pipe, left open."""

    def __init__(self, database: Path, *options: str) -> None:
        """Open a database as a user does."""
        self.process = subprocess.Popen(
            [find_shell(), "-list", "-noheader", "-init", os.devnull, *options, str(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # the command is a script that starts the shell: a kill must reach both
        )
        self.ask("select 'open';")

    def ask(self, query: str) -> list[str]:
        """Return what the shell says to a query, line by line."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{query}\n.print END\n")
        self.process.stdin.flush()
        return [line.strip() for line in iter(self.process.stdout.readline, "END\n") if line]

    def close(self) -> None:
        """Leave the shell as a user does."""
        self.process.communicate()

    def kill(self) -> None:
        """Kill the shell."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Return a catalog with one model."""
    catalog = tmp_path / "catalog"
    publish(catalog, {"a": 2})
    return catalog


def in_process(*arguments: object) -> subprocess.Popen[str]:
    """Start Python on a module of this repository."""
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )


def _hear_ctrl_c() -> None:
    """Tests started in the background ignore Ctrl-C, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and the errors of a process."""
    said = process.communicate(timeout=300)[1]
    return process.returncode, said


def wait_for(process: subprocess.Popen[str], folder: Path, pattern: str) -> None:
    """Wait until a file is there."""
    while process.poll() is None and not any(folder.glob(pattern)):
        time.sleep(0.001)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Start killing every kind of change at every step, all kinds at once."""
    started = {name: in_process("tests.support.crash", tmp_path_factory.mktemp(name), name) for name in SCENARIOS}
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_change_killed_at_any_step_leaves_a_whole_catalog_and_is_cleared_by_the_next(
    killed: dict[str, subprocess.Popen[str]], scenario: str
) -> None:
    told, errors = killed[scenario].communicate(timeout=600)
    assert not killed[scenario].returncode, errors
    n_steps, n_states = map(int, told.split())
    assert n_steps > n_states > (3 if scenario in RARE else 10)  # if the audit hook saw no step, nothing was killed


def test_ten_publishers_at_once_all_land(tmp_path: Path) -> None:
    assert ended(in_process("tests.support.crash", tmp_path, "at-once")) == (0, "")


def test_an_ingest_killed_at_any_moment_leaves_a_whole_catalog(catalog: Path) -> None:
    source = save_bare(catalog.parent / "big.safetensors", bf16_matrix(60_000, 128))
    moments = random.Random(7)
    for _ in range(3):
        process = in_process("token_catalog", "ingest", source, "--no-tokenizer", "--replace", "--catalog", catalog)
        wait_for(process, catalog, ".staging/ingest-*")
        time.sleep(moments.uniform(0, 1))
        process.kill()
        process.communicate()
        assert_no_torn_table(catalog)
        assert contents(catalog) in ({"a": 2}, {"a": 2, "big": 60_000})
    before = contents(catalog)
    publish(catalog, {"b": 2})
    assert contents(catalog) == {**before, "b": 2}
    assert leftovers(catalog) == []


@pytest.mark.parametrize("moment", ["ingest-*", "**/vectors.parquet.part"])
def test_ctrl_c_leaves_the_catalog_as_it_was(catalog: Path, moment: str) -> None:
    source = save_bare(catalog.parent / "big.safetensors", bf16_matrix(120_000, 256))
    process = in_process("token_catalog", "ingest", source, "--no-tokenizer", "--catalog", catalog)
    wait_for(process, catalog / paths.STAGING, moment)
    process.send_signal(signal.SIGINT)
    code, said = ended(process)
    assert code == exits.EXIT_INTERRUPTED, said
    assert "Traceback" not in said
    assert leftovers(catalog) == []
    assert contents(catalog) == {"a": 2}


@pytest.fixture(scope="module")
def rivals() -> Iterator[list[CommandLine]]:
    """Start two processes that run the command line, one command after another."""
    with ExitStack() as stack:
        started = [stack.enter_context(CommandLine()) for _ in range(2)]
        for process in started:
            process.wait()
        yield started


@pytest.mark.parametrize(
    ("names", "options", "codes"),
    [(("x", "y"), [], [0, 0]), (("x", "x"), [], [0, 2]), (("x", "x"), ["--replace"], [0, 0])],
)
def test_two_ingests_at_once(
    catalog: Path, rivals: list[CommandLine], names: tuple[str, str], options: list[str], codes: list[int]
) -> None:
    source = save_bare(catalog.parent / "W.safetensors", bf16_matrix(5_000, 32))
    for process, name in zip(rivals, names, strict=True):
        process.start("ingest", source, "--no-tokenizer", *options, "--catalog", catalog, "--name", name)
    both = [process.ended() for process in rivals]
    assert sorted(code for code, _ in both) == codes
    assert all(("'x': already in the catalog; --replace" in said) == (code == 2) for code, said in both)
    assert contents(catalog) == {"a": 2, **dict.fromkeys(names, 5_000)}
    assert leftovers(catalog) == []


@pytest.mark.parametrize("options", [[], ["-readonly"]], ids=["read-write", "read-only"])
def test_an_open_shell_goes_on_with_what_it_opened(catalog: Path, options: list[str]) -> None:
    opened = current_generation(catalog)
    shell = Shell(catalog / paths.DATABASE, *options)
    if not options:
        shell.ask("create table mine as select 42 as answer;")
    assert rows(catalog, "select count(*) from features") == [(2,)]  # on a copy
    for n_rows in range(3, 7):
        publish(catalog, {"a": n_rows}, replace=True)
        assert contents(catalog) == {"a": n_rows}
        assert shell.ask("select count(*) from features; select max(n_tokens) from models;") == ["2", "2"]
    if not options:
        assert shell.ask("insert into mine values (43); checkpoint; select sum(answer) from mine;") == ["85"]
    remove(catalog, "a")
    publish(catalog, {"b": 2})
    assert shell.ask("select count(*) from vectors;") == ["2"]
    shell.close()
    publish(catalog, {"c": 2})
    assert opened
    assert not opened.exists()
    assert {path.name for path in (catalog / "models").iterdir()} == {paths.slug("b"), paths.slug("c")}
    assert leftovers(catalog) == []


def test_a_session_on_a_copy_keeps_what_it_reads_too(catalog: Path) -> None:
    """`token-catalog shell` and `sql` open a copy, which no lock of DuckDB's tells of."""
    with connected(catalog) as connection:
        count = lambda: connection.execute("select count(*) from features where model = 'a'").fetchall()  # noqa: E731
        for n_rows in range(3, 7):
            publish(catalog, {"a": n_rows}, replace=True)
            assert count() == [(2,)]
        remove(catalog, "a")
        publish(catalog, {"b": 2})
        assert count() == [(2,)]
    publish(catalog, {"c": 2})
    assert {path.name for path in (catalog / "models").iterdir()} == {paths.slug("b"), paths.slug("c")}
    assert leftovers(catalog) == []


@pytest.mark.parametrize("published_meanwhile", [False, True])
def test_what_a_killed_shell_left_in_its_log_hurts_nobody(catalog: Path, published_meanwhile: bool) -> None:
    shell = Shell(catalog / paths.DATABASE)
    shell.ask("create table mine as select 42 as answer;")
    if published_meanwhile:
        publish(catalog, {"a": 3}, replace=True)
    shell.kill()
    assert [*catalog.glob("generations/*/*.wal")]
    assert contents(catalog) == {"a": 3 if published_meanwhile else 2}
    publish(catalog, {"b": 2})
    publish(catalog, {"a": 4}, replace=True)
    assert contents(catalog) == {"a": 4, "b": 2}
    assert leftovers(catalog) == []


def in_plain_shell(catalog: Path, query: str) -> str:
    """Return what a plain `duckdb catalog.duckdb` in the catalog's folder says."""
    command = [find_shell(), "-list", "-noheader", "-init", os.devnull, paths.DATABASE, query]
    done = subprocess.run(command, cwd=catalog, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


@pytest.mark.parametrize("how", ["moved", "copied", "copied without links"])
def test_a_catalog_works_wherever_it_is_taken(
    catalog: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    publish(catalog, {"a": 3}, replace=True)
    place = tmp_path / "else where's" / "c"
    if how == "moved":
        place.parent.mkdir()
        catalog.rename(place)
    else:
        shutil.copytree(catalog, place, symlinks=how == "copied")
        shutil.rmtree(catalog)
    (tmp_path / "cwd").mkdir()
    assert in_shell(place, "select count(*) as n from vectors;", cwd=tmp_path / "cwd") == [{"n": 3}]
    assert in_shell(Path("else where's/c"), "select count(*) as n from vectors;", cwd=tmp_path) == [{"n": 3}]
    assert rows(place, "select model, count(*) from vectors group by model", "a") == [("a", 3)]
    run_query(place, "select count(*) as n from vectors", format_="csv")
    assert capsys.readouterr().out == "n\n3\n"
    assert "Error" in in_plain_shell(place, "select count(*) from vectors")
    assert rebuild(place).models == ["a"]
    assert in_plain_shell(place, "select count(*) from vectors") == "3"
    assert (place / paths.DATABASE).is_symlink()
    publish(place, {"a": 4, "b": 2}, replace=True)
    assert contents(place) == {"a": 4, "b": 2}
    assert leftovers(place) == []
