"""Recipe files: a user's own, and those that ship in `shipped/`, one for each published study.

A shipped recipe says in `[model]` whose it is: a name, the shape of W, and whether it is taken for that model without
being asked for.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.paths import known_names

from .checks import as_integer, as_switch, as_table, as_text, check_known
from .entries import check_order
from .frames import check_frames
from .recipe import Recipe, errors_from, parse_recipe

_FOLDER = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class RecipeModel:
    """Whose recipe one is; `automatic`, whether it is taken for that model without being asked for."""

    name: str
    n_tokens: int
    n_dims: int
    automatic: bool


@cache
def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that ship with the product, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def recipe_for(name: str, source: str, n_tokens: int, n_dims: int) -> Recipe | None:
    """Return the shipped recipe that is for a model by itself, by its name or its source, and by its shape.

    >>> recipe_for("mine", "Qwen/Qwen3-4B-Instruct-2507", 151_936, 2_560).origin
    'qwen3-4b-instruct-2507'
    >>> recipe_for("mine", "Qwen/Qwen3-4B-Instruct-2507-FP8", 151_936, 2_560)
    """
    names = known_names(name, source)
    for slug in shipped_recipes():
        model = shipped_model(slug)
        if model.automatic and model.name.lower() in names and (model.n_tokens, model.n_dims) == (n_tokens, n_dims):
            return replace(load_recipe(shipped_recipes()[slug]), origin=slug)
    return None


def shipped_model(name: str) -> RecipeModel:
    """Return whose a recipe is that ships by this name."""
    table, _ = _read(shipped_recipes()[name])
    return _model(table["model"])


def load_recipe(recipe: str | Path | Mapping[str, Any]) -> Recipe:
    """Read a recipe file, one that ships by that name, or a table of the same shape.

    CatalogError names the key that is wrong.
    """
    table, path = _read(recipe)
    with errors_from(str(path or "")):
        loaded = _parse(table, path)
        clusters = [cluster.name for cluster in loaded.clusters]
        check_order(loaded.references, clusters)
        check_frames(loaded.frames, [reference.name for reference in loaded.references], clusters)
        return replace(loaded, origin=str(path or ""))


def load_additions(recipe: str | Path | Mapping[str, Any]) -> Recipe:
    """Read a recipe that has references, clusters and frames alone, which may build on what a catalog has already."""
    table, path = _read(recipe)
    with errors_from(str(path or "")):
        for key in ("sky", "pca", "causal", "linkage"):
            if key in table:
                raise CatalogError(f"{key}: was settled by the ingest; leave it out here")
        additions = _parse({"reference": [], **table}, path)
        return replace(additions, origin=str(path or ""))


def _parse(table: Mapping[str, Any], path: Path | None) -> Recipe:
    """Check a recipe that stands in a file, or in none."""
    if "model" in table:
        _model(table["model"])
    return parse_recipe(table, path.parent if path else Path())


def _read(recipe: str | Path | Mapping[str, Any]) -> tuple[Mapping[str, Any], Path | None]:
    """Return what a recipe holds, and the file that was meant."""
    if isinstance(recipe, Mapping):
        return recipe, None
    path = Path(recipe).expanduser()
    if not path.is_file():
        path = shipped_recipes().get(str(path), path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")), path
    except OSError as error:
        raise CatalogError(
            f"{path}: can't be read ({error.strerror}); recipes that ship by name: {', '.join(shipped_recipes())}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: not TOML: {error}") from None


def _model(value: object) -> RecipeModel:
    """Check `[model]`."""
    table = as_table(value, "model")
    keys = ("name", "n_tokens", "n_dims", "automatic")
    check_known(table, "model.", keys)
    for key in keys:
        if key not in table:
            raise CatalogError(f"model.{key}: missing; [model] has {', '.join(keys)}")
    return RecipeModel(
        as_text(table["name"], "model.name"),
        as_integer(table["n_tokens"], "model.n_tokens"),
        as_integer(table["n_dims"], "model.n_dims"),
        as_switch(table["automatic"], "model.automatic"),
    )
