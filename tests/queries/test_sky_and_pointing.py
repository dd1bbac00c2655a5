"""Views and macros, in the real DuckDB shell and in Python, against exact arithmetic and naive references."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.helpers import LITTLE_MEMORY, MINILM, REPLICA, bf16_matrix, in_shell, ingest_bare, rows, shell_run
from tests.support.oracle_bf16 import (
    bf16_value,
    exact_dot,
    exact_scores,
    nearest_by_search,
    rounded,
)
from token_catalog.catalog.definitions import definitions
from token_catalog.catalog.schemas import COMPONENT_DIAMETERS, TABLES
from token_catalog.ingest.arithmetic import bf16 as rounding
from token_catalog.queries.session import connected


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of two models: `wide` (bf16, 20 columns) and `small` (fp32, 5 columns), with special rows."""
    catalog = tmp_path_factory.mktemp("two") / "c"
    wide = bf16_matrix(300, 20, seed=4)
    wide[40], wide[41], wide[50], wide[60, 3] = wide[7], wide[7], 0, float("inf")
    small = torch.randn(90, 5, generator=torch.Generator().manual_seed(9)) * 0.3
    small[10] = small[12]
    small[20] = torch.tensor([1e-40, 0, -3e-40, 2e-39, 1e-41])  # under bf16's normal numbers
    small[21] = torch.tensor([1.00390625, 1.01171875, -1.00390625, 1.0, 0.5])  # ties
    ingest_bare(catalog, wide, "wide")
    ingest_bare(catalog, small, "small")
    return catalog


def vectors_of(catalog: Path, model: str) -> list[list[float]]:
    """Return a model's rows."""
    return [
        row[0]
        for row in rows(catalog, f"select vector::double[] from vectors where model = '{model}' order by token_id")
    ]


@pytest.mark.parametrize("model", ["wide", "small"])
def test_point_at_equals_exact_arithmetic_on_every_token(two: Path, model: str) -> None:
    W = vectors_of(two, model)
    generator = np.random.default_rng(1)
    query_vectors = [
        W[7],
        W[20],
        W[21],
        generator.standard_normal(len(W[0])).tolist(),
        (np.mean(W[:40], axis=0)).tolist(),
    ]
    for h in query_vectors:
        got = rows(two, f"select dot, dot_bf16, cosine, cosine_bf16 from point_at({h}) order by token_id", model)
        assert len(got) == len(W)
        h16 = np.array(rounded(h))
        for row, (dot, dot_bf16, cosine, cosine_bf16) in zip(W, got, strict=True):
            if not np.isfinite(row).all():
                assert (dot, dot_bf16, cosine, cosine_bf16) == (None,) * 4
                continue
            assert (dot_bf16, cosine_bf16) == exact_scores(row, h)
            w16 = np.array(rounded(row))
            assert dot == pytest.approx(float(w16 @ h16), rel=1e-12, abs=1e-300)
            length = np.linalg.norm(w16) * np.linalg.norm(h16)
            assert cosine == (pytest.approx(float(w16 @ h16 / length), rel=1e-12) if length else None)


def test_point_at_token_is_point_at_of_its_row_in_each_model(two: Path) -> None:
    both = rows(two, "select * from point_at_token(12) order by model, token_id")
    for model in ("wide", "small"):
        h = vectors_of(two, model)[12]
        alone = rows(two, f"select * from point_at({h}) order by token_id", model)
        assert [row for row in both if row[0] == model] == alone
    assert len(both) == 390


def test_a_vector_meets_only_models_of_its_own_length(two: Path) -> None:
    assert {row[0] for row in rows(two, "select distinct model from point_at([1, 2, 3, 4, 5])")} == {"small"}
    assert rows(two, "from point_at([1, 2, 3])") == []
    assert rows(two, "from point_at_token(100000)") == []
    each = (
        "point_at_each([{'model': 'wide', 'numbers': [1, 2, 3, 4, 5]}, {'model': 'small', 'numbers': [1, 2, 3, 4, 5]}])"
    )
    assert rows(two, f"from {each} order by token_id") == rows(two, "from point_at([1, 2, 3, 4, 5]) order by token_id")


