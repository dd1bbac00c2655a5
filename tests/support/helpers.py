"""What several tests make: small matrices on disk, catalogs of them, queries in the real DuckDB shell."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from token_catalog.ingest.demo import demo_model
from token_catalog.ingest.recipe.entries import Cluster, Reference
from token_catalog.ingest.recipe.recipe import Recipe
from token_catalog.ingest.recipe.shipping import load_recipe
from token_catalog.ingest.report import Report
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions
from token_catalog.queries.session import connected, find_shell

MINILM = "all-MiniLM-L6-v2"
REPLICA = "replica"
# For a shell: a join gone wrong fails at once, and fills no disk.
LITTLE_MEMORY = "set memory_limit = '1GB'; set temp_directory = ''; set threads = 2;"


def bf16_matrix(n_tokens: int, n_dims: int, seed: int = 0, scale: float = 0.02) -> torch.Tensor:
    """Return a random bf16 matrix with a mean, so that its components have signs."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n_tokens, n_dims, generator=generator) * torch.linspace(3, 1, n_dims) * scale
    return (rows + 0.3 * scale).to(torch.bfloat16)


def save_bare(path: Path, W: torch.Tensor) -> Path:
    """Save a bare W, as the notebooks keep it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"W": W.contiguous()}, path)
    return path


def ingest_bare(catalog: Path, W: torch.Tensor, name: str = "m", **options: Any) -> Report:
    """Catalogue a matrix without a tokenizer."""
    path = save_bare(catalog.parent / f"{abs(hash(name))}.safetensors", W)
    return ingest(catalog, str(path), SourceOptions(name=name), with_tokenizer=False, **options)


def minilm_folder() -> Path:
    """Return the folder of the real model that `make` installs."""
    return demo_model()


def rows(catalog: Path, query: str, model: str | None = None) -> list[tuple[Any, ...]]:
    """Return a query's rows, by way of what `token-catalog sql` uses."""
    with connected(catalog, model) as connection:
        return connection.execute(query).fetchall()


def notebooks_recipe(look: Reference | None = None) -> Recipe:
    """Return the notebooks' references and cluster for a small matrix; `look` is another 1.4a."""
    references = (
        look or Reference("1.4a", "sky", {"lat": 20.0, "lon": 10.0}),
        Reference("1.5c", "centroid", "1.4a:cosine-mode"),
        Reference("1.5d", "first_in_box", {"lat": 0.0, "lon": 0.0, "diameter": 360.0}),
        Reference("1.6a", "centroid", "largest-component"),
    )
    return Recipe(references=references, clusters=(Cluster("spike", "token_id < 30"),))


def study_recipe() -> Recipe:
    """Return the notebooks' recipe as it ships, and causal norms, which one of the further figures is about."""
    return replace(load_recipe("qwen3-4b-instruct-2507"), causal_epsilon=1e-6)


def shell_run(catalog: Path, script: str, *options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script in the real DuckDB shell, opened through `open.sql` as the README says."""
    return subprocess.run(
        [find_shell(), "-readonly", *options, "-init", str(catalog / "open.sql"), str(catalog / "catalog.duckdb")],
        input=script,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
    )


def answers(catalog: Path, script: str, *, cwd: Path | None = None) -> list[list[dict[str, Any]]]:
    """Return the rows of each statement of a script that can have some, run in the real DuckDB shell."""
    done = shell_run(catalog, script, "-json", cwd=cwd)
    if done.returncode or "Error" in done.stderr:
        raise AssertionError(done.stderr)
    found, rest = [], done.stdout.strip()
    while rest:  # an array for each, one after another
        given, end = json.JSONDecoder().raw_decode(rest)
        found.append(given)
        rest = rest[end:].lstrip()
    return found


def in_shell(catalog: Path, script: str, *, cwd: Path | None = None) -> list[dict[str, Any]]:
    """Return the rows of the last statement of a script, run in the real DuckDB shell through `open.sql`."""
    found = answers(catalog, script, cwd=cwd)
    return found[-1] if found else []
