"""The notebooks' SQL files in the real DuckDB shell, beside what the notebooks' cells print of the matrix alone.

Each figure agrees with the notebook's within its class, which the README beside the published figures explains and
`queries.verdicts.judge` applies. `tests.notebook_cells` has the notebooks' names for their figures.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.helpers import (
    REPLICA,
    answers,
    bf16_matrix,
    in_shell,
    ingest_bare,
    notebooks_recipe,
    rows,
    shell_run,
)
from tests.support.notebook_cells import Run, notebook_1_4a, notebook_1_5c, notebook_1_5d
from tests.support.reading import TOKEN, members, vector
from tests.support.replica import Replica
from token_catalog.ingest.recipe.recipe import LinkageDistances
from token_catalog.queries.session import run_query
from token_catalog.queries.tolerances import judge

Answers = list[list[dict[str, Any]]]

ROOT = Path(__file__).parents[2]
FILES = {path.name.split("_")[0]: path for path in sorted(ROOT.glob("queries/notebooks/*.sql"))}

# Each figure of a notebook: the answer of its SQL file that tells it, from 0, and the column; its class; and the format
# that the notebook prints it in. A "share" is a quotient of two fragile counts.
FIGURES = {
    "1.4a": {
        "N": (0, "n_tokens", "exact", "d"),
        "d": (0, "n_dims", "exact", "d"),
        "x": (1, "x", "robust", ".6f"),
        "y": (1, "y", "robust", ".6f"),
        "z": (1, "z", "robust", ".6f"),
        "ref_norm": (1, "norm", "robust", ".6f"),
        "min": (2, "min_cosine", "fragile", ".8f"),
        "max": (2, "max_cosine", "fragile", ".8f"),
        "mean": (2, "mean_cosine", "fragile", ".8f"),
        "median": (2, "median_cosine", "fragile", ".8f"),
        "mode_cosine": (3, "mode_cosine", "exact", ".8f"),
        "mode_count": (3, "mode_tokens", "fragile", "d"),
        "n_cluster": (3, "mode_tokens", "fragile", "d"),
        "percent": (3, "percent_of_vocabulary", "share", ".2f"),
        "first_20": (4, "first_20_token_ids", "fragile", ""),
        "max_cosine": (5, "max_cosine", "fragile", ".8f"),
        "n_unique": (6, "n_distinct_cosines", "fragile", "d"),
    },
    "1.4h": {
        "n_spike": (0, "n_nodes", "robust", "d"),
        "nodes": (0, "n_nodes", "robust", "d"),
        "num_edges": (0, "n_edges", "exact", "d"),
        "n_components": (1, "n_components", "robust", "d"),
        "giant_cluster_size": (1, "largest_component", "exact", "d"),
        "singletons": (1, "singletons", "robust", "d"),
        "first_20": (3, "first_20_token_ids", "exact", ""),
    },
    "1.5c": {
        "n_cosine_cluster": (1, "n_tokens", "fragile", "d"),
        "cluster_cosine": (1, "shared_cosine", "exact", ".8f"),
        "cosine_cluster_first_10": (1, "first_10_token_ids", "fragile", ""),
        "centroid_norm": (2, "centroid_norm", "robust", ".6f"),
        "cluster_norm_min": (3, "min_norm", "fragile", ".6f"),
        "cluster_norm_max": (3, "max_norm", "fragile", ".6f"),
        "cluster_norm_mean": (3, "mean_norm", "fragile", ".6f"),
        "min": (4, "min_dot", "fragile", ".8f"),
        "max": (4, "max_dot", "fragile", ".8f"),
        "mean": (4, "mean_dot", "fragile", ".8f"),
        "median": (4, "median_dot", "fragile", ".8f"),
        "mode_dot": (5, "mode_dot", "exact", ".8f"),
        "mode_count": (5, "mode_tokens", "fragile", "d"),
        "n_logit_equiv": (5, "mode_tokens", "fragile", "d"),
        "percent": (5, "percent_of_vocabulary", "share", ".2f"),
        "first_20": (6, "first_20_token_ids", "fragile", ""),
        "max_dot": (7, "max_dot", "fragile", ".8f"),
        "n_overlap": (8, "n_both", "fragile", "d"),
        "cosine_only": (8, "n_cosine_only", "fragile", "d"),
        "logit_only": (8, "n_logit_only", "fragile", "d"),
        "percent_of_cosine": (8, "percent_of_cosine", "share", ".1f"),
        "percent_of_logit": (8, "percent_of_logit", "share", ".1f"),
        "n_unique_embeddings": (9, "unique_embeddings", "fragile", "d"),
        "n_duplicates": (9, "n_sharing", "fragile", "d"),
        "average_degeneracy": (9, "average_degeneracy", "share", ".1f"),
        "n_unique": (10, "n_distinct_dots", "fragile", "d"),
        "unique_percent": (10, "percent_of_vocabulary", "share", ".2f"),
    },
    "1.5d": {
        "n_spatial": (1, "n_tokens", "fragile", "d"),
        "ref_token_id": (1, "ref_token_id", "exact", "d"),
        "h_dot_h": (2, "h_dot_h", "exact", ".8f"),
        "n_cluster": (2, "n_cluster", "fragile", "d"),
        "percent": (2, "percent_of_vocabulary", "share", ".3f"),
        "first_10": (2, "first_10_token_ids", "fragile", ""),
    },
    "1.6a": {
        "variance_10": (2, "percent_in_first_10", "robust", ".2f"),
        "variance_100": (2, "percent_in_first_100", "robust", ".2f"),
        "n_cluster": (3, "n_tokens", "exact", "d"),
        "centroid_norm": (3, "norm", "robust", ".6f"),
    },
}
# What these print more is looked at in tests of their own.
BY_THEMSELVES = {
    "1.4a": {"top_ten", "max_count"},
    "1.4h": {"id_range"},
    "1.5c": {"top_ten", "max_count"},
    "1.5d": set(),
    "1.6a": {"top_ten", "first_10"},
}
# What no file tells: scipy's label of the component, whose lowest token a file tells; and which of four sentences 1.5c
# printed of the overlap.
NOT_TOLD = {"1.4a": set(), "1.4h": {"giant_cluster_id"}, "1.5c": {"verdict"}, "1.5d": set(), "1.6a": set()}


@pytest.fixture(scope="module")
def told(replica_catalog: Path) -> dict[str, Answers]:
    """Return what each file answers."""
    return {number: answers(replica_catalog, reading(path)) for number, path in FILES.items()}


def reading(path: Path) -> str:
    """Return the shell's command that runs a file."""
    return f".read '{path}'\n"