def test_pointing_along_zero_gives_zero_dots_and_no_cosine(two: Path) -> None:
    got = rows(two, "select distinct dot, dot_bf16, cosine, cosine_bf16 from point_at([0, 0, 0, 0, 0])")
    assert got == [(0.0, 0.0, None, None)]


@pytest.mark.parametrize("token", [7, 12, 21])
def test_same_dot_as_equals_exact_arithmetic(two: Path, token: int) -> None:
    for model in ("wide", "small"):
        W = vectors_of(two, model)
        h16 = rounded(W[token])
        finite = [i for i, row in enumerate(W) if np.isfinite(row).all()]
        dots = {i: nearest_by_search(exact_dot(rounded(W[i]), h16)) for i in finite}
        expected = [i for i in finite if dots[i] == dots[token]]
        got = in_shell(two, f"set variable model = '{model}'; from same_dot_as({token}) order by token_id;")
        assert [row["token_id"] for row in got] == expected
        assert token in expected


def test_nearest_gives_distinct_vectors_by_their_lowest_token(two: Path) -> None:
    for model in ("wide", "small"):
        W = np.array(vectors_of(two, model))
        first: dict[bytes, int] = {}
        for i, row in enumerate(W):
            first.setdefault(row.tobytes(), i)
        others = [i for i in first.values() if np.isfinite(W[i]).all() and (W[i] != W[12]).any()]
        distances = sorted((float(np.sqrt(((W[i] - W[12]) ** 2).sum())), i) for i in others)[:6]
        got = rows(two, "select token_id, distance, duplicate_count from nearest(12, 6)", model)
        assert [i for i, _, _ in got] == [i for _, i in distances]
        assert [d for _, d, _ in got] == pytest.approx([d for d, _ in distances], rel=1e-12)
        assert [c for i, _, c in got] == [int((W[i] == W).all(axis=1).sum()) for i, _, _ in got]


def test_nearest_to_a_duplicate_leaves_out_its_own_vector(two: Path) -> None:
    got = rows(two, "select token_id, distance from nearest(41, 300)", "wide")
    assert min(distance for _, distance in got) > 0
    assert {7, 40, 41}.isdisjoint(token_id for token_id, _ in got)


def test_an_argument_that_is_drawn_at_random_is_drawn_once(two: Path) -> None:
    """DuckDB puts a macro's argument in as text wherever it is named; drawn twice, token and answer wouldn't match."""
    for _ in range(5):
        ((nearest,),) = rows(two, "select min(distance) from nearest((select token_id from tokens using sample 1), 1)")
        assert nearest is None or nearest > 0
        h = "(select vector from (from vectors where token_id < 40) using sample 1)"
        ((apart,),) = rows(two, f"select max(abs(cosine - cosine_bf16)) from point_at({h})", "wide")
        assert apart < 0.02
        lat, lon = (f"(select {c} from (from features where lat is not null) using sample 1)" for c in ("lat", "lon"))
        ((width,),) = rows(two, f"select max(lat) - min(lat) from box_search({lat}, {lon}, 20)", "wide")
        assert width is None or width <= 20
        assert rows(two, "select count(*) > 0 from same_dot_as((select 30 + (random() * 9)::int))", "wide") == [(True,)]


def test_no_cosine_is_past_one(two: Path) -> None:
    for token in range(60):
        query = f"select degrees(acos(cosine)) from point_at_token({token}) where token_id = {token} and cosine <> 0"
        for (angle,) in rows(two, query):
            assert angle == pytest.approx(0, abs=1e-5)


