"""The radius and the threshold that a model's own distances give, and what is made of those that are asked for."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.benchmarks.synthetic import N_CLUMP, N_CLUMP_VECTORS, write_synthetic
from tests.support.helpers import ingest_bare, rows
from tests.support.matrices import clustered
from tests.support.oracle_linkage import distance_matrix, expected_columns
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.linkage import link as link_module
from token_catalog.ingest.linkage import scale
from token_catalog.ingest.linkage.projections import DistinctRows
from token_catalog.ingest.linkage.scale import choose_distances, gap
from token_catalog.ingest.recipe.recipe import LinkageDistances, Recipe, parse_recipe
from token_catalog.ingest.recipe.shipping import load_recipe
from token_catalog.ingest.report import Report
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions

pytestmark = pytest.mark.usefixtures("tables_only")

NAN, INF = float("nan"), float("inf")


def vectors_of(W: Tensor, sample: list[int] | None = None) -> DistinctRows:
    """Return the rows of W, all different, with a sample of them (or all)."""
    ids = np.arange(len(W), dtype=np.int32)
    some = ids if sample is None else np.array(sample, dtype=np.int32)
    return DistinctRows(W, ids, np.ones_like(ids), np.linalg.norm(W.double().numpy(), axis=1), some)


def on_a_line(*places: float) -> Tensor:
    """Return points on a line, and forty far from them, 30 apart: so the median gap is 30, the radius 10."""
    W = torch.zeros(len(places) + 40, 3)
    W[:40, 1] = 30.0 * torch.arange(1, 41)
    W[40:, 0] = torch.tensor(places)
    return W


def chain(steps: dict[float, int]) -> list[float]:
    """Return places from 0 on, at so many steps of each length."""
    return list(itertools.accumulate((step for step, n in steps.items() for _ in range(n)), initial=0.0))


def chosen(catalog: Path) -> tuple[float, float, str]:
    """Return what `models` says of the linkage."""
    ((found),) = rows(catalog, "select linkage_radius, linkage_threshold, linkage_rule from models")
    return found


def linked(catalog: Path, W: Tensor, limits: LinkageDistances | None = None) -> tuple[float, float, str]:
    """Catalogue a W, check its columns against brute force at the radius and threshold chosen, and return these."""
    ingest_bare(catalog, W, asked=limits)
    at = chosen(catalog)
    query = "select component, component_size, n_neighbors, nn_distance, nn_token_id from features order by token_id"
    apart = distance_matrix(W.double().numpy())
    assert rows(catalog, query) == expected_columns(apart, np.arange(len(W)), at[0], at[1])
    return at


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize(("n_tokens", "n_dims"), [(2, 3), (33, 5), (150, 40)])
@pytest.mark.parametrize("chunk_bytes", [1, 64 << 20])
def test_the_median_gap_is_that_of_all_distances(
    n_tokens: int, n_dims: int, dtype: torch.dtype, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("token_catalog.ingest.linkage.projections.CHUNK_BYTES", chunk_bytes)
    W = clustered(n_tokens, n_dims, 1).to(dtype).unique(dim=0)
    apart = distance_matrix(W.double().numpy())
    np.fill_diagonal(apart, np.inf)
    gaps = apart.min(axis=1)
    some = list(range(len(W) - 1, -1, -3))
    for vectors, expected in ((vectors_of(W), gaps), (vectors_of(W, some), gaps[some])):
        median, decile = np.median(expected), np.sort(expected)[int(np.ceil(0.9 * (len(expected) - 1)))]
        assert gap(vectors)[0] == (decile if decile > 4 * median else median)


@pytest.mark.parametrize(("n_near", "expected"), [(20, 8.0), (29, 8.0), (45, 8.0), (46, 0.5)])
def test_where_most_vectors_are_in_tight_clusters_the_gap_is_that_of_the_others(n_near: int, expected: float) -> None:
    """Of 50 gaps, so many of 1/2: up to 45, the 9th decile is one of the others, of 8."""
    places = [*(0.5 * i for i in range(n_near)), *(100 + 8.0 * i for i in range(50 - n_near))]
    W = torch.zeros(50, 3)
    W[:, 0] = torch.tensor(places)
    found, name = gap(vectors_of(W))
    assert found == expected
    assert name == ("9th decile of the" if 25 <= n_near <= 45 else "median")


@pytest.mark.parametrize(("apart", "expected"), [(2.0, 0.5), (2.125, 2.125)])
def test_the_others_gap_counts_where_it_is_past_four_of_the_clusters(apart: float, expected: float) -> None:
    """Of 50 gaps, 30 of 1/2: so the median is 1/2, and the 9th decile that of the others."""
    W = torch.zeros(50, 3)
    W[:, 0] = torch.tensor([*(0.5 * i for i in range(30)), *(100 + apart * i for i in range(20))])
    assert gap(vectors_of(W))[0] == expected


@pytest.mark.views
def test_a_clump_of_most_vectors_is_found_by_default(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(500, 64, generator=generator)
    W[:400] = W[0] + 1e-3 * torch.randn(400, 64, generator=generator)
    ingest_bare(tmp_path / "c", W)
    assert rows(tmp_path / "c", "select component, n_tokens from components") == [(0, 400)]


@pytest.mark.views
def test_the_frozen_cluster_of_a_matrix_like_qwen3_is_found_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at full size, all with all are too many operations: the radius is a 48th of the median gap."""
    monkeypatch.setattr(scale, "OPERATIONS", 1)
    n_tokens = 8000
    write_synthetic(tmp_path / "W.safetensors", n_tokens, 256)
    ingest(tmp_path / "c", str(tmp_path / "W.safetensors"), SourceOptions(name="m"), with_tokenizer=False)
    found = rows(tmp_path / "c", "select component, n_tokens, n_vectors from components")
    assert found == [(n_tokens - N_CLUMP, N_CLUMP, N_CLUMP_VECTORS)]
    assert "1/48 of" in chosen(tmp_path / "c")[2]


