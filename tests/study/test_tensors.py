"""Exported tensors beside the files that the notebooks' cells save; and what export does to files, and says of them."""

import resource
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from tests.support import notebook_cells
from tests.support.command_line import refused, run
from tests.support.helpers import MINILM, REPLICA, bf16_matrix, ingest_bare, notebooks_recipe, rows, save_bare
from tests.support.notebook_cells import FRAME, LOGITS, MASK, MEMBERS, TOKENS, Run
from tests.support.reading import TOKEN, members, vector
from tests.support.replica import Replica
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.recipe.entries import Reference
from token_catalog.ingest.recipe.recipe import LinkageDistances
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions
from token_catalog.queries.export import export_parquet, export_tensors
from token_catalog.queries.tensors import Arrays, save_tensors

NAMES = (MEMBERS, TOKENS, LOGITS, MASK, FRAME)
LIMITS = LinkageDistances(9, 9)
ODD = 'it\'s "my" model'


@pytest.fixture(scope="module")
def exported(replica_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the replica's files, as the command line writes them."""
    folder = tmp_path_factory.mktemp("exported") / "new" / "folder"
    done = run("export", REPLICA, "--to", "tensors", "--output", str(folder), "--catalog", str(replica_catalog))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"wrote {folder / name}" for name in NAMES]
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    return folder