def test_past_the_last_bit_of_fp64_the_shell_rounds_what_fp64_gives_it(tmp_path: Path) -> None:
    """The limit that docs/precision.md names: 1 + 2⁻⁸ is halfway, and 2⁻⁶⁰ more is lost in the sum.

    The ingest's own is exact.
    """
    W = torch.tensor([[1, 2**-8, 2**-60, 0], [1, 2**-8, 2**-40, 0]]).bfloat16()
    ingest_bare(tmp_path / "c", W)
    assert [
        dot for (dot,) in rows(tmp_path / "c", "select dot_bf16 from point_at([1, 1, 1, 1]) order by token_id")
    ] == [
        1.0,
        1.0078125,
    ]
    assert rounding.dot_bf16(W.double(), torch.ones(4, dtype=torch.float64)).tolist() == [1.0078125, 1.0078125]


def test_box_search_has_its_bounds_inside(two: Path) -> None:
    got = rows(two, "select token_id, lat, lon from features where token_id = 33", "wide")
    ((_, lat, lon),) = got
    assert 33 in [row[0] for row in rows(two, f"select token_id from box_search({lat}, {lon}, 0)", "wide")]
    everything = rows(two, "select token_id, lat, lon from features", "wide")
    inside = sorted(i for i, a, o in everything if a is not None and abs(a - lat) <= 15 and abs(o - lon) <= 15)
    found = rows(two, f"select token_id from box_search({lat}, {lon}, 30) order by token_id", "wide")
    assert [row[0] for row in found] == inside


def test_cone_search_measures_the_angle_between_directions(two: Path) -> None:
    sky = rows(two, "select token_id, x, y, z from features where radius > 0", "wide")
    lat, lon, angle = 20.0, -170.0, 60.0
    towards = np.array(
        [
            math.cos(math.radians(lat)) * math.cos(math.radians(lon)),
            math.cos(math.radians(lat)) * math.sin(math.radians(lon)),
            math.sin(math.radians(lat)),
        ]
    )
    apart = {i: math.degrees(math.acos(np.dot(towards, (x, y, z)) / np.linalg.norm((x, y, z)))) for i, x, y, z in sky}
    got = dict(rows(two, f"select token_id, separation from cone_search({lat}, {lon}, {angle})", "wide"))
    assert set(got) == {i for i, separation in apart.items() if separation <= angle}
    assert 0 < len(got) < len(apart)
    for i, separation in got.items():
        assert separation == pytest.approx(apart[i], abs=1e-6)


def test_of_vectors_as_near_the_lowest_are_shown(tmp_path: Path) -> None:
    """Around token 2 at 0: tokens 0, 1, 3 and 4 on the axes, all a distance of 1 away, and 5, of 2."""
    W = torch.tensor([[0.0, -1, 0], [0, 0, 1], [0, 0, 0], [-1, 0, 0], [1, 0, 0], [0, 2, 0]])
    ingest_bare(tmp_path / "c", W)
    near = rows(tmp_path / "c", "select token_id, distance from nearest(2, 3)")
    assert near == [(0, 1), (1, 1), (3, 1)]


def test_a_cone_of_no_width_holds_the_token_that_it_points_at(two: Path) -> None:
    ((lat, lon),) = rows(two, "select lat, lon from features where token_id = 9", "wide")
    at = f"'{lat}'::double, '{lon}'::double, 0"
    assert rows(two, f"select token_id, separation from cone_search({at})", "wide") == [(9, 0)]


def test_bf16_rounds_in_sql_as_exact_arithmetic_does(two: Path) -> None:
    generator = np.random.default_rng(8)
    values = (generator.standard_normal(4000) * 10.0 ** generator.integers(-44, 39, 4000)).tolist()
    for bits in range(0, 0x7F7F, 97):
        middle = (bf16_value(bits) + bf16_value(bits + 1)) / 2
        values += [middle, math.nextafter(middle, 0), -math.nextafter(middle, math.inf)]
    values += [0.0, -0.0, 1e308, -1e308, 5e-324, float(2**128), (2 - 2**-8) * 2.0**127]
    with connected(two) as connection:
        got = connection.execute("select bf16(unnest(?::double[]))", [values]).fetchall()
        odd = connection.execute("select bf16('nan'), bf16('inf'), bf16('-inf'), bf16(null), bf16(3), typeof(bf16(3))")
        nan, *others = odd.fetchone() or ()
    assert [row[0] for row in got] == rounded(values)
    assert not any(value == 0 and math.copysign(1, value) < 0 for (value,) in got)
    assert math.isnan(nan)
    assert others == [math.inf, -math.inf, None, 3.0, "FLOAT"]