def test_a_single_vector_has_no_gap() -> None:
    assert gap(vectors_of(torch.ones(1, 3)))[0] == np.inf


def test_the_gaps_of_rows_far_out_are_those_of_their_differences() -> None:
    """At 2²⁰ in every column, steps of 1/8 apart: in fp64, a product of such rows shows the last digits only."""
    W = torch.full((9, 400), 2.0**20)
    W[:, 0] += torch.tensor([0, 1, 3, 6, 10, 15, 21, 28, 36]) / 8
    assert gap(vectors_of(W))[0] == 4 / 8  # of gaps 1, 1, 2, 3, 4, 5, 6, 7 and 8 eighths


def test_the_sample_is_of_the_lowest_digests_wherever_the_rows_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[DistinctRows] = []

    def spy(vectors: DistinctRows, asked: LinkageDistances) -> scale.ChosenDistances:
        seen.append(vectors)
        return choose_distances(vectors, asked)

    monkeypatch.setattr(link_module, "choose_distances", spy)
    W = clustered(700, 6, 4, torch.float32)
    W[5, 0] = NAN
    order = torch.randperm(700, generator=torch.Generator().manual_seed(2))
    models = [ingest_bare(tmp_path / "c", matrix, name) for name, matrix in (("a", W), ("b", W[order]))]
    digests = {hashlib.blake2b(row.tobytes(), digest_size=16).digest(): row.tolist() for row in (W + 0.0).numpy()}
    del digests[hashlib.blake2b(W[5].numpy().tobytes(), digest_size=16).digest()]
    lowest = sorted(digests[digest] for digest in sorted(digests)[: scale.SAMPLE])
    for vectors in seen:
        assert sorted(vectors.rows(vectors.sample).tolist()) == lowest
    assert [note.split(": ", 1)[1] for note in models[0].notes] == [note.split(": ", 1)[1] for note in models[1].notes]
    assert len(rows(tmp_path / "c", "select distinct linkage_radius, linkage_threshold, linkage_rule from models")) == 1


