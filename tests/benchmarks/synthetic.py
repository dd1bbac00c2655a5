"""A matrix of Qwen3-4B's shape: 151,936 × 2,560 bf16, written in chunks.

Norms about 1.1, a mean of norm 0.3, variance falling along the columns, and a clump of 2,212 rows on 125 vectors.
"""

import json
import struct
from pathlib import Path

import torch

N_TOKENS, N_DIMS = 151_936, 2_560
N_CLUMP, N_CLUMP_VECTORS = 2_212, 125
_CHUNK = 8_192


def write_synthetic(path: Path, n_tokens: int = N_TOKENS, n_dims: int = N_DIMS, seed: int = 0) -> None:
    """Write a bare W."""
    header = {"W": {"dtype": "BF16", "shape": [n_tokens, n_dims], "data_offsets": [0, 2 * n_tokens * n_dims]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(2, 0.5, n_dims) * 0.6 / n_dims**0.5
    mean = torch.randn(n_dims, generator=generator) * 0.3 / n_dims**0.5
    centre = mean * 1.2
    clump = (centre + torch.randn(N_CLUMP_VECTORS, n_dims, generator=generator) * 1e-5).bfloat16()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for start in range(0, n_tokens, _CHUNK):
            n_rows = min(_CHUNK, n_tokens - start)
            rows = (torch.randn(n_rows, n_dims, generator=generator) * scale * 1.3 + mean).bfloat16()
            ids = torch.arange(start, start + n_rows)
            inside = ids >= n_tokens - N_CLUMP
            rows[inside] = clump[ids[inside] % N_CLUMP_VECTORS]
            file.write(rows.view(torch.uint8).numpy().tobytes())
