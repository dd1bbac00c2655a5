"""Clusters that files name: every format and type, what is refused, and what later commands make of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from tests.support.helpers import bf16_matrix, ingest_bare, rows
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.add_references import add_references
from token_catalog.ingest.recipe.entries import TokenFile
from token_catalog.ingest.recipe.recipe import LinkageDistances, parse_recipe
from token_catalog.ingest.recipe.shipping import load_additions, load_recipe
from token_catalog.ingest.references.token_files import read_token_files
from token_catalog.ingest.relink import relink

N_TOKENS = 300
IDS = [3, 7, 200, 299]
SHUFFLED = [200, 3, 299, 7, 3]
WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64)


def mask(dtype: torch.dtype, n_tokens: int = N_TOKENS) -> torch.Tensor:
    """Return a mask with IDS in it."""
    made = torch.zeros(n_tokens, dtype=dtype)
    made[[token for token in IDS if token < n_tokens]] = 1
    return made


def table(values: Any, name: str = "token_id", type_: pa.DataType | None = None) -> pa.Table:
    """Return a table with a column of these values beside one of text."""
    column = pa.array(values, type_)
    return pa.table({"text": ["x"] * len(column), name: column})


def write(path: Path, content: Any) -> Path:
    """Write a file by what it is: text, a table, tensors, or bytes."""
    if isinstance(content, dict):
        save_file(content, path)
    elif isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def members(folder: Path, content: Any, n_tokens: int = N_TOKENS, **entry: str) -> list[int]:
    """Return the tokens of the cluster that a file in a folder names, by a recipe beside it."""
    write(folder / entry["file"], content)
    recipe = parse_recipe({"cluster": [{"name": "c", **entry}]}, folder)
    pinned, found = read_token_files(recipe, n_tokens)
    file = pinned.clusters[0].file
    assert file is not None
    assert file.sha256 == hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest()
    assert parse_recipe(json.loads(pinned.dumps())) == pinned
    assert found["c"].dtype == np.int32
    ids: list[int] = found["c"].tolist()
    return ids


GOOD = {
    "text": ("200\n3\n299\n7\n3\n", {"file": "ids.txt"}),
    "text with comments": ("\ufeff# mine\n\n 200 # far\r\n3\n+299\n7", {"file": "ids.txt"}),
    "csv": ("text,token_id\na,200\nb,3\nc,299\nd,7\ne,3\n", {"file": "ids.csv"}),
    "csv's column": ('"my id",token_id\n200,0\n3,1\n299,2\n7,3\n', {"file": "ids.csv", "column": "my id"}),
    "parquet": (table(SHUFFLED), {"file": "ids.parquet"}),
    "parquet's column": (table(SHUFFLED, "ids", pa.uint16()), {"file": "ids.parquet", "column": "ids"}),
    "mask of bool": ({"m": mask(torch.bool)}, {"file": "m.safetensors", "key": "m"}),
    "mask of uint8": ({"other": torch.zeros(3), "m": mask(torch.uint8)}, {"file": "m.safetensors", "key": "m"}),
    "mask of int64": ({"m": mask(torch.int64)}, {"file": "m.safetensors", "key": "m"}),
}


@pytest.mark.parametrize(("content", "entry"), GOOD.values(), ids=GOOD)
def test_every_format_names_the_same_tokens(content: Any, entry: dict[str, str], tmp_path: Path) -> None:
    assert members(tmp_path, content, **entry) == IDS


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_token_ids_may_be_whole_numbers_of_any_type(dtype: torch.dtype, tmp_path: Path) -> None:
    ids = torch.tensor([100, 3, 7, 3]).to(dtype)
    assert members(tmp_path, {"ids": ids}, file="m.safetensors", key="ids") == [3, 7, 100]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64], ids=str)
def test_a_zero_and_a_one_are_token_ids_but_of_a_matrix_of_two_rows(dtype: torch.dtype, tmp_path: Path) -> None:
    few = {"ids": torch.tensor([1, 0], dtype=dtype)}
    assert members(tmp_path, few, file="m.safetensors", key="ids") == [0, 1]
    assert members(tmp_path, few, n_tokens=2, file="m.safetensors", key="ids") == [0]


TENSOR = {"file": "m.safetensors", "key": "m"}
BAD = {
    "past W": ("7\n300\n", {"file": "i.txt"}, r"i.txt: 300 is no token_id: W has rows 0 to 299"),
    "below 0": ("7\n-3\n", {"file": "i.txt"}, r"i.txt: -3 is no token_id: W has rows 0 to 299"),
    "a word": ("7\nseven\n", {"file": "i.txt"}, r"i.txt: line 2: 'seven' is no token_id; write one a line"),
    "a fraction": ("7.0\n", {"file": "i.txt"}, r"line 1: '7.0' is no token_id"),
    "two a line": ("7 8\n", {"file": "i.txt"}, r"line 1: '7 8' is no token_id"),
    "past all numbers": ("9" * 5000, {"file": "i.txt"}, r"line 1: '9+' is no token_id"),
    "no line": ("# none\n", {"file": "i.txt"}, r"i.txt: has no token_id"),
    "no text": (b"\xff\xfe\x00", {"file": "i.txt"}, r"i.txt: can't be read \("),
    "csv without the column": ("a,b\n1,2\n", {"file": "i.csv"}, r"no column 'token_id'; it has 'a', 'b'"),
    "csv of fractions": ("token_id\n1.5\n", {"file": "i.csv"}, r"column 'token_id' is double; token_ids are whole"),
    "csv of words": ("token_id\nx\n", {"file": "i.csv"}, r"column 'token_id' is string"),
    "csv of truths": ("token_id\ntrue\n", {"file": "i.csv"}, r"column 'token_id' is bool"),
    "csv with a gap": ("token_id,b\n1,2\n,3\n", {"file": "i.csv"}, r"'token_id' has rows without a value: 1"),
    "csv without rows": ("token_id\n", {"file": "i.csv"}, r"i.csv: has no token_id"),
    "empty csv": ("", {"file": "i.csv"}, r"i.csv: can't be read \(Empty CSV file\)"),
    "parquet of fractions": (table([1.0]), {"file": "i.parquet"}, r"column 'token_id' is double"),
    "parquet without the column": (
        table([1], "id"),
        {"file": "i.parquet"},
        r"no column 'token_id'; it has 'id', 'text'",
    ),
    "parquet past W": (table([2**40]), {"file": "i.parquet"}, r"1099511627776 is no token_id"),
    "no parquet": (b"PAR0", {"file": "i.parquet"}, r"i.parquet: can't be read \("),
    "another key": ({"a": mask(torch.bool)}, TENSOR, r"m.safetensors: no tensor 'm'; it has 'a'"),
    "floats": ({"m": torch.tensor([1.0])}, TENSOR, r"'m' is neither a mask nor token_ids, but torch.float32 of shape"),
    "a table": (
        {"m": torch.zeros(2, 2).int()},
        TENSOR,
        r"neither a mask nor token_ids, but torch.int32 of shape \[2, 2",
    ),
    "a shorter mask": ({"m": mask(torch.bool, 250)}, TENSOR, r"m.safetensors: is a mask of 250, and W has 300 rows"),
    "a longer mask": ({"m": mask(torch.uint8, 301)}, TENSOR, r"m.safetensors: is a mask of 301, and W has 300 rows"),
    "an empty mask": ({"m": torch.zeros(300, dtype=torch.bool)}, TENSOR, r"is a mask without a token"),
    "no ids": ({"m": torch.zeros(0).int()}, TENSOR, r"m.safetensors: has no token_id"),
    "ids past W": ({"m": torch.tensor([2**63], dtype=torch.uint64)}, TENSOR, r"9223372036854775808 is no token_id"),
    "no safetensors": (b"x" * 90, TENSOR, r"not a safetensors file, or a damaged one"),
    "another file": (
        "7\n",
        {"file": "i.txt", "sha256": "0a"},
        r"its SHA-256 is \w{64}, and sha256 asks for 0a: another",
    ),
}


@pytest.mark.parametrize(("content", "entry", "message"), BAD.values(), ids=BAD)
def test_what_names_no_tokens_is_refused(content: Any, entry: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=rf"^cluster 'c'.file: .*{message}") as refused:
        members(tmp_path, content, **entry)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused_before_any_work(tmp_path: Path) -> None:
    recipe = parse_recipe({"cluster": [{"name": "c", "file": "gone.txt"}]}, tmp_path)
    with pytest.raises(CatalogError, match=r"^cluster 'c'.file: .*gone.txt: no such file"):
        ingest_bare(tmp_path / "c", bf16_matrix(40, 6), recipe=recipe)
    assert not (tmp_path / "c").exists()


def test_what_is_pickled_is_not_read(tmp_path: Path) -> None:
    for name in ("ids.pt", "ids.pkl", "ids", "ids.npy"):
        with pytest.raises(CatalogError, match=rf"'{name}': of the endings .txt, .csv, .parquet, .safetensors, it has"):
            parse_recipe({"cluster": [{"name": "c", "file": name}]}, tmp_path)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a folder with a recipe that names files beside it, and the catalog `c` made by it."""
    write(tmp_path / "ids.txt", "1\n2\n3\n")
    write(tmp_path / "m.safetensors", {"mask": mask(torch.uint8)})
    (tmp_path / "r.toml").write_text(
        '[[cluster]]\nname = "listed"\nfile = "ids.txt"\n'
        '[[cluster]]\nname = "masked"\nfile = "m.safetensors"\nkey = "mask"\n'
        '[[cluster]]\nname = "asked"\nwhere = "token_id < 2"\n'
        '[[reference]]\nname = "mid"\ncentroid = "masked"\n'
    )
    ingest_bare(
        tmp_path / "c",
        bf16_matrix(N_TOKENS, 6),
        recipe=load_recipe(tmp_path / "r.toml"),
        asked=LinkageDistances(0.02, 0.01),
    )
    return tmp_path


