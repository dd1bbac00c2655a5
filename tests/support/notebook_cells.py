"""The cells of notebooks 1.4a, 1.4h, 1.5c, 1.5d and 1.6a as functions: what they print, and the files that they save.

The notebooks' own torch expressions in their order, on the CPU; nothing of the product is used. Each notebook returns a
plain dict of what it prints, under the names of its own variables where it has one (percentages are out of 100), and
the tensors behind it; it saves its file into `folder`, and loads those of earlier notebooks from there.

Three things are not the notebooks'. `oriented_by` is a token whose PC1 > 0, PC2 < 0 and PC3 > 0 settle the signs of the
components, which eigh leaves open (124 in the published frame). A reference that is given (`ref_direction`,
`centroid`, `ref_token_id`) stands in for the one that the notebook would find. And the lists of ten are sorted by a
stable argsort: the notebooks' own leaves equal counts in any order, and printed them by ascending value.
"""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import scipy.sparse as sp
import torch
from safetensors.torch import load_file, save_file
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from tests.support.notebook_expressions import commonest, cosines, direction, distribution, mode_class, pca, place, sky

MEMBERS = "1.4a_cluster_members.safetensors"
DISTANCES = "1.4b_overdensity_distances.safetensors"
TOKENS = "1.4h_cluster_tokens.safetensors"
LOGITS = "1.5c_cluster_logits.safetensors"
MASK = "1.5d_cluster_mask.safetensors"
FRAME = "1.6a_cluster_reference_frame.safetensors"

REF_LAT, REF_LON = -7.288, 6.941
CENTER_LAT, CENTER_LON, ANGULAR_DIAMETER = -7.2888, 6.9400, 0.0010
ADJACENCY_THRESHOLD = 0.002


class Run(NamedTuple):
    """The notebooks, run: the folder with their files, and what each of them printed, by its number."""

    folder: Path
    printed: dict[str, dict[str, Any]]


def notebooks(W_bf16: Tensor, folder: Path, *, oriented_by: int | None = None) -> Run:
    """Run the five notebooks, and the one before them that makes the distances, on W `(n_tokens, n_dims)` alone."""
    notebook_1_4b(W_bf16, folder, oriented_by=oriented_by)
    printed = {
        "1.4a": notebook_1_4a(W_bf16, folder, oriented_by=oriented_by),
        "1.4h": notebook_1_4h(folder),
        "1.5c": notebook_1_5c(W_bf16, folder),
        "1.5d": notebook_1_5d(W_bf16, folder, oriented_by=oriented_by),
        "1.6a": notebook_1_6a(W_bf16, folder, oriented_by=oriented_by),
    }
    return Run(folder, printed)


def notebook_1_4a(
    W_bf16: Tensor,
    folder: Path,
    *,
    ref_lat: float = REF_LAT,
    ref_lon: float = REF_LON,
    oriented_by: int | None = None,
    ref_direction: Tensor | None = None,
) -> dict[str, Any]:
    """Run 1.4a on W `(n_tokens, n_dims)`: the mode of the bf16 cosines to a direction, `(n_dims,)` fp32 where given."""
    N, d = W_bf16.shape
    x, y, z = place(ref_lat, ref_lon)
    if ref_direction is None:
        _, eigenvectors = pca(W_bf16, oriented_by)
        ref_direction = direction(eigenvectors, x, y, z)
    cosines_bf16 = cosines(W_bf16, ref_direction)
    found = mode_class(cosines_bf16)
    save_file(
        {
            "cluster_mask": found["mask"].to(torch.uint8),
            "cluster_token_ids": found["indices"].to(torch.int32),
            "cluster_cosine": torch.tensor([found["mode"]], dtype=torch.float32),
            "n_cluster_members": torch.tensor([found["n"]], dtype=torch.int32),
            "ref_lat": torch.tensor([ref_lat], dtype=torch.float32),
            "ref_lon": torch.tensor([ref_lon], dtype=torch.float32),
        },
        str(folder / MEMBERS),
    )
    return {
        "N": N,
        "d": d,
        "x": float(x),
        "y": float(y),
        "z": float(z),
        "ref_norm": ref_direction.norm().item(),
        **distribution(cosines_bf16),
        "mode_cosine": found["mode"],
        "mode_count": found["mode_count"],
        "n_cluster": found["n"],
        "percent": found["n"] / N * 100,
        "first_20": found["indices"][:20].tolist(),
        "max_cosine": found["max"],
        "max_count": found["max_count"],
        **commonest(cosines_bf16),
        "ref_direction": ref_direction,
        "cosines_bf16": cosines_bf16,
        "cluster_indices": found["indices"],
    }


