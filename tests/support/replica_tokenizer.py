"""A tokenizer for the replica's matrix: bytes, words of its own, some that don't come back, and special tokens."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tokenizers import decoders, pre_tokenizers

from tests.support.tokenizers_made import bpe, save

N_BYTES = 256
N_SPECIAL = 26
N_ROUNDTRIPS_INSIDE = 11


def write_tokenizer(folder: Path, n_vocab: int, members: Sequence[int], n_aside: int, seed: int = 0) -> Path:
    """Write a byte-level BPE of n_vocab entries: 256 bytes as Qwen's, words, and 26 special tokens at the end.

    Of the cluster's `members`, 11 words come back as themselves; of the others, all but `n_aside` and 128 bytes do.
    """
    generator = np.random.default_rng(seed)
    last = n_vocab - N_SPECIAL
    inside = [i for i in members if N_BYTES <= i < last]
    outside = sorted(set(range(N_BYTES, last)) - set(inside))
    kept = set(generator.choice(inside, N_ROUNDTRIPS_INSIDE, replace=False).tolist())
    aside = (set(inside) - kept) | set(generator.choice(outside, n_aside, replace=False).tolist())
    # Sorted, the alphabet is in the order of GPT-2's and Qwen's ids.
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces += [_aside(i) if i in aside else _word(i) for i in range(N_BYTES, last)]
    made = bpe(pieces, decoders.ByteLevel(), ignore_merges=True)  # a whole word in the vocabulary is itself
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens([f"<|special_{i}|>" for i in range(N_SPECIAL)])
    return save(made, folder)


def _word(i: int) -> str:
    """Return an entry's own word, every other one with a space before it.

    >>> _word(256), _word(257)
    ('Ġjw', 'jx')
    """
    return ("" if i % 2 else "Ġ") + "".join(_letters(i))[::-1]


def _letters(i: int) -> Iterator[str]:
    while i:
        i, letter = divmod(i, 26)
        yield chr(ord("a") + letter)


def _aside(i: int) -> str:
    """Return a piece that doesn't come back: two words, which are cut apart, or a word after half a character."""
    return f"{_word(i)}Ġ{_word(i).lstrip('Ġ')}" if i % 3 else "Ģ" + _word(i).lstrip("Ġ")