def agrees(class_: str, printed: object, format_: str, found: Any) -> bool:
    """Whether a figure is what a notebook printed, by its class."""
    if class_ == "share":
        return found == pytest.approx(printed, rel=0.03, abs=10.0 ** -int(format_[1]))
    text = " ".join(map(str, printed)) if isinstance(printed, list) else format(printed, format_)
    return judge(class_, text, found, "FLOAT").passes


@pytest.mark.parametrize("number", FILES)
def test_a_file_tells_each_figure_of_its_notebook(number: str, told: dict[str, Answers], alone: Run) -> None:
    printed = {name: value for name, value in alone.printed[number].items() if not isinstance(value, Tensor)}
    assert printed.keys() == FIGURES[number].keys() | BY_THEMSELVES[number] | NOT_TOLD[number]
    for name, (table, column, class_, format_) in FIGURES[number].items():
        (row,) = told[number][table]
        assert agrees(class_, printed[name], format_, row[column]), (name, printed[name], row[column])


@pytest.mark.parametrize(
    ("number", "values", "metric"), [("1.4a", "cosines_bf16", "cosine"), ("1.5c", "dot_products_bf16", "dot")]
)
def test_the_ten_most_common_values_and_the_largest_have_the_notebooks_counts(
    number: str, values: str, metric: str, told: dict[str, Answers], alone: Run
) -> None:
    """Value by value, as one token on a rounding boundary may change places among classes as large."""
    counts = Counter(alone.printed[number][values].tolist())
    ten = next(answer for answer in told[number] if "class_rank" in answer[0])
    assert [row["class_rank"] for row in ten] == [*range(1, 11)]
    for row, (_, n_printed) in zip(ten, alone.printed[number]["top_ten"], strict=True):
        assert agrees("fragile", n_printed, "d", row["n_tokens"])
        assert agrees("fragile", counts[row[f"{metric}_bf16"]], "d", row["n_tokens"])
    (largest,) = next(answer for answer in told[number] if "max_tokens" in answer[0])
    assert agrees("fragile", counts[largest[f"max_{metric}"]], "d", largest["max_tokens"])


