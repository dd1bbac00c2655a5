"""Batches: a run from files and from one tensor, on one sky; what fails, what is passed over, what a kill leaves."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from tests.support.crash import assert_no_torn_table, leftovers
from tests.support.helpers import bf16_matrix, rows, save_bare
from token_catalog import cli, exits
from token_catalog.api import Catalog
from token_catalog.api import open as open_catalog
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.schemas import TABLES
from token_catalog.catalog.state import read_state
from token_catalog.catalog.tables import TableWriter
from token_catalog.ingest.batch.run import BatchReport
from token_catalog.ingest.batch.work import Task
from token_catalog.ingest.batch.workers import Workers

STEP = r"step_(\d+)"
STEPS = (0, 10, 20, 100)
SHAPE = (60, 8)
# Tables that hang on nothing but a matrix's own rows; of `features`, what does.
OWN = ("principal_components", "dimensions", "lattice", "tokens", "vectors")
OWN_COLUMNS = "token_id, norm, norm_bf16, centred_norm, duplicate_of, duplicate_count, pcs"
Command = Callable[..., tuple[object, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command line, and gives its exit code and all that it said."""

    def run(*arguments: object) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["token-catalog", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        said = capsys.readouterr()
        return exit_.value.code or 0, said.out + said.err

    return run


def step_matrix(step: int) -> torch.Tensor:
    """Return W at a step: a walk away from where it began, on which half of the rows stand still."""
    W = bf16_matrix(*SHAPE, seed=1).float()
    W[1] = W[0]
    W[::2] += step * 1e-4 * bf16_matrix(*SHAPE, seed=2).float()[::2] / 0.02
    return W.to(torch.bfloat16)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run: its steps as files, and, beside it, as one tensor."""
    folder = tmp_path_factory.mktemp("batches") / "run"
    for step in STEPS:
        save_bare(folder / f"step_{step}.safetensors", step_matrix(step))
    stack = torch.stack([step_matrix(step) for step in STEPS])
    save_file({"W": stack, "steps": torch.tensor(STEPS)}, folder.parent / "stack.safetensors")
    return folder


@pytest.fixture(scope="module")
def made(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Return the run's catalog. Read it; don't publish to it."""
    catalog = open_catalog(tmp_path_factory.mktemp("made") / "c")
    report = ingest(catalog, [run])
    assert (report.models, report.failures) == ([f"run@{step}" for step in STEPS], [])
    return catalog


@pytest.fixture
def catalog(made: Catalog, tmp_path: Path) -> Catalog:
    """Return a copy of it, to publish to."""
    shutil.copytree(made.path, tmp_path / "c", symlinks=True)
    return open_catalog(tmp_path / "c")


def ingest(catalog: Catalog, sources: list[Any], **options: Any) -> BatchReport:
    """Catalogue steps of a run, without a tokenizer."""
    return catalog.ingest_many(sources, **{"step_from": STEP, "with_tokenizer": False, **options})


def table(catalog: Catalog, name: str, columns: str = "*", series: str = "run") -> list[tuple[Any, ...]]:
    """Return a table's rows of a series, by step instead of model."""
    query = f"""
        select m.step, columns(t.*) from (select {columns}, model from {name}) as t
        inner join models as m using (model) where m.series = '{series}' and m.role is null
    """
    with catalog.connect() as connection:
        read = connection.sql(query).to_arrow_table()
    at = read.schema.get_field_index("model")
    return sorted(tuple(map(str, row)) for row in zip(*read.remove_column(at).to_pydict().values(), strict=True))


def test_a_run_has_its_steps_and_one_sky_for_all(made: Catalog) -> None:
    asked = "select model, name, series, step, role, linkage_rule from models order by step"
    assert [row[:5] for row in rows(made.path, asked)] == [(f"run@{s}", f"run@{s}", "run", s, None) for s in STEPS]
    assert [row[5].count("as run@100") for row in rows(made.path, asked)] == [2, 2, 2, 0]
    assert len(rows(made.path, "select distinct linkage_radius, linkage_threshold from models")) == 1
    assert rows(made.path, "select distinct frame_of from series_frames") == [("run@100",)]


def test_places_are_projections_on_the_last_steps_components(made: Catalog) -> None:
    vectors = dict(rows(made.path, "select pc, vector from principal_components", "run@100"))
    axes = np.array([vectors[1], vectors[3], vectors[2]])
    for step in STEPS:
        found = np.array(rows(made.path, "select x, y, z, lat, lon from features order by token_id", f"run@{step}"))
        x, y, z = axes @ step_matrix(step).double().numpy().T
        np.testing.assert_allclose(found[:, :3], np.stack([x, y, z], 1), atol=1e-15)
        np.testing.assert_allclose(found[:, 3], np.degrees(np.arcsin(z / np.sqrt(x**2 + y**2 + z**2))), atol=1e-9)
        np.testing.assert_allclose(found[:, 4], np.degrees(np.arctan2(y, x)), atol=1e-9)


def test_what_is_a_steps_own_is_as_if_it_were_ingested_alone(made: Catalog, run: Path, tmp_path: Path) -> None:
    alone = open_catalog(tmp_path / "alone")
    alone.ingest(run / "step_20.safetensors", name="run@20", with_tokenizer=False)
    for name, columns in [("features", OWN_COLUMNS), ("models", "tensor_sha256, dtype"), *((n, "*") for n in OWN)]:
        asked = f"select {columns} from {name} where model = 'run@20' order by all"
        assert rows(made.path, asked, "run@20") == rows(alone.path, asked), name


def test_one_tensor_of_all_steps_gives_what_their_files_give(made: Catalog, run: Path, tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "c")
    report = ingest(catalog, [run.parent / "stack.safetensors"], step_from=None, steps=True, series="run")
    assert sorted(report.models) == sorted(f"run@{step}" for step in STEPS)
    for one in TABLES:
        if one.name != "models":
            assert table(catalog, one.name) == table(made, one.name), one.name
    same = "tensor_sha256, linkage_radius, linkage_threshold, recipe"
    assert table(catalog, "models", same) == table(made, "models", same)


def test_small_members_share_their_files_with_row_groups_of_whole_models(made: Catalog) -> None:
    assert len(made.files("features")) == 2  # that of the sky, and the others
    file = pq.ParquetFile(open_catalog(made.path)["run@10"].files("features")[0])
    models = [set(file.read_row_group(n, columns=["model"])["model"].to_pylist()) for n in range(file.num_row_groups)]
    assert models == [{"run@0", "run@10", "run@20"}]


def test_a_step_that_comes_later_is_on_the_sky_that_is_there(catalog: Catalog, tmp_path: Path) -> None:
    later = save_bare(tmp_path / "step_200.safetensors", step_matrix(200))
    assert ingest(catalog, [later], series="run").models == ["run@200"]
    assert rows(catalog.path, "select frame_of from series_frames", "run@200") == [("run@100",)]
    with pytest.raises(CatalogError, match=r"`frame_of=200`: the series 'run' is on the sky of run@100; all of its"):
        ingest(catalog, [later], series="run", frame_of=200)


def test_another_step_may_give_the_sky_and_roles_have_their_own(run: Path, tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "c")
    ingest(catalog, [run], frame_of=10)
    ingest(catalog, [run], role="m")
    asked = (
        "select role, frame_of, count(*) from series_frames inner join models using (model) group by all order by all"
    )
    assert rows(catalog.path, asked) == [("m", "run@100/m", 4), (None, "run@10", 4)]
    with pytest.raises(CatalogError, match="no such step in the series 'run'"):
        ingest(catalog, [run], role="v", frame_of=7)


def test_a_member_keeps_its_sky_when_it_is_linked_or_seen_from_elsewhere(catalog: Catalog) -> None:
    asked = "select x, y, z, lat, lon from features order by token_id"
    before = rows(catalog.path, asked, "run@10")
    others = table(catalog, "features")
    catalog["run@10"].relink(radius=0.5, threshold=0.4)
    catalog["run@10"].add_references({"reference": [{"name": "look", "sky": {"lat": 90.0, "lon": 0.0}}]})
    assert rows(catalog.path, asked, "run@10") == before
    (pole,) = rows(catalog.path, "select vector from reference_vectors where reference = 'look'", "run@10")
    (north,) = rows(catalog.path, "select north from series_frames", "run@10")
    np.testing.assert_allclose(pole[0], north[0], atol=1e-7)
    assert [row for row in table(catalog, "features") if row[0] != "10"] == [row for row in others if row[0] != "10"]


def test_what_is_there_is_passed_over_and_what_is_another_is_refused(catalog: Catalog, run: Path) -> None:
    again = ingest(catalog, [run])
    assert (again.models, again.failures) == ([], [])
    assert sorted(again.passed_over) == sorted(f"run@{step}" for step in STEPS)
    another = ingest(catalog, [run], recipe={"pca": {"keep": 3}})
    assert another.models == []
    assert [where for where, _ in another.failures] == [str(run / f"step_{step}.safetensors") for step in STEPS]
    assert {"already in the catalog" in message for _, message in another.failures} == {True}
    assert len(ingest(catalog, [run], recipe={"pca": {"keep": 3}}, replace=True).models) == len(STEPS)
    assert rows(catalog.path, "select distinct len(pcs) from features") == [(3,)]
    assert leftovers(catalog.path) == []


def test_what_is_replaced_is_passed_over_only_where_it_has_the_sky_and_vectors_asked_for(
    run: Path, tmp_path: Path
) -> None:
    catalog = open_catalog(tmp_path / "c")
    ingest(catalog, [run], frame_of=0, with_vectors=False)
    assert len(ingest(catalog, [run], frame_of=0, with_vectors=False, replace=True).passed_over) == len(STEPS)
    assert len(ingest(catalog, [run], frame_of=0, replace=True).models) == len(STEPS)
    assert rows(catalog.path, "select count(*) from vectors") == [(60 * len(STEPS),)]
    assert len(ingest(catalog, [run], frame_of=20, replace=True).models) == len(STEPS)
    assert rows(catalog.path, "select distinct frame_of from series_frames") == [("run@20",)]
    folder = shutil.copytree(run, tmp_path / "again" / "run")
    save_bare(folder / "step_20.safetensors", bf16_matrix(*SHAPE, seed=9))
    assert len(ingest(catalog, [folder], frame_of=20, replace=True).models) == len(STEPS)
    assert len(rows(catalog.path, "select distinct meridian from series_frames")) == 1
    assert len(ingest(catalog, [folder], frame_of=20, replace=True).passed_over) == len(STEPS)
    assert leftovers(catalog.path) == []


def test_what_fails_is_told_at_the_end_and_the_rest_is_there(command: Command, run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    whole = (folder / "step_10.safetensors").read_bytes()
    (folder / "step_10.safetensors").write_bytes(whole[:-5])
    save_bare(folder / "step_15.safetensors", bf16_matrix(60, 9))
    save_bare(folder / "step_16.safetensors", bf16_matrix(59, 8))
    save_bare(folder / "step_17.safetensors", torch.full(SHAPE, torch.nan))
    asked = ("ingest", folder, "--step-from", STEP, "--no-tokenizer", "--catalog", tmp_path / "c")
    code, said = command(*asked)
    assert code == exits.EXIT_BAD_INPUT
    assert "catalogued 3 models, run@0 to run@100" in said
    assert f"failed: {folder / 'step_10.safetensors'}: " in said
    assert "step_15.safetensors: has 9 columns, and its series has 8, as run@100" in said
    assert "step_16.safetensors: has 59 rows, and its series has 60, as run@100" in said
    assert "has no finite row" in said
    assert "4 failed; the same command tries these again" in said
    assert open_catalog(tmp_path / "c").models() == ["run@0", "run@100", "run@20"]
    assert leftovers(tmp_path / "c") == []
    (folder / "step_10.safetensors").write_bytes(whole)
    for step in (15, 16, 17):
        (folder / f"step_{step}.safetensors").unlink()
    code, said = command(*asked)
    assert code == 0
    assert "passed over 3 models" in said
    assert "catalogued run@10 in" in said


def test_a_sky_is_the_last_steps_that_can_be_ingested(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "step_100.safetensors").write_bytes(b"no")
    report = ingest(open_catalog(tmp_path / "c"), [folder])
    assert [where for where, _ in report.failures] == [str(folder / "step_100.safetensors")]
    assert rows(tmp_path / "c", "select distinct frame_of from series_frames") == [("run@20",)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 0}, "`jobs=0`: a number of workers"),
        ({"name": "one"}, "`name=one` is one model's"),
        ({"step_from": "("}, "step_from"),
        ({"step_from": r"epoch_(\d+)"}, "epoch_"),
        ({"frame_of": 11}, "`frame_of=11`: no such step in the series 'run'"),
        ({"radius": -1.0}, "radius"),
    ],
)
def test_what_is_no_batch_is_refused_and_nothing_is_made(
    run: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    catalog = open_catalog(tmp_path / "c")
    with pytest.raises(CatalogError) as caught:
        ingest(catalog, [run], **options)
    assert message in str(caught.value)
    assert catalog.models() == []


def test_progress_is_told_of_every_source(run: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    ingest(open_catalog(tmp_path / "c"), [run], progress=lambda *one: told.append(one))
    assert [one[:2] for one in told] == [(n, 4) for n in range(1, 5)]
    assert told[0][2] == str(run / "step_100.safetensors")


def test_big_members_have_folders_of_their_own(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("token_catalog.ingest.batch.work.SMALL_BYTES", 1)
    catalog = open_catalog(tmp_path / "c")
    (run / "step_0.safetensors").touch()
    ingest(catalog, [run])
    assert len(catalog.files("features")) == len(STEPS)


def test_two_matrices_of_an_untied_model_are_steps_of_a_series(tmp_path: Path) -> None:
    for step in (1, 2):
        folder = tmp_path / "run" / f"step_{step}"
        folder.mkdir(parents=True)
        tensors = {"model.embed_tokens.weight": step_matrix(step), "lm_head.weight": step_matrix(step + 50)}
        save_file(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text('{"vocab_size": 60, "hidden_size": 8, "tie_word_embeddings": false}')
    catalog = open_catalog(tmp_path / "c")
    report = ingest(catalog, [tmp_path / "run"])
    assert report.failures == []
    assert catalog.models() == ["run@1/input", "run@1/output", "run@2/input", "run@2/output"]
    asked = "select model, frame_of from series_frames order by model"
    assert rows(catalog.path, asked) == [(f"run@{s}/{m}", f"run@2/{m}") for s in (1, 2) for m in ("input", "output")]


KILLED = """
import os, signal, sys
from token_catalog.catalog import publish
from token_catalog.ingest.batch import work
import token_catalog
swap, left = publish._swap, int(sys.argv[3])
def killed(*arguments):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return swap(*arguments)
publish._swap = killed
work.PACK_MODELS = 2
from token_catalog.ingest.batch import run
run.SWAP_SECONDS = 0
token_catalog.open(sys.argv[2]).ingest_many([sys.argv[1]], step_from=r"step_(\\d+)", with_tokenizer=False)
"""


@pytest.mark.parametrize("swaps", [0, 1, 2])
def test_a_batch_that_was_killed_is_whole_and_finished_by_the_next(run: Path, tmp_path: Path, swaps: int) -> None:
    catalog = open_catalog(tmp_path / "c")
    script = [sys.executable, "-c", KILLED, str(run), str(catalog.path), str(swaps)]
    assert subprocess.run(script, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode == -signal.SIGKILL
    assert_no_torn_table(catalog.path)
    there = catalog.models() if (catalog.path / "catalog.duckdb").exists() else []
    assert len(there) == min(swaps, 1) + 2 * max(0, swaps - 1)
    if there:
        counted = rows(catalog.path, "select model, count(*) from features group by model")
        assert dict(counted) == dict.fromkeys(there, 60)
    report = ingest(catalog, [run])
    assert sorted(report.passed_over) == there
    assert sorted(report.models + there) == sorted(f"run@{step}" for step in STEPS)
    assert leftovers(catalog.path) == []


def test_workers_give_the_same_and_one_that_is_killed_costs_one_source(
    made: Catalog, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    save_bare(folder / "step_50.safetensors", step_matrix(50))
    catalog = open_catalog(tmp_path / "c")
    give = Workers.give

    def give_and_kill(workers: Workers, task: Task, staged: Path) -> None:
        give(workers, task, staged)
        if task.entries[0].step == 50:
            (worker,) = (worker for worker in workers.workers if worker.task is task)
            os.kill(worker.process.pid, signal.SIGKILL)

    monkeypatch.setattr(Workers, "give", give_and_kill)
    monkeypatch.setattr("token_catalog.ingest.batch.plan.TOGETHER", 1)
    report = ingest(catalog, [folder], jobs=2)
    assert len(report.failures) == 1, report.failures
    ((where, message),) = report.failures
    assert where == str(folder / "step_50.safetensors")
    assert "its worker was ended by SIGKILL" in message
    assert ingest(catalog, [folder / "step_20.safetensors"], series="run").passed_over == ["run@20"]
    for one in TABLES:
        if one.name != "models":
            assert table(catalog, one.name) == table(made, one.name), one.name
    assert leftovers(catalog.path) == []
    assert not read_state(catalog.path).before


def test_an_interruption_while_workers_start_is_told_once(run: Path, tmp_path: Path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(f"""
import os, signal, sys
from token_catalog import cli
from token_catalog.ingest.batch.run import _Batch
def interrupt(*arguments):
    os.killpg(0, signal.SIGINT)
_Batch.ingest_first = interrupt
if __name__ == "__main__":
    sys.argv = ["", "ingest", {str(run)!r}, "--step-from", {STEP!r}, "--no-tokenizer", "--jobs", "2", "--catalog",
                {str(tmp_path / "c")!r}]
    cli.main()
""")
    asked = [sys.executable, str(script)]
    ended = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=100, start_new_session=True)
    assert (ended.returncode, ended.stderr) == (exits.EXIT_INTERRUPTED, "token-catalog: interrupted\n")
    assert [*(tmp_path / "c" / ".staging").iterdir()] == []


def test_workers_that_cannot_start_end_the_batch_with_the_way_out(run: Path, tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    options = f"step_from={STEP!r}, with_tokenizer=False, jobs=2"
    script.write_text(
        f"import token_catalog\ntoken_catalog.open({str(tmp_path / 'c')!r}).ingest_many([{str(run)!r}], {options})"
    )
    ended = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, timeout=100)
    assert "a worker can't start (it ended with code 1" in ended.stderr.splitlines()[-1]
    assert "if __name__ == '__main__':" in ended.stderr.splitlines()[-1]
    assert open_catalog(tmp_path / "c").models() == ["run@100"]
    assert leftovers(tmp_path / "c") == []


def test_a_full_disk_ends_a_batch_and_publishes_no_half_of_a_matrix(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(tmp_path / "c")
    write_rows = TableWriter.write_rows

    def full(writer: TableWriter, written: pa.Table) -> None:
        if "run@10" in written["model"].to_pylist() and "norm" in written.column_names:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_rows(writer, written)

    monkeypatch.setattr(TableWriter, "write_rows", full)
    with pytest.raises(CatalogError, match=r"No space left on device.*; what was published stays"):
        ingest(catalog, [run])
    assert catalog.models() == ["run@100"]
    monkeypatch.undo()
    assert len(ingest(catalog, [run]).models) == 3
    assert leftovers(catalog.path) == []


def test_a_pattern_that_no_shell_has_expanded_is_a_batch(command: Command, run: Path, tmp_path: Path) -> None:
    asked = ("ingest", run / "step_*0.safetensors", "--no-tokenizer", "--catalog", tmp_path / "c")
    code, said = command(*asked)
    assert (code, "catalogued 4 models, step_0 to step_20" in said) == (0, True), said
