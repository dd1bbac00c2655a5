"""What several cells of the notebooks have in common: components, sky, cosines, and what is told of bf16 values.

The notebooks' own torch expressions, on the CPU; nothing of the product is used (see `tests.notebook_cells`).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

NORTH_PC, MERIDIAN_PC, EQUINOX_PC = 2, 1, 3
# The published frame's signs of PC1, PC2 and PC3 for its token.
ORIENTATION = (1.0, -1.0, 1.0)


def pca(W_bf16: Tensor, oriented_by: int | None) -> tuple[Tensor, Tensor]:
    """Return fp32 eigenvalues `(d,)`, descending, and eigenvectors `(d, d)`, in columns, of the rows' covariance."""
    N = len(W_bf16)
    W = W_bf16.to(torch.float32)
    W_centered = W - W.mean(dim=0)
    cov = (W_centered.T @ W_centered) / N
    eigenvalues, eigenvectors = torch.linalg.eigh(cov)
    idx = torch.argsort(eigenvalues, descending=True)
    eigenvalues, eigenvectors = eigenvalues[idx], eigenvectors[:, idx]
    if oriented_by is not None:
        eigenvectors[:, :3] *= torch.sign(W[oriented_by] @ eigenvectors[:, :3]) * torch.tensor(ORIENTATION)
    return eigenvalues, eigenvectors


def get_pc_vector(pcs: Tensor, index: int) -> Tensor:
    """Get PC vector by index (1-indexed), with sign flip for negative indices; `(d,)` of `(d, d)`."""
    pc_num = abs(index) - 1
    vector = pcs[:, pc_num].clone()
    if index < 0:
        vector = -vector
    return vector


def place(lat: float, lon: float) -> tuple[np.float64, np.float64, np.float64]:
    """Return x (meridian), y (equinox) and z (north) of a place on the unit sphere, given in degrees."""
    lat_rad = np.deg2rad(lat)
    lon_rad = np.deg2rad(lon)
    x = np.cos(lat_rad) * np.cos(lon_rad)
    y = np.cos(lat_rad) * np.sin(lon_rad)
    z = np.sin(lat_rad)
    return x, y, z


def direction(eigenvectors: Tensor, x: np.float64, y: np.float64, z: np.float64) -> Tensor:
    """Return a place's direction among the rows of W, `(d,)` fp32."""
    north = get_pc_vector(eigenvectors, NORTH_PC)
    meridian = get_pc_vector(eigenvectors, MERIDIAN_PC)
    equinox = get_pc_vector(eigenvectors, EQUINOX_PC)
    ref_direction = x * meridian + y * equinox + z * north
    return ref_direction / ref_direction.norm()


def cosines(W_bf16: Tensor, ref_direction: Tensor) -> Tensor:
    """Return the rows' bf16 cosines to a direction `(d,)` of norm 1, `(n_tokens,)`."""
    ref_bf16 = ref_direction.to(torch.bfloat16)
    W_norm_bf16 = W_bf16 / W_bf16.norm(dim=1, keepdim=True)
    return W_norm_bf16 @ ref_bf16


def sky(W: Tensor, eigenvectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return fp32 latitudes and longitudes, in degrees, and radii of the uncentred rows; `(n_tokens,)` each."""
    x = W @ get_pc_vector(eigenvectors, MERIDIAN_PC)
    y = W @ get_pc_vector(eigenvectors, EQUINOX_PC)
    z = W @ get_pc_vector(eigenvectors, NORTH_PC)
    r = torch.sqrt(x**2 + y**2 + z**2)
    lat_deg = torch.rad2deg(torch.asin(torch.clamp(z / r, -1, 1)))
    lon_deg = torch.rad2deg(torch.atan2(y, x))
    return lat_deg, lon_deg, r


def distribution(values: Tensor) -> dict[str, Any]:
    """Return what 1.4a and 1.5c print of bf16 values `(n_tokens,)`; the median is the lower of two."""
    return {
        "min": values.min().item(),
        "max": values.max().item(),
        "mean": values.mean().item(),
        "median": values.median().item(),
    }


def mode_class(values: Tensor) -> dict[str, Any]:
    """Return the most frequent of bf16 values `(n_tokens,)`, who has it, and who the largest (1.4a, 1.5c).

    Of several as frequent, argmax gives the first, and so the smallest value.
    """
    unique, counts = torch.unique(values, return_counts=True)
    mode_idx = counts.argmax()
    mode = unique[mode_idx].item()
    mask = values == mode
    indices = mask.nonzero(as_tuple=True)[0]
    largest = values.max().item()
    return {
        "mode": mode,
        "mode_count": counts[mode_idx].item(),
        "mask": mask,
        "indices": indices,
        "n": indices.numel(),
        "max": largest,
        "max_count": (values == largest).sum().item(),
    }


def commonest(values: Tensor) -> dict[str, Any]:
    """Return how many different bf16 values there are, and the ten most frequent with their counts (1.4a, 1.5c)."""
    unique, counts = torch.unique(values, return_counts=True)
    sorted_indices = torch.argsort(counts, descending=True, stable=True)
    top = unique[sorted_indices[:10]]
    top_counts = counts[sorted_indices[:10]]
    return {"n_unique": unique.numel(), "top_ten": list(zip(top.tolist(), top_counts.tolist(), strict=True))}
