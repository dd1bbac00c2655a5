"""Batches where a series' sky changes, can't be, or comes with what was changed since; names that come twice."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.support.helpers import bf16_matrix, rows, save_bare
from token_catalog.api import Catalog
from token_catalog.api import open as open_catalog
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.batch import plan
from token_catalog.ingest.batch.entries import Entry
from token_catalog.ingest.batch.run import BatchReport, ingest_many
from token_catalog.ingest.batch.work import Settings

STEPS = (1, 2, 3)
FRAMES = "select model, frame_of from series_frames order by model"
DISTANCES = "select linkage_radius, linkage_threshold, linkage_rule from models where model = 'run@4'"


def step_matrix(step: int) -> torch.Tensor:
    """Return W at a step."""
    walked = bf16_matrix(60, 8, seed=1).float() + step * 0.01 * bf16_matrix(60, 8, seed=2).float()
    return walked.to(torch.bfloat16)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a folder with a run."""
    for step in STEPS:
        save_bare(tmp_path / "run" / f"step_{step}.safetensors", step_matrix(step))
    return tmp_path / "run"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Return a catalog with nothing in it."""
    return open_catalog(tmp_path / "c")


def ingest(catalog: Catalog, sources: Any, **options: Any) -> BatchReport:
    """Catalogue steps of a run, without a tokenizer."""
    return catalog.ingest_many(sources, **{"step_from": r"step_(\d+)", "with_tokenizer": False, **options})


def test_a_whole_series_again_gets_the_sky_that_is_asked_for(catalog: Catalog, run: Path) -> None:
    ingest(catalog, [run])
    assert len(ingest(catalog, [run], frame_of=2, replace=True).models) == len(STEPS)
    assert rows(catalog.path, FRAMES) == [(f"run@{step}", "run@2") for step in STEPS]
    again = ingest(catalog, [run], frame_of=2, replace=True)
    assert (again.models, len(again.passed_over)) == ([], len(STEPS))


def test_no_step_has_a_sky_of_its_own_where_the_series_can_not_be_given_one(catalog: Catalog, run: Path) -> None:
    (run / "step_2.safetensors").write_bytes(b"no")
    report = ingest(catalog, [run], frame_of=2)
    assert report.models == catalog.models() == []
    told = {Path(where).stem: message for where, message in report.failures}
    assert told["step_1"] == told["step_3"] == "`frame_of=2`: that step can't be ingested, so the series has no sky"


def test_a_later_step_is_linked_as_the_series_not_as_a_member_that_was_linked_anew(catalog: Catalog, run: Path) -> None:
    ingest(catalog, [run])
    ((radius, threshold, _),) = rows(catalog.path, DISTANCES.replace("@4", "@3"))
    for step in (1, 3):
        catalog[f"run@{step}"].relink(radius=0.5, threshold=0.4)
    later = save_bare(run.parent / "step_4.safetensors", step_matrix(4))
    ingest(catalog, later, series="run")
    assert rows(catalog.path, DISTANCES) == [(radius, threshold, "radius: as run@3; threshold: as run@3")]


def test_the_distance_that_is_not_given_is_the_series_own(catalog: Catalog, run: Path) -> None:
    ingest(catalog, [run], radius=0.06)
    told = rows(catalog.path, "select distinct linkage_radius, linkage_threshold from models")
    assert len(told) == 1
    rule = rows(catalog.path, "select linkage_rule from models where step = 1")
    assert rule == [("radius: given; threshold: as run@3",)]


def test_outputs_that_come_after_the_inputs_share_one_sky(catalog: Catalog, tmp_path: Path) -> None:
    for step in STEPS:
        folder = tmp_path / "untied" / f"step_{step}"
        folder.mkdir(parents=True)
        tensors = {"model.embed_tokens.weight": step_matrix(step), "lm_head.weight": step_matrix(step + 50)}
        save_file(tensors, folder / "model.safetensors")
        config = {"vocab_size": 60, "hidden_size": 8, "tie_word_embeddings": False}
        (folder / "config.json").write_text(json.dumps(config))
    for matrix in ("input", "output"):
        assert ingest(catalog, [tmp_path / "untied"], matrix=matrix).failures == []
    assert rows(catalog.path, FRAMES) == [
        (f"untied@{step}/{matrix}", f"untied@3/{matrix}") for step in STEPS for matrix in ("input", "output")
    ]


def test_a_kind_of_matrix_that_a_series_has_no_sky_for_is_refused(catalog: Catalog, run: Path) -> None:
    folder = run.parent / "more" / "step_4"
    folder.mkdir(parents=True)
    save_file({"model.embed_tokens.weight": step_matrix(4)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"vocab_size": 60, "hidden_size": 8, "tie_word_embeddings": true}')
    ingest(catalog, [run])
    ((_, message),) = ingest(catalog, [folder], series="run").failures
    assert "the series 'run' has no sky for its tied matrices; `series=`" in message


def test_what_was_left_out_is_not_there_already(catalog: Catalog, run: Path) -> None:
    ingest(catalog, [run], with_vectors=False)
    again = ingest(catalog, [run])
    assert (again.passed_over, len(again.failures)) == ([], len(STEPS))
    assert len(ingest(catalog, [run], replace=True).models) == len(STEPS)
    assert rows(catalog.path, "select count(*) from vectors") == [(180,)]
    assert len(ingest(catalog, [run], with_vectors=False).passed_over) == len(STEPS)


def test_two_sources_that_would_have_one_name_are_refused(catalog: Catalog, tmp_path: Path) -> None:
    sources = [save_bare(tmp_path / one / "m" / "W.safetensors", step_matrix(n)) for n, one in enumerate("ab")]
    with pytest.raises(CatalogError, match=r"W\.safetensors: the same name 'm' as .*; a list gives them others, by"):
        ingest(catalog, sources, step_from=None, replace=True)
    assert catalog.models() == []


@pytest.mark.parametrize("together", [1, 25])
def test_one_of_two_sources_of_a_name_is_not_lost_without_a_word(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    sources = [save_bare(tmp_path / one / "m" / "W.safetensors", step_matrix(n)) for n, one in enumerate("ab")]
    sources.append(save_bare(tmp_path / "other.safetensors", step_matrix(3)))
    entries = [Entry(str(source), where=str(source)) for source in sources]
    monkeypatch.setattr("token_catalog.ingest.batch.run.check_entries", list)  # as of names that only a source knows
    monkeypatch.setattr(
        plan, "parts", lambda entries, n: [part for part in (entries[:together], entries[together:]) if part]
    )
    settings = Settings(catalog.path, replace=True, with_tokenizer=False)
    report = ingest_many(settings, entries)
    assert [where for where, _ in report.failures] == [str(sources[1])]
    assert "is the name of another source of this batch" in report.failures[0][1]
    assert catalog.models() == ["m", "other"]
    assert sorted(report.models) == ["m", "other"]


def test_one_source_needs_no_list(catalog: Catalog, run: Path) -> None:
    assert len(ingest(catalog, run).models) == len(STEPS)
    assert len(ingest(catalog, str(run)).passed_over) == len(STEPS)


def test_a_matrix_that_a_workers_share_of_the_memory_is_not_enough_for_is_refused(catalog: Catalog, run: Path) -> None:
    entries = [Entry(str(run / "step_1.safetensors"), where="here")]
    settings = Settings(catalog.path, with_tokenizer=False, most_bytes=256 << 20)
    ((where, message),) = ingest_many(settings, entries).failures
    assert where == "here"
    assert message == "needs some 0.5 GiB of memory, and a worker's share is 0.2 GiB; take fewer with `jobs=`"
