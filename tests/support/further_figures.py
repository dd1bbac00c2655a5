"""The further figures of a matrix, all of them: `further_lattice`'s and `further_geometry`'s.

`python -m tests.support.further_figures W.safetensors TOKENIZER_FOLDER further.csv` writes those that have a query as a
table, with as many digits as the published one shows.
"""

import sys
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from tests.support import further_geometry, further_lattice
from tests.support.replica_figures import FURTHER, Component, Matrix, Value, write_table


def figures(W: Tensor, tokenizer: Path) -> dict[str, Value]:
    """Return the further figures of W (n_tokens, n_dims) bf16 by name; lists and histograms as text."""
    matrix = Matrix(W)
    component = Component(matrix)
    return further_lattice.figures(matrix, component) | further_geometry.figures(matrix, component, tokenizer)


if __name__ == "__main__":
    write_table(Path(sys.argv[3]), figures(load_file(sys.argv[1])["W"], Path(sys.argv[2])), FURTHER)