BY_RULE = "1/3 of 30, the median distance to the nearest vector of 44 sampled"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (LinkageDistances(), (10.0, 9.0, BY_RULE, "0.9 of the radius")),
        (LinkageDistances(radius=0.5), (0.5, 0.45, "given", "0.9 of the radius")),
        (LinkageDistances(radius=1 / 3), (1 / 3, 0.3, "given", "0.9 of the radius")),
        (LinkageDistances(threshold=4.0), (10.0, 4.0, BY_RULE, "given")),
        (LinkageDistances(threshold=10.0), (10.0, 10.0, BY_RULE, "given")),
        (LinkageDistances(threshold=36.0), (40.0, 36.0, "the threshold / 0.9", "given")),
        (LinkageDistances(radius=2.0, threshold=2.0), (2.0, 2.0, "given", "given")),
        (LinkageDistances(radius=20.0, threshold=0.125), (20.0, 0.125, "given", "given")),
    ],
)
def test_what_is_asked_for_stands_and_the_rule_gives_the_rest(
    asked: LinkageDistances, expected: tuple[float, float, str, str]
) -> None:
    choice = choose_distances(vectors_of(on_a_line(0, 1, 2, 3)), asked)
    assert (choice.radius, choice.threshold, choice.radius_rule, choice.threshold_rule) == expected
    assert choice.as_row()["linkage_rule"] == f"radius: {expected[2]}; threshold: {expected[3]}"


@pytest.mark.parametrize("threshold", np.geomspace(10, 100, 91).tolist())
def test_a_radius_that_follows_a_threshold_is_never_below_it(threshold: float) -> None:
    assert choose_distances(vectors_of(torch.eye(3)), LinkageDistances(threshold=threshold)).radius >= threshold


def test_where_all_with_all_are_too_many_the_radius_is_a_sixteenth_of_that() -> None:
    """Operations are counted: 44² pairs in 3 columns; of 30, a 48th is 0.625, to two digits 0.62."""
    vectors = vectors_of(on_a_line(0, 1, 2, 3))
    for most, expected in ((44**2 * 3, 10.0), (44**2 * 3 - 1, 0.62)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scale, "OPERATIONS", most)
            assert choose_distances(vectors, LinkageDistances()).radius == expected


def test_a_threshold_lies_in_the_void_above_a_cluster(tmp_path: Path) -> None:
    """Ten points a step of 1 apart, and one 4 away: nothing merges from 1 to 4, so the threshold is √4."""
    W = on_a_line(*chain({1.0: 9, 4.0: 1}))
    assert linked(tmp_path / "c", W) == (
        10.0,
        2.0,
        "radius: 1/3 of 30, the median distance to the nearest vector of 51 sampled; "
        "threshold: in the topmost void of the largest component, from 1 to 4",
    )
    query = "select list(n_neighbors order by token_id), max(component_size) from features where token_id >= 40"
    # Below 9, all are neighbours of those in the middle; below 2 there is one on either side.
    assert rows(tmp_path / "c", query) == [([1] + [2] * 8 + [1, 0], 10)]


@pytest.mark.parametrize(
    ("steps", "threshold"),
    [
        pytest.param({1.0: 9}, 9.0, id="a single height"),
        pytest.param({1.0: 9, 1.9375: 1}, 9.0, id="less than doubled"),
        pytest.param({1.0: 9, 2.0: 1}, 1.4, id="just doubled"),
        pytest.param({1.0: 5, 1.5: 5, 2.25: 1}, 9.0, id="growing slowly"),
        pytest.param({0.125: 9, 0.5: 2, 4.0: 1}, 1.4, id="the topmost of two"),
        pytest.param({0.125: 9, 4.0: 1, 5.0: 1}, 0.71, id="more above it"),
        pytest.param({1.0: 9, 9.5: 1}, 9.0, id="above the threshold, though within the radius"),
        pytest.param({0.125: 2, 1.0: 8}, 9.0, id="below, a gap around 3 of 11"),
        pytest.param({0.125: 4, 1.0: 5}, 0.35, id="below, a gap around 5 of 10"),
        pytest.param({0.125: 4, 1.0: 6}, 9.0, id="below, a gap around 5 of 11"),
    ],
)
def test_only_a_void_around_half_a_component_moves_its_threshold(
    steps: dict[float, int], threshold: float, tmp_path: Path
) -> None:
    assert linked(tmp_path / "c", on_a_line(*chain(steps)))[:2] == (10.0, threshold)