def test_rows_of_other_types_are_rounded_to_bf16_with_ties_to_even_in_sql(two: Path) -> None:
    values = [
        v for bits in range(0, 0x7F7F, 13) for v in ((bf16_value(bits) + bf16_value(bits + 1)) / 2, bf16_value(bits))
    ]
    values = np.array([*values, 3.4e38, -1e-45, 1e-39, 0.1, 1 / 3], np.float32).astype(np.float64).tolist()
    with connected(two) as connection:
        got = connection.execute("select bf16_row(?::float[], 'fp32')", [values]).fetchone()
    assert got is not None
    assert got[0] == rounded(values)


def test_the_variable_model_narrows_every_view_but_models(two: Path) -> None:
    for relation in ("tokens", "features", "vectors", "principal_components", "duplicate_groups"):
        both = rows(two, f"select distinct model from {relation} order by model")
        assert both == [("small",), ("wide",)], relation
        assert rows(two, f"select distinct model from {relation}", "small") == [("small",)], relation
    assert len(rows(two, "from models", "small")) == 2
    narrowed = in_shell(two, "set variable model = 'wide'; select count(*) as n from vectors;")
    assert narrowed == [{"n": 300}]


def test_a_name_narrows_to_both_matrices_of_an_untied_model(tmp_path: Path) -> None:
    from tests.support.helpers import save_bare
    from token_catalog.ingest.run import ingest
    from token_catalog.ingest.source.resolve import SourceOptions

    for matrix in ("input", "output"):
        folder = tmp_path / matrix
        save_bare(folder / "W.safetensors", bf16_matrix(20, 4))
        ingest(tmp_path / "c", str(folder), SourceOptions(name="u", tensor="W", matrix=matrix), with_tokenizer=False)
    ingest_bare(tmp_path / "c", bf16_matrix(20, 4), "other")
    query = "select distinct model from features order by model"
    assert rows(tmp_path / "c", query, "u") == [("u/input",), ("u/output",)]
    assert rows(tmp_path / "c", query, "u/output") == [("u/output",)]
    assert rows(tmp_path / "c", "select model, name, matrix from models order by model") == [
        ("other", "other", None),
        ("u/input", "u", "input"),
        ("u/output", "u", "output"),
    ]


# Calls of the macros that are of bf16 rows.
OF_BF16 = [
    "component_gaps()",
    "component_vectors()",
    "core_pairs()",
    "exponent_neighborhood(124, 5)",
    "group_pairs()",
    "neighborhood_components(5)",
    "neighborhood_linkage(5)",
    "neighborhood_pairs(5)",
    "neighborhood_vectors(5)",
    "own_ulp_flood([124, 125])",
    "own_ulp_neighbors([124, 125], 2)",
    "vector_heads()",
]


def unanswered(catalog: Path, model: str, relations: list[str]) -> tuple[list[str], str]:
    """Return those of some relations that don't answer in little memory, and what the shell says."""
    counts = [f"select {i} as relation, count(columns(*)) from {relation};" for i, relation in enumerate(relations)]
    done = shell_run(catalog, f"{LITTLE_MEMORY} set variable model = '{model}';\n" + "\n".join(counts), "-json")
    answered = {int(i) for i in re.findall('"relation":([0-9]+)', done.stdout)}
    return [relation for i, relation in enumerate(relations) if i not in answered], done.stderr


