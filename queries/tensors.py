"""The files that the study's notebooks saved, from the catalog's tables: the same keys, dtypes and shapes.

They are made of references and clusters that have the notebooks' names in the recipe that ships for
Qwen3-4B-Instruct-2507. Memberships are the correctly rounded ones. A file's bytes are those that safetensors writes.
"""

import json
from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from token_catalog.catalog.errors import CatalogError

from .session import asked

if TYPE_CHECKING:
    import duckdb

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

# safetensors' names, in the order in which tensors stand in a file: the wide ones first, so that each is aligned.
_DTYPES = {"int64": "I64", "float32": "F32", "int32": "I32", "uint16": "BF16", "uint8": "U8", "bool": "BOOL"}


def notebook_tensors(catalog: Path, model: str) -> dict[str, Arrays]:
    """Return `{file's stem: {key: array}}`; uint16, which no notebook saves, stands for the bits of bf16.

    CatalogError names the references and clusters that the model lacks for it.
    """
    with asked(catalog, model) as connection:
        _check_parts(connection, model)
        return {stem: made(connection) for stem, (made, *_) in _FILES.items()}


def save_tensors(path: Path, arrays: Arrays) -> None:
    """Write arrays into a safetensors file, each under its key; uint16 is taken for the bits of bf16.

    Without the safetensors package, whose way to write bf16 without torch differs between versions.
    """
    order = list(_DTYPES)
    keys = sorted(arrays, key=lambda key: (order.index(arrays[key].dtype.name), key))
    data = [arrays[key].astype(arrays[key].dtype.newbyteorder("<")).tobytes() for key in keys]
    ends = list(accumulate(map(len, data)))
    header = {
        key: {
            "dtype": _DTYPES[arrays[key].dtype.name],
            "shape": arrays[key].shape,
            "data_offsets": (end - len(raw), end),
        }
        for key, raw, end in zip(keys, data, ends, strict=True)
    }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *data]))


def _check_parts(connection: "duckdb.DuckDBPyConnection", model: str) -> None:
    kinds = dict(connection.execute("select reference, kind from reference_vectors").fetchall())
    clusters = {name for (name,) in connection.execute("select cluster from clusters").fetchall()}
    lacking = []
    for stem, (_, reference, allowed, needed) in _FILES.items():
        parts = [f"cluster {cluster}" for cluster in needed if cluster not in clusters]
        if reference and kinds.get(reference) not in allowed:
            instead = f", not a {kinds[reference]}" if reference in kinds else ""
            parts.insert(0, f"reference {reference} ({' or '.join(allowed)}{instead})")
        if parts:
            lacking.append(f"{' and '.join(parts)} for {stem}")
    if lacking:
        raise CatalogError(
            f"{model}: lacks what the notebooks' files are made of: {'; '.join(lacking)}. The recipe "
            f"qwen3-4b-instruct-2507 has all that; for another model, `add_references({model!r}, RECIPE)` adds some of "
            "these names (docs/more-questions.md has a recipe)"
        )


def _cosine_class(connection: "duckdb.DuckDBPyConnection") -> Arrays:
    """Return 1.4a's arrays: the tokens that share the most frequent cosine to a place on the sky."""
    place = _recipe(connection, "1.4a")["sky"]
    ids = _members(connection, "1.4a:cosine-mode")
    return {
        "cluster_mask": _mask(connection, ids),
        "cluster_token_ids": ids,
        "cluster_cosine": _mode_value(connection, "1.4a", "cosine"),
        "n_cluster_members": np.array([len(ids)], np.int32),
        "ref_lat": np.array([place["lat"]], np.float32),
        "ref_lon": np.array([place["lon"]], np.float32),
    }


def _giant_cluster(connection: "duckdb.DuckDBPyConnection") -> Arrays:
    """Return 1.4h's arrays: the largest component among the spike's tokens, and a mask over these, not over W."""
    columns = connection.execute("""
        with inside as (
            select
                m.token_id,
                m.component,
                case when m.component is not null then count(*) over (partition by m.component) end as n_tokens
            from members('spike') as m
        )

        select
            i.token_id,
            coalesce(
                i.component = first(i.component) over (
                    order by i.n_tokens desc nulls last, i.component asc
                ),
                false
            ) as is_giant
        from inside as i
        order by i.token_id
    """).fetchnumpy()
    mask = np.asarray(columns["is_giant"], np.bool_)
    (threshold,) = _row(connection, "select linkage_threshold from models where model_in_view(model)")
    return {
        "cluster_token_ids": np.asarray(columns["token_id"])[mask].astype(np.int64),
        "cluster_mask": mask,
        "adjacency_threshold": np.array([threshold], np.float32),
    }


