"""A Hugging Face id that can't be had: damaged, gated, gone, or no id at all. Each says so; nothing is catalogued."""

import json
import struct
import subprocess
from pathlib import Path

import pytest

from tests.support.hub_server import (
    EMBEDDING,
    ID,
    INDEX,
    WEIGHTS,
    Hub,
    catalogued,
    command,
    environment,
    save_model,
    spans,
)
from token_catalog.catalog.errors import CatalogError

pytestmark = pytest.mark.usefixtures("tables_only")


def test_a_shard_named_outside_the_model_is_looked_for_inside(hub: Hub, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "sly")
    hub.repos["org/sly"] = {"main": folder}
    (folder / INDEX).write_text(json.dumps({"weight_map": {EMBEDDING: f"../../../model/resolve/main/{WEIGHTS}"}}))
    (folder / WEIGHTS).unlink()
    with pytest.raises(CatalogError, match=r"org/sly: has no model.safetensors, though model.safetensors.index.json"):
        catalogued(tmp_path, "org/sly")
    assert not any("org/model" in e.path or ".." in e.path for e in hub.log)


def header(text: bytes) -> bytes:
    """Return a safetensors file of this header and 64 bytes of data."""
    return struct.pack("<Q", len(text)) + text + bytes(64)


DAMAGED = {
    "empty": b"",
    "short": b"\x01\x00",
    "huge header": struct.pack("<Q", 1 << 60) + b"{}",
    "header past the end": struct.pack("<Q", 5000) + b"{}",
    "not JSON": header(b"{'a"),
    "a list": header(b"[]"),
    "no offsets": header(b'{"W": {"dtype": "F32", "shape": [4, 4]}}'),
    "negative offset": header(b'{"W": {"dtype": "F32", "shape": [4, 4], "data_offsets": [-64, 0]}}'),
    "offsets of another shape": header(b'{"W": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 60]}}'),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_on_the_hub_is_refused_with_its_name(content: bytes, hub: Hub, tmp_path: Path) -> None:
    (hub.repos[ID]["main"] / WEIGHTS).write_bytes(content)
    with pytest.raises(CatalogError, match=r"org/model/model.safetensors: .*damaged"):
        catalogued(tmp_path, tensor="W", matrix=None)
    assert not (tmp_path / "catalog").exists()
    assert not list((tmp_path / "home").rglob("*.header"))  # it would be believed the next time


def test_a_file_on_the_hub_that_ends_within_the_tensor_is_refused(hub: Hub, tmp_path: Path) -> None:
    (hub.repos[ID]["main"] / WEIGHTS).write_bytes(
        header(b'{"W": {"dtype": "F32", "shape": [8, 4], "data_offsets": [0, 128]}}')
    )
    with pytest.raises(CatalogError, match=r"org/model/model.safetensors: ends before byte 202; the file on the hub"):
        catalogued(tmp_path, tensor="W", matrix=None)


def test_of_a_file_with_an_impossible_header_eight_bytes_travel(hub: Hub, tmp_path: Path) -> None:
    (hub.repos[ID]["main"] / WEIGHTS).write_bytes(struct.pack("<Q", 1 << 40) + bytes(100_000))
    with pytest.raises(CatalogError, match="damaged"):
        catalogued(tmp_path)
    assert spans(hub.sent(WEIGHTS)) == [(0, 8)]


def test_a_server_without_ranges_is_refused_before_a_whole_file_travels(hub: Hub, tmp_path: Path) -> None:
    hub.ranges = False
    with pytest.raises(CatalogError, match="sends whole files where a part is asked for; download org/model"):
        catalogued(tmp_path)


def test_a_model_with_pickled_weights_only_is_refused_and_they_are_never_fetched(hub: Hub, tmp_path: Path) -> None:
    (hub.repos[ID]["main"] / WEIGHTS).unlink()
    with pytest.raises(CatalogError, match=r"org/model: has no .safetensors file; pytorch_model.bin is pickled"):
        catalogued(tmp_path)
    assert not hub.sent("pytorch_model.bin")


def test_a_gated_model_a_missing_one_and_a_missing_revision_say_so(hub: Hub, tmp_path: Path) -> None:
    hub.gated.add("org/gated")
    hub.repos["org/gated"] = hub.repos[ID]
    with pytest.raises(CatalogError, match=r"org/gated: is gated; accept its terms on http://127.0.0.1:\d+/org/gated"):
        catalogued(tmp_path, "org/gated")
    with pytest.raises(CatalogError, match="org/none: no such folder here, and no such model"):
        catalogued(tmp_path, "org/none")
    with pytest.raises(CatalogError, match="org/model: has no revision 'v9'"):
        catalogued(tmp_path, revision="v9")


@pytest.mark.parametrize(
    "source",
    ["..", "../x", "a/..", "a/../b", "./x/y", ".a/b", "a//b", "a/b/c", "a b", "", "a--b/c", "-x", "x.safetensors"],
)
def test_what_is_no_id_is_never_asked_for(
    source: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "empty" / "a")
    with pytest.raises(CatalogError):
        catalogued(tmp_path, source)
    assert not hub.log


def test_a_hub_that_is_down_is_one_line_and_exit_code_2(hub: Hub, tmp_path: Path) -> None:
    down = {**environment(hub, tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(command(tmp_path), env=down, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("token-catalog: org/model: no such folder here, and http://127.0.0.1:9 failed (")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "catalog").exists()