def test_half_a_component_is_counted_in_tokens(tmp_path: Path) -> None:
    """Three of eleven vectors, but of them the first is there six times: 8 tokens of 16."""
    W = on_a_line(*chain({0.125: 2, 1.0: 8}))
    assert linked(tmp_path / "c", torch.cat([W, W[40].repeat(4, 1)]))[1] == 9.0
    assert linked(tmp_path / "d", torch.cat([W, W[40].repeat(5, 1)]))[1] == 0.35


def test_a_void_in_a_smaller_component_moves_nothing(tmp_path: Path) -> None:
    W = on_a_line(*chain({1.0: 9}), *(500 + place for place in chain({0.125: 4, 4.0: 1})))
    assert linked(tmp_path / "c", W)[1] == 9.0


def test_a_larger_group_of_equal_rows_hides_no_void(tmp_path: Path) -> None:
    """Thirty equal rows are more tokens than the cluster of eleven, but nothing merges among them."""
    W = on_a_line(*chain({1.0: 9, 4.0: 1}))
    equal = torch.tensor([[0.0, 0.0, 900.0]]).repeat(30, 1)
    assert linked(tmp_path / "c", torch.cat([W, equal]))[:2] == (10.0, 2.0)


@pytest.mark.parametrize("limits", [LinkageDistances(threshold=3.0), LinkageDistances(radius=12.0, threshold=3.0)])
def test_a_threshold_asked_for_is_moved_into_no_void(limits: LinkageDistances, tmp_path: Path) -> None:
    assert linked(tmp_path / "c", on_a_line(*chain({1.0: 9, 2.5: 1})), limits)[1] == 3.0


def test_a_radius_asked_for_leaves_the_threshold_to_the_rule(tmp_path: Path) -> None:
    W = on_a_line(*chain({1.0: 9, 4.0: 1}))
    rule = "radius: given; threshold: in the topmost void of the largest component, from 1 to 4"
    assert linked(tmp_path / "c", W, LinkageDistances(radius=6.0)) == (6.0, 2.0, rule)
    rule = "radius: given; threshold: 0.9 of the radius"
    assert linked(tmp_path / "d", W, LinkageDistances(radius=4.0)) == (4.0, 3.6, rule)


def test_where_no_two_rows_differ_any_radius_does(tmp_path: Path) -> None:
    rule = "radius: any: there are no two different vectors; threshold: 0.9 of the radius"
    assert linked(tmp_path / "c", torch.full((7, 4), 0.5)) == (1.0, 0.9, rule)
    assert linked(tmp_path / "d", torch.full((1, 4), 0.5)) == (1.0, 0.9, rule)
    assert linked(tmp_path / "e", torch.zeros(3, 4)) == (1.0, 0.9, rule)


def test_what_was_chosen_is_told(tmp_path: Path) -> None:
    report: Report = ingest_bare(tmp_path / "c", on_a_line(*chain({1.0: 9, 4.0: 1})))
    (note,) = [note for note in report.notes if "linked" in note]
    assert "linked up to a distance of 10 (1/3 of 30" in note
    assert "components at 2" in note


def test_doubling_w_doubles_the_choice(tmp_path: Path) -> None:
    W = on_a_line(*chain({1.0: 9, 4.0: 1}))
    assert linked(tmp_path / "c", 2 * W)[:2] == (20.0, 4.0)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        *(
            (LinkageDistances(radius=bad), f"`radius={bad:g}`: must be a distance above 0")
            for bad in (0.0, -0.0, -1.5, NAN, INF)
        ),
        (LinkageDistances(radius=1e200), "`radius=1e+200`: must be"),
        *(
            (LinkageDistances(threshold=bad), f"`threshold={bad:g}`: must be a distance above 0")
            for bad in (0.0, -2, NAN, INF)
        ),
        (LinkageDistances(radius=1.0, threshold=NAN), "`threshold=nan`: must be"),
        (LinkageDistances(radius=0.5, threshold=0.625), "`threshold=0.625` is past `radius=0.5`"),
    ],
)
def test_bad_limits_are_refused_by_name_and_leave_nothing(
    limits: LinkageDistances, message: str, tmp_path: Path
) -> None:
    with pytest.raises(CatalogError) as error:
        limits.check()
    assert message in str(error.value)
    with pytest.raises(CatalogError) as error:
        ingest_bare(tmp_path / "c", torch.eye(4), asked=limits)
    assert message in str(error.value)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "limits",
    [LinkageDistances(), LinkageDistances(5e-324), LinkageDistances(1.0, 1.0), LinkageDistances(threshold=1e100)],
)
def test_good_limits_pass(limits: LinkageDistances) -> None:
    limits.check()


