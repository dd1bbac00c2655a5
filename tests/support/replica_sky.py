"""Where the replica's cluster is on the sky of the whole matrix, and how to move it to the published place.

The components depend on the cluster, and its place on the components: what is here knows both, to first order.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg.blas import dsyrk
from scipy.spatial import cKDTree
from torch import Tensor

from tests.support.exact import Floats

# The token whose place on the sky is aimed at, its group, and how near it must come (degrees); the recipe's window
# reaches 0.0005 to each side.
AIM, AIM_GROUP = 124, 2
TARGET, NEAR_ENOUGH = (-7.2888, 6.9400), 2e-5
# The cluster's published radius.
RADIUS = 0.0008035
# No element changes whose bf16 step is over this, half of the cluster's radius.
LARGEST_STEP = RADIUS / 2
# Changes of single elements that are combined by threes to aim with.
N_FLIPS = 512
CHUNK = 4096


@dataclass(frozen=True)
class Plan:
    """How the planted rows follow from the centre: what stays when the centre is moved.

    `directions` (n_vectors, n_dims): by how many bf16 steps (-1, 0 or 1) each element of a frozen vector differs;
    `offsets` (n_near + n_turned, n_dims), what the others are off by.
    """

    directions: Tensor
    offsets: Tensor

    def rows(self, centre: Tensor) -> Tensor:
        """Return the planted vectors about a bf16 centre (n_dims,): the frozen, the near, the turned ones."""
        up, down = (next_bf16(centre, sign) for sign in (1, -1))
        frozen = torch.where(self.directions > 0, up, torch.where(self.directions < 0, down, centre))
        return torch.cat([frozen, (centre.double() + self.offsets).bfloat16()])


@dataclass(frozen=True)
class Background:
    """The rows that aren't planted, as the covariance sees them: how many rows in all, Σw (n_dims,) and Σwwᵀ, fp64."""

    n_tokens: int
    total: Floats
    moment: Floats

    def components(self, planted: Floats, counts: Floats) -> tuple[Floats, Floats, Floats]:
        """Return eigenvalues (descending), components in rows, and the mean of the matrix with the planted rows."""
        mean = (self.total + counts @ planted) / self.n_tokens
        moment = self.moment + planted.T @ (counts[:, None] * planted)
        values, columns = np.linalg.eigh(moment / self.n_tokens - np.outer(mean, mean))
        return values[::-1], columns[:, ::-1].T, mean


def summed(W: Tensor) -> Background:
    """Return the sums over the rows of W, in fp64."""
    n_dims = W.shape[1]
    lower, total = np.zeros((n_dims, n_dims), order="F"), np.zeros(n_dims)
    for part in W.split(CHUNK):
        rows = part.double().numpy()
        total += rows.sum(axis=0)
        lower = dsyrk(1.0, rows.T, beta=1.0, c=lower, lower=1, overwrite_c=1)
    return Background(len(W), total, np.tril(lower) + np.tril(lower, -1).T)


@dataclass(frozen=True)
class Sky:
    """Where AIM is: `xyz` (3,), `axes` (3, n_dims), and `jacobian` (3, n_dims), d xyz / d centre."""

    xyz: Floats
    axes: Floats
    jacobian: Floats

    def degrees(self) -> tuple[float, float]:
        """Return latitude and longitude."""
        x, y, z = self.xyz
        return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))

    def slopes(self) -> Floats:
        """Return d (lat, lon) / d centre in degrees, (2, n_dims)."""
        x, y, z = self.xyz
        across, square = math.hypot(x, y), float(self.xyz @ self.xyz)
        lat = np.array([-x * z / across, -y * z / across, across]) / square
        lon = np.array([-y, x, 0.0]) / across**2
        return np.degrees(np.stack([lat, lon])) @ self.jacobian


def sky_at(background: Background, counts: Floats, plan: Plan, centre: Tensor) -> Sky:
    """Return where AIM is on the sky of the whole matrix, and how that follows the centre, to first order.

    A centre moved by d moves the covariance by (K/N)(u·dᵀ + d·uᵀ), with K planted rows at u from the mean; component i
    turns by Σ_k PC_k·(PC_k·change·PC_i) / (λ_i - λ_k), and the centre's coordinate with it.
    """
    planted = plan.rows(centre).double().numpy()
    values, components, mean = background.components(planted, counts)
    aim = planted[AIM_GROUP]
    share, away = counts.sum() / background.n_tokens, aim - mean
    xyz, axes, jacobian = np.empty(3), [], []
    for place, (pc, sign) in enumerate(((0, 1.0), (2, 1.0), (1, -1.0))):  # x > 0, y > 0, z < 0
        axis = components[pc] * math.copysign(1.0, sign * (components[pc] @ aim))
        gaps = np.where(np.arange(len(values)) == pc, np.inf, values[pc] - values)
        turning = ((components @ aim) / gaps) @ components
        xyz[place] = axis @ aim
        axes.append(axis)
        jacobian.append(axis + share * ((turning @ away) * axis + (axis @ away) * turning))
    return Sky(xyz, np.stack(axes), np.stack(jacobian))


def settled(background: Background, counts: Floats, plan: Plan, centre: Tensor) -> Tensor:
    """Return a bf16 centre near another, with AIM at TARGET on the sky of the whole matrix."""
    for _ in range(10):
        sky = sky_at(background, counts, plan, centre)
        missing = np.subtract(TARGET, sky.degrees())
        if np.abs(missing).max() < NEAR_ENOUGH:
            return centre
        slopes = sky.slopes()
        # A long way takes several moves before it is worth asking again where the cluster is.
        while np.abs(missing).max() >= NEAR_ENOUGH:
            moved = _flipped(centre, slopes, missing)
            if torch.equal(moved, centre):
                break
            missing -= slopes @ (moved.double() - centre.double()).numpy()
            centre = moved
    raise RuntimeError(f"the centre stays {missing} degrees off; another seed may do")


def _flipped(centre: Tensor, slopes: Floats, missing: Floats) -> Tensor:
    """Return the centre with up to three elements moved by one bf16 step, so that AIM moves by `missing` degrees."""
    steps = np.stack([(next_bf16(centre, sign).double() - centre.double()).numpy() for sign in (1, -1)])  # (2, n_dims)
    small = np.abs(steps).max(axis=0) <= LARGEST_STEP
    effects = (steps[:, None] * slopes * small).transpose(0, 2, 1).reshape(-1, 2)
    strongest = np.argsort(-np.linalg.norm(effects, axis=1))[:N_FLIPS]
    flips = np.vstack([np.zeros(2), effects[strongest]])  # the first moves nothing
    pairs = flips[:, None] + flips
    distance, third = cKDTree(flips).query((missing - pairs).reshape(-1, 2))
    for best in np.argsort(distance, kind="stable"):
        chosen = [i for i in (*divmod(int(best), len(flips)), int(third[best])) if i]
        moves = [divmod(int(strongest[i - 1]), len(centre)) for i in chosen]
        if len({element for _, element in moves}) == len(moves):
            break
    moved = centre.clone()
    for sign, element in moves:
        moved[element] = next_bf16(centre, -1 if sign else 1)[element]
    return moved


def next_bf16(values: Tensor, sign: int) -> Tensor:
    """Return the bf16 next to each value, up or down."""
    return torch.nextafter(values, torch.full_like(values, sign * math.inf))


def direction_to(lat: float, lon: float) -> Floats:
    """Return the unit vector (x, y, z) to a place on the sky."""
    up, around = math.radians(lat), math.radians(lon)
    return np.array([math.cos(up) * math.cos(around), math.cos(up) * math.sin(around), math.sin(up)])
