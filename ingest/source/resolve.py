"""SOURCE -> the matrices to catalogue, and the tokenizer: of a Hugging Face id, a local folder, or a bare matrix."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from token_catalog.catalog.errors import CatalogError

from .hdf5 import HDF5_SUFFIXES, open_dataset
from .local import LocalTensors, pickled
from .matrix import AS_BITS, Matrix, open_matrix
from .model_files import CONFIG, is_pickled, read_json
from .recognise import Tensors, choose, lookup

BARE_TENSOR = "W"
# ASCII's own, which the catalog's database has between names.
SEPARATORS = frozenset("\x1c\x1d\x1e\x1f")
SAFETENSORS = ".safetensors"

MATRICES = ("input", "output", "both")
_HUB_ID = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True)
class Source:
    """What an ingest catalogues: `matrices` by model key (NAME, NAME/input, NAME/output)."""

    name: str
    source: str
    revision: str | None
    tokenizer: Path | None
    matrices: Mapping[str, tuple[str | None, Matrix]]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source: the options of `ingest` that choose among what is there."""

    name: str | None = None
    matrix: str | None = None
    tensor: str | None = None
    revision: str | None = None
    tokenizer: str | None = None
    stored_as: str | None = None
    stack_index: int | None = None


def resolve_source(source: str, options: SourceOptions) -> Source:
    """Find the matrices and the tokenizer that SOURCE means; CatalogError says what it lacks.

    SOURCE is a folder, a bare `W.safetensors` or `W.h5`, or a Hugging Face id.
    """
    _check_name(options.name)
    if not source:
        raise CatalogError("SOURCE is empty; give a Hugging Face id, a folder with a model, or a W.safetensors")
    if options.matrix not in (None, *MATRICES):
        raise CatalogError(f"`matrix={options.matrix}`: unknown; one of {', '.join(MATRICES)}")
    if options.stored_as not in (None, *AS_BITS):
        raise CatalogError(f"`stored_as={options.stored_as}`: unknown; one of {', '.join(AS_BITS)}")
    path = local_path(source)
    if path.is_dir():
        return _from_folder(path.resolve(), options)
    if path.is_file():
        return _from_bare_matrix(path.resolve(), options)
    if not is_hub_id(source) or path.suffix in (SAFETENSORS, *HDF5_SUFFIXES):
        raise CatalogError(f"{source}: no such file or folder")
    _no_stack(source, options)
    from . import hub  # only who fetches needs it

    model = hub.fetch(source, options.revision)
    name = options.name or source.split("/")[-1]
    tokenizer = _tokenizer(options.tokenizer) or model.folder
    return Source(name, source, model.revision, tokenizer, *_matrices(model, model.folder, name, options))


def _from_folder(folder: Path, options: SourceOptions) -> Source:
    _no_revision(options)
    _no_stack(str(folder), options)
    name = options.name or _folder_name(folder)
    tensors = LocalTensors(folder)
    tokenizer = _tokenizer(options.tokenizer) or folder
    return Source(name, str(folder), None, tokenizer, *_matrices(tensors, folder, name, options))


def _from_bare_matrix(path: Path, options: SourceOptions) -> Source:
    _no_revision(options)
    if is_pickled(path.name):
        raise pickled(path)
    if options.matrix:
        raise CatalogError(f"{path}: a bare matrix is neither input nor output; leave `matrix=` out")
    name = options.name or bare_name(path)
    open_ = open_dataset if path.suffix in HDF5_SUFFIXES else open_matrix
    matrix = open_(path, options.tensor or BARE_TENSOR, options.stored_as, options.stack_index)
    return Source(name, str(path), None, _tokenizer(options.tokenizer), {name: (None, matrix)})


def default_name(source: str) -> str:
    """Return what a source is called where no name is given, by where it is alone.

    >>> default_name("Qwen/Qwen3-4B")
    'Qwen3-4B'
    """
    path = local_path(source)
    if path.is_dir():
        return _folder_name(path.resolve())
    return bare_name(path.resolve()) if path.is_file() else source.split("/")[-1]


