"""What an ingest refuses, as users see it: exit code 2, one or two lines that say what and where, nothing changed."""

import json
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.command_line import run
from tests.support.helpers import ingest_bare, save_bare
from tests.support.models import EMBEDDING, UNEMBEDDING, WEIGHTS, matrix_of, save_tensors, save_tokenizer
from token_catalog.ingest.source.model_files import INDEX

Refused = Callable[..., str]
Write = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog with a model, which no refused ingest changes."""
    catalog = tmp_path_factory.mktemp("there") / "catalog"
    ingest_bare(catalog, matrix_of(9), name="there")
    return catalog


@pytest.fixture
def refused(catalog: Path) -> Refused:
    """Return what the command line says to an ingest into that catalog, which stays as it is."""
    before = contents(catalog)

    def refused(*arguments: str) -> str:
        done = run("ingest", *arguments, "--catalog", catalog)
        assert done.returncode == 2, done
        assert done.stderr.startswith("token-catalog: ")
        assert len(done.stderr.partition("which is a source:")[0].splitlines()) <= 2  # then lines to paste
        assert contents(catalog) == before
        return done.stderr

    return refused


def contents(catalog: Path) -> dict[Path, tuple[int, int]]:
    """Return a catalog's files, with size and time of change; what is cleared by itself doesn't count."""
    found = {path: path.lstat() for path in catalog.rglob("*")}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items() if path.name != ".staging"}


# Each writes a source into an empty folder and returns what to type.


def bare(W: torch.Tensor, *options: str) -> Write:
    """Return a W.safetensors of this W."""
    return lambda folder: [str(save_bare(folder / "W.safetensors", W)), *(options or ("--no-tokenizer",))]


def file(content: bytes, name: str = "W.safetensors") -> Write:
    """Return a file of these bytes."""

    def write(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return [str(folder / name), "--no-tokenizer"]

    return write


def model(*options: str, config: str | None = None, index: dict[str, Any] | None = None) -> Write:
    """Return an untied model, with another config.json, or an index that it doesn't need."""

    def write(folder: Path) -> list[str]:
        save_tensors(folder, {EMBEDDING: matrix_of(1), UNEMBEDDING: matrix_of(2)})
        if config is not None:
            (folder / "config.json").write_text(config)
        if index is not None:
            (folder / INDEX).write_text(json.dumps(index))
        return [str(folder), "--no-tokenizer", *options]

    return write


def with_tokenizer(n_rows: int, n_entries: int) -> Write:
    """Return a W of so many rows and a tokenizer of so many entries."""

    def write(folder: Path) -> list[str]:
        save_tokenizer(folder / "t", n_entries)
        return [str(save_bare(folder / "W.safetensors", matrix_of(1, (n_rows, 8)))), "--tokenizer", str(folder / "t")]

    return write