@pytest.mark.parametrize("limits", [LinkageDistances(radius=1e100), LinkageDistances(threshold=1e100)])
def test_limits_past_all_distances_link_everything(limits: LinkageDistances, tmp_path: Path) -> None:
    W = on_a_line(0, 1, 2)
    assert np.isfinite(linked(tmp_path / "c", W, limits)[0])
    assert rows(tmp_path / "c", "select distinct component_size from features") == [(len(W),)]


def test_an_option_past_the_recipe_s_radius_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    recipe = Recipe(linkage=LinkageDistances(radius=0.02))
    with pytest.raises(CatalogError, match=r"threshold 0\.05 is past radius 0\.02"):
        ingest_bare(tmp_path / "c", torch.eye(4), recipe=recipe, asked=LinkageDistances(threshold=0.05))
    assert not (tmp_path / "c").exists()


def test_a_recipe_s_limits_hold_and_options_go_before_them(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("[linkage]\nradius = 2\nthreshold = 0.5\n")
    recipe = load_recipe(path)
    assert recipe.linkage == LinkageDistances(2.0, 0.5)
    W = on_a_line(*chain({1.0: 9, 4.0: 1}))
    for name, limits, expected in (("recipe", None, (2.0, 0.5)), ("option", LinkageDistances(radius=3.0), (3.0, 0.5))):
        ingest_bare(tmp_path / name, W, recipe=recipe, asked=limits)
        assert chosen(tmp_path / name) == (*expected, "radius: given; threshold: given")
        ((kept,),) = rows(tmp_path / name, "select recipe from models")
        assert parse_recipe(json.loads(kept)).linkage == LinkageDistances(*expected)


WRONG: dict[str, str] = {
    "[linkage]\nradius = 0": "linkage.radius 0: must be a distance above 0",
    "[linkage]\nradius = -0.5": "linkage.radius -0.5: must be",
    "[linkage]\nradius = nan": "linkage.radius nan: must be",
    "[linkage]\nradius = inf": "linkage.radius inf: must be",
    "[linkage]\nthreshold = 0.0": "linkage.threshold 0: must be",
    "[linkage]\nthreshold = -inf": "linkage.threshold -inf: must be",
    "[linkage]\nradius = 0.5\nthreshold = 1": "linkage.threshold 1 is past linkage.radius 0.5",
    '[linkage]\nradius = "0.5"': "linkage.radius: '0.5' is no number",
    "[linkage]\nradius = true": "linkage.radius: True is no number",
    "[linkage]\nthreshold = false": "linkage.threshold: False is no number",
    "[linkage]\nthreshold = [1.0]": r"linkage.threshold: [1.0] is no number",
    "[linkage]\nraduis = 0.5": "linkage.raduis: unknown key; here are known: radius, threshold",
    "linkage = 0.5": "linkage: 0.5 is no table",
    "radius = 0.5": "radius: unknown key",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_a_wrong_linkage_in_a_recipe_is_refused_with_its_file_and_key(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(CatalogError) as error:
        load_recipe(path)
    assert f"{path}: {message}" in str(error.value)


@pytest.mark.parametrize("bad", ["past", pytest.param(10**400, id="10^400"), None])
def test_what_no_number_is_or_none_that_fits_is_refused(bad: Any) -> None:
    with pytest.raises(CatalogError, match=r"linkage\.radius"):
        parse_recipe({"linkage": {"radius": bad}})
