"""A Hugging Face id: what travels from a hub on the loopback, byte by byte, and what an interruption leaves."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from tests.support.helpers import rows, save_bare
from tests.support.hub_server import (
    EMBEDDING,
    ID,
    INDEX,
    N_BYTES,
    N_DIMS,
    N_TOKENS,
    UNEMBEDDING,
    WEIGHTS,
    Fault,
    Hub,
    catalogued,
    command,
    environment,
    layout,
    save_model,
    serving,
    spans,
)
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.source.matrix import Stored, header_for

pytestmark = pytest.mark.usefixtures("tables_only")


def vectors_are(tmp_path: Path, file: Path, tensor: str = EMBEDDING, model: str = "model/input") -> bool:
    """Whether the catalog has exactly a file's tensor."""
    found = rows(tmp_path / "catalog", f"select vector from vectors where model = '{model}' order by token_id")
    return torch.equal(torch.tensor([vector for (vector,) in found]), load_file(file)[tensor].float())


def kept(tmp_path: Path, suffix: str = ".safetensors") -> Path:
    """Return the one file that is kept of a tensor."""
    (path,) = (tmp_path / "home" / "token-catalog").rglob(f"{EMBEDDING}{suffix}")
    return path


def test_of_the_weights_only_the_header_and_the_tensor_travel(hub: Hub, tmp_path: Path) -> None:
    file = hub.repos[ID]["main"] / WEIGHTS
    data, tensors = layout(file)
    report = catalogued(tmp_path)
    assert report.models == ["model/input"]
    assert spans(hub.sent(WEIGHTS)) == [(0, 8), (8, data - 8), (tensors[EMBEDDING][0], N_BYTES)]
    fetched = {e.path.rsplit("/", 1)[1] for e in hub.log if "/resolve/" in e.path}
    assert fetched == {WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json"}
    assert vectors_are(tmp_path, file)
    assert rows(tmp_path / "catalog", "select source, revision, tensor from models") == [
        (ID, hub.commit(ID), EMBEDDING)
    ]
    assert rows(tmp_path / "catalog", "select text from tokens where token_id = 7") == [("w7",)]


def test_an_untied_model_brings_both_matrices_and_nothing_between(hub: Hub, tmp_path: Path) -> None:
    data, tensors = layout(hub.repos[ID]["main"] / WEIGHTS)
    assert catalogued(tmp_path, matrix=None).models == ["model/input", "model/output"]
    wanted = [(tensors[name][0], N_BYTES) for name in (EMBEDDING, UNEMBEDDING)]
    assert spans(hub.sent(WEIGHTS)) == [(0, 8), (8, data - 8), *wanted]


def test_the_second_time_no_byte_of_a_weights_file_travels_nor_is_a_hub_needed(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogued(tmp_path)
    n_before = len(hub.sent(WEIGHTS))
    catalogued(tmp_path)
    assert len(hub.sent(WEIGHTS)) == n_before
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    catalogued(tmp_path)
    assert vectors_are(tmp_path, hub.repos[ID]["main"] / WEIGHTS)


def test_of_a_model_in_shards_only_the_shard_with_the_tensor_is_touched(hub: Hub, tmp_path: Path) -> None:
    folder = hub.repos[ID]["main"]
    whole = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    shards = {name: f"model-{i:05}-of-00003.safetensors" for i, name in enumerate(sorted(whole), 1)}
    for name, shard in shards.items():
        save_file({name: whole[name]}, folder / shard)
    (folder / INDEX).write_text(json.dumps({"weight_map": shards}))
    catalogued(tmp_path)
    assert vectors_are(tmp_path, folder / shards[EMBEDDING])
    assert not hub.sent(shards["model.layers.0.weight"])
    # The unembedding's header is read: its shape tells that it is one.
    assert spans(hub.sent(shards[UNEMBEDDING])) == [(0, 8), (8, layout(folder / shards[UNEMBEDDING])[0] - 8)]


def test_a_model_that_is_whole_in_the_hubs_cache_is_read_there(hub: Hub, tmp_path: Path) -> None:
    catalogued(tmp_path, matrix="output")
    snapshot = tmp_path / "home" / "hub" / "models--org--model" / "snapshots" / hub.commit(ID)
    (snapshot / WEIGHTS).write_bytes((hub.repos[ID]["main"] / WEIGHTS).read_bytes())
    n_before = len(hub.sent(WEIGHTS))
    catalogued(tmp_path)
    assert len(hub.sent(WEIGHTS)) == n_before
    assert vectors_are(tmp_path, hub.repos[ID]["main"] / WEIGHTS)


def test_a_tensor_of_bits_is_read_as_what_they_are(hub: Hub, tmp_path: Path) -> None:
    file = hub.repos[ID]["main"] / WEIGHTS
    tensors = load_file(file)
    save_file({name: tensor.view(torch.uint16) for name, tensor in tensors.items()}, file)
    with pytest.raises(CatalogError, match=r"is stored as U16; .* `stored_as=bf16` reads them"):
        catalogued(tmp_path)
    assert not any(stop - start == N_BYTES for start, stop in spans(hub.sent(WEIGHTS)))
    catalogued(tmp_path, stored_as="bf16")
    found = rows(tmp_path / "catalog", "select vector from vectors order by token_id")
    assert torch.equal(torch.tensor([vector for (vector,) in found]), tensors[EMBEDDING].float())


def test_a_dropped_connection_is_taken_up_at_the_very_byte(hub: Hub, tmp_path: Path) -> None:
    file = hub.repos[ID]["main"] / WEIGHTS
    start = layout(file)[1][EMBEDDING][0]
    hub.faults[WEIGHTS] = [Fault(after=50_000), Fault(after=20_000)]
    catalogued(tmp_path)
    assert spans(hub.sent(WEIGHTS))[2:] == [
        (start, 50_000),
        (start + 50_000, 20_000),
        (start + 70_000, N_BYTES - 70_000),
    ]
    assert vectors_are(tmp_path, file)


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults[WEIGHTS] = [Fault(status=503)] * 3
    catalogued(tmp_path)
    assert [e.status for e in hub.sent(WEIGHTS)] == [503] * 3 + [206] * 3


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(after=0)], ids=["503", "nothing but dropped connections"])
def test_a_transfer_that_fails_is_gone_on_with_by_the_next_ingest(fault: Fault, hub: Hub, tmp_path: Path) -> None:
    file = hub.repos[ID]["main"] / WEIGHTS
    start = layout(file)[1][EMBEDDING][0]
    hub.faults[WEIGHTS] = [Fault(after=50_000), *[fault] * 10]
    with pytest.raises(CatalogError, match=r"org/model: .* failed .*; try again: what has arrived is kept"):
        catalogued(tmp_path)
    assert not (tmp_path / "catalog").exists()
    hub.faults.clear()
    hub.log.clear()
    catalogued(tmp_path)
    assert spans(hub.sent(WEIGHTS)) == [(start + 50_000, N_BYTES - 50_000)]
    assert vectors_are(tmp_path, file)


