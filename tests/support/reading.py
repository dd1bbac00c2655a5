"""What a catalog has of a reference or a cluster, read through its views."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.support.helpers import rows

TOKEN = 124


def ids(catalog: Path, query: str) -> list[Any]:
    """Return a query's one column."""
    return [row[0] for row in rows(catalog, query)]


def vector(catalog: Path, reference: str) -> Tensor:
    """Return a reference's vector as stored, `(n_dims,)` fp32."""
    ((found,),) = rows(catalog, f"select vector from reference_vectors where reference = '{reference}'")
    return torch.tensor(found)


def scores(catalog: Path, reference: str, column: str) -> list[float]:
    """Return a column of a reference's scores, by token_id."""
    return ids(catalog, f"select {column} from scores where reference = '{reference}' order by token_id")


def members(catalog: Path, cluster: str) -> list[int]:
    """Return a cluster's tokens."""
    return ids(catalog, f"select token_id from cluster_members where cluster = '{cluster}' order by token_id")
