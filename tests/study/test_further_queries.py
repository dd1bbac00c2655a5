"""The further figures' queries of bits and lattices on small, hard matrices, beside `further_lattice`.

Signed zeros, subnormals, boundaries of exponents, turned signs and doubled rows are among the values: what the replica
has few of.
"""

from pathlib import Path

import pytest
import torch

from tests.support.further_lattice import figures
from tests.support.helpers import ingest_bare
from tests.support.replica_figures import FURTHER, LINKED, Component, Matrix, printed
from token_catalog.ingest.recipe.recipe import LinkageDistances
from token_catalog.queries.figures import read_figures
from token_catalog.queries.session import connected
from token_catalog.queries.tolerances import judge

N_DIMS, N_PLACES = 6, 40


def hard_matrix(seed: int) -> torch.Tensor:
    """Return a bf16 matrix of rows that differ from one by single bits, some of them equal, and of others."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(N_DIMS, generator=generator) * 0.01
    centre[0], centre[1], centre[2] = 0.0, 2.0**-128, 2.0**-7
    bits = centre.bfloat16().view(torch.int16).to(torch.int32).repeat(N_PLACES, 1)
    steps = torch.randint(-1, 2, bits.shape, generator=generator)
    bits += steps * (torch.rand(bits.shape, generator=generator) < 0.3)
    bits[:, 0] = torch.randint(0, 2, (N_PLACES,), generator=generator) * 0x8000
    near = bits.to(torch.int16).view(torch.bfloat16)
    equal = near[torch.randint(0, N_PLACES, (30,), generator=generator)]
    far = (torch.randn(60, N_DIMS, generator=generator) * 0.03).bfloat16()
    W = torch.cat([near, equal, far, -near[:3], near[:3] * 2])
    return W[torch.randperm(len(W), generator=generator)]


# Of seeds 0 and 10, two pairs of the component are equally far apart but for what a DOUBLE can't tell.
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6])
def test_queries_find_what_is_computed_apart_from_the_product(tmp_path: Path, seed: int) -> None:
    W = hard_matrix(seed)
    matrix = Matrix(W)
    expected = figures(matrix, Component(matrix))
    ingest_bare(tmp_path / "c", W, asked=LinkageDistances(radius=0.02, threshold=LINKED))
    asked = [figure for figure in read_figures(FURTHER) if figure.name in expected]
    assert len(asked) > 65
    differing = {}
    with connected(tmp_path / "c", "m") as connection:
        for figure in asked:
            answer = connection.execute(figure.query)
            type_ = str(answer.description[0][1])
            ((found,),) = answer.fetchall()
            verdict = judge(figure.class_, printed(expected[figure.name], figure.published), found, type_)
            if not verdict.passes:
                differing[figure.name] = (expected[figure.name], found)
    assert differing == {}
