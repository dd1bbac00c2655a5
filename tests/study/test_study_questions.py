"""The study's questions, a SQL file each, on the replica: short files, the page's answers, and independent figures.

`further_figures` and what this module reckons itself use nothing of the product: numpy and scipy on W, in fp64 or whole
numbers.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

from tests.support.exact import Floats, Ids, nearest_mean
from tests.support.helpers import answers
from tests.support.pages import ROOT, STUDY, Block, questions, shell_answer
from tests.support.reading import members
from tests.support.replica import Replica
from tests.support.replica_figures import Matrix, Value
from token_catalog.queries.session import run_query

FOLDER = ROOT / "queries" / "study"
FILES = {path.stem: path for path in sorted(FOLDER.glob("*.sql"))}
N_LINES = 15
# The page's first question: which W its answers are of.
OF_WHICH_W, *ASKED = questions(STUDY)
Rows = list[dict[str, Any]]


def reading(name: str) -> str:
    """Return the shell's command that runs a file, from the project's folder."""
    return f".read queries/study/{name}.sql\n"


def comment(name: str) -> str:
    """Return the words of a file's header."""
    lines = FILES[name].read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("-- ") for line in lines if line.startswith("--"))


def asked_by(name: str) -> tuple[str, str, str]:
    """Return a file's question, and the notebook that asks it, and the box that this is in, by its header."""
    found = re.match(r"(.*?\?) Asked by (\S+) \((box \d)\)", comment(name))
    assert found, name
    return found[1], found[2], found[3]


# --- the files


def test_there_are_thirty() -> None:
    assert len(FILES) == 30


@pytest.mark.parametrize("name", FILES)
def test_a_question_takes_fifteen_lines_of_sql_at_most(name: str) -> None:
    lines = FILES[name].read_text(encoding="utf-8").splitlines()
    assert 0 < len([line for line in lines if line.strip() and not line.startswith("--")]) <= N_LINES


def test_files_are_sql_and_nothing_of_the_shells(told: dict[str, Rows], replica_catalog: Path, tmp_path: Path) -> None:
    for name, path in FILES.items():
        run_query(replica_catalog, path.read_text(encoding="utf-8"), format_="json", output=tmp_path / "last.json")
        assert json.loads((tmp_path / "last.json").read_text()) == told[name], name


# --- the page


def test_the_page_asks_each_question_once_in_the_files_words() -> None:
    assert Counter(block.code for block in ASKED) == Counter(map(reading, FILES))
    text = " ".join(STUDY.read_text(encoding="utf-8").split())
    for name in FILES:
        question, notebook, box = asked_by(name)
        assert f"**{question}** Asked by `{notebook}` ({box})" in text, name


@pytest.fixture(scope="module")
def printed(replica_catalog: Path) -> dict[str, str]:
    """Return what the shell prints for each question of the page, asked in one go."""
    script = "".join(f".print >>>\n{block.code}" for block in ASKED)
    parts = shell_answer(replica_catalog, script, cwd=ROOT).split(">>>\n")[1:]
    return dict(zip((block.code for block in ASKED), parts, strict=True))


def header(answer: str) -> list[str]:
    """Return the names of an answer's columns."""
    return [name.strip() for name in answer.splitlines()[1].strip("│").split("│")]


@pytest.mark.parametrize("block", ASKED, ids=[Path(block.code.split()[1]).stem for block in ASKED])
def test_a_question_gives_the_pages_answer(block: Block, printed: dict[str, str], replica_catalog: Path) -> None:
    """Whole, on the page's W: another processor's arithmetic may draw some elements of it one bf16 step elsewhere."""
    assert block.answer
    if shell_answer(replica_catalog, OF_WHICH_W.code, cwd=ROOT) == OF_WHICH_W.answer:
        assert printed[block.code] == block.answer
    else:
        assert header(printed[block.code]) == header(block.answer)


# --- the answers, beside independent figures