def _dot_class(connection: "duckdb.DuckDBPyConnection") -> Arrays:
    """Return 1.5c's arrays: the tokens that share the most frequent dot product with the middle of 1.4a's class."""
    ids = _members(connection, "1.5c:dot-mode")
    (centroid,) = _row(
        connection,
        "select list_transform(vector, lambda e: bf16(e)) from reference_vectors where reference = '1.5c'",
    )
    return {
        "logit_equiv_mask": _mask(connection, ids),
        "logit_equiv_token_ids": ids,
        "logit_equiv_dot_product": _mode_value(connection, "1.5c", "dot"),
        "n_logit_equiv_members": np.array([len(ids)], np.int32),
        # Every value is a bf16 already: the lower half of its FLOAT is zero.
        "cluster_centroid": (np.array(centroid, np.float32).view(np.uint32) >> 16).astype(np.uint16),
    }


def _same_dot(connection: "duckdb.DuckDBPyConnection") -> Arrays:
    """Return 1.5d's arrays: the tokens that have with one token h the dot product that h has with itself."""
    (token,) = _row(connection, "select token_id from reference_vectors where reference = '1.5d'")
    ids = _members(connection, "1.5d:dot-self")
    return {
        "cluster_mask": _mask(connection, ids),
        "cluster_token_ids": ids,
        "ref_token_id": np.array([token], np.int32),
        "n_cluster": np.array([len(ids)], np.int32),
    }


def _frame(connection: "duckdb.DuckDBPyConnection") -> Arrays:
    """Return 1.6a's arrays: the middle of the largest component, and the principal components, in columns."""
    (centroid,) = _row(connection, "select vector from reference_vectors where reference = '1.6a'")
    values = connection.execute("select eigenvalue from principal_components order by pc").fetchnumpy()["eigenvalue"]
    # As lists, they'd come one Python number after the other.
    elements = connection.execute("""
        select unnest(vector)::float as element
        from principal_components
        order by pc, generate_subscripts(vector, 1)
    """).fetchnumpy()["element"]
    return {
        "cluster_centroid": np.array(centroid, np.float32),
        "W_eigenvalues": np.asarray(values, np.float32),
        "W_eigenvectors": np.asarray(elements, np.float32).reshape(len(values), -1).T,
    }


# Each file: how it is made; the reference that it is made of, and of which kinds that may be; and the clusters.
_FILES: dict[
    str, tuple[Callable[["duckdb.DuckDBPyConnection"], Arrays], str | None, tuple[str, ...], tuple[str, ...]]
] = {
    "1.4a_cluster_members": (_cosine_class, "1.4a", ("sky",), ("1.4a:cosine-mode",)),
    "1.4h_cluster_tokens": (_giant_cluster, None, (), ("spike",)),
    "1.5c_cluster_logits": (_dot_class, "1.5c", ("centroid",), ("1.5c:dot-mode",)),
    "1.5d_cluster_mask": (_same_dot, "1.5d", ("first_in_box", "token"), ("1.5d:dot-self",)),
    "1.6a_cluster_reference_frame": (_frame, "1.6a", ("centroid",), ("largest-component",)),
}
# Their names, and so those of the files.
STEMS = tuple(_FILES)


def _row(connection: "duckdb.DuckDBPyConnection", query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = connection.execute(query).fetchall()[0]
    return row


def _members(connection: "duckdb.DuckDBPyConnection", cluster: str) -> Array:
    query = "select token_id from cluster_members where cluster = $1 order by token_id"
    return np.asarray(connection.execute(query, [cluster]).fetchnumpy()["token_id"], np.int32)


def _mask(connection: "duckdb.DuckDBPyConnection", ids: Array) -> Array:
    """Return 1 for the tokens in a cluster, 0 for the others, `(n_tokens,)`."""
    (n_tokens,) = _row(connection, "select n_tokens from models where model_in_view(model)")
    mask = np.zeros(n_tokens, np.uint8)
    mask[ids] = 1
    return mask


def _mode_value(connection: "duckdb.DuckDBPyConnection", reference: str, metric: str) -> Array:
    query = "select value from mode_classes where reference = $1 and metric = $2"
    return np.array(connection.execute(query, [reference, metric]).fetchall()[0], np.float32)


def _recipe(connection: "duckdb.DuckDBPyConnection", reference: str) -> Mapping[str, Any]:
    """Return the entry of the recipe that a reference was made from."""
    query = "select recipe from reference_vectors where reference = $1"
    recipe: Mapping[str, Any] = json.loads(connection.execute(query, [reference]).fetchall()[0][0])
    return recipe
