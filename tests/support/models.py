"""Model folders as transformers saves them: weights of given names with a config.json, and a tokenizer of words."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

WEIGHTS = "model.safetensors"
EMBEDDING, UNEMBEDDING = "model.embed_tokens.weight", "lm_head.weight"


def save_tensors(folder: Path, tensors: dict[str, torch.Tensor], **config: Any) -> Path:
    """Save a folder of these tensors, with a config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps({"vocab_size": 40, "hidden_size": 8, **config}))
    return folder


def save_tokenizer(folder: Path, n_tokens: int, word: str = "w{}") -> None:
    """Save a tokenizer whose entries are w0, w1, …, or other words with a number."""
    entries = {word.format(i): i for i in range(n_tokens)}
    words = Tokenizer(models.WordLevel(entries, unk_token=word.format(0)))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)


def matrix_of(seed: int, shape: tuple[int, int] = (40, 8)) -> torch.Tensor:
    """Return a random matrix."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