@pytest.fixture(scope="module")
def told(replica_catalog: Path) -> dict[str, Rows]:
    """Return what each file answers."""
    return dict(zip(FILES, answers(replica_catalog, "".join(map(reading, FILES)), cwd=ROOT), strict=True))


@pytest.fixture(scope="module")
def values(replica: Replica) -> Floats:
    """Return W in fp64."""
    return replica.W.double().numpy()


@pytest.fixture(scope="module")
def lattice(replica: Replica) -> Ids:
    """Return W as places on the ordered line of all bf16 values."""
    bits = replica.W.view(torch.int16).numpy().astype(np.int64)
    return np.where(bits >= 0, bits, -32768 - bits)


@pytest.fixture(scope="module")
def cluster(replica: Replica, values: Floats) -> tuple[Ids, Ids]:
    """Return the lowest token of each different row of the cluster, that of most tokens first; and how many."""
    _, first, counts = np.unique(values[replica.members], axis=0, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    return np.array(replica.members)[first[order]], counts[order]


@pytest.fixture(scope="module")
def from_centroid(replica: Replica, values: Floats) -> Floats:
    """Return how far each token is from the fp32 mean of the cluster."""
    distances: Floats = np.linalg.norm(values - nearest_mean(replica.W, np.array(replica.members)), axis=1)
    return distances


def column(answer: Rows, name: str) -> list[Any]:
    """Return a column of an answer."""
    return [row[name] for row in answer]


def numbers(*figures: Value) -> list[float]:
    """Return the numbers of figures, in their order."""
    return [float(part) for figure in figures for part in str(figure).split()]


def near(*expected: float, digits: int = 6) -> Any:
    """Return what numbers of so many digits are held against."""
    return pytest.approx(list(expected), rel=0.6 * 10.0 ** (1 - digits))


Told, Figures = dict[str, Rows], dict[str, Value]


def test_the_largest_groups_row_has_these_exponents_and_extremes(told: Told, further_figures: Figures) -> None:
    exponents = told["exponents_of_the_largest_group"]
    histogram = " ".join(f"{row['exponent']}:{row['n_dims']}" for row in exponents)
    assert histogram == further_figures["largest_group_exponent_histogram"]
    ulps = column(exponents, "ulp")
    assert [ulps[0], ulps[-1]] == [further_figures[f"largest_group_ulp_{end}"] for end in ("min", "max")]
    (values,) = told["values_of_the_largest_group"]
    assert [values["least"], values["most"]] == [
        further_figures[f"largest_group_value_{end}"] for end in ("min", "max")
    ]


def test_the_groups_are_as_large_and_as_unequal(told: Told, replica: Replica, further_figures: Figures) -> None:
    (sizes,) = told["sizes_of_the_groups"]
    assert sizes["sizes"] == sorted(map(len, replica.groups), reverse=True)
    assert (sizes["n_groups"], sizes["n_in_groups"]) == (len(replica.groups), sum(map(len, replica.groups)))
    assert sizes["gini"] == pytest.approx(further_figures["group_gini"], abs=5e-5)


def test_the_groups_differ_in_these_dimensions(told: Told, further_figures: Figures) -> None:
    answer = told["dimensions_in_which_groups_differ"]
    assert column(answer, "dim") == numbers(further_figures["group_varying_dims"])
    patterns = Counter(len(row["different_values"]) for row in answer)
    assert " ".join(f"{n}:{patterns[n]}" for n in sorted(patterns)) == further_figures["group_patterns_per_varying_dim"]


def test_the_groups_are_so_far_apart(told: Told, values: Floats, cluster: tuple[Ids, Ids]) -> None:
    first, counts = cluster
    sites = values[first[counts > 1]]
    (euclidean,) = told["distances_among_the_groups"]
    apart = pdist(sites)
    assert [float(euclidean[name]) for name in ("least", "mean", "most")] == near(
        apart.min(), apart.mean(), apart.max()
    )
    largest = Counter(np.log2(pdist(sites, "chebyshev")).tolist())
    assert [(row["power_of_two"], row["n_pairs"]) for row in told["quantum_of_separation"]] == sorted(largest.items())


def test_the_groups_are_so_many_steps_apart(told: Told, lattice: Ids, cluster: tuple[Ids, Ids]) -> None:
    first, counts = cluster
    steps = np.abs(lattice[first[counts > 1]] - lattice[first[0]])
    assert told["groups_in_lattice_steps"] == [
        {"duplicate_of": token, "n_tokens": count, "steps": {"linf": linf, "l1": l1}}
        for token, count, linf, l1 in zip(
            first.tolist(), counts.tolist(), steps.max(axis=1).tolist(), steps.sum(axis=1).tolist(), strict=False
        )
    ]


def test_the_component_is_within_so_many_exponents(told: Told, replica: Replica, cluster: tuple[Ids, Ids]) -> None:
    first, counts = cluster
    exponents = (replica.W[first].view(torch.int16).numpy().astype(np.int64) >> 7) & 255
    steps = np.abs(exponents - exponents[0]).max(axis=1)
    assert [tuple(row.values()) for row in told["exponent_neighbourhood"]] == [
        (step, counts[steps == step].sum(), (steps == step).sum()) for step in np.unique(steps).tolist()
    ]


def test_the_component_is_packed_in_such_shells_of_steps(told: Told, lattice: Ids, cluster: tuple[Ids, Ids]) -> None:
    first, counts = cluster
    steps = np.abs(lattice[first] - lattice[first[0]]).max(axis=1)
    assert [tuple(row.values()) for row in told["chebyshev_shells"]] == [
        (step, counts[steps == step].sum(), (steps == step).sum()) for step in np.unique(steps).tolist()
    ]


def test_the_vectors_with_the_most_neighbours_have_so_many(told: Told, lattice: Ids, cluster: tuple[Ids, Ids]) -> None:
    first = np.sort(cluster[0])
    n_neighbours = (squareform(pdist(lattice[first], "cityblock")) == 1).sum(axis=1)
    most = np.lexsort((first, -n_neighbours))[:5]
    assert [tuple(row.values()) for row in told["one_step_in_one_dimension"]] == [
        (first[i], n_neighbours[i]) for i in most
    ]


def test_the_component_falls_into_such_crystals_and_hangs_together_so(
    told: Told, lattice: Ids, cluster: tuple[Ids, Ids]
) -> None:
    first, counts = cluster
    steps = pdist(lattice[first], "chebyshev")
    _, labels = connected_components(squareform(steps == 1))
    crystals = [
        {"component": first[labels == i].min(), "n_tokens": counts[labels == i].sum(), "n_vectors": (labels == i).sum()}
        for i in np.unique(labels)
    ]
    crystals.sort(key=lambda row: (-row["n_tokens"], row["component"]))
    assert told["crystals_at_one_step"] == crystals[:10]
    n_before = len(first)
    for row in told["components_by_steps"]:
        n_components, _ = connected_components(squareform(steps <= row["steps"]))
        assert (row["n_components"], row["n_merges"]) == (n_components, n_before - n_components)
        n_before = n_components
    assert n_before == 1


def test_the_flood_reaches_as_many(told: Told, lattice: Ids, replica: Replica, cluster: tuple[Ids, Ids]) -> None:
    dry, reached, front = np.arange(len(lattice)), np.empty(0, int), cluster[0][:1]
    while len(front):
        wet = np.zeros(len(dry), bool)
        for place in np.unique(lattice[front], axis=0):
            wet |= (np.abs(lattice[dry] - place) <= 1).all(axis=1)
        front, dry = dry[wet], dry[~wet]
        reached = np.union1d(reached, front)
    is_inside = np.isin(reached, replica.members)
    assert {
        row["in_the_component"]: (row["n_tokens"], row["n_vectors"]) for row in told["flooded_from_the_largest_group"]
    } == {
        inside: (len(tokens), len(np.unique(lattice[tokens], axis=0)))
        for inside in (True, False)
        if len(tokens := reached[is_inside == inside])
    }


def test_dimensions_of_the_component_have_so_many_values_in_a_box_so_wide(
    told: Told, replica: Replica, lattice: Ids, further_figures: Figures
) -> None:
    answer = {row["different_values"]: row["n_dims"] for row in told["values_per_dimension"]}
    histogram = " ".join(str(answer.get(name, 0)) for name in [*map(str, range(1, 11)), "more"])
    assert histogram == further_figures["component_values_per_dim"]
    extents = Counter(np.ptp(lattice[replica.members], axis=0).tolist())
    assert {row["extent_steps"]: row["n_dims"] for row in told["bounding_box_in_steps"]} == extents


def test_the_component_spreads_in_as_many_dimensions(told: Told, values: Floats, cluster: tuple[Ids, Ids]) -> None:
    rows = values[cluster[0]]
    squares = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2 / len(rows)
    (answer,) = told["spread_of_the_component"]
    assert answer["n_vectors"] == len(rows)
    assert answer["rank"] == (squares > max(rows.shape) * 2.0**-52 * squares[0]).sum()
    assert answer["participation_ratio"] == pytest.approx(squares.sum() ** 2 / (squares**2).sum(), abs=6e-5)
    assert float(answer["total_variance"]) == pytest.approx(squares.sum(), rel=1e-6)
    assert answer["share_of_largest"] == pytest.approx(squares[0] / squares.sum(), abs=6e-5)


def test_the_tokens_of_the_component_are_of_these_categories(told: Told, further_figures: Figures) -> None:
    answer = {row["category"]: row["n_tokens"] for row in told["scripts_of_the_cluster"]}
    found = [answer.get(name, 0) for name in ("ASCII", "Chinese", "empty", "other", "Thai")]
    assert found == numbers(further_figures["component_categories"])


def test_so_many_tokens_come_back_and_the_halo_is_as_long(told: Told, further_figures: Figures) -> None:
    inside, outside = told["round_trips"]
    assert inside["n_that_do_not"] == further_figures["unreachable_in_component"]
    assert inside["n_that_round_trip"] == len(numbers(further_figures["component_reachable_ids"]))
    assert outside["n_that_do_not"] == further_figures["halo_tokens"]
    halo, rest = told["norms_of_the_halo"]
    for row, name in ((halo, "halo"), (rest, "rest")):
        expected = numbers(further_figures[f"{name}_norm_mean_median_min_max"])
        assert [row[part] for part in ("mean", "median", "least", "most")] == near(*expected)
    assert [halo["n_tokens"], rest["n_tokens"]] == [outside["n_that_do_not"], outside["n_that_round_trip"]]


def test_the_centroids_direction_tells_the_component_apart_as_far(told: Told, further_figures: Figures) -> None:
    """The notebook's h isn't rounded to bf16: five digits hold."""
    others, component = told["logits_along_the_centroid"]
    assert [component["least"], component["most"], others["most"], others["least"]] == near(
        *numbers(further_figures["centroid_logit32_component_min_max"], further_figures["centroid_logit32_max_min"]),
        digits=5,
    )


def test_from_the_cluster_the_sky_reaches_as_far(told: Told, further_figures: Figures) -> None:
    (answer,) = told["sky_from_the_cluster"]
    assert list(answer.values()) == near(*numbers(further_figures["cluster_frame_x_y_z"]))


def test_shells_about_the_largest_group_hold_as_many(told: Told, values: Floats, cluster: tuple[Ids, Ids]) -> None:
    distances = np.linalg.norm(values - values[cluster[0][0]], axis=1)
    powers = Counter(np.floor(np.log10(distances[distances > 0])).astype(int).tolist())
    assert {row["power_of_ten"]: row["n_tokens"] for row in told["shells_about_the_largest_group"]} == powers


def test_these_are_the_nearest_outside_the_component(told: Told, replica: Replica, from_centroid: Floats) -> None:
    outside = np.setdiff1d(np.argsort(from_centroid)[: 2 * len(replica.members)], replica.members, assume_unique=True)
    expected = outside[np.argsort(from_centroid[outside])][:11]
    answer = told["the_oort_cloud"]
    assert column(answer, "token_id") == expected.tolist()
    assert [float(distance) for distance in column(answer, "distance")] == near(*from_centroid[expected])


def test_the_void_and_the_balls_around_the_component_are_as_large(told: Told, from_centroid: Floats) -> None:
    ascending = np.sort(from_centroid)
    for row in told["radius_of_the_nearest"]:
        assert float(row["radius"]) == pytest.approx(ascending[row["n_nearest"] - 1], rel=1e-6)
    gaps = np.diff(ascending[:10_000])
    widest = np.argsort(-gaps)[:3]
    assert column(told["the_void"], "n_inside") == (widest + 1).tolist()
    for row, i in zip(told["the_void"], widest, strict=True):
        assert [row["below"], row["above"]] == pytest.approx(ascending[i : i + 2], abs=6e-10)


def test_so_many_of_the_spike_have_a_neighbour_so_near(
    told: Told, values: Floats, replica: Replica, replica_catalog: Path
) -> None:
    """Whoever has one within the radius is of the cluster, or of the tokens planted past the void; others are alone."""
    near_by = np.array(replica.members + replica.near)
    apart = squareform(pdist(values[near_by]))
    np.fill_diagonal(apart, np.inf)
    nearest = dict(zip(near_by.tolist(), apart.min(axis=1).tolist(), strict=True))
    found = [nearest.get(token, np.inf) for token in members(replica_catalog, "spike")]
    expected = Counter(next((edge for edge in (0.002, 0.02) if 0 < distance < edge), None) for distance in found)
    expected[0.0] = found.count(0)
    expected[None] -= found.count(0)
    assert {row["nearer_than"]: row["n_tokens"] for row in told["nearest_in_the_spike"]} == expected


def test_all_of_w_is_as_long_from_its_mean_and_varies_as_much(
    told: Told, values: Floats, further_figures: Figures
) -> None:
    (norms,) = told["centred_norms"]
    expected = numbers(further_figures["centred_norm_mean_std_min_max"], further_figures["centred_norm_median"])
    assert [norms[name] for name in ("mean", "std", "least", "most", "median")] == pytest.approx(expected, abs=1.1e-6)
    variances = values.var(axis=0, ddof=1)
    order = np.argsort(-variances)
    answer = told["variance_per_dimension"]
    assert column(answer, "dim") == [*order[:3], *order[-3:]]
    assert column(answer, "variance") == pytest.approx(variances[column(answer, "dim")], abs=6e-9)
    assert column(answer, "mean") == pytest.approx(values.mean(axis=0)[column(answer, "dim")], abs=6e-7)


def test_the_causal_metric_is_as_ill_conditioned(told: Told, further_figures: Figures) -> None:
    (answer,) = told["condition_of_the_causal_metric"]
    assert [answer["largest"], answer["smallest"]] == pytest.approx(
        numbers(further_figures["causal_eigenvalue_max_min"]), abs=1.1e-4
    )
    assert answer["condition_number"] == pytest.approx(further_figures["causal_condition_number"], abs=6e-3)


def test_the_jet_is_one_of_four_corners(told: Told, replica: Replica, values: Floats, further_figures: Figures) -> None:
    """Which of them, token 317 tells the notebook."""
    answer = {(row["side_of_pc4"], row["side_of_pc5"]): row["n_tokens"] for row in told["the_jet"]}
    corners = Matrix(replica.W).leading[:, 3:5]
    corners = corners - corners.mean(axis=0)
    beyond = corners[(np.abs(corners) > [0.1, 0.05]).all(axis=1)]
    expected = Counter(map(tuple, np.sign(beyond).astype(int).tolist()))
    assert sorted(answer.values()) == sorted(expected.values())
    assert further_figures["jet_tokens"] in answer.values()
