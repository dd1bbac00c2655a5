"""A matrix of Qwen3-4B's shape, 151,936 × 2,560 bf16, written in chunks.

It follows the published figures of Qwen3-4B-Instruct-2507: the covariance's eigenvalues (1 to 5, 10 and the last; the
first 100 hold 10% of a variance of 1.1175), norms of 1.087 ± 0.17, a mean of norm 0.305, and a clump of 2,212 rows on
125 vectors about a centre of norm 0.371, all nearer than 0.002 to each other, which points 0.84 into the span of the
first three components, at latitude -7.288 and longitude 6.941. Its principal components are, but for sampling, the
columns.

`python -m tests.benchmarks.synthetic W.safetensors 151936 2560` writes one.
"""

import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks import LAT, LON, N_CLUMP, N_DIMS, N_TOKENS

N_CLUMP_VECTORS = 125
VARIANCE, MEAN_NORM, CLUMP_NORM = 1.1175, 0.305, 0.371
# How far the clump points into the sky's three components.
COSINE = 0.84
# Eigenvalues by rank; those of 30, 100 and 1,280 aren't published, but set so that the published sums come out.
SPECTRUM = {
    1: 0.01048719,
    2: 0.003177739,
    3: 0.002791374,
    4: 0.002616169,
    5: 0.001973001,
    10: 0.001389096,
    30: 0.0010,
    100: 0.00075,
    1280: 0.00045,
    2560: 0.00000961387,
}
# The rows' lengths about the mean, relatively: what the spread of the norms asks for.
LENGTHS_SPREAD = 0.145
# Around the clump's centre, in each column, before rounding: makes a clump of the published diameter, 0.0016.
CLUMP_NOISE = 1.7e-5
_CHUNK = 8_192


def spectrum(n_dims: int) -> torch.Tensor:
    """Return the eigenvalues, `(n_dims,)`; fewer than 2,560 are spread over the same ranks."""
    ranks = np.linspace(1, N_DIMS, n_dims)
    values = np.interp(ranks, list(SPECTRUM), list(SPECTRUM.values()))
    return torch.from_numpy(values * VARIANCE / values.sum()).float()


def write_synthetic(path: Path, n_tokens: int = N_TOKENS, n_dims: int = N_DIMS, seed: int = 0) -> None:
    """Write a bare W."""
    header = {"W": {"dtype": "BF16", "shape": [n_tokens, n_dims], "data_offsets": [0, 2 * n_tokens * n_dims]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = torch.Generator().manual_seed(seed)
    # The clump lies near the mean: the others' variance makes up for it, and for their lengths.
    scale = (spectrum(n_dims) * N_TOKENS / (N_TOKENS - N_CLUMP) / (1 + LENGTHS_SPREAD**2)).sqrt()
    direction = torch.nn.functional.normalize(torch.randn(n_dims, generator=generator)[3:], dim=0)
    lat, lon = math.radians(LAT), math.radians(LON)
    on_sky = torch.tensor([math.cos(lat) * math.cos(lon), math.sin(lat), math.cos(lat) * math.sin(lon)])  # PC1, 2, 3
    direction = torch.cat([COSINE * on_sky, math.sqrt(1 - COSINE**2) * direction])
    noise = torch.randn(N_CLUMP_VECTORS, n_dims, generator=generator) * CLUMP_NOISE
    clump = (direction * CLUMP_NORM + noise).bfloat16()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for start in range(0, n_tokens, _CHUNK):
            n_rows = min(_CHUNK, n_tokens - start)
            lengths = 1 + torch.randn(n_rows, 1, generator=generator) * LENGTHS_SPREAD
            rows = torch.randn(n_rows, n_dims, generator=generator) * scale * lengths + direction * MEAN_NORM
            rows = rows.bfloat16()
            ids = torch.arange(start, start + n_rows)
            inside = ids >= n_tokens - N_CLUMP
            rows[inside] = clump[ids[inside] % N_CLUMP_VECTORS]
            file.write(rows.view(torch.uint8).numpy().tobytes())


if __name__ == "__main__":
    write_synthetic(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
