"""Faults planted in the replica, each ingested anew: which figures tell them, and that every figure can."""

import re
from pathlib import Path

import pytest
import torch

from tests.support.faults import FAULTS, write_fault
from tests.support.helpers import REPLICA, study_recipe
from tests.support.replica import Replica, load_replica
from tests.support.replica_figures import WINDOWS
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions
from token_catalog.queries.figures import read_figures
from token_catalog.queries.verify import verify

SHAPE = {"n_tokens", "n_dims", "tokenizer_entries"}
ENTRIES = {"roundtrip_yes", "roundtrip_no", "roundtrip_in_component", "component_rows_without_entry"}
DUPLICATES = {
    "unique_vectors", "duplicate_groups", "duplicate_tokens", "duplicate_group_sizes", "duplicate_group_first_ids",
}  # fmt: skip
IDS = {"component_token_id_min", "component_token_id_max", "component_first_20"}
LENGTHS = {
    "norm_mean", "norm_std", "norm_min", "norm_max", "norm_median", "mean_vector_norm", "variance_total",
    *(f"eigenvalue_{k}" for k in (1, 2, 3, 4, 5, 10, 2560)), "radius_mean", "radius_max",
}  # fmt: skip
SHARES = {"variance_share_first_10", "variance_share_first_100"}
PLACES = {"lat_mean", "lat_std", "lon_mean", "lon_std"}
BOXES = {f"box_{name}_tokens" for name in WINDOWS}
SPIKE = {"spike_tokens", "component_count_in_spike", "singletons_in_spike"}
# The faults that the further figures are asked of: each is told by one of them.
TELLING = ("strayed", "scattered", "doubled", "lengthened")
MODES = {"cosine_mode_value", "dot_mode_value", "self_dot_value"}