def test_shares_are_those_of_the_counts_beside_them(told: dict[str, Answers], replica: Replica) -> None:
    n_tokens = len(replica.W)
    (mode,), (overlap,), (duplicates,), (values,) = told["1.5c"][5], *told["1.5c"][8:11]
    (cosine_mode,), (same,) = told["1.4a"][3], told["1.5d"][2]
    n_cosine, n_logit, n_both = overlap["n_cosine"], overlap["n_logit"], overlap["n_both"]
    assert (n_cosine, n_logit) == (cosine_mode["mode_tokens"], mode["mode_tokens"])
    assert overlap["n_cosine_only"] == n_cosine - n_both
    assert overlap["n_logit_only"] == n_logit - n_both
    assert duplicates["n_tokens"] == duplicates["unique_embeddings"] + duplicates["n_sharing"] == n_logit
    for share, exact, digits in (
        (cosine_mode["percent_of_vocabulary"], 100 * n_cosine / n_tokens, 2),
        (mode["percent_of_vocabulary"], 100 * n_logit / n_tokens, 2),
        (same["percent_of_vocabulary"], 100 * same["n_cluster"] / n_tokens, 3),
        (values["percent_of_vocabulary"], 100 * values["n_distinct_dots"] / n_tokens, 2),
        (overlap["percent_of_cosine"], 100 * n_both / n_cosine, 1),
        (overlap["percent_of_logit"], 100 * n_both / n_logit, 1),
        (duplicates["average_degeneracy"], n_logit / duplicates["unique_embeddings"], 1),
    ):
        assert share == pytest.approx(exact, abs=0.5001 * 10**-digits)


def test_the_component_has_the_notebooks_range_of_tokens_and_all_others_are_single(
    told: dict[str, Answers], alone: Run
) -> None:
    (graph,), (components,), sizes, (giant,), _ = told["1.4h"]
    assert (giant["min_token_id"], giant["max_token_id"]) == alone.printed["1.4h"]["id_range"]
    assert giant["giant_cluster_id"] == giant["min_token_id"]
    assert graph["n_straddling"] == 0
    assert graph["adjacency_threshold"] == 0.002
    assert [(row["n_tokens"], row["n_components"]) for row in sizes] == [
        (components["largest_component"], 1),
        (1, components["singletons"]),
    ]
    assert graph["n_nodes"] == components["largest_component"] + components["singletons"]


def test_components_and_the_centroid_have_the_notebooks_digits(told: dict[str, Answers], alone: Run) -> None:
    printed, components, (centroid,) = alone.printed["1.6a"], told["1.6a"][1], told["1.6a"][3]
    sums = torch.cumsum(printed["eigenvalues"].double(), 0)
    shares = 100 * sums / sums[-1]
    for row, (eigenvalue, percent), cumulative in zip(
        components, printed["top_ten"], shares[:10].tolist(), strict=True
    ):
        assert agrees("robust", eigenvalue, ".6f", row["eigenvalue"])
        assert agrees("robust", percent, ".2f", row["percent_of_variance"])
        assert agrees("robust", cumulative, ".2f", row["cumulative_percent"])
    assert [row["pc"] for row in components] == [*range(1, 11)]
    for found, expected in zip(centroid["first_10_components"], printed["first_10"], strict=True):
        assert agrees("robust", expected, ".8f", found)


