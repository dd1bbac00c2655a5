"""Tables of published figures: the two that ship, and what is wrong with others."""

import csv
from pathlib import Path

import pytest

from token_catalog.catalog.errors import CatalogError
from token_catalog.queries.figures import FIGURE_CLASSES, Figure, read_figures, shipped, table_for

NAME = "qwen3-4b-instruct-2507"
FURTHER = f"further-{NAME}"
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "token_catalog" / "queries" / "published"
GIVEN = ROOT.parent / "shared" / "published"
HEAD = b"figure,published,class,query\n"


def published(*names: str) -> list[dict[str, str]]:
    """Return the lines of tables that ship."""
    lines: list[dict[str, str]] = []
    for name in names:
        with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            lines += csv.DictReader(file)
    return lines


def refused(path: Path) -> str:
    """Return why a table can't be read."""
    with pytest.raises(CatalogError) as caught:
        read_figures(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.skipif(not GIVEN.is_dir(), reason="the published tables aren't here")
def test_the_tables_that_ship_are_the_published_ones_line_by_line_but_for_figures_without_a_query() -> None:
    assert (FOLDER / f"{NAME}.csv").read_bytes() == (GIVEN / f"{NAME}.csv").read_bytes()
    queries = {path.stem for path in FOLDER.glob("*.sql")}
    head, *lines = (GIVEN / f"{FURTHER}.csv").read_text(encoding="utf-8").splitlines()
    asked = [line for line in lines if line.partition(",")[0] in queries]
    assert (FOLDER / f"{FURTHER}.csv").read_text(encoding="utf-8").splitlines() == [head, *asked]


def test_every_figure_that_ships_has_one_query_and_no_query_is_left_over() -> None:
    lines = published(NAME, FURTHER)
    assert sorted(path.stem for path in FOLDER.glob("*.sql")) == sorted(row["figure"] for row in lines)
    assert {path.suffix for path in FOLDER.iterdir()} == {".csv", ".sql"}


@pytest.mark.parametrize("name", [NAME, FURTHER])
def test_a_table_that_ships_is_read_with_its_queries(name: str) -> None:
    lines = published(name)
    if not lines:
        pytest.skip(f"{name} has no figures yet")
    figures = read_figures(FOLDER / f"{name}.csv")
    assert [(f.name, f.published, f.class_) for f in figures] == [
        (row["figure"], row["published"], row["class"]) for row in lines
    ]
    for figure in figures:
        assert figure.query == (FOLDER / f"{figure.name}.sql").read_text(encoding="utf-8")


def test_the_table_alone_says_what_a_figure_is_and_where_it_is_from() -> None:
    for row in published(NAME, FURTHER):
        assert row["definition"], row["figure"]
        assert row["source"], row["figure"]
        query = (FOLDER / f"{row['figure']}.sql").read_text(encoding="utf-8")
        assert row["definition"] not in " ".join(query.replace("--", "").split()), row["figure"]


def test_a_table_that_ships_is_found_by_its_name_and_by_the_models_name_or_source(tmp_path: Path) -> None:
    assert shipped() == {name: FOLDER / f"{name}.csv" for name in (FURTHER, NAME)}
    assert read_figures(Path(NAME)) == read_figures(FOLDER / f"{NAME}.csv")
    for name, source in [
        ("Qwen3-4B-Instruct-2507", "/data/W.safetensors"),
        ("mine", "Qwen/Qwen3-4B-Instruct-2507"),
        ("mine", "/hub/models--Qwen--Qwen3-4B-Instruct-2507/snapshots/abc"),
    ]:
        assert table_for(name, source) == FOLDER / f"{NAME}.csv"
    with pytest.raises(CatalogError, match=f"replica: no published figures of it ship .of {FURTHER}, {NAME} only.; `"):
        table_for("replica", "/data/Qwen3-4B-Instruct-2507.safetensors")


def test_a_file_goes_before_a_table_that_ships_by_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(NAME).write_bytes(HEAD + b"one,1,exact,select 1\n")
    assert [f.name for f in read_figures(Path(NAME))] == ["one"]


def test_a_table_of_ones_own_brings_queries_and_uses_those_that_ship(tmp_path: Path) -> None:
    """Columns in any order, and others; quotes, a byte order mark, CRLF, blank lines and spaces: all is well."""
    path = tmp_path / "mine.csv"
    path.write_bytes(
        "\ufeffclass,query,note,published,figure\r\n"
        'exact,"select ""count""\r\nfrom (select 3 as ""count"") -- it\'s; one\r\n",ü,3 ,mine\r\n'
        "\r\n"
        "robust,,,0.1, norm_mean\r\n"
        "fragile,select 2;,,1 2 3,n_dims\r\n".encode()
    )
    own = 'select "count"\r\nfrom (select 3 as "count") -- it\'s; one'
    assert read_figures(path) == [
        Figure("mine", "3 ", "exact", own, f"{path}, line 4"),
        Figure("norm_mean", "0.1", "robust", (FOLDER / "norm_mean.sql").read_text(encoding="utf-8"), f"{path}, line 6"),
        Figure("n_dims", "1 2 3", "fragile", "select 2;", f"{path}, line 7"),
    ]


@pytest.mark.parametrize(
    ("table", "line", "why"),
    [
        (HEAD + b"a,1,exact,select 1\nb,2,sure,select 2\n", 3, "b: class 'sure' is unknown; one of exact, robust"),
        (HEAD + b"a,1,exact,select 1, 2\n", 2, "has more fields than the first line; what has a comma in it stands in"),
        (HEAD + b"n_tokens,1,000,exact,\n", 2, "has more fields than the first line"),
        (
            HEAD + b"n_token,1,exact,\n",
            2,
            "n_token: is none of the figures that ship, so it needs SQL in a column query; d",
        ),
        (HEAD + b"a,1,,select 1\n", 2, "a: class '' is unknown"),
        (HEAD + b"a,1,exact,select 1\n\na,2,exact,select 2\n", 4, "a stands above already"),
        (HEAD + b"n_dims,1,exact,\nn_dims,1,exact,\n", 3, "n_dims stands above already"),
        (HEAD + b"a,1,exact,\n", 2, "a: is none of the figures that ship, so it needs SQL in a column query"),
        (b"figure,published,class\na,1,exact\n", 2, "a: is none of the figures that ship"),
        (HEAD + b",1,exact,select 1\n", 2, "has no figure's name, or nothing published"),
        (HEAD + b"a, ,exact,select 1\n", 2, "has no figure's name, or nothing published"),
        (HEAD + b"a\n", 2, "has no figure's name, or nothing published"),
        (HEAD + b"a,1\n", 2, "a: class '' is unknown"),
        (HEAD + b"a,1,exact\n", 2, "a: is none of the figures that ship"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, table: bytes, line: int, why: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(table)
    assert refused(path).startswith(f"{path}, line {line}: {why}")


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (b"", "has no column figure, published, class in its first line (); a table has figure, published, class, and"),
        (b"figure,published\na,1\n", "has no column class in its first line (figure,published); "),
        (b"name,value,class\na,1,exact\n", "has no column figure, published in its first line (name,value,class); "),
        (
            b"figure;published;class\na;1;exact\n",
            "has no column figure, published, class in its first line (figure;pub",
        ),
        (HEAD, "has no figures in it"),
        (HEAD + b"\n\n", "has no figures in it"),
        (HEAD + b'a,1,exact,"select 1\n', "no CSV in UTF-8: "),
        (HEAD + b'a,1,exact,"select" 1\n', "no CSV in UTF-8: "),
        (HEAD + b"caf\xe9,1,exact,select 1\n", "no CSV in UTF-8: "),
        ("figure,published,class\nn_dims,1,exact\n".encode("utf-16"), "no CSV in UTF-8: "),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, table: bytes, why: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(table)
    assert refused(path).startswith(f"{path}: {why}")


def test_a_file_that_cant_be_read_is_named_with_the_tables_that_ship(tmp_path: Path) -> None:
    ship = f"; tables that ship by name: {FURTHER}, {NAME}"
    assert refused(tmp_path / "none.csv") == f"{tmp_path / 'none.csv'}: can't be read (No such file or directory){ship}"
    assert refused(tmp_path) == f"{tmp_path}: can't be read (Is a directory){ship}"


def test_a_misspelt_figure_is_told_what_it_may_have_been_and_a_class_is_known_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(HEAD + b"n_token,1,exact,\n")
    assert refused(path).endswith("; did you mean n_tokens?")
    path.write_bytes(HEAD + b"n_tokens,1,Exact,\n")
    assert [figure.class_ for figure in read_figures(path)] == ["exact"]


def test_the_classes_are_those_that_ship() -> None:
    assert {row["class"] for row in published(NAME, FURTHER)} == set(FIGURE_CLASSES)