CLUSTERS = "select cluster, list(token_id order by token_id), any_value(definition) from recipe_clusters group by all"


def of_files(folder: Path) -> dict[str, tuple[list[int], str]]:
    """Return what the catalog's recipe names, with each definition."""
    return {name: (ids, told) for name, ids, told in rows(folder / "c", f"{CLUSTERS} order by all")}


def test_a_definition_has_the_files_name_and_hash(study: Path) -> None:
    hashes = {name: hashlib.sha256((study / name).read_bytes()).hexdigest() for name in ("ids.txt", "m.safetensors")}
    assert of_files(study) == {
        "asked": ([0, 1], "token_id < 2"),
        "listed": ([1, 2, 3], f"file ids.txt (sha256 {hashes['ids.txt']})"),
        "masked": (IDS, f"file m.safetensors (sha256 {hashes['m.safetensors']}), key mask"),
    }
    (told,) = rows(study / "c", "select definition, kind, n_tokens from clusters where cluster = 'masked'")
    assert told == (of_files(study)["masked"][1], "recipe", 4)
    ((kept,),) = rows(study / "c", "select recipe from models")
    assert parse_recipe(json.loads(kept)).clusters[1].file == TokenFile(
        str(study / "m.safetensors"), "mask", hashes["m.safetensors"]
    )
    centre = rows(study / "c", "select vector from reference_vectors where reference = 'mid'")
    assert centre == [(rows(study / "c", "select centroid_of('masked')")[0][0],)]