def bare_name(path: Path) -> str:
    """Return the name of a bare matrix: its file's, or its folder's where the file is W, as the notebooks keep it.

    >>> bare_name(Path("tensors/Qwen3-4B/W.safetensors")), bare_name(Path("tensors/other.h5"))
    ('Qwen3-4B', 'other')
    """
    return (path.stem == BARE_TENSOR and path.parent.name) or path.stem


def _matrices(
    tensors: Tensors, folder: Path, name: str, options: SourceOptions
) -> tuple[dict[str, tuple[str | None, Matrix]], list[str]]:
    """Return the chosen matrices by model key, and warnings."""
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    if not config and not options.tensor:
        raise CatalogError(
            f"{tensors.where}: has no {CONFIG}, so nothing says which tensor is W; name it with `tensor=`"
        )
    chosen = [
        (choice.matrix, tensors.matrix(choice.tensor, options.stored_as))
        for choice in choose(tensors, config, options.matrix, options.tensor)
    ]
    if len(chosen) == 2 and _same_values(chosen[0][1], chosen[1][1]):
        return {name: ("tied", chosen[0][1])}, []
    if len(chosen) == 2 and lookup(config, "tie_word_embeddings") is True:
        return (
            {f"{name}/{matrix}": (matrix, stored) for matrix, stored in chosen},
            ["config.json says the embeddings are tied, but the two stored matrices differ: both are catalogued"],
        )
    if chosen[0][0] in ("input", "output"):
        return {f"{name}/{matrix}": (matrix, stored) for matrix, stored in chosen}, []
    return {name: chosen[0]}, []


def _same_values(a: Matrix, b: Matrix) -> bool:
    """Whether two matrices are stored twice but tied: equal in shape, type and bytes (a NaN too is its bytes)."""
    if (a.dtype, a.n_tokens, a.n_dims) != (b.dtype, b.n_tokens, b.n_dims):
        return False
    rows = 4096
    pairs = zip(a.chunks(rows), b.chunks(rows), strict=True)
    return all(torch.equal(x.view(torch.uint8), y.view(torch.uint8)) for (_, x), (_, y) in pairs)


def _tokenizer(option: str | None) -> Path | None:
    if option is None:
        return None
    path = local_path(option)
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        return path.resolve().parent
    if not is_hub_id(option):
        raise CatalogError(f"{option}: no such folder; `tokenizer=` takes a folder with a tokenizer's files, or an id")
    from . import hub

    return hub.fetch_tokenizer(option)


def _check_name(name: str | None) -> None:
    if name is None:
        return
    if not name.strip() or name.encode(errors="ignore").decode() != name or not SEPARATORS.isdisjoint(name):
        raise CatalogError(f"`name={name!r}`: empty, no Unicode text, or with ASCII's separators; give another")


def local_path(text: str) -> Path:
    """Return the path that a text means, there or not."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~ of nobody
        raise CatalogError(f"{text}: no such file or folder") from None


def is_hub_id(text: str) -> bool:
    """Whether a text may be a Hugging Face id.

    >>> is_hub_id("Qwen/Qwen3-4B"), is_hub_id("runs/a/b")
    (True, False)
    """
    return _HUB_ID.fullmatch(text) is not None


def _folder_name(folder: Path) -> str:
    """Return a model's name from its folder; a Hugging Face cache folder is named by a commit.

    >>> _folder_name(Path("/c/models--Qwen--Qwen3-4B/snapshots/0a1b"))
    'Qwen3-4B'
    """
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.split("--")[-1]
    return folder.name


def _no_revision(options: SourceOptions) -> None:
    if options.revision:
        raise CatalogError("`revision=` is of a Hugging Face id; a local source has none")


def _no_stack(source: str, options: SourceOptions) -> None:
    if options.stack_index is not None:
        raise CatalogError(
            f"{source}: stack_index is of a file with a tensor (steps, tokens, dimensions); this is none"
        )
