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


def _vector(n_dims: int) -> list[float]:
    return [round(((7 * i) % 13 - 6) / 100, 2) for i in range(n_dims)]
