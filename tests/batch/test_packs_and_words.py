"""What a batch leaves on the disk, and what its command says: packs in the order of steps, a note or failure once."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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
from token_catalog.ingest.batch import work, workers

STEPS = (2, 10, 30, 100, 200)
STEP = r"step_(\d+)"
N_TOKENS, N_DIMS = 60, 8
AXES = ("meridian", "equinox", "north")
Command = Callable[..., tuple[object, str, str]]


def step_matrix(step: int) -> torch.Tensor:
    """Return W at a step, in bf16."""
    walked = bf16_matrix(N_TOKENS, N_DIMS, seed=1).float() + step * 1e-4 * bf16_matrix(N_TOKENS, N_DIMS, seed=2).float()
    return walked.to(torch.bfloat16)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a folder with a run, whose names aren't in the order of its steps."""
    for step in STEPS:
        save_bare(tmp_path / "run" / f"step_{step}.safetensors", step_matrix(step))
    return tmp_path / "run"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Return a catalog with nothing in it."""
    return open_catalog(tmp_path / "c")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command line, and gives its exit code, its stdout and its stderr."""

    def run_(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["token-catalog", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return (exit_.value.code or 0, *capsys.readouterr())

    return run_


def ingest(catalog: Catalog, sources: Any, **options: Any) -> Any:
    """Catalogue steps of a run, without a tokenizer."""
    return catalog.ingest_many(sources, **{"step_from": STEP, "with_tokenizer": False, **options})


def all_but(catalog: Catalog, model: str) -> dict[str, list[Any]]:
    """Return every row of every table that isn't of one model."""
    where = f"where model <> '{model}' order by all"
    return {one.name: rows(catalog.path, f"select * from {one.name} {where}") for one in TABLES}


@pytest.fixture
def packed(catalog: Catalog, run: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Return the run's catalog: after the sky's own folder, one of three steps and one of what is left."""
    monkeypatch.setattr("token_catalog.ingest.batch.pack.LEAST_ROWS", 2 * N_TOKENS)
    monkeypatch.setattr("token_catalog.ingest.batch.work.PACK_MODELS", 3)
    assert ingest(catalog, [run]).failures == []
    return catalog


def test_row_groups_have_whole_models_in_the_order_of_their_steps(packed: Catalog) -> None:
    assert len(packed.files("features")) == 3
    (file,) = packed["run@2"].files("features")
    read = pq.ParquetFile(file)
    groups = [read.read_row_group(n)["model"].to_pylist() for n in range(read.num_row_groups)]
    assert groups == [["run@2"] * N_TOKENS + ["run@10"] * N_TOKENS, ["run@30"] * N_TOKENS]
    assert packed["run@100"].files("features") != [file]
    assert_no_torn_table(packed.path)


@pytest.mark.parametrize("change", ["replace", "remove", "relink", "add_references"])
def test_what_one_member_of_a_pack_becomes_leaves_the_others_bit_for_bit(
    packed: Catalog, run: Path, change: str
) -> None:
    before = all_but(packed, "run@10")
    if change == "replace":
        other = save_bare(run / "step_10.safetensors", bf16_matrix(N_TOKENS, N_DIMS, seed=7))
        assert ingest(packed, [other], series="run", replace=True).models == ["run@10"]
    elif change == "remove":
        packed["run@10"].remove()
    elif change == "relink":
        packed["run@10"].relink(radius=0.5, threshold=0.4)
    else:
        packed["run@10"].add_references({"reference": [{"name": "seven", "token": 7}]})
    assert all_but(packed, "run@10") == before
    assert ("run@10" in packed) == (change != "remove")
    assert_no_torn_table(packed.path)
    assert leftovers(packed.path) == []


def test_a_step_that_was_another_tensor_is_told_and_done_anew_where_asked(catalog: Catalog, run: Path) -> None:
    ingest(catalog, [run])
    places = "select x, y, z from features order by token_id"
    axes = np.array([rows(catalog.path, f"select {axis} from series_frames", "run@200")[0][0] for axis in AXES])
    W = bf16_matrix(N_TOKENS, N_DIMS, seed=7)
    save_bare(run / "step_30.safetensors", W)
    report = ingest(catalog, [run])
    assert [where for where, _ in report.failures] == [str(run / "step_30.safetensors")]
    assert (report.models, len(report.passed_over)) == ([], len(STEPS) - 1)
    report = ingest(catalog, [run], replace=True)
    assert (report.models, len(report.passed_over)) == (["run@30"], len(STEPS) - 1)
    expected = W.double().numpy() @ axes.T
    np.testing.assert_allclose(np.array(rows(catalog.path, places, "run@30")), expected, atol=1e-15)


NONE_OF_A_BATCH: dict[str, tuple[dict[str, Any], str]] = {
    "no series for a sky": ({"step_from": None, "frame_of": 3}, "`frame_of=3`: no source is a step of a series"),
    "a recipe that isn't there": ({"recipe": "none.toml"}, "none.toml: can't be read"),
    "a recipe that can't be": ({"recipe": {"pca": {"keeps": 3}}}, "pca.keeps: unknown key"),
    "a device": ({"device": "tpu"}, "`device=tpu`: unknown"),
    "more workers than memory": ({"jobs": 5}, "`jobs=5`: this machine's memory is enough for 4 at most"),
}


@pytest.mark.parametrize("case", NONE_OF_A_BATCH)
def test_what_no_source_could_be_ingested_with_is_told_once_and_before_all(
    catalog: Catalog, run: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr(workers, "_memory", lambda: 5 * work.BYTES_BESIDE - 1)
    options, message = NONE_OF_A_BATCH[case]
    sources = [run / f"step_{step}.safetensors" for step in STEPS]
    with pytest.raises(CatalogError) as caught:
        ingest(catalog, sources, **options)
    assert str(caught.value).startswith(message)
    assert not catalog.path.exists()


def test_a_tensor_of_three_dimensions_is_no_matrix_and_the_message_says_how(
    command: Command, run: Path, tmp_path: Path
) -> None:
    save_file({"W": torch.stack([step_matrix(step) for step in STEPS])}, tmp_path / "stack.safetensors")
    sources = (tmp_path / "stack.safetensors", run / "step_2.safetensors")
    code, out, told = command("ingest", *sources, "--no-tokenizer", "--catalog", tmp_path / "c")
    assert code == exits.EXIT_BAD_INPUT
    assert f"catalogued step_2 in {tmp_path / 'c'}" in out
    assert "--steps takes each step as a matrix" in told
    assert told.count("stack.safetensors: tensor 'W' has shape [5, 60, 8]") == 1


def test_a_list_that_is_wrong_is_refused_with_its_line(command: Command, run: Path, tmp_path: Path) -> None:
    (run / "list.csv").write_text("source,series,step\nstep_2.safetensors,a,1\nstep_10.safetensors,a,one\n")
    code, out, told = command("ingest", "--list", run / "list.csv", "--no-tokenizer", "--catalog", tmp_path / "c")
    assert (code, out) == (exits.EXIT_BAD_INPUT, "")
    assert told == f"token-catalog: {run}/list.csv:3: step 'one' is no whole number from 0\n"
    assert not (tmp_path / "c").exists()


def test_a_note_of_many_models_is_one_line_and_what_failed_is_told_last_on_stderr(
    command: Command, run: Path, tmp_path: Path
) -> None:
    (run / "step_50.safetensors").write_bytes(b"")
    asked = ("ingest", run, "--step-from", STEP, "--no-tokenizer", "--catalog", tmp_path / "c")
    code, out, told = command(*asked)
    assert code == exits.EXIT_BAD_INPUT
    lines = out.splitlines()
    assert lines[-1] == f"catalogued 5 models, run@2 to run@200 in {tmp_path / 'c'}"
    (linked,) = [line for line in lines if "linked up to" in line and not line.startswith("run@200: ")]
    assert linked.startswith("4 models, run@2 to run@100: linked up to a distance of ")
    failed = [line for line in told.splitlines() if not line.startswith("warning")]
    assert failed[0].startswith(f"failed: {run / 'step_50.safetensors'}: ")
    assert failed[1:] == ["1 failed; the same command tries these again"]
    code, out, _ = command(*asked)
    assert code == exits.EXIT_BAD_INPUT
    assert "passed over 5 models, run@2 to run@200: there already" in out
    assert out.splitlines()[-1] == f"catalogued nothing in {tmp_path / 'c'}"
