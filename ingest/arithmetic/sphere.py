"""Points as they are seen from an origin: distance, latitude and longitude."""

import numpy as np

from .arrays import Floats


def spherical(x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Return radius, latitude and longitude (degrees) of points; NaN angles at radius 0.

    The latitude is asin(z / radius), computed as atan2(z, √(x² + y²)), which keeps its accuracy near the poles.

    >>> [a.tolist() for a in spherical(np.array([1.0]), np.array([1.0]), np.array([0.0]))]
    [[1.4142135623730951], [0.0], [45.0]]
    """
    across = np.hypot(x, y)
    radius = np.hypot(across, z)
    somewhere = radius > 0
    lat = np.where(somewhere, np.degrees(np.arctan2(z, across)), np.nan)
    lon = np.where(somewhere, np.degrees(np.arctan2(y, x)), np.nan)
    return radius, lat + 0.0, lon + 0.0