def test_the_window_and_the_place_asked_for_are_told(told: dict[str, Answers], replica_catalog: Path) -> None:
    (place,), (window,) = told["1.4a"][1], told["1.5d"][1]
    assert (place["reference"], place["lat"], place["lon"]) == ("1.4a", -7.288, 6.941)
    assert [window[name] for name in ("center_lat", "center_lon", "angular_diameter")] == [-7.2888, 6.94, 0.001]
    sky = rows(replica_catalog, "select token_id, lat, lon from features order by token_id")
    inside = [i for i, lat, lon in sky if abs(lat + 7.2888) <= 0.0005 and abs(lon - 6.94) <= 0.0005]
    assert (window["n_tokens"], window["ref_token_id"]) == (len(inside), inside[0])


@pytest.mark.parametrize("number", ["1.4a", "1.5c", "1.5d", "1.6a"])
def test_a_file_tells_first_what_w_is(number: str, told: dict[str, Answers], replica: Replica) -> None:
    (about,) = told[number][0]
    assert (about["n_tokens"], about["n_dims"], about["dtype"]) == (*replica.W.shape, "bf16")
    axes = [about[name] for name in ("north_pc", "meridian_pc", "equinox_pc") if name in about]
    assert axes == ([2, 1, 3] if number in ("1.4a", "1.5d") else [])


def test_a_centroid_has_as_many_dimensions_as_w(told: dict[str, Answers], replica: Replica) -> None:
    (of_class,), (of_component,) = told["1.5c"][2], told["1.6a"][3]
    assert of_class["n_dims"] == of_component["n_dims"] == replica.W.shape[1]


@pytest.mark.parametrize(
    ("number", "indices", "cluster"),
    [
        ("1.4a", "cluster_indices", "1.4a:cosine-mode"),
        ("1.4h", "cluster_token_ids", "largest-component"),
        ("1.5c", "logit_equiv_indices", "1.5c:dot-mode"),
        ("1.5d", "cluster_token_ids", "1.5d:dot-self"),
        ("1.6a", None, "largest-component"),
    ],
)
def test_a_files_last_answer_is_the_clusters_tokens_with_their_text(
    number: str, indices: str | None, cluster: str, told: dict[str, Answers], replica_catalog: Path, alone: Run
) -> None:
    found = told[number][-1]
    token_ids = [row["token_id"] for row in found]
    assert token_ids == members(replica_catalog, cluster)
    if indices:
        notebooks = alone.printed[number][indices].tolist()
        assert len(set(notebooks) ^ set(token_ids)) <= len(notebooks) // 50
    texts = {i: told for i, *told in rows(replica_catalog, "select token_id, text, piece, kind from tokens")}
    assert [[row[name] for name in ("text", "piece", "kind")] for row in found] == [texts[i] for i in token_ids]
    assert {row["model"] for row in found} == {REPLICA}


def native(catalog: Path, reference: str, column: str) -> tuple[dict[str, Any], list[int]]:
    """Return what 1.4a and 1.5c print of bf16 values, asked in SQL of native ones; and the mode's tokens."""
    given = f"(select token_id, {column} as value from scores where reference = '{reference}')"
    classes = rows(catalog, f"select value, count(*) from {given} group by value order by count(*) desc, value")
    (distribution,) = rows(catalog, f"select min(value), max(value), quantile_disc(value, 0.5) from {given}")
    (mode, n_mode), largest = classes[0], distribution[1]
    (mode_tokens,) = rows(catalog, f"select list(token_id order by token_id) from {given} where value = {mode}")[0]
    figures = dict(zip(("min", "max", "median"), distribution, strict=True)) | {
        "mode_count": n_mode,
        "first_20": mode_tokens[:20],
        "max_count": dict(classes)[largest],
        "n_unique": len(classes),
        "top_ten": classes[:10],
    }
    return figures, mode_tokens


