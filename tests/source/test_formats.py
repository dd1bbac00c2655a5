"""One matrix of many in a file, HDF5 data sets, and the lines that convert a pickled checkpoint."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.support.helpers import rows, save_bare
from tests.support.models import EMBEDDING, matrix_of, save_tensors
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.matrix import Matrix
from token_catalog.ingest.source.resolve import SourceOptions, resolve_source
from token_catalog.ingest.source.stack import stack_steps

pytestmark = pytest.mark.usefixtures("tables_only")

SHAPE = (3, 40, 8)
STACKS = {
    "fp32": matrix_of(1, SHAPE),  # type: ignore[arg-type]
    "fp16": matrix_of(2, SHAPE).half(),  # type: ignore[arg-type]
    "bf16": matrix_of(3, SHAPE).bfloat16(),  # type: ignore[arg-type]
}
# A NaN with a payload, an infinity, a subnormal and a zero with a sign: bits that a conversion might lose.
STACKS["fp32"].view(torch.int32)[1, 4, :4] = torch.tensor([0x7FC12345, 0x7F800000, 3, -(2**31)])
STACKS["fp16"].view(torch.int16)[1, 4, :4] = torch.tensor([0x7E55, 0x7C00, 3, -(2**15)])
STACKS["bf16"].view(torch.int16)[1, 4, :4] = torch.tensor([0x7FD5, 0x7F80, 3, -(2**15)])


def opened(path: Path, **options: Any) -> Matrix:
    """Return the one matrix of a source."""
    ((_, matrix),) = resolve_source(str(path), SourceOptions(**options)).matrices.values()
    return matrix


def refusal(path: Path, **options: Any) -> str:
    """Return why a source has no matrix."""
    with pytest.raises(CatalogError) as caught:
        opened(path, **options)
    return str(caught.value)


def bits(W: torch.Tensor) -> torch.Tensor:
    """Return a tensor's bytes."""
    return W.contiguous().view(torch.uint8)


def check(matrix: Matrix, W: torch.Tensor) -> None:
    """Compare a matrix with W, bit by bit: in chunks, whole, and a row."""
    assert (matrix.n_tokens, matrix.n_dims) == tuple(W.shape)
    assert torch.equal(bits(torch.cat([chunk for _, chunk in matrix.chunks(7)])), bits(W))
    assert matrix.whole().dtype == W.dtype
    assert torch.equal(bits(matrix.whole()), bits(W))
    assert torch.equal(bits(matrix.row(4)), bits(W[4]))


def write_bf16(file: h5py.File, name: str, W: torch.Tensor, order: int = h5py.h5t.ORDER_LE) -> None:
    """Write bf16 as HDF5 itself describes such a type: a float of two bytes, with bf16's fields and bias."""
    type_ = h5py.h5t.IEEE_F32LE.copy()
    type_.set_fields(15, 7, 8, 0, 7)
    type_.set_size(2)
    type_.set_ebias(127)
    type_.set_order(order)
    stored = h5py.h5d.create(file.id, name.encode(), type_, h5py.h5s.create_simple(tuple(W.shape)))
    stored.write(h5py.h5s.ALL, h5py.h5s.ALL, W.view(torch.uint16).numpy().copy(), mtype=type_)


@pytest.fixture(scope="module")
def hdf5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an HDF5 file with data sets of every kind that is read, and of many that aren't."""
    path = tmp_path_factory.mktemp("hdf5") / "run.h5"
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["W"] = STACKS["fp32"][0].numpy()
    with h5py.File(path, "w") as file:
        file["W"] = STACKS["fp32"][1].numpy()
        file["stack/fp32"] = STACKS["fp32"].numpy()
        file["stack/fp16"] = STACKS["fp16"].numpy()
        file["stack/big-endian"] = STACKS["fp32"].numpy().astype(">f4")
        file["stack/bits"] = STACKS["bf16"].view(torch.uint16).numpy()
        file["stack/big-endian bits"] = STACKS["bf16"].view(torch.uint16).numpy().astype(">u2")
        file.create_dataset("stack/packed", data=STACKS["fp32"].numpy(), chunks=(2, 11, 8), compression="gzip")
        write_bf16(file, "stack/bf16", STACKS["bf16"])
        write_bf16(file, "big-endian bf16", STACKS["bf16"][0], h5py.h5t.ORDER_BE)
        write_bf16(file, "bf16", STACKS["bf16"][0])
        file["fp64"], file["int"], file["text"] = np.zeros((40, 8)), np.zeros((40, 8), "i2"), "W"
        file["pairs"] = np.zeros((40, 8), [("x", "f4"), ("y", "f4")])
        file["vector"], file["scalar"], file["nothing"] = np.zeros(8, "f4"), np.float32(1), h5py.Empty("f4")
        file["soft"], file["elsewhere"] = h5py.SoftLink("/W"), h5py.ExternalLink("other.h5", "/W")
        file["folder"] = h5py.ExternalLink("other.h5", "/")
        outside = [(str(path.with_name("secret")), 0, 40 * 8 * 4)]
        file.create_dataset("outside", (40, 8), "f4", external=outside)
        virtual = h5py.VirtualLayout((40, 8), "f4")
        virtual[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "W", (40, 8))
        file.create_virtual_dataset("virtual", virtual)
    path.with_name("secret").write_bytes(bytes(40 * 8 * 4))
    return path