def notebook_1_4b(W_bf16: Tensor, folder: Path, *, oriented_by: int | None = None) -> None:
    """Save what 1.4h loads: the spike's tokens and their distances `(n_spike, n_spike)`, by differences."""
    _, eigenvectors = pca(W_bf16, oriented_by)
    W = W_bf16.to(torch.float32)
    lat, lon, r = sky(W, eigenvectors)
    inside = (lat >= -15) & (lat <= 5) & (lon >= -10) & (lon <= 20) & (r >= 0.2) & (r <= 0.5)
    spike_token_ids = inside.nonzero(as_tuple=True)[0]
    rows = W[spike_token_ids]
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    save_file({"distances": distances, "spike_token_ids": spike_token_ids}, folder / DISTANCES)


def notebook_1_4h(folder: Path) -> dict[str, Any]:
    """Run 1.4h on 1.4b's file: the largest component of the spike's graph."""
    data = load_file(folder / DISTANCES)
    dists, spike_token_ids = data["distances"], data["spike_token_ids"]

    adjacency = (dists < ADJACENCY_THRESHOLD).float()
    adjacency.fill_diagonal_(0)
    num_edges = adjacency.sum().item() // 2

    adjacency_sparse = sp.csr_matrix(adjacency.numpy())
    n_components, labels = connected_components(csgraph=adjacency_sparse, directed=False, return_labels=True)
    component_sizes = Counter(labels)
    sorted_components = sorted(component_sizes.items(), key=lambda x: x[1], reverse=True)

    giant_cluster_id, giant_cluster_size = sorted_components[0]
    cluster_mask = labels == giant_cluster_id
    cluster_token_ids = spike_token_ids[cluster_mask]

    save_file(
        {
            "cluster_token_ids": cluster_token_ids.cpu(),
            "cluster_mask": torch.tensor(cluster_mask, dtype=torch.bool),
            "adjacency_threshold": torch.tensor([ADJACENCY_THRESHOLD], dtype=torch.float32),
        },
        folder / TOKENS,
    )
    return {
        "n_spike": len(spike_token_ids),
        "nodes": len(adjacency),
        "num_edges": int(num_edges),
        "n_components": int(n_components),
        "giant_cluster_id": int(giant_cluster_id),
        "giant_cluster_size": giant_cluster_size,
        "singletons": sum(1 for _, size in sorted_components if size == 1),
        "id_range": (cluster_token_ids.min().item(), cluster_token_ids.max().item()),
        "first_20": cluster_token_ids[:20].tolist(),
        "spike_token_ids": spike_token_ids,
        "cluster_token_ids": cluster_token_ids,
    }


