"""Which tensors of a model are its embedding and its unembedding.

One is recognised by its name (what the common architectures call it) and its shape (vocab_size × hidden, from
config.json); where both aren't enough, the caller names it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from token_catalog.catalog.errors import CatalogError, listed

from .matrix import Matrix
from .model_files import CONFIG

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


@dataclass(frozen=True)
class ChosenTensor:
    """One tensor of a model: `matrix` is tied, input or output, or None where nothing says."""

    matrix: str | None
    tensor: str


class Tensors(Protocol):
    """The tensors of a model, wherever they are stored."""

    where: str

    def names(self) -> list[str]:
        """Return every tensor's name."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""

    def matrix(self, name: str, stored_as: str | None = None) -> Matrix:
        """Return a tensor as a matrix in a local file, fetched if need be; of U16, as what it has the bits of."""


def choose(
    tensors: Tensors, config: Mapping[str, Any], matrix: str | None = None, tensor: str | None = None
) -> list[ChosenTensor]:
    """Return the tensors to catalogue, by name and shape; CatalogError where there is none of the kind asked for.

    `matrix` (input, output or both) and `tensor`, a name, are what the caller asks for.
    """
    names = tensors.names()
    if tensor:
        if tensor not in names:
            raise CatalogError(f"{tensors.where}: no tensor '{tensor}'; it has {listed(names)}")
        return [ChosenTensor(None if matrix in (None, "both") else matrix, tensor)]
    inputs = _recognised(tensors, config, INPUT_NAMES)
    outputs = _recognised(tensors, config, OUTPUT_NAMES)
    tied = lookup(config, "tie_word_embeddings")
    # Encoders carry no head, and the base class's default is to tie it.
    if (inputs and not outputs and tied is not False) or (outputs and not inputs and tied is True):
        return [ChosenTensor("tied", (inputs or outputs)[0])]
    recognised = {"input": inputs, "output": outputs}
    wanted = [matrix] if matrix in recognised else ["input", "output"] if outputs else ["input"]
    for role in wanted:
        if not recognised[role]:
            raise _nothing_recognised(tensors, config, role)
    return [ChosenTensor(role, recognised[role][0]) for role in wanted]


def lookup(config: Mapping[str, Any], key: str) -> object:
    """Return what a configuration, or one nested in it, has under a key; None where none has it."""
    if key in config:
        return config[key]
    return next((nested[key] for nested in _nested(config) if key in nested), None)


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
        f"`tensor=` says which it is: {listed(alike or tensors.names())}"
    )


def _values(config: Mapping[str, Any], keys: tuple[str, ...]) -> list[int]:
    """Return the whole numbers under any of these keys, here and in nested configurations, outermost first."""
    numbers = [config[key] for key in keys if isinstance(config.get(key), int)]
    for nested in _nested(config):
        numbers += _values(nested, keys)
    return numbers


def _nested(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (value for value in config.values() if isinstance(value, Mapping))