@pytest.fixture(scope="module")
def tensors(exported: Path) -> dict[str, dict[str, Tensor]]:
    """Return what the files hold."""
    return {name: load_file(exported / name) for name in NAMES}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of small models: ODD, with all that the files want; `../../x`; and `u`, untied.

    `u/input` has a token for 1.4a; of the spike of `u/output`, tokens 0 to 29, the first 20 aren't finite.
    """
    catalog = tmp_path_factory.mktemp("small") / "c"
    ingest_bare(catalog, bf16_matrix(60, 12), ODD, recipe=notebooks_recipe(), asked=LIMITS)
    ingest_bare(catalog, bf16_matrix(20, 4), "../../x", asked=LIMITS)
    W = bf16_matrix(60, 12)
    for matrix, look in (("input", Reference("1.4a", "token", 3)), ("output", None)):
        path = save_bare(catalog.parent / matrix / "W.safetensors", W)
        options, recipe = SourceOptions(name="u", tensor="W", matrix=matrix), notebooks_recipe(look)
        ingest(catalog, str(path.parent), options, recipe=recipe, asked=LIMITS, with_tokenizer=False)
        W[:20] = torch.nan
    return catalog


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what the tensors are


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_the_notebooks_keys_types_and_shapes(
    name: str, tensors: dict[str, dict[str, Tensor]], alone: Run
) -> None:
    """Shapes are equal but for lists of tokens and the mask into the spike, which are as long as there are tokens."""
    saved = load_file(alone.folder / name)
    assert tensors[name].keys() == saved.keys()
    for key, tensor in tensors[name].items():
        assert (tensor.dtype, tensor.dim()) == (saved[key].dtype, saved[key].dim()), key
        if not key.endswith("token_ids") and (name, key) != (TOKENS, "cluster_mask"):
            assert tensor.shape == saved[key].shape, key


@pytest.mark.parametrize(
    ("name", "ids", "mask", "count", "cluster"),
    [
        (MEMBERS, "cluster_token_ids", "cluster_mask", "n_cluster_members", "1.4a:cosine-mode"),
        (LOGITS, "logit_equiv_token_ids", "logit_equiv_mask", "n_logit_equiv_members", "1.5c:dot-mode"),
        (MASK, "cluster_token_ids", "cluster_mask", "n_cluster", "1.5d:dot-self"),
    ],
)
def test_classes_are_the_correctly_rounded_ones(
    name: str,
    ids: str,
    mask: str,
    count: str,
    cluster: str,
    tensors: dict[str, dict[str, Tensor]],
    replica_catalog: Path,
) -> None:
    certified = members(replica_catalog, cluster)
    assert tensors[name][ids].tolist() == certified
    assert tensors[name][mask].nonzero().flatten().tolist() == certified
    assert tensors[name][mask].max() == 1
    assert tensors[name][count].tolist() == [len(certified)]


def test_the_giant_cluster_is_the_component_and_its_mask_is_into_the_spike(
    tensors: dict[str, dict[str, Tensor]], replica: Replica, replica_catalog: Path
) -> None:
    found = tensors[TOKENS]
    assert found["cluster_token_ids"].tolist() == replica.members
    spike = torch.tensor(members(replica_catalog, "spike"))
    assert spike[found["cluster_mask"]].tolist() == replica.members
    assert len(found["cluster_mask"]) == len(spike)


def test_single_values_are_the_notebooks(tensors: dict[str, dict[str, Tensor]], alone: Run) -> None:
    for name, keys in (
        (MEMBERS, ("cluster_cosine", "ref_lat", "ref_lon")),
        (TOKENS, ("adjacency_threshold",)),
        (LOGITS, ("logit_equiv_dot_product",)),
        (MASK, ("ref_token_id",)),
    ):
        saved = load_file(alone.folder / name)
        assert {key: tensors[name][key].tolist() for key in keys} == {key: saved[key].tolist() for key in keys}
    assert tensors[MASK]["ref_token_id"].tolist() == [TOKEN]


def test_the_bf16_centroid_is_torchs_rounding_of_the_catalogs(
    tensors: dict[str, dict[str, Tensor]], replica_catalog: Path, alone: Run
) -> None:
    found = tensors[LOGITS]["cluster_centroid"]
    assert torch.equal(found, vector(replica_catalog, "1.5c").to(torch.bfloat16))
    notebooks = load_file(alone.folder / LOGITS)["cluster_centroid"]
    assert (found.view(torch.int16).int() - notebooks.view(torch.int16).int()).abs().max() <= 1


def test_the_frame_is_the_catalogs_with_components_in_columns(
    tensors: dict[str, dict[str, Tensor]], replica_catalog: Path, alone: Run
) -> None:
    found, printed = tensors[FRAME], alone.printed["1.6a"]
    assert torch.equal(found["cluster_centroid"], vector(replica_catalog, "1.6a"))
    torch.testing.assert_close(found["cluster_centroid"], printed["cluster_centroid"], rtol=1e-5, atol=1e-8)
    stored = rows(replica_catalog, "select eigenvalue, vector from principal_components order by pc")
    eigenvalues = torch.tensor([value for value, _ in stored], dtype=torch.float64)
    components = torch.tensor([component for _, component in stored], dtype=torch.float64)
    assert torch.equal(found["W_eigenvalues"], eigenvalues.float())
    assert torch.equal(found["W_eigenvectors"], components.T.float())
    torch.testing.assert_close(found["W_eigenvalues"], printed["eigenvalues"], rtol=1e-4, atol=1e-7)
    lengths = found["W_eigenvectors"].norm(dim=0)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    # The sky's axes point the way of the published frame.
    assert ((found["W_eigenvectors"] * printed["eigenvectors"]).sum(dim=0)[:3] > 0.9999).all()


# --- what the notebooks do with them


def test_the_notebooks_next_cells_load_and_verify_them(exported: Path, replica: Replica, tensors: Any) -> None:
    loaded = notebook_cells.load_1_4a(exported)
    assert loaded["cosine_cluster_token_ids"].tolist() == tensors[MEMBERS]["cluster_token_ids"].tolist()
    assert loaded["n_cosine_cluster"] == len(loaded["cosine_cluster_token_ids"])
    assert notebook_cells.load_1_4h(exported).tolist() == replica.members
    assert notebook_cells.verify_1_4h(exported, torch.tensor(replica.members))["n_ids"] == len(replica.members)
    frame = tensors[FRAME]
    shapes = notebook_cells.verify_1_6a(
        exported, frame["cluster_centroid"], frame["W_eigenvalues"], frame["W_eigenvectors"]
    )
    assert shapes["eigenvectors_shape"] == (128, 128)


def test_later_notebooks_run_on_earlier_ones_files(
    exported: Path, replica: Replica, tensors: dict[str, dict[str, Tensor]], alone: Run, tmp_path: Path
) -> None:
    for name in (MEMBERS, TOKENS):
        copyfile(exported / name, tmp_path / name)
    logits = notebook_cells.notebook_1_5c(replica.W, tmp_path)
    assert logits["mode_dot"] == tensors[LOGITS]["logit_equiv_dot_product"].item()
    certified = set(tensors[LOGITS]["logit_equiv_token_ids"].tolist())
    assert len(certified ^ set(logits["logit_equiv_indices"].tolist())) <= len(certified) // 50
    frame = notebook_cells.notebook_1_6a(replica.W, tmp_path, oriented_by=TOKEN)
    assert torch.equal(frame["cluster_centroid"], alone.printed["1.6a"]["cluster_centroid"])


def test_rows_that_are_not_finite_are_no_giant_cluster(small: Path, tmp_path: Path) -> None:
    """They have no component."""
    export_tensors(small, "u/output", tmp_path, replace=False)
    found = load_file(tmp_path / TOKENS)
    assert found["cluster_token_ids"].tolist() == [*range(20, 30)]
    assert found["cluster_mask"].tolist() == [False] * 20 + [True] * 10


def test_a_file_is_the_same_to_the_byte_as_one_that_safetensors_writes(tmp_path: Path) -> None:
    arrays: Arrays = {
        "mask": np.array([True, False, True]),
        "bytes": np.arange(5, dtype=np.uint8),
        "ids": np.arange(7, dtype=np.int32),
        "wide": np.arange(3, dtype=np.int64),
        'é "quoted"': np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "a": np.ones(2, np.float32),
        "none": np.empty((0, 4), np.float32),
        "bits": np.array([0x3F80, 0xC000], np.uint16),
    }
    tensors = {key: torch.from_numpy(np.ascontiguousarray(array)) for key, array in arrays.items()}
    tensors["bits"] = torch.tensor([1.0, -2.0], dtype=torch.bfloat16)
    save_tensors(tmp_path / "ours", arrays)
    assert (tmp_path / "ours").read_bytes() == save(tensors)
    assert torch.equal(load_file(tmp_path / "ours")["bits"], tensors["bits"])


# --- which files


def test_a_model_without_the_clusters_is_told_each_of_them(minilm: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=MINILM) as error:
        export_tensors(minilm, MINILM, tmp_path / "out", replace=False)
    for lacking in (
        "reference 1.4a (sky) and cluster 1.4a:cosine-mode for 1.4a_cluster_members",
        "cluster spike for 1.4h_cluster_tokens",
        "reference 1.5c (centroid) and cluster 1.5c:dot-mode for 1.5c_cluster_logits",
        "reference 1.5d (first_in_box or token) and cluster 1.5d:dot-self for 1.5d_cluster_mask",
        "reference 1.6a (centroid) for 1.6a_cluster_reference_frame",
    ):
        assert lacking in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_1_4a_that_is_no_place_on_the_sky_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"reference 1\.4a \(sky, not a token\) for 1\.4a_cluster_members"):
        export_tensors(small, "u/input", tmp_path / "out", replace=False)
    assert not (tmp_path / "out").exists()


def test_what_is_no_target_and_what_is_no_model_are_refused(small: Path) -> None:
    at = ["--catalog", str(small)]
    assert "--to xml: unknown; one of tensors, parquet" in refused("export", ODD, "--to", "xml", *at)
    assert "'nobody': no such model" in refused("export", "nobody", "--to", "parquet", *at)


@pytest.mark.parametrize("to", ["tensors", "parquet"])
def test_files_that_are_there_are_kept_unless_they_are_to_be_replaced(to: str, small: Path, tmp_path: Path) -> None:
    path = tmp_path / (FRAME if to == "tensors" else "flat.parquet")
    path.write_bytes(b"mine")
    (tmp_path / "other").write_bytes(b"mine, too")

    def export(*, replace: bool) -> list[Path]:
        if to == "tensors":
            return export_tensors(small, ODD, tmp_path, replace=replace)
        return export_parquet(small, ODD, path, replace=replace)

    with pytest.raises(CatalogError, match=f"{path.name}: there already; `replace=True` writes over"):
        export(replace=False)
    assert contents(tmp_path) == {path.name: b"mine", "other": b"mine, too"}
    written = {path.name for path in export(replace=True)}
    found = contents(tmp_path)
    assert found.keys() == {"other"} | written
    assert found["other"] == b"mine, too"
    assert len(found[path.name]) > 100


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_half_way_leaves_what_was_there(
    there: bool, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there:
        export_tensors(small, ODD, tmp_path, replace=False)
    before = contents(tmp_path)

    def save(path: Path, arrays: Arrays) -> None:
        save_tensors(path, arrays)
        if path.name.startswith(FRAME):  # the last
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("token_catalog.queries.export.save_tensors", save)
    with pytest.raises(OSError, match="No space left on device"):
        export_tensors(small, ODD, tmp_path, replace=there)
    assert contents(tmp_path) == before
    assert len(before) == 5 * there


def test_a_full_disk_is_an_error_that_is_told_without_a_traceback(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the size of files stands in for the disk; these two classes are what the command line tells."""

    def save(path: Path, arrays: Arrays) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            save_tensors(path, arrays)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr("token_catalog.queries.export.save_tensors", save)
    with pytest.raises((CatalogError, OSError)):
        export_tensors(small, ODD, tmp_path, replace=False)
    assert contents(tmp_path) == {}


