"""The notebooks' cells beside the catalog, on a small matrix that looks to the shipped recipe as the real one does."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support import notebook_cells
from tests.support.notebook_cells import Run
from tests.support.reading import TOKEN, ids, members, scores, vector
from tests.support.replica import Replica
from token_catalog.queries.tolerances import EDGE


def test_the_cosines_of_1_4a_are_the_native_ones_bit_for_bit(
    replica: Replica, replica_catalog: Path, tmp_path: Path
) -> None:
    direction = vector(replica_catalog, "1.4a")
    found = notebook_cells.notebook_1_4a(replica.W, tmp_path, ref_direction=direction)
    assert found["cosines_bf16"].tolist() == scores(replica_catalog, "1.4a", "cosine_native")


def test_the_dot_products_of_1_5c_are_the_native_ones_bit_for_bit(
    replica: Replica, replica_catalog: Path, tmp_path: Path
) -> None:
    notebook_cells.notebook_1_4a(replica.W, tmp_path, ref_direction=vector(replica_catalog, "1.4a"))
    found = notebook_cells.notebook_1_5c(replica.W, tmp_path, centroid=vector(replica_catalog, "1.5c"))
    assert found["dot_products_bf16"].tolist() == scores(replica_catalog, "1.5c", "dot_native")


def test_the_dot_products_of_1_5d_are_the_native_ones_bit_for_bit(
    replica: Replica, replica_catalog: Path, tmp_path: Path
) -> None:
    assert torch.equal(replica.W[TOKEN].float(), vector(replica_catalog, "1.5d"))
    found = notebook_cells.notebook_1_5d(replica.W, tmp_path, ref_token_id=TOKEN)
    assert found["dots"].tolist() == scores(replica_catalog, "1.5d", "dot_native")


def test_the_notebooks_on_the_matrix_alone_see_the_catalogs_sky_and_component(
    replica_catalog: Path, replica: Replica, alone: Run
) -> None:
    _, printed = alone
    assert printed["1.4h"]["cluster_token_ids"].tolist() == members(replica_catalog, "largest-component")
    assert printed["1.4h"]["cluster_token_ids"].tolist() == sorted(replica.members)
    assert printed["1.5d"]["ref_token_id"] == TOKEN
    eigenvalues = torch.tensor(ids(replica_catalog, "select eigenvalue from principal_components order by pc"))
    torch.testing.assert_close(printed["1.6a"]["eigenvalues"], eigenvalues, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(
        printed["1.6a"]["cluster_centroid"], vector(replica_catalog, "1.6a"), rtol=1e-5, atol=1e-8
    )
    torch.testing.assert_close(printed["1.4a"]["ref_direction"], vector(replica_catalog, "1.4a"), rtol=0, atol=1e-5)


def test_the_spikes_graph_is_the_catalogs_but_for_tokens_at_its_edge(replica_catalog: Path, alone: Run) -> None:
    """The notebook's sky is fp32's; of the tokens that it takes for the spike, its graph is features.component."""
    printed = alone.printed["1.4h"]
    spike = printed["spike_token_ids"].tolist()
    assert len(set(spike) ^ set(members(replica_catalog, "spike"))) <= EDGE
    component = ids(replica_catalog, "select component from features order by token_id")
    sizes = Counter(component[token] for token in spike)
    assert printed["n_components"] == len(sizes)
    assert printed["singletons"] == list(sizes.values()).count(1)
    assert printed["giant_cluster_size"] == max(sizes.values())


def test_what_the_notebooks_saved_they_verify_and_nothing_else(alone: Run, tmp_path: Path) -> None:
    folder, printed = alone
    cluster, frame = printed["1.4h"]["cluster_token_ids"], printed["1.6a"]
    assert notebook_cells.load_1_4h(folder).tolist() == cluster.tolist()
    notebook_cells.verify_1_4h(folder, cluster)
    notebook_cells.verify_1_6a(folder, frame["cluster_centroid"], frame["eigenvalues"], frame["eigenvectors"])
    saved = load_file(folder / notebook_cells.TOKENS)
    saved["cluster_token_ids"][0] += 1
    save_file(saved, tmp_path / notebook_cells.TOKENS)
    with pytest.raises(AssertionError, match="Token IDs don't match"):
        notebook_cells.verify_1_4h(tmp_path, cluster)