DAMAGED = "W.safetensors: not a safetensors file, or a damaged one (…); download it again"
REFUSED: dict[str, tuple[Write, str]] = {
    "nowhere": (lambda _: ["/nowhere/m"], "/nowhere/m: no such file or folder"),
    "nowhere, as an id": (lambda _: ["m/W.safetensors"], "m/W.safetensors: no such file or folder"),
    "nobody's home": (lambda _: ["~nobody-at-all/m"], "~nobody-at-all/m: no such file or folder"),
    "an empty folder": (lambda folder: [str(folder)], "has no .safetensors file"),
    "an empty file": (file(b""), DAMAGED),
    "garbage": (file(bytes(range(256)) * 9), DAMAGED),
    "a huge header": (file(struct.pack("<Q", 1 << 62) + b"{}"), DAMAGED),
    "text": (file(b"W = 1\n", "W.txt"), "W.txt: not a safetensors file"),
    "one dimension": (bare(torch.zeros(8)), "'W' has shape [8]; W must have two dimensions"),
    "three dimensions": (bare(torch.zeros(4, 4, 4)), "'W' has shape [4, 4, 4]; W must have two dimensions"),
    "no rows": (bare(torch.zeros(0, 8)), "'W' has no rows"),
    "two columns": (bare(torch.zeros(8, 2)), "'W' has shape [8, 2]; the sky needs 3 dimensions or more"),
    "fp64": (bare(torch.zeros(4, 4).double()), "is stored as F64; bf16, fp16 and fp32 are read"),
    "uint16": (
        bare(matrix_of(1).bfloat16().view(torch.uint16)),
        "W.safetensors: tensor 'W' is stored as U16; if these are the bit patterns of bf16, --as bf16 reads them",
    ),
    "bf16 taken for uint16": (
        bare(matrix_of(1).bfloat16(), "--as", "bf16", "--no-tokenizer"),
        "tensor 'W' is stored as BF16, and --as bf16 is for U16; leave it out",
    ),
    "int16 taken for uint16": (
        bare(matrix_of(1).bfloat16().view(torch.int16), "--as", "bf16", "--no-tokenizer"),
        "tensor 'W' is stored as I16, and --as bf16 is for U16; leave it out",
    ),
    "bits of another type": (
        bare(matrix_of(1).bfloat16().view(torch.uint16), "--as", "fp16", "--no-tokenizer"),
        "--as fp16: unknown; one of bf16",
    ),
    "int8": (bare(torch.zeros(4, 4).to(torch.int8)), "is stored as I8; bf16, fp16 and fp32 are read"),
    "fp8": (bare(torch.zeros(4, 4).to(torch.float8_e4m3fn)), "is stored as F8_E4M3; bf16, fp16 and fp32 are read"),
    "no such tensor": (bare(matrix_of(1), "--tensor", "V"), "no tensor 'V'; it has 'W'; --tensor names another"),
    "no tokenizer": (bare(matrix_of(1), "--replace"), "has no tokenizer; give one with --tokenizer"),
    "no such tokenizer": (bare(matrix_of(1), "--tokenizer", "/nowhere/t"), "/nowhere/t: no such folder"),
    "a matrix of a bare W": (bare(matrix_of(1), "--matrix", "input"), "neither input nor output; leave --matrix out"),
    "a matrix of another kind": (model("--matrix", "inptu"), "--matrix inptu: unknown; one of input, output, both"),
    "a revision of a file": (bare(matrix_of(1), "--revision", "main"), "--revision is of a Hugging Face id"),
    "a revision of a folder": (model("--revision", "main"), "--revision is of a Hugging Face id"),
    "fewer rows than entries": (with_tokenizer(39, 40), "W has 39 rows but the tokenizer has 40 entries"),
    "no such tensor in a folder": (model("--tensor", "V"), "no tensor 'V'; it has 'lm_head.weight', 'model.embed"),
    "another shape": (model(config='{"vocab_size": 40, "hidden_size": 9}'), "the shape 40 × 9 of config.json"),
    "no unembedding": (
        model("--matrix", "output", config='{"vocab_size": 40, "tie_word_embeddings": false}', index={
            "weight_map": {EMBEDDING: WEIGHTS}}),
        "no tensor has an output matrix's name and the shape 40 × ? of config.json",
    ),
    "a configuration that is a list": (model(config="[]"), "config.json: no JSON object"),
    "a configuration that is cut": (model(config='{"vocab'), "config.json: can't be read as JSON"),
    "an index without a map": (model(index={"weight_map": []}), "index.json: has no weight_map; download it again"),
    "a shard that isn't there": (
        model(index={"weight_map": {EMBEDDING: "gone.safetensors"}}),
        f"gone.safetensors: the shard with '{EMBEDDING}' isn't there, though {INDEX} names it",
    ),
    "a shard without its tensor": (
        model("--tensor", "V", index={"weight_map": {"V": WEIGHTS}}), f"{WEIGHTS}: no tensor 'V'",
    ),
    "no such recipe": (bare(matrix_of(1), "--recipe", "/nowhere/r.toml"), "/nowhere/r.toml: can't be read"),
    "no such device": (bare(matrix_of(1), "--device", "gpu"), "--device gpu: unknown; one of auto, cuda, mps, cpu"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(write: Write, message: str, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    assert re.search(re.escape(message).replace("…", ".+"), refused(*write(tmp_path / "source")))


@pytest.mark.parametrize("part", ["the length", "the header", "the data", "all but a byte"])
def test_a_file_cut_anywhere_is_refused(part: str, refused: Refused, tmp_path: Path) -> None:
    path = save_bare(tmp_path / "W.safetensors", matrix_of(1))
    whole = path.read_bytes()
    n_header = 8 + struct.unpack("<Q", whole[:8])[0]
    cuts = {"the length": range(1, 8), "the header": range(8, n_header, 9), "the data": range(n_header, len(whole), 99)}
    for length in cuts.get(part, [len(whole) - 1]):
        path.write_bytes(whole[:length])
        assert "W.safetensors: not a safetensors file, or a damaged one" in refused(str(path), "--no-tokenizer")


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "model.safetensors"])
@pytest.mark.parametrize("given", ["file", "folder"])
def test_a_pickle_is_never_opened(given: str, name: str, refused: Refused, tmp_path: Path) -> None:
    marker = tmp_path / "opened"
    pickled = pickle.dumps(Touch(marker))
    pickle.loads(pickled)  # noqa: S301 (to see that it bites)
    marker.unlink()
    save_tensors(tmp_path / "m", {EMBEDDING: matrix_of(1)})
    (tmp_path / "m" / WEIGHTS).unlink()
    (tmp_path / "m" / name).write_bytes(pickled)
    message = refused(str(tmp_path / "m" / name if given == "file" else tmp_path / "m"), "--no-tokenizer")
    if name == WEIGHTS:
        assert f"m/{WEIGHTS}: not a safetensors file, or a damaged one" in message
    else:
        assert f"m/{name}: pickled weights can run code when they are opened" in message
        assert "model.save_pretrained(FOLDER) of transformers writes model.safetensors" in message
    assert not marker.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there_is_refused(refused: Refused, tmp_path: Path) -> None:
    source = save_bare(tmp_path / "W.safetensors", matrix_of(1))
    assert "--device cuda: this machine has none" in refused(str(source), "--no-tokenizer", "--device", "cuda")


@pytest.mark.parametrize("name", ["", "  ", "a\udcffb"])
def test_a_name_that_is_none_is_refused(refused: Refused, tmp_path: Path, name: str) -> None:
    source = save_bare(tmp_path / "W.safetensors", matrix_of(3))
    assert "--name" in refused(str(source), "--no-tokenizer", "--name", name)