@pytest.mark.parametrize(
    ("tensor", "dtype"),
    [
        ("fp32", "fp32"),
        ("fp16", "fp16"),
        ("big-endian", "fp32"),
        ("bits", "bf16"),
        ("big-endian bits", "bf16"),
        ("packed", "fp32"),
        ("bf16", "bf16"),
    ],
)
@pytest.mark.parametrize("index", range(3))
def test_a_step_of_an_hdf5_stack_is_what_is_stored_bit_by_bit(tensor: str, dtype: str, index: int, hdf5: Path) -> None:
    stored_as = "bf16" if "bits" in tensor else None
    check(opened(hdf5, tensor=f"stack/{tensor}", stack_index=index, stored_as=stored_as), STACKS[dtype][index])


def test_a_data_set_of_two_dimensions_is_a_matrix(hdf5: Path) -> None:
    check(opened(hdf5), STACKS["fp32"][1])
    check(opened(hdf5, tensor="bf16"), STACKS["bf16"][0])
    assert resolve_source(str(hdf5), SourceOptions()).name == "run"


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "bits"])
def test_the_same_values_have_the_same_hash_from_either_format(dtype: str, hdf5: Path, tmp_path: Path) -> None:
    W = STACKS["fp32" if dtype == "fp32" else "bf16"]
    save_file({"W": W.view(torch.uint16) if dtype == "bits" else W}, tmp_path / "W.safetensors")
    stored_as = "bf16" if dtype == "bits" else None
    for name, source, tensor in (("a", tmp_path / "W.safetensors", "W"), ("b", hdf5, f"stack/{dtype}")):
        options = SourceOptions(name, tensor=tensor, stored_as=stored_as, stack_index=2)
        ingest(tmp_path / "catalog", str(source), options, with_tokenizer=False)
    expected = hashlib.sha256(W[2].contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
    assert rows(tmp_path / "catalog", "select tensor_sha256, n_tokens, n_dims from models") == [(expected, 40, 8)] * 2


REFUSED = {
    "fp64": "tensor 'fp64' is stored as float64; bf16, fp16 and fp32 are read",
    "int": "tensor 'int' is stored as int16; bf16, fp16 and fp32 are read",
    "text": "tensor 'text' has shape []; W must have two dimensions",
    "pairs": "tensor 'pairs' is stored as a compound type; bf16",
    "big-endian bf16": "is stored as numbers of 2 bytes that NumPy has no type for; bf16, fp16 and fp32 are read",
    "vector": "tensor 'vector' has shape [8]; W must have two dimensions",
    "scalar": "tensor 'scalar' has shape []; W must have two dimensions",
    "nothing": "data set 'nothing' is empty",
    "stack": "'stack' is no data set; it has 'bf16', 'big-endian', ",
    "stack/fp32": "has shape [3, 40, 8]; W must have two dimensions, (tokens, dimensions); if the first counts steps, "
    "`steps=True` takes each step as a matrix",
    "stack/none": "no data set 'stack/none'; /stack has 'bf16', 'big-endian', ",
    "W/none": "no data set 'W/none'; /W has none",
    "none": "no data set 'none'; it has 'W', ",
    "stack/bits": "tensor 'stack/bits' has shape [3, 40, 8]",
    "soft": "'/soft' is a link to '/W', and links aren't followed; name the data set itself",
    "elsewhere": "'/elsewhere' is a link to '/W' in 'other.h5', and links aren't followed",
    "folder/W": "'/folder' is a link to '/' in 'other.h5', and links aren't followed",
    "outside": "data set 'outside' keeps its numbers in other files; store them in this one",
    "virtual": "data set 'virtual' keeps its numbers in other files; store them in this one",
}


@pytest.mark.parametrize("tensor", REFUSED)
def test_a_data_set_that_cant_serve_is_refused(tensor: str, hdf5: Path) -> None:
    message = refusal(hdf5, tensor=tensor)
    assert message.startswith(f"{hdf5}: ")
    assert REFUSED[tensor] in message


def test_a_file_that_an_hdf5_file_points_to_is_never_opened(hdf5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hdf5.with_name("other.h5").rename(hdf5.with_name("gone.h5"))  # else a look would find it
    try:
        assert "is a link to '/W' in 'other.h5'" in refusal(hdf5, tensor="elsewhere")
        assert "no data set 'none'; it has 'W', " in refusal(hdf5, tensor="none")
    finally:
        hdf5.with_name("gone.h5").rename(hdf5.with_name("other.h5"))


@pytest.mark.parametrize("cut", [0, 7, 100, 2047, -1])
def test_a_truncated_hdf5_file_is_refused(cut: int, hdf5: Path, tmp_path: Path) -> None:
    whole = hdf5.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[:cut])
    assert f"{tmp_path}/cut.h5: can't be read as HDF5 (" in refusal(tmp_path / "cut.h5")


def test_a_damaged_chunk_is_told_while_it_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "W.h5", "w") as file:
        stored = file.create_dataset("W", data=STACKS["fp32"][0].numpy(), chunks=(10, 8), compression="gzip")
        chunk = stored.id.get_chunk_info(3)
    damaged = bytearray((tmp_path / "W.h5").read_bytes())
    damaged[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    (tmp_path / "W.h5").write_bytes(damaged)
    with pytest.raises(CatalogError, match=r"W.h5: can't be read as HDF5 \("):
        ingest(tmp_path / "catalog", str(tmp_path / "W.h5"), SourceOptions(), with_tokenizer=False)
    assert not list((tmp_path / "catalog").rglob("*.parquet"))


def test_without_h5py_the_line_that_installs_it_is_told(hdf5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    assert refusal(hdf5) == f"{hdf5}: HDF5 is read with h5py: pip install 'token-catalog[hdf5]'"


def test_no_file_and_text_and_a_folder_for_hdf5_are_refused(tmp_path: Path) -> None:
    (tmp_path / "W.hdf5").write_text("W")
    assert "W.hdf5: can't be read as HDF5 (" in refusal(tmp_path / "W.hdf5")
    assert refusal(tmp_path) == f"{tmp_path}: has no .safetensors file; give W.hdf5 itself"
    assert refusal(Path("none.h5")) == "none.h5: no such file or folder"


@pytest.mark.parametrize("dtype", STACKS)
def test_a_step_of_a_safetensors_stack_is_what_is_stored(dtype: str, tmp_path: Path) -> None:
    W = STACKS[dtype]
    save_file({"W": W, "a": torch.zeros(3, dtype=torch.int8)}, tmp_path / "W.safetensors")
    for index in range(3):
        check(opened(tmp_path / "W.safetensors", stack_index=index), W[index])
    for index in (3, -1):
        assert f"and so no index {index} in its first dimension" in refusal(
            tmp_path / "W.safetensors", stack_index=index
        )


def test_a_tensor_may_begin_at_any_byte(tmp_path: Path) -> None:
    W = STACKS["fp32"]
    header = json.dumps({"W": {"dtype": "F32", "shape": SHAPE, "data_offsets": [0, W.numel() * 4]}}).encode()
    header += b" " * (3 - len(header) % 8)
    (tmp_path / "W.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + W.numpy().tobytes())
    check(opened(tmp_path / "W.safetensors", stack_index=1), W[1])


def test_a_stack_larger_than_the_memory_is_read_a_step_at_a_time(tmp_path: Path) -> None:
    """Of 8 TiB, a hole but for one step: no machine maps that so that it could be written to."""
    size = 40 * 8 * 4
    n_steps = 2**43 // size
    about = {"dtype": "F32", "shape": [n_steps, 40, 8], "data_offsets": [0, n_steps * size]}
    header = json.dumps({"W": about}).encode()
    path = tmp_path / "W.safetensors"
    try:
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + n_steps * size)
            file.seek(8 + len(header) + 1000 * size)
            file.write(STACKS["fp32"][1].numpy().tobytes())
    except OSError:
        pytest.skip("the file system has no files of that size")
    check(opened(path, stack_index=1000), STACKS["fp32"][1])


def test_an_index_is_of_a_file_with_three_dimensions(tmp_path: Path) -> None:
    bare = save_bare(tmp_path / "W.safetensors", matrix_of(1))
    assert "has shape [40, 8]; of steps, (steps, tokens, dimensions), it would have three" in refusal(
        bare, stack_index=0
    )
    folder = save_tensors(tmp_path / "m", {EMBEDDING: matrix_of(1)})
    assert "m: stack_index is of a file with a tensor" in refusal(folder, stack_index=0)


def stack(tmp_path: Path, metadata: str | None = None, **tensors: torch.Tensor) -> Path:
    """Save a stack with what tells its steps."""
    told = None if metadata is None else {"steps": metadata}
    save_file({"W": STACKS["fp32"], **tensors}, tmp_path / "W.safetensors", told)
    return tmp_path / "W.safetensors"


def test_the_steps_are_what_the_file_says(tmp_path: Path) -> None:
    assert stack_steps(stack(tmp_path), "W") == [0, 1, 2]
    assert stack_steps(stack(tmp_path, "[0, 100, 250]"), "W") == [0, 100, 250]
    assert stack_steps(stack(tmp_path, "0,100,250"), "W") == [0, 100, 250]
    for dtype in (torch.int64, torch.uint8, torch.int32):
        assert stack_steps(stack(tmp_path, steps=torch.tensor([0, 7, 250], dtype=dtype)), "W") == [0, 7, 250]
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["g/W"], file["steps"] = STACKS["fp32"].numpy(), np.array([5, 6, 9], ">u4")
    assert stack_steps(tmp_path / "run.h5", "g/W") == [5, 6, 9]


BAD_STEPS: dict[str, tuple[dict[str, Any], str]] = {
    "two of three": ({"metadata": "[0, 1]"}, "has 3 steps in it, but 'steps' in the same file has 2 numbers"),
    "no list": ({"metadata": "every 100"}, "its metadata's 'steps' is no list of whole numbers, like [0, 100, 200]"),
    "halves": ({"metadata": "[0, 0.5, 1]"}, "its metadata's 'steps' is no list of whole numbers"),
    "floats": ({"steps": torch.zeros(3)}, "its tensor 'steps' is stored as F32; steps are whole numbers"),
    "bf16": ({"steps": torch.zeros(3).bfloat16()}, "its tensor 'steps' is stored as BF16; steps are whole numbers"),
    "a matrix": ({"steps": torch.zeros(3, 1, dtype=torch.int64)}, "'steps' holds int64 of shape [3, 1]; steps are"),
    "below zero": ({"metadata": "[-1, 0, 1]"}, "'steps' has -1; steps are whole numbers from 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_STEPS)
def test_steps_that_cant_be_are_refused(case: str, tmp_path: Path) -> None:
    said, message = BAD_STEPS[case]
    with pytest.raises(CatalogError) as caught:
        stack_steps(stack(tmp_path, **said), "W")
    assert message in str(caught.value)


def test_a_stack_of_no_steps_or_of_what_is_no_matrix_is_refused(tmp_path: Path) -> None:
    for shape, message in (((0, 40, 8), "and so no step"), ((3, 40, 2), "the sky needs 3 dimensions")):
        save_file({"W": torch.zeros(shape)}, tmp_path / "W.safetensors")
        with pytest.raises(CatalogError, match=message):
            stack_steps(tmp_path / "W.safetensors", "W")


def trained() -> dict[str, Any]:
    """Return a checkpoint as training loops save it: the model's tensors, the optimizer's, the step."""
    torch.manual_seed(0)
    model = torch.nn.Sequential()
    model.add_module("embed", torch.nn.Embedding(40, 8))
    model.add_module("head", torch.nn.Linear(8, 40))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.arange(40)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 1}


@pytest.mark.parametrize("held", ["a checkpoint", "a state", "a tensor", "a parameter"])
def test_the_lines_of_the_refusal_convert_a_checkpoint(held: str, tmp_path: Path) -> None:
    checkpoint = trained()
    W = checkpoint["model"]["embed.weight"]
    saved = {"a checkpoint": checkpoint, "a state": checkpoint["model"], "a tensor": W}
    path = tmp_path / "it's\n a" / "step_1.pt"
    path.parent.mkdir()
    torch.save(saved.get(held, torch.nn.Parameter(W)), path)
    _, _, lines = refusal(path).partition("which is a source:\n")
    names: dict[str, Any] = {}
    for line in lines.splitlines():
        exec(compile(line, "<pasted>", "single"), names)  # noqa: S102 (as the interpreter takes it)
    check(opened(path.with_suffix(".safetensors")), W)
    assert "step_1.W.safetensors" in refusal(path)  # what is there isn't overwritten


def test_the_optimizers_states_are_picked_out_as_the_page_says(tmp_path: Path) -> None:
    torch.save(trained(), tmp_path / "step_1.pt")
    page = (Path(__file__).parents[2] / "docs" / "your-own-models.md").read_text(encoding="utf-8")
    (code,) = [block.partition("```")[0] for block in page.split("```python\n")[1:] if "exp_avg" in block]
    written = code.replace("runs/", f"{tmp_path}/")
    exec(compile(written, "<page>", "exec"), {})  # noqa: S102
    for role in ("m", "v"):
        key = {"m": "exp_avg", "v": "exp_avg_sq"}[role]
        check(opened(tmp_path / f"step_1.{role}.safetensors"), trained()["optimizer"]["state"][0][key])
