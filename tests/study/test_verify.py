"""`verify`: a model's published figures beside what its catalog finds, as users run it."""

import fcntl
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.command_line import refused, run
from tests.support.helpers import MINILM, REPLICA, bf16_matrix, ingest_bare, save_bare
from tests.support.oracle_bf16 import steps_from
from tests.support.own_figures import SHIPPED, outcome, write_own
from token_catalog.catalog import paths
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.recipe.shipping import load_recipe
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions
from token_catalog.queries.figures import Figure, read_figures
from token_catalog.queries.session import connected
from token_catalog.queries.tolerances import judge
from token_catalog.queries.verify import print_comparison, verify

PLAIN = "linkage = { radius = 0.1, threshold = 0.05 }\nreference = []\n"


def printed_by(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, str], str]:
    """Return what was printed since: each figure's line from its class on, and the summary."""
    head, *lines, summary = capsys.readouterr().out.splitlines()
    assert head.split() == ["figure", "published", "found", "class", "verdict"]
    return dict(map(told, lines)), summary


def told(line: str) -> tuple[str, str]:
    """Return a line's figure, and the rest from its class on; a name of over 28 letters moves that to the right."""
    name = line.split()[0]
    return name, line[82 + max(0, len(name) - 28) :]


# --- the replica


@pytest.fixture(scope="module", params=["replica_table", "further_table"])
def table(request: pytest.FixtureRequest) -> Path:
    """Return one of the replica's two tables of figures, as those that ship."""
    path: Path = request.getfixturevalue(request.param)
    if len(path.read_text(encoding="utf-8").splitlines()) < 2:
        pytest.skip("has no figures yet")
    return path


def test_the_replica_passes_whole_a_line_for_each_figure_and_a_summary(replica_catalog: Path, table: Path) -> None:
    done = run("verify", REPLICA, "--figures", str(table), "--catalog", str(replica_catalog))
    assert (done.returncode, done.stderr) == (0, "")
    figures = read_figures(table)
    head, *lines, summary = done.stdout.splitlines()
    assert head.split() == ["figure", "published", "found", "class", "verdict"]
    assert [(name, rest.split()) for name, rest in map(told, lines)] == [
        (figure.name, [figure.class_, "pass"]) for figure in figures
    ]
    assert summary == f"{len(figures)} figures: {len(figures)} pass"


def test_the_replica_has_all_figures_but_for_an_eigenvalue_that_so_few_dimensions_dont_have(
    replica_table: Path,
) -> None:
    had = {figure.name for figure in read_figures(replica_table)}
    assert {figure.name for figure in read_figures(Path(SHIPPED))} - had == {"eigenvalue_2560"}


