"""The causal metric: lengths under the inverse covariance, (C + εI)⁻¹, by the principal components.

‖w - μ‖ in that metric is the length of the whitened row, whose coordinates are (w - μ)·PC / √(λ + ε). All components
take part, so that this is one product of W with as many columns as it has: as many multiplications as the covariance
has by a full product.
"""

import numpy as np
import torch

from ..arithmetic.arrays import Floats
from ..arithmetic.components import PrincipalComponents
from .scan import Rows, Scan


def causal_norms(rows: Rows, scan: Scan, components: PrincipalComponents, epsilon: float | None) -> Floats:
    """Return √((w-μ)ᵀ(C+εI)⁻¹(w-μ)) of every row, in fp64, `(n_tokens,)`.

    NaN where the row isn't finite, and everywhere without an ε.
    """
    norms = np.full(len(scan.finite), np.nan)
    if epsilon is None:
        return norms
    scaled = components.vectors / np.sqrt(components.eigenvalues + epsilon)[:, None]
    whitening, mean = (torch.from_numpy(array).to(rows.device) for array in (scaled.T, components.mean))
    chunks = rows.finite(scan.finite, "causal")
    norms[scan.finite] = np.concatenate(
        [torch.linalg.vector_norm((chunk - mean) @ whitening, dim=1).cpu().numpy() for chunk in chunks]
    )
    return norms


def condition_number(components: PrincipalComponents, epsilon: float | None) -> float | None:
    """Return by how much (C + εI)⁻¹ stretches one direction more than another: (λ₁ + ε) / (λ_least + ε)."""
    if epsilon is None:
        return None
    return float((components.eigenvalues[0] + epsilon) / (components.eigenvalues[-1] + epsilon))
