"""SOURCE -> the matrices to catalogue: which tensor of a model folder is its embedding, and which its unembedding.

A tensor is recognised by its name (what the common architectures call it) and its shape (vocab_size × hidden, from
config.json); where both aren't enough, `--tensor` is the way out. Pickled weights are never opened.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.source.matrix import Matrix, listed, open_matrix, tensor_shapes
from token_catalog.ingest.source.model_files import CONFIG, INDEX, read_index, read_json

BARE_TENSOR = "W"

# The last parts of the embedding's name, the surest first.
INPUT_NAMES = (
    "shared.weight",  # T5, BART: their encoder's and decoder's embed_tokens may be stored beside it
    "embed_tokens.weight",  # Llama, Qwen, Mistral, Gemma, Phi, OPT and most since
    "embeddings.word_embeddings.weight",  # BERT, RoBERTa, DistilBERT, ALBERT, ELECTRA
    "embeddings.tok_embeddings.weight",  # ModernBERT
    "tok_embeddings.weight",  # Mistral's own files, InternLM
    "wte.weight",  # GPT-2, GPT-J, MPT
    "embed_in.weight",  # GPT-NeoX, Pythia
    "word_embeddings.weight",  # Falcon, Bloom, ChatGLM
    "word_embedding.weight",  # XLNet
    "tokens_embed.weight",  # GPT
    "token_embedding.weight",  # CLIP
    "transformer.w.weight",  # CTRL
    "backbone.embeddings.weight",  # Mamba
    "backbone.embedding.weight",
    "embeddings.weight",  # RWKV
)
OUTPUT_NAMES = (
    "lm_head.weight",  # most decoders
    "embed_out.weight",  # GPT-NeoX, Pythia
    "output_layer.weight",  # ChatGLM
    "cls.predictions.decoder.weight",  # BERT
    "lm_head.decoder.weight",  # RoBERTa
    "generator_lm_head.weight",  # ELECTRA
    "vocab_projector.weight",  # DistilBERT
    "lm_loss.weight",  # XLNet
    "proj_out.weight",  # Whisper
    "output_projection.weight",  # BioGPT
    "pred_layer.proj.weight",  # XLM
    "head.weight",  # RWKV
    "output.weight",  # Mistral's own files, InternLM
    "decoder.weight",  # ModernBERT
)
_VOCABULARY_KEYS = ("vocab_size",)
_WIDTH_KEYS = (
    "hidden_size", "d_model", "n_embd", "n_embed", "dim", "embedding_size", "word_embed_proj_dim", "d_embed",
    "embed_dim", "emb_dim", "input_embedding_size", "output_embedding_size",
)  # fmt: skip
# Rows past vocab_size: padding to a multiple, or tokens of another kind (Llama 3.2 Vision has 8 for images).
_MOST_EXTRA_ROWS = 1024
MATRICES = ("input", "output", "both")
_HUB_ID = re.compile(r"\w[\w.-]*(/[\w.-]+)?")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class Choice:
    """One tensor of a model: `matrix` is tied, input or output, or None where nothing says."""

    matrix: str | None
    tensor: str


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
class Options:
    """How to read a source: the options of `ingest` that choose among what is there."""

    name: str | None = None
    matrix: str | None = None
    tensor: str | None = None
    revision: str | None = None
    tokenizer: str | None = None


class Tensors(Protocol):
    """The tensors of a model, wherever they are stored."""

    where: str

    def names(self) -> list[str]:
        """Return every tensor's name."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""

    def matrix(self, name: str) -> Matrix:
        """Return a tensor as a matrix in a local file, fetched if need be."""