def off_by(figure: Figure, found: Any, type_: str, *, beyond: bool) -> str:
    """Return a published value as far from what is found as its class allows, or the least beyond that."""
    if isinstance(found, str):
        return found + "1" * beyond
    if isinstance(found, list) and isinstance(found[-1], float):
        *others, last = figure.published.split()
        return " ".join(
            [*others, off_by(replace(figure, published=last), found[-1], type_.removesuffix("[]"), beyond=beyond)]
        )
    if isinstance(found, list):
        n = (len(found) // 50 or 1 if figure.class_ == "fragile" else 0) + beyond
        return " ".join(map(str, [*found[: len(found) - n], *range(-n, 0)]))
    if isinstance(found, int):
        if figure.class_ == "fragile":
            allowed = (n for n in range(found, 2 * found + 9) if n - found <= max(1, n * 2 // 100))
            return str(max(allowed) + beyond)
        return str(found + {"exact": 0, "robust": 2}[figure.class_] + beyond)
    if figure.class_ == "fragile" or (figure.class_ == "exact" and type_ == "FLOAT"):
        steps = (1 if figure.class_ == "fragile" else 0) + beyond
        return repr(steps_from(torch.tensor(found).bfloat16(), steps))
    printed = Decimal(figure.published)
    place = printed.as_tuple().exponent
    if figure.class_ == "robust" and printed:
        place = max(place, printed.adjusted() - 6)  # of an fp32, seven digits count
    last = Decimal(1).scaleb(place)
    away = -1 if Decimal(found) > printed else 1  # from what is found, which is up to half a digit off
    return str(printed + away * last * ({"exact": 0, "robust": 1}[figure.class_] + beyond))


@pytest.fixture(scope="module")
def found(replica_catalog: Path, table: Path) -> Mapping[str, tuple[Any, str]]:
    """Return each figure's value in the replica's catalog, and its type."""
    answers = {}
    with connected(replica_catalog, REPLICA) as connection:
        for figure in read_figures(table):
            answer = connection.execute(figure.query)
            answers[figure.name] = ((answer.fetchone() or [None])[0], str(answer.description[0][1]))
    return answers


def test_every_figure_is_judged_by_its_class_at_the_edge_of_its_tolerance_and_beyond(
    table: Path, found: Mapping[str, tuple[Any, str]]
) -> None:
    for figure in read_figures(table):
        edge, beyond = (off_by(figure, *found[figure.name], beyond=beyond) for beyond in (False, True))
        assert judge(figure.class_, edge, *found[figure.name]).passes, figure.name
        assert not judge(figure.class_, beyond, *found[figure.name]).passes, figure.name


# By the command, of the first table alone: its queries take a second, the further ones' ten.
OF_THE_FIRST = pytest.mark.parametrize("table", ["replica_table"], indirect=True)


@OF_THE_FIRST
def test_every_figure_passes_at_the_edge_of_its_tolerance(
    replica_catalog: Path, table: Path, found: Mapping[str, tuple[Any, str]], tmp_path: Path
) -> None:
    edge = [(f.name, off_by(f, *found[f.name], beyond=False), f.class_) for f in read_figures(table)]
    lines = verify(replica_catalog, REPLICA, write_own(tmp_path / "edge.csv", edge))
    assert [line.figure.name for line in lines if not line.verdict.passes] == []


@OF_THE_FIRST
@pytest.mark.parametrize("turn", [0, 1])
def test_every_figure_fails_just_beyond_its_tolerance_and_no_other_with_it(
    replica_catalog: Path,
    table: Path,
    found: Mapping[str, tuple[Any, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    turn: int,
) -> None:
    """Every other figure is altered, then the rest."""
    figures = read_figures(table)
    altered = figures[turn::2]
    beyond = [
        (f.name, off_by(f, *found[f.name], beyond=True) if f in altered else f.published, f.class_) for f in figures
    ]
    assert not print_comparison(replica_catalog, REPLICA, write_own(tmp_path / "beyond.csv", beyond))
    lines, summary = printed_by(capsys)
    assert list(lines) == [f.name for f in figures]
    assert [name for name, line in lines.items() if "FAIL" in line] == [f.name for f in altered]
    assert [name for name, line in lines.items() if "pass" in line] == [f.name for f in figures if f not in altered]
    assert summary.startswith(f"{len(figures)} figures: {len(figures) - len(altered)} pass, {len(altered)} FAIL (")


# --- a table of one's own


def test_ones_own_figures_of_another_model_are_compared_and_a_failing_one_exits_with_1(
    minilm: Path, tmp_path: Path
) -> None:
    mask = "select token_id from tokens where text = '[MASK]'"
    figures = [
        ("n_tokens", "30522", "exact"),
        ("n_dims", "384", "exact"),
        ("mask", "103", "exact", mask),
        ("mask_off", "106", "robust", mask),
        ("kind", "unused", "exact", "select kind from tokens where token_id = 1"),
        ("dtype", "fp32", "exact", "select dtype from models where model_in_view(model)"),
        ("norm_longest", "9", "robust", "select max(norm) from features"),
    ]
    table = write_own(tmp_path / "mine.csv", figures)
    done = run("verify", MINILM, "--figures", str(table), "--catalog", str(minilm))
    assert done.returncode == 1
    assert done.stderr == ""
    _, *lines, summary = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [name for name, *_ in figures]
    assert lines[3].split()[:4] == ["mask_off", "106", "103", "robust"]
    assert lines[3].endswith("FAIL (-3, of 2 allowed)")
    assert [line.split()[0] for line in lines if "FAIL" in line] == ["mask_off", "norm_longest"]
    assert summary == "7 figures: 5 pass, 2 FAIL (2 robust)"


def test_a_query_that_fails_or_gives_no_one_value_is_a_failing_line(minilm: Path, tmp_path: Path) -> None:
    told = {
        "select nothing": "Binder Error",
        "from nowhere": "Catalog Error",
        "select error(E'boom\\nand more')": "Invalid Input Error: boom",
        "select 'one'::int": "Conversion Error",
        "select 1, 2": "the query gives more than one value",
        "select n_dims, n_tokens from models": "the query gives more than one value",
        "from range(2)": "the query gives more than one value",
        "select 1 where false": "nothing found",
        "select null": "nothing found",
        "select 1 / 0": "isn't finite",
        "select 'one'": "",
        "select [1, 2]": "2, not 1",
        "select {'one': 1}": "",
    }
    lines = outcome(minilm, MINILM, tmp_path / "mine.csv", list(told))
    for line, remark in zip(lines, told.values(), strict=True):
        assert not line.verdict.passes
        assert line.verdict.remark.startswith(remark)
        assert "\n" not in line.verdict.remark


# --- which model, which catalog


def test_what_cant_be_verified_is_told_in_a_line(minilm: Path, tmp_path: Path) -> None:
    at = ["--catalog", str(minilm)]
    assert "'nobody': no such model; the catalog has: all-MiniLM-L6-v2" in refused("verify", "nobody", *at)
    assert "no published figures of it ship (of " in refused("verify", MINILM, *at)
    none = str(tmp_path / "none.csv")
    assert f"{none}: can't be read (No such file" in refused("verify", MINILM, "--figures", none, *at)
    assert "no catalog" in refused("verify", MINILM, "--catalog", str(tmp_path / "none"))


def test_one_matrix_of_an_untied_model_is_verified_by_its_own_name(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    for matrix, n_tokens in (("input", 20), ("output", 30)):
        save_bare(tmp_path / matrix / "W.safetensors", bf16_matrix(n_tokens, 4))
        options = SourceOptions(name="u", tensor="W", matrix=matrix)
        ingest(catalog, str(tmp_path / matrix), options, with_tokenizer=False)
    table = write_own(tmp_path / "mine.csv", [("n_tokens", "20", "exact"), ("n_dims", "4", "exact")])
    with pytest.raises(CatalogError, match=r"'u': has 2 matrices; name one: u/input, u/output"):
        list(verify(catalog, "u", table))
    assert "name one: u/input, u/output" in refused("verify", "u", "--figures", str(table), "--catalog", str(catalog))
    assert [line.verdict.passes for line in verify(catalog, "u/input", table)] == [True, True]
    assert [line.verdict.passes for line in verify(catalog, "u/output", table)] == [False, True]


def test_a_catalog_and_a_model_with_a_quote_in_their_names_are_verified(tmp_path: Path) -> None:
    catalog = tmp_path / "it's" / "a 'c'"
    ingest_bare(catalog, bf16_matrix(20, 4), "o'neil")
    table = write_own(tmp_path / "what's.csv", [("n_tokens", "20", "exact"), ("unique_vectors", "20", "exact")])
    assert [line.verdict.passes for line in verify(catalog, "o'neil", table)] == [True, True]


def test_a_catalog_is_verified_through_symlinks_and_a_relative_path(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").symlink_to(minilm.parent)
    (tmp_path / "link").symlink_to(minilm)
    monkeypatch.chdir(tmp_path)
    table = write_own(Path("mine.csv"), [("n_tokens", "30522", "exact")])
    for catalog in (Path("link"), tmp_path / "link", Path("folder") / minilm.name, Path("folder", "..", "link")):
        assert [line.verdict for line in verify(catalog, MINILM, table)] == [(True, "")]


def test_the_table_that_ships_is_taken_for_a_model_of_its_name_and_what_isnt_catalogued_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plain.toml").write_text(PLAIN)
    recipe = load_recipe(tmp_path / "plain.toml")
    ingest_bare(tmp_path / "c", bf16_matrix(40, 4), "Qwen3-4B-Instruct-2507", recipe=recipe)
    assert not print_comparison(tmp_path / "c", "Qwen3-4B-Instruct-2507")
    lines, summary = printed_by(capsys)
    assert list(lines) == [figure.name for figure in read_figures(Path(SHIPPED))]
    assert [name for name, line in lines.items() if "pass" in line] == []
    assert summary == "73 figures: 0 pass, 73 FAIL (23 exact, 30 robust, 20 fragile)"


def test_verify_changes_no_file_and_waits_for_no_lock(minilm: Path, tmp_path: Path) -> None:
    def state() -> dict[str, tuple[int, int, int]]:
        stats = {str(path): path.lstat() for path in sorted(minilm.rglob("*"))}
        return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}

    table = write_own(tmp_path / "mine.csv", [("n_tokens", "30522", "exact"), ("box_0.1_tokens", "1", "robust")])
    with (minilm / paths.LOCK).open("rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = state()
        assert len(list(verify(minilm, MINILM, table))) == 2
        assert state() == before
