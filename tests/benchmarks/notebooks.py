"""The notebooks' way, each as one script that is run in a process of its own: what the catalog is measured against.

The cells are those of notebooks 1.4a (cosines to a direction), 1.5c (W·h for a centroid, and an overlap) and 1.5d (a
window of the sky, then W·h), on the CPU.
"""

from tests.benchmarks import LAT, LON, N_CLUMP

FEATURES = """
import torch
from safetensors.torch import load_file
W_bf16 = load_file({path!r})["W"]
N, d = W_bf16.shape
W = W_bf16.to(torch.float32)
W_centered = W - W.mean(dim=0)
cov = (W_centered.T @ W_centered) / N
eigenvalues, eigenvectors = torch.linalg.eigh(cov)
idx = torch.argsort(eigenvalues, descending=True)
eigenvalues, eigenvectors = eigenvalues[idx], eigenvectors[:, idx]
north, meridian, equinox = eigenvectors[:, 1], eigenvectors[:, 0], eigenvectors[:, 2]
x, y, z = W @ meridian, W @ equinox, W @ north
r = torch.sqrt(x**2 + y**2 + z**2)
lat_deg = torch.rad2deg(torch.asin(z / r))
lon_deg = torch.rad2deg(torch.atan2(y, x))
norms = W.norm(dim=1)
"""

SAME_DOT = (
    FEATURES
    + """
mask = (lat_deg >= lat_deg[{token}] - 0.0005) & (lat_deg <= lat_deg[{token}] + 0.0005) \\
    & (lon_deg >= lon_deg[{token}] - 0.0005) & (lon_deg <= lon_deg[{token}] + 0.0005)
h = W_bf16[mask.nonzero(as_tuple=True)[0][0].item()]
dots = W_bf16 @ h
members = (dots == h @ h).nonzero(as_tuple=True)[0]
print(len(members))
"""
)

COSINES = (
    FEATURES
    + f"""
from math import cos, radians, sin
lat, lon = radians({LAT}), radians({LON})
direction = cos(lat) * cos(lon) * meridian + cos(lat) * sin(lon) * equinox + sin(lat) * north
reference = (direction / direction.norm()).to(torch.bfloat16)
"""
    + """
cosines = (W_bf16 / W_bf16.norm(dim=1, keepdim=True)) @ reference
values, counts = torch.unique(cosines, return_counts=True)
print(counts.max().item())
"""
)

# The tokens of 1.4a come from its file; here they are the clump's.
OVERLAP = f"""
import torch
from safetensors.torch import load_file
W_bf16 = load_file({{path!r}})["W"]
ids = torch.arange(len(W_bf16) - {N_CLUMP}, len(W_bf16))
dots = W_bf16 @ W_bf16[ids].mean(dim=0)
values, counts = torch.unique(dots, return_counts=True)
mask = dots == values[counts.argmax()]
cosine_mask = torch.zeros(len(W_bf16), dtype=torch.bool)
cosine_mask[ids] = True
print((mask & cosine_mask).sum().item(), len(torch.unique(W_bf16[mask], dim=0)))
"""
