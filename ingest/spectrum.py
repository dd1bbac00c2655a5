"""The spectrum of a catalogued model's cluster, and the sky that its leading components span; the rest stays."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError

from .arithmetic.components import is_degenerate
from .dependents import SKY_PCS, place_skies, sky_name, surroundings
from .devices import fp64_device, placed
from .frames.places import PlacedFrame, write_frames
from .frames.resolve import Surroundings
from .new_version import NewVersion
from .recipe.entries import check_cluster
from .references.clusters import all_clusters
from .report import Report
from .spectra.spectrum import WEIGHTINGS, Spectrum, spectrum, write_spectra
from .stored_model import StoredModel, revise


@dataclass(frozen=True)
class Asked:
    """Whose spectrum is asked for, how its tokens count, where to compute, and whether it may take the place of one."""

    cluster: str
    weighting: str
    device: torch.device
    replace: bool


def cluster_spectrum(
    catalog: Path, name: str, cluster: str, weighting: str, device: str = "auto", *, replace: bool = False
) -> Report:
    """Add the spectrum of a cluster, and its sky, to the models of this key or name, and publish them together.

    On bad input: CatalogError, and the catalog is as it was.
    """
    check_weighting(weighting)
    return revise(catalog, name, partial(_add, Asked(cluster, weighting, fp64_device(device), replace)))


def check_weighting(weighting: str) -> None:
    """Raise CatalogError where a cluster's tokens can't count so."""
    if weighting not in WEIGHTINGS:
        raise CatalogError(f"`weighting={weighting}`: unknown; one of {', '.join(WEIGHTINGS)}")


def _add(asked: Asked, stored: StoredModel, new: NewVersion) -> None:
    """Write the tables of spectra, and those of frames, where its sky is one."""
    before, key = stored.spectra(), (asked.cluster, asked.weighting)
    if not asked.replace and key in [one.key for one in before]:
        raise CatalogError(
            f"{stored.model}: has a spectrum of '{asked.cluster}', weighted by {asked.weighting}; `replace=True` makes "
            "it anew"
        )
    with new.stage("read"):
        around = _around(asked, stored)
    with new.stage("spectrum"), _errors_of(stored.model):
        ids = around.finite(around.cluster(asked.cluster))
        found = spectrum(around.W, asked.cluster, ids, around.duplicate_of, asked.weighting)
    new.note(str(found))
    with new.stage("sky"):
        skies = place_skies([found], around)
    _tell_of_sky(found, skies, new)
    with new.stage("tables"):
        write_spectra(new, [*(one for one in before if one.key != key), found])
        write_frames(new, [*(frame for frame in stored.frames() if frame.name != sky_name(*key)), *skies])


def _around(asked: Asked, stored: StoredModel) -> Surroundings:
    """Read what a spectrum needs; CatalogError, before W is read, where there is no such cluster."""
    features, members, references = stored.table(schemas.FEATURES), stored.members(), stored.references()
    clusters = all_clusters(features, members, references)
    with _errors_of(stored.model):
        check_cluster(asked.cluster, "`cluster=`", [reference.name for reference in references], members)
        clusters.ids(asked.cluster)
    return surroundings(stored.view(placed(stored.W(), asked.device), features), clusters, references, {})


def _tell_of_sky(found: Spectrum, skies: Sequence[PlacedFrame], new: NewVersion) -> None:
    """Note where its sky is; warn where that has no place of its own."""
    if not skies:
        new.note(f"its rows spread in {found.row['rank']} directions, and a sky needs {len(SKY_PCS)}: so it has none")
        return
    new.note(f"its sky is the frame '{skies[0].name}'")
    degenerate = [f"PC{pc}" for pc in sorted(SKY_PCS) if is_degenerate(found.eigenvalues, pc)]
    if degenerate:
        new.report.warnings.append(
            f"{new.model}: axes of '{skies[0].name}' with an equal eigenvalue beside theirs: {', '.join(degenerate)}; "
            "their directions are arbitrary"
        )


@contextmanager
def _errors_of(model: str) -> Iterator[None]:
    """Say in errors which model it is."""
    try:
        yield
    except CatalogError as error:
        raise CatalogError(f"{model}: {error}") from None
