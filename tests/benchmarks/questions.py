"""The ingest and the questions, each beside the notebook's way: pairs take turns, and ratios are of pairs."""

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import notebooks
from tests.benchmarks.measuring import PYTHON, measured, print_row


def print_questions(
    weights: Path,
    ingest: Sequence[str],
    adding: Sequence[Sequence[str]],
    shell: Sequence[str],
    shape: tuple[int, int],
    n: int,
) -> None:
    """Print the table, of `n` runs each; `shape` is W's, `adding` are commands that add one reference each."""
    token = shape[0] - 1
    features = [*PYTHON, notebooks.FEATURES.format(path=str(weights))]
    questions = [
        ("same_dot_as (1.5d)", f"select count(*) from same_dot_as({token});", notebooks.SAME_DOT),
        (
            "mode of the cosines to a direction (1.4a)",
            "from mode_classes where reference = '1.4a' and metric = 'cosine';",
            notebooks.COSINES,
        ),
        (
            "overlap of the cosine mode and the dot mode (1.5c)",
            "from cluster_overlaps where cluster_a = '1.4a:cosine-mode' and cluster_b = '1.5c:dot-mode';",
            notebooks.OVERLAP,
        ),
        ("every overlap of two clusters", "select count(*) from cluster_overlaps;", None),
        ("a class's tokens, with text", "select count(text) from members('1.5c:dot-mode');", None),
        ("mode of the cosines to a row", f"select mode(cosine_bf16) from point_at_token({token});", None),
        ("dots with any vector", f"select count(dot_bf16) from point_at({_vector(shape[1])});", None),
        (
            "dots and cosines with any vector",
            f"select count(dot_bf16), count(cosine_bf16) from point_at({_vector(shape[1])});",
            None,
        ),
        ("the 10 nearest vectors", f"from nearest({token}, 10);", None),
        ("a window of the sky", "select count(*) from box_search(-7, 7, 5);", None),
        *((name, f"select count(columns(*)) from {call};", None) for name, call in _instruments(shape[1], token)),
    ]
    print("| | catalog | peak | notebook | peak | notebook / catalog |")
    print("|---|---|---|---|---|---|")
    pairs = [(measured(ingest), measured(features)) for _ in range(n)]
    print_row(
        "ingest, with vectors, linkage, references / the notebooks' PCA and sky", *map(list, zip(*pairs, strict=True))
    )
    print_row("add-references, one more", [measured(command) for command in adding])
    for name, sql, notebook in questions:
        ours, rival = [], []
        for _ in range(n):
            ours.append(measured(shell, sql))
            if notebook:
                rival.append(measured([*PYTHON, notebook.format(path=str(weights), token=token)]))
        print_row(name, ours, rival)


def _instruments(n_dims: int, token: int) -> list[tuple[str, str]]:
    """Return the instruments as they are called; those of a cluster, on the clump of 2,212 tokens."""
    clump, h = "'largest-component'", str(_vector(n_dims))
    return [
        ("reading `vectors`", "(select list_sum(vector) as total from vectors)"),
        ("distances to any vector", f"distances_to({h})"),
        ("shells about it", f"shells({h}, 0.1)"),
        ("pairs within the clump, four metrics", f"pairs_within({clump})"),
        ("a histogram of its pairs", f"pair_histogram({clump}, 'euclidean', 1e-4)"),
        ("its lattice neighbours within 2 steps", f"lattice_neighbors({clump}, 2)"),
        ("its lattice components at 2 steps", f"lattice_components({clump}, 2)"),
        ("its lattice linkage, at every number of steps", f"lattice_linkage({clump})"),
        ("who is flooded from one of its tokens", f"flood({token}, 2)"),
        ("its dimensions", f"dimension_statistics({clump})"),
        ("all dimensions", "dimension_statistics(null)"),
        ("its causal distances from a vector", f"causal_distances({clump}, {h}, 1e-6)"),
    ]


def _vector(n_dims: int) -> list[float]:
    return [round(((7 * i) % 13 - 6) / 100, 2) for i in range(n_dims)]