def test_every_relation_answers_in_little_memory_with_the_variable_model(minilm: Path) -> None:
    calls = [
        "box_search(0, 0, 20)",
        "causal_distances('unused', centroid_of('unused'), 1e-6)",
        "causal_distances_to((select vector from reference_vectors where reference = 'mean'))",
        f"cluster_crossmatch('unused', '{MINILM}', '{MINILM}')",
        f"compare_tokens('{MINILM}', '{MINILM}')",
        f"compared_features('{MINILM}')",
        "components_at(0.25)",
        "cone_search(0, 0, 20)",
        "different_vectors('unused', 5000)",
        "dimension_statistics('unused')",
        "distances_to((select vector from reference_vectors where reference = 'mean'))",
        "linkage_of([struct_pack(model := 'm', id := 0, other_id := 1, distance := 1.0)])",
        f"matched_tokens('{MINILM}', '{MINILM}')",
        "members('unused')",
        "nearest(505, 5)",
        "overlap('unused', 'largest-component')",
        "pair_histogram('mean:cosine-mode', 'l1', 0.1)",
        "pairs_of_points((select list(struct_pack(model := model, id := pc, numbers := vector)) "
        "from principal_components where pc <= 9))",
        "pairs_within('mean:cosine-mode')",
        "point_at((select vector from reference_vectors where reference = 'mean'))",
        "point_at_each((select list(struct_pack(model := model, numbers := vector)) from reference_vectors))",
        "point_at_token(505)",
        f"row_distances('{MINILM}', '{MINILM}')",
        "same_dot_as(505)",
        "series_rows()",
        "shells((select vector from reference_vectors where reference = 'mean'), 0.1)",
        f"token_keys('{MINILM}')",
        "vector_pairs('mean:dot-self', 5000)",
        "vectors_of((select list(struct_pack(model := model, token_id := token_id)) from members('unused')))",
    ]
    macros = "select distinct function_name from duckdb_functions() where database_name = current_database()"
    # Those of the lattice refuse this model, which is stored in fp32.
    of_any_model = "function_name not like 'lattice%' and function_name <> 'flood'"
    table_macros = rows(minilm, f"{macros} and function_type = 'table_macro' and {of_any_model} order by function_name")
    assert sorted(call.partition("(")[0] for call in calls + OF_BF16) == [name for (name,) in table_macros]
    relations = [name for (name,) in rows(minilm, "select name from help where kind in ('table', 'view')")] + calls
    failing, told = unanswered(minilm, MINILM, relations)
    assert failing == [], told


def test_every_macro_of_bf16_rows_answers_in_little_memory(replica_catalog: Path) -> None:
    failing, told = unanswered(replica_catalog, REPLICA, OF_BF16)
    assert failing == [], told


def test_everything_has_a_comment_and_help_lists_it(two: Path) -> None:
    told = {name: (kind, comment) for name, kind, _, comment in rows(two, "from help")}
    assert not [name for name, (_, comment) in told.items() if not comment]
    for table in TABLES:
        assert told[table.name] == ("table", table.comment)
        for column in table.columns:
            assert told[f"{table.name}.{column.name}"] == ("column", column.comment)
    made = {path.stem: re.findall("^create (view|macro) ", path.read_text(), re.MULTILINE) for path in definitions()}
    assert {name: [told[name][0]] for name in made} == made
    assert told["catalog_root"][0] == "macro"
    assert {name for name, (kind, _) in told.items() if kind == "view"} <= set(made)


def test_views_have_the_columns_and_types_of_the_contract(two: Path) -> None:
    from token_catalog.catalog.schemas import sql_type

    for table in TABLES:
        described = rows(two, f"select column_name, column_type from (describe {table.name})")
        assert described == [(column.name, sql_type(column.type)) for column in table.columns]


def test_no_parameter_of_a_table_macro_has_the_name_of_a_column(two: Path) -> None:
    """From DuckDB 1.4 on such a macro fails: «Conflicting column names», where the column is of what it reads.

    `diameter` is one of component_diameters, which no macro with that parameter reads, and `distance` of scores, which
    components_at doesn't.
    """
    columns = {column.name for table in TABLES for column in table.columns if table != COMPONENT_DIAMETERS}
    parameters: list[tuple[Any, ...]] = rows(
        two,
        "select function_name, unnest(parameters) from duckdb_functions() "
        "where database_name = current_database() and function_type = 'table_macro'",
    )
    assert parameters
    found = [(name, parameter) for name, parameter in parameters if parameter in columns]
    assert found == [("components_at", "distance")]
