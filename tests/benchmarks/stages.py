"""The linkage by itself, on a W and its principal components: prints, as JSON, the seconds of each part.

`python -m tests.benchmarks.stages W.safetensors BASIS.npy RADIUS THRESHOLD`. It is what `ingest` does beyond the
principal components and the sky, and `relink` beyond reading and writing the catalog. Every row is finite here.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from token_catalog.ingest.arithmetic.arrays import blocks
from token_catalog.ingest.features.duplicates import duplicates, row_digests
from token_catalog.ingest.linkage.candidates import Candidates, Pairs
from token_catalog.ingest.linkage.projections import DistinctRows
from token_catalog.ingest.linkage.scale import sample_by_digest
from token_catalog.ingest.linkage.single_linkage import diameters, linkage_columns, single_linkage
from token_catalog.ingest.recipe.recipe import N_LEADING
from token_catalog.ingest.source.matrix import open_matrix

CHUNK = 4_096


class Laps:
    """Seconds of one part after the other."""

    def __init__(self) -> None:
        """Start."""
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def end(self, part: str) -> None:
        """End a part; the next one begins."""
        now = time.perf_counter()
        self.seconds[part] = now - self._began
        self._began = now

    def ending(self, part: str, batches: Iterable[Pairs]) -> Iterator[Pairs]:
        """Yield the batches; a part ends when the last one has been used."""
        yield from batches
        self.end(part)


def main(path: str, basis_path: str, distance: str, threshold: str) -> None:
    """Link, and print."""
    W, basis = open_matrix(Path(path), "W").whole(), np.load(basis_path)
    n_tokens = len(W)
    laps = Laps()
    digests = [digest for part in blocks(n_tokens, CHUNK) for digest in row_digests(W[part])]
    duplicate_of, counts = duplicates(digests)
    ids = np.unique(duplicate_of)
    laps.end("digests and duplicates")
    norms, leading = np.empty(len(ids)), np.empty((len(ids), min(N_LEADING, len(basis))))
    directions = torch.from_numpy(basis[:N_LEADING]).T
    vectors = DistinctRows(W, ids, counts[ids], norms, sample_by_digest(digests, ids))
    for part, rows in vectors.blocks():
        norms[part] = torch.linalg.vector_norm(rows, dim=1).numpy()
        leading[part] = (rows @ directions).numpy()
    laps.end("norms and projections")
    batches = laps.ending("tree, pairs and check", Candidates(vectors, basis, leading).within(float(distance)))
    linked = single_linkage(vectors, batches, float(distance), float(threshold))
    finite = np.ones(n_tokens, dtype=bool)
    columns = linkage_columns(linked, vectors, duplicate_of, finite, float(threshold))
    diameters(vectors, linked.components(float(threshold)))
    laps.end("order, columns and diameters")
    largest = int(columns["component_size"].max())
    print(json.dumps({"rows": n_tokens, "largest": largest, "parts": laps.seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