def verify_1_4h(folder: Path, cluster_token_ids: Tensor) -> dict[str, Any]:
    """Run 1.4h's 'Verify Saved Data' on its file: it holds the component `cluster_token_ids`, `(n_cluster,)`."""
    giant_cluster_size = len(cluster_token_ids)
    verification = load_file(folder / TOKENS)
    loaded_ids = verification["cluster_token_ids"]
    loaded_mask = verification["cluster_mask"]
    loaded_threshold = verification["adjacency_threshold"]
    assert len(loaded_ids) == giant_cluster_size, f"Count mismatch: {len(loaded_ids)} != {giant_cluster_size}"
    assert loaded_mask.sum().item() == giant_cluster_size, "Mask count mismatch"
    assert torch.all(loaded_ids == cluster_token_ids), "Token IDs don't match"
    assert torch.allclose(loaded_threshold, torch.tensor([ADJACENCY_THRESHOLD], dtype=torch.float32)), (
        f"Threshold doesn't match: {loaded_threshold.item()} != {ADJACENCY_THRESHOLD}"
    )
    return {
        "n_ids": len(loaded_ids),
        "mask_true_count": loaded_mask.sum().item(),
        "threshold": loaded_threshold.item(),
    }


def load_1_4a(folder: Path) -> dict[str, Any]:
    """Load 1.4a's file as 1.5c does; `cosine_cluster_token_ids` is `(n_cluster,)` int64."""
    cluster_data = load_file(folder / MEMBERS)
    cosine_cluster_token_ids = cluster_data["cluster_token_ids"].long()
    return {
        "n_cosine_cluster": cluster_data["n_cluster_members"].item(),
        "cluster_cosine": cluster_data["cluster_cosine"].item(),
        "cosine_cluster_first_10": cosine_cluster_token_ids[:10].tolist(),
        "cosine_cluster_token_ids": cosine_cluster_token_ids,
    }


def notebook_1_5c(W_bf16: Tensor, folder: Path, *, centroid: Tensor | None = None) -> dict[str, Any]:
    """Run 1.5c on W `(n_tokens, n_dims)` and 1.4a's file: the mode of the bf16 dot products with the file's centroid.

    A `centroid` `(n_dims,)` fp32 that is given goes before the file's.
    """
    N = len(W_bf16)
    loaded = load_1_4a(folder)
    W_cluster = W_bf16[loaded["cosine_cluster_token_ids"]]
    centroid_bf16 = W_cluster.mean(dim=0) if centroid is None else centroid.to(torch.bfloat16)
    cluster_norms = W_cluster.norm(dim=1)
    dot_products_bf16 = W_bf16 @ centroid_bf16
    found = mode_class(dot_products_bf16)
    unique = commonest(dot_products_bf16)
    save_file(
        {
            "logit_equiv_mask": found["mask"].to(torch.uint8),
            "logit_equiv_token_ids": found["indices"].to(torch.int32),
            "logit_equiv_dot_product": torch.tensor([found["mode"]], dtype=torch.float32),
            "n_logit_equiv_members": torch.tensor([found["n"]], dtype=torch.int32),
            "cluster_centroid": centroid_bf16,
        },
        str(folder / LOGITS),
    )
    return {
        **loaded,
        "centroid_norm": centroid_bf16.norm().item(),
        "cluster_norm_min": cluster_norms.min().item(),
        "cluster_norm_max": cluster_norms.max().item(),
        "cluster_norm_mean": cluster_norms.mean().item(),
        **distribution(dot_products_bf16),
        "mode_dot": found["mode"],
        "mode_count": found["mode_count"],
        "n_logit_equiv": found["n"],
        "percent": found["n"] / N * 100,
        "first_20": found["indices"][:20].tolist(),
        "max_dot": found["max"],
        "max_count": found["max_count"],
        **overlap(found["mask"], loaded["cosine_cluster_token_ids"], loaded["n_cosine_cluster"]),
        **duplicates(W_bf16, found["indices"]),
        **unique,
        "unique_percent": unique["n_unique"] / N * 100,
        "centroid_bf16": centroid_bf16,
        "dot_products_bf16": dot_products_bf16,
        "logit_equiv_indices": found["indices"],
    }