def test_of_the_catalogs_references_sql_finds_in_the_native_columns_what_the_cells_print(
    replica: Replica, replica_catalog: Path, tmp_path: Path
) -> None:
    look, centroid = (vector(replica_catalog, reference) for reference in ("1.4a", "1.5c"))
    cosine = notebook_1_4a(replica.W, tmp_path, ref_direction=look)
    dot = notebook_1_5c(replica.W, tmp_path, centroid=centroid)
    figures, cosine_mode = native(replica_catalog, "1.4a", "cosine_native")
    assert {name: cosine[name] for name in figures} == figures
    figures, dot_mode = native(replica_catalog, "1.5c", "dot_native")
    assert {name: dot[name] for name in figures} == figures
    assert dot["n_overlap"] == len(set(cosine_mode) & set(dot_mode))
    first = dict(rows(replica_catalog, "select token_id, duplicate_of from features"))
    assert dot["n_unique_embeddings"] == len({first[token] for token in dot_mode})
    same = notebook_1_5d(replica.W, tmp_path, ref_token_id=TOKEN)
    query = """
        select h.dot_native, count(*), list(s.token_id order by s.token_id)[:10]
        from scores as s inner join scores as h using (reference, dot_native)
        where reference = '1.5d' and h.token_id = 124 group by h.dot_native
    """
    assert rows(replica_catalog, query) == [(same["h_dot_h"], same["n_cluster"], same["first_10"])]


@pytest.mark.parametrize(
    ("number", "lacking"),
    [
        ("1.4a", "reference '1.4a'"),
        ("1.4h", "cluster 'spike'"),
        ("1.5c", "reference '1.4a'"),
        ("1.5d", "reference '1.5d'"),
        ("1.6a", "reference '1.6a'"),
    ],
)
def test_where_a_model_lacks_what_a_file_reads_it_stops_and_says_what(number: str, lacking: str, minilm: Path) -> None:
    done = shell_run(minilm, reading(FILES[number]), "-json")
    assert done.returncode
    assert f"no model in view has a {lacking}" in done.stderr
    assert "token_id" not in done.stdout


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of two small models with all that the files read, and of one with nothing of it."""
    catalog = tmp_path_factory.mktemp("two") / "c"
    for seed, model in enumerate(("a", "b")):
        ingest_bare(
            catalog, bf16_matrix(60, 12 + seed, seed), model, recipe=notebooks_recipe(), asked=LinkageDistances(9, 9)
        )
    ingest_bare(catalog, bf16_matrix(20, 4), "other", asked=LinkageDistances(9, 9))
    return catalog


@pytest.mark.parametrize("number", FILES)
def test_a_file_tells_of_each_model_and_of_the_one_in_view_alone(number: str, two: Path) -> None:
    of_both = answers(two, reading(FILES[number]))
    assert all({"a", "b"} <= {row["model"] for row in answer} for answer in of_both)
    of_b = answers(two, "set variable model = 'b';\n" + reading(FILES[number]))
    assert of_b == [[row for row in answer if row["model"] == "b"] for answer in of_both]


@pytest.mark.parametrize("number", FILES)
def test_a_file_is_sql_and_nothing_of_the_shells(number: str, two: Path, tmp_path: Path) -> None:
    text = FILES[number].read_text(encoding="utf-8")
    assert not [line for line in text.splitlines() if line.lstrip().startswith(".")]
    run_query(two, text, format_="json", output=tmp_path / "last.json")
    assert json.loads((tmp_path / "last.json").read_text()) == in_shell(two, reading(FILES[number]))


def test_a_file_can_be_given_to_the_command_line(two: Path) -> None:
    at = f'--format json --model a --catalog "{two}"'
    # After two dashes, for the file begins with a comment, and that with dashes, too.
    command = f'"{sys.executable}" -m token_catalog sql {at} -- "$(cat "{FILES["1.6a"]}")"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert [row["token_id"] for row in json.loads(done.stdout)] == [*range(60)]