def test_a_killed_ingest_is_gone_on_with_by_the_next(hub: Hub, tmp_path: Path) -> None:
    file = hub.repos[ID]["main"] / WEIGHTS
    start, stop = layout(file)[1][EMBEDDING]
    hub.faults[WEIGHTS] = [Fault(after=70_000, stall=True)]
    with subprocess.Popen(command(tmp_path), env=environment(hub, tmp_path)) as process:
        assert hub.stalled.wait(60)
        while sum(path.stat().st_size for path in (tmp_path / "home").rglob("*.part")) < 10_000:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    partial = kept(tmp_path, ".safetensors.part")
    arrived = partial.stat().st_size - layout(partial)[0]
    assert 0 < arrived <= 70_000
    hub.log.clear()
    catalogued(tmp_path)
    assert spans(hub.sent(WEIGHTS)) == [(start + arrived, stop - start - arrived)]
    assert vectors_are(tmp_path, file)
    assert not partial.exists()


@pytest.mark.parametrize(
    ("damage", "n_bytes"),
    [
        (lambda whole: b"X" * 100 + whole[100:5000], N_BYTES),
        (lambda whole: whole[:200] + b"Z" * len(whole), N_BYTES),
        (lambda whole: whole[:10], N_BYTES),
        (lambda whole: b"", N_BYTES),
        (lambda whole: whole, 0),
    ],
    ids=["of another header", "longer than the tensor", "cut within the header", "empty", "whole"],
)
def test_a_part_that_cannot_be_right_is_fetched_anew(damage, n_bytes: int, hub: Hub, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    catalogued(tmp_path)
    path = kept(tmp_path)
    whole = path.read_bytes()
    path.with_name(f"{path.name}.part").write_bytes(damage(whole))
    path.unlink()
    hub.log.clear()
    catalogued(tmp_path)
    assert sum(n for _, n in spans(hub.sent(WEIGHTS))) == n_bytes
    assert path.read_bytes() == whole


@pytest.mark.parametrize("n_characters", range(1, 9))
def test_the_data_of_a_kept_file_begin_at_a_multiple_of_8_bytes(n_characters: int) -> None:
    assert len(header_for("x" * n_characters, Stored((3, 4), "F32", 0, 48))) % 8 == 0


def test_a_kept_tensor_that_was_cut_is_fetched_anew(hub: Hub, tmp_path: Path) -> None:
    catalogued(tmp_path)
    whole = kept(tmp_path).read_bytes()
    kept(tmp_path).write_bytes(whole[:-100])
    catalogued(tmp_path)
    assert kept(tmp_path).read_bytes() == whole


def test_an_id_without_an_owner_is_one_too(hub: Hub, tmp_path: Path) -> None:
    hub.repos["gpt2"] = hub.repos[ID]
    assert catalogued(tmp_path, "gpt2").models == ["gpt2/input"]


def test_a_revision_is_a_branch_or_a_commit_and_stands_in_the_catalog(hub: Hub, tmp_path: Path) -> None:
    other = save_model(tmp_path / "other", {EMBEDDING: torch.rand(N_TOKENS, N_DIMS)})
    hub.repos[ID]["refs/pr/1"] = other
    for revision in ("refs/pr/1", hub.commit(ID, "refs/pr/1")):
        catalogued(tmp_path, revision=revision, matrix=None)
        assert vectors_are(tmp_path, other / WEIGHTS, model="model")
        assert rows(tmp_path / "catalog", "select revision from models") == [(hub.commit(ID, "refs/pr/1"),)]


def test_a_token_goes_with_every_request_to_the_hub_and_to_nobody_else(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_secret"  # noqa: S105
    with pytest.raises(CatalogError, match=r"no such model on http://127.0.0.1:\d+ \(or a private one: HF_TOKEN\)"):
        catalogued(tmp_path)
    hub.log.clear()
    monkeypatch.setenv("HF_TOKEN", hub.token)
    with serving(Hub(hub.repos)) as storage:
        hub.weights_at = storage
        catalogued(tmp_path)
    assert {e.authorization for e in hub.log} == {"Bearer hf_secret"}
    assert {e.authorization for e in storage.log} == {None}
    assert spans(storage.sent(WEIGHTS))[-1][1] == N_BYTES


def test_a_folder_of_that_name_comes_first(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "org" / "model")
    assert catalogued(tmp_path).models == ["model/input"]
    assert not hub.log


def test_a_tokenizer_may_be_an_id_too(hub: Hub, tmp_path: Path) -> None:
    bare = save_bare(tmp_path / "bare" / "W.safetensors", torch.rand(N_TOKENS, 4))
    catalogued(tmp_path, str(bare), tokenizer=ID, matrix=None)
    assert rows(tmp_path / "catalog", "select text from tokens where token_id = 9") == [("w9",)]
    assert not hub.sent(WEIGHTS)


def test_what_is_kept_of_a_tensor_stays_in_its_folder_whatever_its_name(hub: Hub, tmp_path: Path) -> None:
    tensor = "../../up/ä b\\..%2e"
    hub.repos["org/odd"] = {"main": save_model(tmp_path / "odd", {tensor: torch.rand(N_TOKENS, N_DIMS)})}
    before = set(tmp_path.rglob("*"))
    catalogued(tmp_path, "org/odd", tensor=tensor, matrix=None)
    assert vectors_are(tmp_path, tmp_path / "odd" / WEIGHTS, tensor, "odd")
    made = {path for path in set(tmp_path.rglob("*")) - before if path.suffix == ".safetensors"}
    assert {path.parent for path in made} == {tmp_path / "home" / "token-catalog" / "org%2Fodd" / hub.commit("org/odd")}


def test_the_command_line_honours_the_hubs_environment(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_mine"  # noqa: S105
    done = subprocess.run(
        command(tmp_path), env=environment(hub, tmp_path), capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines(keepends=True)[-1] == f"catalogued model/input in {tmp_path / 'catalog'}\n"
    assert {e.authorization for e in hub.log} == {"Bearer hf_mine"}
    assert kept(tmp_path).stat().st_size > N_BYTES