def overlap(logit_equiv_mask: Tensor, cosine_cluster_token_ids: Tensor, n_cosine_cluster: int) -> dict[str, Any]:
    """Compare 1.5c's class, a mask `(n_tokens,)`, with 1.4a's; `verdict` is which of the four branches printed."""
    cosine_cluster_mask = torch.zeros(len(logit_equiv_mask), dtype=torch.bool)
    cosine_cluster_mask[cosine_cluster_token_ids] = True
    n_logit_equiv = logit_equiv_mask.sum().item()
    n_overlap = (logit_equiv_mask & cosine_cluster_mask).sum().item()
    if n_overlap == n_logit_equiv and n_overlap == n_cosine_cluster:
        verdict = "perfect match"
    elif n_overlap == min(n_logit_equiv, n_cosine_cluster):
        verdict = "logit class is larger" if n_logit_equiv > n_cosine_cluster else "cosine class is larger"
    else:
        verdict = "partial overlap"
    return {
        "n_overlap": n_overlap,
        "verdict": verdict,
        "cosine_only": (cosine_cluster_mask & ~logit_equiv_mask).sum().item(),
        "logit_only": (logit_equiv_mask & ~cosine_cluster_mask).sum().item(),
        "percent_of_cosine": n_overlap / n_cosine_cluster * 100,
        "percent_of_logit": n_overlap / n_logit_equiv * 100,
    }


def duplicates(W_bf16: Tensor, logit_equiv_indices: Tensor) -> dict[str, Any]:
    """Count the distinct rows of 1.5c's class."""
    n_logit_equiv = len(logit_equiv_indices)
    n_unique_embeddings = len(torch.unique(W_bf16[logit_equiv_indices], dim=0))
    return {
        "n_unique_embeddings": n_unique_embeddings,
        "n_duplicates": n_logit_equiv - n_unique_embeddings,
        "average_degeneracy": n_logit_equiv / n_unique_embeddings,
    }


def notebook_1_5d(
    W_bf16: Tensor,
    folder: Path,
    *,
    center_lat: float = CENTER_LAT,
    center_lon: float = CENTER_LON,
    angular_diameter: float = ANGULAR_DIAMETER,
    oriented_by: int | None = None,
    ref_token_id: int | None = None,
) -> dict[str, Any]:
    """Run 1.5d on W `(n_tokens, n_dims)`: the tokens with t·h = h·h in bf16, h being the first token in a window.

    With a `ref_token_id` that is given there is no window, and so no `n_spatial`.
    """
    N = len(W_bf16)
    printed: dict[str, Any] = {}
    if ref_token_id is None:
        spatial_token_ids = window(W_bf16, center_lat, center_lon, angular_diameter, oriented_by)
        ref_token_id = int(spatial_token_ids[0].item())
        printed = {"n_spatial": len(spatial_token_ids), "spatial_token_ids": spatial_token_ids}

    h = W_bf16[ref_token_id]
    dots = W_bf16 @ h
    h_dot_h = dots[ref_token_id].item()
    cluster_mask = dots == h_dot_h
    n_cluster = cluster_mask.sum().item()
    cluster_token_ids = cluster_mask.nonzero(as_tuple=True)[0]

    save_file(
        {
            "cluster_mask": cluster_mask.to(torch.uint8),
            "cluster_token_ids": cluster_token_ids.to(torch.int32),
            "ref_token_id": torch.tensor([ref_token_id], dtype=torch.int32),
            "n_cluster": torch.tensor([n_cluster], dtype=torch.int32),
        },
        str(folder / MASK),
    )
    return printed | {
        "ref_token_id": ref_token_id,
        "h_dot_h": h_dot_h,
        "n_cluster": n_cluster,
        "percent": n_cluster / N * 100,
        "first_10": cluster_token_ids[:10].tolist(),
        "dots": dots,
        "cluster_token_ids": cluster_token_ids,
    }