def test_a_folder_that_is_not_there_is_made(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "none" / "there" / "flat.parquet"
    assert export_parquet(small, ODD, path, replace=False) == [path]


def test_what_is_no_file_is_never_written_over(small: Path, tmp_path: Path) -> None:
    (tmp_path / "1.5c_cluster_logits.safetensors").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link.parquet").symlink_to("a disk that isn't there now")
    for replace in (False, True):
        with pytest.raises(
            CatalogError, match=r"1\.5c_cluster_logits\.safetensors: is no file, so none is written over"
        ):
            export_tensors(small, ODD, tmp_path, replace=replace)
        for path in (tmp_path, tmp_path / "link.parquet"):
            with pytest.raises(CatalogError, match="is no file, so none is written over it"):
                export_parquet(small, ODD, path, replace=replace)
        with pytest.raises(CatalogError, match="file: is a file, and tensors go into a folder"):
            export_tensors(small, ODD, tmp_path / "file", replace=replace)
    assert {path.name for path in tmp_path.iterdir()} == {"1.5c_cluster_logits.safetensors", "file", "link.parquet"}


def test_exported_files_can_be_read_by_whom_other_files_can(small: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    paths = export_tensors(small, ODD, tmp_path, replace=False)
    paths += export_parquet(small, ODD, tmp_path / "m.parquet", replace=False)
    assert {path.stat().st_mode for path in paths} == {(tmp_path / "plain").stat().st_mode}


def test_files_go_below_where_one_stands_under_the_models_name(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tensors = export_tensors(small, ODD, None, replace=False)
    assert tensors == [Path("tensors", ODD, name) for name in NAMES]
    flat = [
        path for model in (ODD, "u/output", "../../x") for path in export_parquet(small, model, None, replace=False)
    ]
    assert flat == [Path(f"{ODD}.parquet"), Path("u-output.parquet"), Path("x-9cdf6a50.parquet")]
    assert contents(tmp_path).keys() == {*map(str, (*tensors, *flat))}


def test_a_name_with_two_matrices_is_an_error_that_names_both(small: Path, tmp_path: Path) -> None:
    several = "'u': has 2 matrices; name one: u/input, u/output"
    with pytest.raises(CatalogError, match=several):
        export_tensors(small, "u", tmp_path, replace=False)
    with pytest.raises(CatalogError, match=several):
        export_parquet(small, "u", tmp_path / "u.parquet", replace=False)
    assert contents(tmp_path) == {}
