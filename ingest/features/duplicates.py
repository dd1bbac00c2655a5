"""Duplicates: which rows of W are equal, value by value, found by a cryptographic digest of each row."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from ..arithmetic.arrays import Ids

# 128 bits of a cryptographic hash: two different rows among a million share one with a chance under 1e-26.
DIGEST_BYTES = 16


def row_digests(rows: Tensor) -> list[bytes]:
    """Return a digest of each row of a `(n_rows, n_dims)` tensor in its stored type: equal where the rows are equal.

    0.0 and -0.0 are equal in value, so they digest alike.

    >>> a, b, c = row_digests(torch.tensor([[0.0, 1.0], [-0.0, 1.0], [0.0, 2.0]]))
    >>> a == b, a == c
    (True, False)
    """
    values = (rows + 0.0).contiguous().view(torch.uint8).cpu().numpy()
    return [hashlib.blake2b(row.data, digest_size=DIGEST_BYTES).digest() for row in values]


def duplicates(digests: list[bytes]) -> tuple[Ids, Ids]:
    """Return, for each row, the lowest index with an equal digest, and how many rows have it.

    >>> first, count = duplicates([b"x" * 16, b"y" * 16, b"x" * 16])
    >>> first.tolist(), count.tolist()
    ([0, 1, 0], [2, 1, 2])
    """
    keys = np.frombuffer(b"".join(digests), dtype=f"V{DIGEST_BYTES}")
    _, first, group, count = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    return first[group].astype(np.int32), count[group].astype(np.int32)