@pytest.fixture(scope="module")
def catalogs(replica: Replica, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the catalog of each fault."""
    made = {}
    for name in FAULTS:
        folder = tmp_path_factory.mktemp(name)
        weights = write_fault(name, replica, folder)
        options = SourceOptions(name=REPLICA, tokenizer=str(folder / "tokenizer"))
        ingest(folder / "catalog", str(weights), options, recipe=study_recipe(), device="cpu")
        made[name] = folder / "catalog"
    return made


@pytest.fixture(scope="module")
def failing(catalogs: dict[str, Path], replica_table: Path) -> dict[str, dict[str, str]]:
    """Return, for each fault, the figures that fail and their remarks."""
    return {name: failing_in(catalog, replica_table) for name, catalog in catalogs.items()}


def failing_in(catalog: Path, table: Path) -> dict[str, str]:
    """Return the figures of a table that fail in a catalog, and their remarks."""
    lines = verify(catalog, REPLICA, table)
    return {line.figure.name: line.verdict.remark for line in lines if not line.verdict.passes}


@pytest.fixture(scope="module")
def exact(replica_table: Path) -> set[str]:
    """Return the names of the exact figures."""
    return {figure.name for figure in read_figures(replica_table) if figure.class_ == "exact"}


def test_every_figure_tells_some_fault(failing: dict[str, dict[str, str]], replica_table: Path) -> None:
    told = set().union(*failing.values())
    assert [figure.name for figure in read_figures(replica_table) if figure.name not in told] == []


def test_every_further_figure_tells_some_fault(catalogs: dict[str, Path], further_table: Path, tmp_path: Path) -> None:
    """A fault is asked about those alone that none before has told: they take long."""
    head, *lines = further_table.read_text(encoding="utf-8").splitlines()
    for name in TELLING:
        left = tmp_path / f"{name}.csv"
        left.write_text("\n".join([head, *lines]), encoding="utf-8")
        told = failing_in(catalogs[name], left)
        lines = [line for line in lines if line.partition(",")[0] not in told]
    assert lines == []


def test_one_bf16_step_in_one_element_of_a_pair_is_told_by_what_counts_equal_rows_alone(
    failing: dict[str, dict[str, str]],
) -> None:
    """A step of 7.45e-9, which distances with a tolerance don't see: the pair is none, and its vectors are two."""
    remarks = failing["one_step"]
    assert set(remarks) == DUPLICATES | {"component_unique_vectors"}
    counts = ("unique_vectors", "component_unique_vectors", "duplicate_groups", "duplicate_tokens")
    assert [remarks[name] for name in counts] == ["+1", "+1", "-1", "-2"]
    assert remarks["duplicate_group_sizes"] == remarks["duplicate_group_first_ids"] == "12, not 13"


def test_a_row_and_a_column_more_and_another_tokenizer_are_told_by_shape_token_ids_and_entries(
    failing: dict[str, dict[str, str]], exact: set[str]
) -> None:
    """The mean row moves no token on the sky, and zeros change no product."""
    remarks = failing["lengthened"]
    of_ids = IDS | {"duplicate_group_first_ids", "cosine_first_20", "self_dot_first_10"}
    assert SHAPE | ENTRIES | of_ids | {"unique_vectors"} <= set(remarks)
    assert [remarks[name] for name in sorted(SHAPE)] == ["+1", "+1", "+5"]
    assert (remarks["roundtrip_yes"], remarks["roundtrip_no"]) == ("+15", "-10")
    new_row = {"component_count_in_spike", "singletons_in_spike"}
    assert set(remarks) & exact == (SHAPE | ENTRIES | of_ids | {"unique_vectors"} | new_row) & exact
    assert not set(remarks) & (PLACES | SHARES | BOXES | {"component_diameter", "component_gap"})


def test_rows_twice_as_long_are_told_by_every_length_and_by_nothing_else(
    failing: dict[str, dict[str, str]], replica_table: Path
) -> None:
    """Doubling is exact: directions, shares, classes and duplicates stay."""
    lengths = LENGTHS | SPIKE | MODES - {"cosine_mode_value"}
    lengths |= {f"component_{name}" for name in ("edges", "diameter", "gap", "centroid_norm")} | {"centroid_norm_bf16"}
    lengths |= {"dot_max", "dot_min", "dot_second_mode_value"}
    assert set(failing["doubled"]) == lengths & {figure.name for figure in read_figures(replica_table)}


def test_rows_stretched_outside_of_the_cluster_are_told_by_the_sky_and_not_by_the_cluster(
    failing: dict[str, dict[str, str]], exact: set[str]
) -> None:
    told = set(failing["stretched"])
    stretched = {"norm_mean", "norm_std", "norm_median", "mean_vector_norm", "variance_total"}
    stretched |= {"eigenvalue_1", "eigenvalue_2", "eigenvalue_3"} | SHARES | PLACES
    assert stretched | {"radius_mean", "radius_max", "box_3.0_tokens", "component_gap", "cosine_min"} <= told
    assert told & exact <= SPIKE | MODES


def test_tokens_over_the_edges_of_bf16_classes_are_told_by_the_fragile_figures(
    failing: dict[str, dict[str, str]],
) -> None:
    remarks = failing["scattered"]
    counts = {"cosine_mode_tokens", "dot_mode_tokens", "self_dot_tokens", "dot_mode_unique_vectors"}
    counts |= {"overlap_both", "overlap_only_cosine", "overlap_only_dot"}
    assert counts <= set(remarks)
    assert {name for name in counts if not re.fullmatch(r"[+-]\d+: [\d.]+ %, of \d+ allowed", remarks[name])} == set()
    assert not set(remarks) & (SHAPE | MODES | {"roundtrip_yes", "roundtrip_no"})


def test_a_torn_cluster_is_told_by_what_is_said_of_it(failing: dict[str, dict[str, str]]) -> None:
    remarks = failing["torn"]
    assert [remarks[name] for name in ("component_largest", "component_unique_vectors")] == ["-228", "-1"]
    inside = {f"component_{name}" for name in ("edges", "gap", "centroid_norm")}
    assert inside | MODES | BOXES - {"box_3.0_tokens"} <= set(remarks)
    assert {"cosine_values", "dot_values", "cosine_second_mode_value", "cosine_second_mode_tokens"} <= set(remarks)
    assert not set(remarks) & (SHAPE | DUPLICATES | {"roundtrip_yes", "roundtrip_no"})


def test_faults_leave_the_replica_as_it_is(replica: Replica, failing: dict[str, dict[str, str]]) -> None:
    assert failing
    loaded = load_replica(replica.weights.parent)
    assert torch.equal(loaded.W, replica.W)
    assert (loaded.members, loaded.groups, loaded.near) == (replica.members, replica.groups, replica.near)