def test_linking_anew_needs_no_file(study: Path) -> None:
    before = of_files(study)
    (study / "ids.txt").unlink()
    write(study / "m.safetensors", b"something else")
    relink(study / "c", "m", LinkageDistances(0.03))
    assert of_files(study) == before


def test_later_additions_read_files_and_leave_the_others_alone(study: Path) -> None:
    before = of_files(study)
    (study / "ids.txt").unlink()
    (study / "m.safetensors").unlink()
    write(study / "more.csv", "token_id\n9\n8\n")
    text = '[[cluster]]\nname = "more"\nfile = "more.csv"\n[[reference]]\nname = "n"\ncentroid = "more"\n'
    (study / "more.toml").write_text(text)
    add_references(study / "c", "m", load_additions(study / "more.toml"))
    after = of_files(study)
    assert after.pop("more")[0] == [8, 9]
    assert after == before
    write(study / "more.csv", "token_id\n300\n")
    with pytest.raises(CatalogError, match="300 is no token_id"):
        add_references(study / "c", "m", load_additions(study / "more.toml"), replace=True)
    write(study / "more.csv", "token_id\n10\n")
    add_references(study / "c", "m", load_additions(study / "more.toml"), replace=True)
    assert of_files(study)["more"][0] == [10]


def test_an_ingest_by_the_recipe_in_force_wants_the_same_file(study: Path) -> None:
    ((kept,),) = rows(study / "c", "select recipe from models")
    recipe = parse_recipe(json.loads(kept))
    ingest_bare(study / "c", bf16_matrix(N_TOKENS, 6), "again", recipe=recipe)
    write(study / "ids.txt", "1\n2\n")
    with pytest.raises(CatalogError, match=r"ids.txt: its SHA-256 is \w+, and sha256 asks for \w+: another file"):
        ingest_bare(study / "c", bf16_matrix(N_TOKENS, 6), "third", recipe=recipe)


def test_a_column_that_a_file_has_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("token_id,token_id\n1,2\n")
    recipe = load_recipe({"cluster": [{"name": "twice", "file": str(tmp_path / "ids.csv")}]})
    with pytest.raises(
        CatalogError, match=r"'twice'.file: .*ids.csv: has 2 columns 'token_id'; give each its own name"
    ):
        read_token_files(recipe, 9)