class LocalTensors:
    """The tensors of a local folder: one file, several, or an index with shards. Opens a shard when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Find the folder's tensors; CatalogError where it has none that may be opened."""
        self.where = str(folder)
        index = folder / INDEX
        if index.is_file():
            self._files = {name: folder / file for name, file in read_index(index).items()}
            return
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise _no_safetensors(folder)
        self._files = {name: file for file in files for name in tensor_shapes(file)}

    def names(self) -> list[str]:
        """Return every tensor's name."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return tensor_shapes(self._shard(name)).get(name, ())

    def matrix(self, name: str) -> Matrix:
        """Return a tensor as a matrix."""
        return open_matrix(self._shard(name), name)

    def _shard(self, name: str) -> Path:
        file = self._files[name]
        if not file.is_file():
            raise CatalogError(
                f"{file}: the shard with '{name}' isn't there, though {INDEX} names it; download it again"
            )
        return file


def resolve(source: str, options: Options) -> Source:
    """Find the matrices and the tokenizer that SOURCE means; CatalogError says what it lacks.

    SOURCE is a folder, a bare `W.safetensors`, or a Hugging Face id.
    """
    _check_name(options.name)
    if not source:
        raise CatalogError("SOURCE is empty; give a Hugging Face id, a folder with a model, or a W.safetensors")
    if options.matrix not in (None, *MATRICES):
        raise CatalogError(f"--matrix {options.matrix}: unknown; one of {', '.join(MATRICES)}")
    path = _path(source)
    if path.is_dir():
        return _from_folder(path.resolve(), options)
    if path.is_file():
        return _from_file(path.resolve(), options)
    if not _HUB_ID.fullmatch(source) or path.suffix == ".safetensors":
        raise CatalogError(f"{source}: no such file or folder")
    from token_catalog.ingest.source import hub  # only who fetches needs it

    model = hub.fetch(source, options.revision)
    name = options.name or source.split("/")[-1]
    tokenizer = _tokenizer(options.tokenizer) or model.folder
    return Source(name, source, model.revision, tokenizer, *_matrices(model, model.folder, name, options))


def choose(tensors: Tensors, config: Mapping[str, Any], options: Options) -> list[Choice]:
    """Return the tensors to catalogue, by name and shape; CatalogError where there is none of the kind asked for."""
    names = tensors.names()
    if options.tensor:
        if options.tensor not in names:
            raise CatalogError(f"{tensors.where}: no tensor '{options.tensor}'; it has {listed(names)}")
        return [Choice(None if options.matrix in (None, "both") else options.matrix, options.tensor)]
    inputs = _recognised(tensors, config, INPUT_NAMES)
    outputs = _recognised(tensors, config, OUTPUT_NAMES)
    tied = _lookup(config, "tie_word_embeddings")
    # Encoders carry no head, and the base class's default is to tie it.
    if (inputs and not outputs and tied is not False) or (outputs and not inputs and tied is True):
        return [Choice("tied", (inputs or outputs)[0])]
    found = {"input": inputs, "output": outputs}
    wanted = [options.matrix] if options.matrix in found else ["input", "output"] if outputs else ["input"]
    for matrix in wanted:
        if not found[matrix]:
            raise _nothing_recognised(tensors, config, matrix)
    return [Choice(matrix, found[matrix][0]) for matrix in wanted]


def _from_folder(folder: Path, options: Options) -> Source:
    _no_revision(options)
    name = options.name or _folder_name(folder)
    tensors = LocalTensors(folder)
    tokenizer = _tokenizer(options.tokenizer) or folder
    return Source(name, str(folder), None, tokenizer, *_matrices(tensors, folder, name, options))


def _from_file(path: Path, options: Options) -> Source:
    _no_revision(options)
    if any(path.match(pattern) for pattern in _PICKLES):
        raise _pickled(path)
    if options.matrix:
        raise CatalogError(f"{path}: a bare matrix is neither input nor output; leave --matrix out")
    # tensors/<MODEL>/W.safetensors, as the notebooks keep it, is named by its folder.
    name = options.name or (path.stem == BARE_TENSOR and path.parent.name) or path.stem
    matrix = open_matrix(path, options.tensor or BARE_TENSOR)
    return Source(name, str(path), None, _tokenizer(options.tokenizer), {name: (None, matrix)})


def _matrices(
    tensors: Tensors, folder: Path, name: str, options: Options
) -> tuple[dict[str, tuple[str | None, Matrix]], list[str]]:
    """Return the chosen matrices by model key, and warnings."""
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    if not config and not options.tensor:
        raise CatalogError(
            f"{tensors.where}: has no {CONFIG}, so nothing says which tensor is W; name it with --tensor"
        )
    chosen = [(choice.matrix, tensors.matrix(choice.tensor)) for choice in choose(tensors, config, options)]
    if len(chosen) == 2 and _same_values(chosen[0][1], chosen[1][1]):
        return {name: ("tied", chosen[0][1])}, []
    if len(chosen) == 2 and _lookup(config, "tie_word_embeddings") is True:
        return (
            {f"{name}/{matrix}": (matrix, stored) for matrix, stored in chosen},
            ["config.json says the embeddings are tied, but the two stored matrices differ: both are catalogued"],
        )
    if chosen[0][0] in ("input", "output"):
        return {f"{name}/{matrix}": (matrix, stored) for matrix, stored in chosen}, []
    return {name: chosen[0]}, []


def _recognised(tensors: Tensors, config: Mapping[str, Any], endings: tuple[str, ...]) -> list[str]:
    """Return the tensors with one of these names and the shape that the configuration gives, the surest first."""
    vocabularies, widths = _values(config, _VOCABULARY_KEYS), _values(config, _WIDTH_KEYS)

    def fits(name: str, most_extra: int) -> bool:
        shape = tensors.shape(name)
        return (
            len(shape) == 2
            and (not vocabularies or any(0 <= shape[0] - n <= most_extra for n in vocabularies))
            and (not widths or shape[1] in widths)
        )

    shortest_first = sorted(tensors.names(), key=len)
    named = [n for ending in endings for n in shortest_first if n == ending or n.endswith(f".{ending}")]
    return [n for n in named if fits(n, 0)] or [n for n in named if fits(n, _MOST_EXTRA_ROWS)]


def _nothing_recognised(tensors: Tensors, config: Mapping[str, Any], matrix: str) -> CatalogError:
    vocabularies, widths = _values(config, _VOCABULARY_KEYS), _values(config, _WIDTH_KEYS)
    expected = f"{vocabularies[0] if vocabularies else '?'} × {widths[0] if widths else '?'}"
    alike = [n for n in tensors.names() if len(s := tensors.shape(n)) == 2 and s[0] in vocabularies]
    return CatalogError(
        f"{tensors.where}: no tensor has an {matrix} matrix's name and the shape {expected} of {CONFIG}; "
        f"--tensor NAME says which it is: {listed(alike or tensors.names())}"
    )


def _values(config: Mapping[str, Any], keys: tuple[str, ...]) -> list[int]:
    """Return the whole numbers under any of these keys, here and in nested configurations, outermost first."""
    found = [config[key] for key in keys if isinstance(config.get(key), int)]
    for nested in _nested(config):
        found += _values(nested, keys)
    return found


def _lookup(config: Mapping[str, Any], key: str) -> object:
    if key in config:
        return config[key]
    return next((nested[key] for nested in _nested(config) if key in nested), None)


def _nested(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (value for value in config.values() if isinstance(value, Mapping))


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
    path = _path(option)
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        return path.resolve().parent
    if not _HUB_ID.fullmatch(option):
        raise CatalogError(f"{option}: no such folder; --tokenizer takes a folder with a tokenizer's files, or an id")
    from token_catalog.ingest.source import hub

    return hub.fetch_tokenizer(option)


def _check_name(name: str | None) -> None:
    if name is not None and (not name.strip() or name.encode(errors="ignore").decode() != name):
        raise CatalogError(f"--name {name!r}: empty, or no Unicode text; give another")


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~ of nobody
        raise CatalogError(f"{text}: no such file or folder") from None


def _folder_name(folder: Path) -> str:
    """Return a model's name from its folder; a Hugging Face cache folder is named by a commit.

    >>> _folder_name(Path("/c/models--Qwen--Qwen3-4B/snapshots/0a1b"))
    'Qwen3-4B'
    """
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.split("--")[-1]
    return folder.name


def _no_revision(options: Options) -> None:
    if options.revision:
        raise CatalogError("--revision is of a Hugging Face id; a local source has none")


def _no_safetensors(folder: Path) -> CatalogError:
    pickles = sorted(path for pattern in _PICKLES for path in folder.glob(pattern))
    return _pickled(pickles[0]) if pickles else CatalogError(f"{folder}: has no .safetensors file")


def _pickled(path: Path) -> CatalogError:
    return CatalogError(
        f"{path}: pickled weights can run code when they are opened, so they never are here; convert them where you "
        "trust them: model.save_pretrained(FOLDER) of transformers writes model.safetensors"
    )