def window(
    W_bf16: Tensor, center_lat: float, center_lon: float, angular_diameter: float, oriented_by: int | None
) -> Tensor:
    """Return the tokens in 1.5d's window, `(n_spatial,)` int64; its bounds are rounded to fp32 to be compared."""
    _, eigenvectors = pca(W_bf16, oriented_by)
    lat_deg, lon_deg, _ = sky(W_bf16.to(torch.float32), eigenvectors)
    half_width = angular_diameter / 2
    lat_min = center_lat - half_width
    lat_max = center_lat + half_width
    lon_min = center_lon - half_width
    lon_max = center_lon + half_width
    spatial_mask = (lat_deg >= lat_min) & (lat_deg <= lat_max) & (lon_deg >= lon_min) & (lon_deg <= lon_max)
    return spatial_mask.nonzero(as_tuple=True)[0]


def load_1_4h(folder: Path) -> Tensor:
    """Load the component's tokens from 1.4h's file as 1.6a does, `(n_cluster,)` int64."""
    return load_file(folder / TOKENS)["cluster_token_ids"]


def notebook_1_6a(W_bf16: Tensor, folder: Path, *, oriented_by: int | None = None) -> dict[str, Any]:
    """Run 1.6a on W `(n_tokens, n_dims)` and 1.4h's file: the principal components, and the component's centroid.

    Of fewer than 100 (10) dimensions, the cumulative variance of all is told.
    """
    W = W_bf16.to(torch.float32)
    eigenvalues, eigenvectors = pca(W_bf16, oriented_by)
    cumsum = torch.cumsum(eigenvalues, dim=0)
    total_variance = eigenvalues.sum()

    cluster_token_ids = load_1_4h(folder)
    cluster_vecs = W[cluster_token_ids]
    cluster_centroid = cluster_vecs.mean(dim=0)

    save_file(
        {"cluster_centroid": cluster_centroid.cpu(), "W_eigenvalues": eigenvalues, "W_eigenvectors": eigenvectors},
        folder / FRAME,
    )
    return {
        "top_ten": [(value.item(), (value / eigenvalues.sum() * 100).item()) for value in eigenvalues[:10]],
        "variance_10": (cumsum[:10][-1] / total_variance * 100).item(),
        "variance_100": (cumsum[:100][-1] / total_variance * 100).item(),
        "n_cluster": len(cluster_token_ids),
        "centroid_norm": torch.linalg.vector_norm(cluster_centroid).item(),
        "first_10": cluster_centroid.cpu().numpy()[:10].tolist(),
        "cluster_centroid": cluster_centroid,
        "eigenvalues": eigenvalues,
        "eigenvectors": eigenvectors,
    }


def verify_1_6a(folder: Path, cluster_centroid: Tensor, eigenvalues: Tensor, eigenvectors: Tensor) -> dict[str, Any]:
    """Run 1.6a's 'Verify Saved Data' on its file: it holds these, `(d,)`, `(d,)` and, in columns, `(d, d)`, fp32."""
    d = len(cluster_centroid)
    verification = load_file(folder / FRAME)
    loaded_centroid = verification["cluster_centroid"]
    loaded_eigenvalues = verification["W_eigenvalues"]
    loaded_eigenvectors = verification["W_eigenvectors"]
    assert loaded_centroid.shape == (d,), f"Centroid shape mismatch: {loaded_centroid.shape}"
    assert loaded_eigenvalues.shape == (d,), f"Eigenvalues shape mismatch: {loaded_eigenvalues.shape}"
    assert loaded_eigenvectors.shape == (d, d), f"Eigenvectors shape mismatch: {loaded_eigenvectors.shape}"
    assert torch.allclose(loaded_centroid, cluster_centroid.cpu()), "Centroid values don't match"
    assert torch.allclose(loaded_eigenvalues, eigenvalues), "Eigenvalues don't match"
    assert torch.allclose(loaded_eigenvectors, eigenvectors), "Eigenvectors don't match"
    return {
        "centroid_shape": tuple(loaded_centroid.shape),
        "eigenvalues_shape": tuple(loaded_eigenvalues.shape),
        "eigenvectors_shape": tuple(loaded_eigenvectors.shape),
    }
