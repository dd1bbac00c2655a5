"""The views and macros of clusters, in the real DuckDB shell, on a matrix whose clusters are known by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.helpers import MINILM, in_shell, ingest_bare, rows, shell_run
from token_catalog.ingest.recipe.entries import CLASSES, LARGEST, NUMBERED, Cluster, Reference, check_order
from token_catalog.ingest.recipe.recipe import LinkageDistances, Recipe
from token_catalog.queries.session import connected


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of `m`, seen from token 0, and of a smaller `other`.

    token   0      1      2      3      4       5       6       7
    row   (1,0)  (1,0)  (1,1)  (2,0)  (0,3)  (0,3.1)  (NaN,0) (0,0)     (and a third column of 0)
    dot     1      1      1      2      0       0       NULL    0
    cosine  1      1     .707    1      0       0       NULL   NULL

    Components at 0.5: {0, 1} and {4, 5}. Equal rows: {0, 1}. In bf16, (1,1)/1.4140625 has 0.70703125.
    """
    catalog = tmp_path_factory.mktemp("known") / "c"
    W = torch.zeros(8, 3)
    W[:, :2] = torch.tensor([(1, 0), (1, 0), (1, 1), (2, 0), (0, 3), (0, 3.1), (torch.nan, 0), (0, 0)])
    recipe = Recipe(
        references=(Reference("r", "token", 0),),
        clusters=(Cluster("even", "token_id % 2 = 0"), Cluster("none", "norm < 0")),
    )
    ingest_bare(catalog, W, "m", recipe=recipe, asked=LinkageDistances(0.6, 0.5))
    ingest_bare(catalog, torch.eye(4)[:3], "other", asked=LinkageDistances(2, 2))
    return catalog


def of_m(catalog: Path, query: str) -> list[tuple[Any, ...]]:
    """Return a query's rows for the model `m`."""
    return rows(catalog, query, "m")


def test_classes_are_tokens_of_equal_bf16(known: Path) -> None:
    """Of the dots 0, 0, 0 and 1, 1, 1 the smaller value goes first; a share is of all 8 rows of W."""
    assert of_m(known, "select dot_bf16, n_tokens, n_vectors, share, class_rank from dot_classes") == [
        (0.0, 3, 3, 3 / 8, 1),
        (1.0, 3, 2, 3 / 8, 2),
        (2.0, 1, 1, 1 / 8, 3),
    ]
    assert of_m(known, "select cosine_bf16, n_tokens, n_vectors, share, class_rank from cosine_classes") == [
        (1.0, 3, 2, 3 / 8, 1),
        (0.0, 2, 2, 2 / 8, 2),
        (0.70703125, 1, 1, 1 / 8, 3),
    ]


def test_modes_and_degeneracy_are_counted_from_classes(known: Path) -> None:
    assert of_m(known, "from mode_classes") == [
        ("m", "r", "dot", 0.0, 3, 3 / 8, 3),
        ("m", "r", "cosine", 1.0, 3, 3 / 8, 3),
    ]
    assert of_m(known, "from degeneracy") == [
        ("m", "r", "dot", 3, 2, 6),
        ("m", "r", "dot", 1, 1, 1),
        ("m", "r", "cosine", 3, 1, 3),
        ("m", "r", "cosine", 2, 1, 2),
        ("m", "r", "cosine", 1, 1, 1),
    ]


def test_every_kind_of_cluster_has_a_name_a_definition_and_a_size(known: Path) -> None:
    found = in_shell(known, "set variable model = 'm'; from clusters order by cluster;")
    assert [tuple(cluster.values())[1:] for cluster in found] == [
        ("component:0", "component", "chained by distances < 0.5", 2, 1),
        ("component:4", "component", "chained by distances < 0.5", 2, 2),
        ("duplicate:0", "duplicate", "rows equal to row 0", 2, 1),
        ("even", "recipe", "token_id % 2 = 0", 4, 3),
        ("largest-component", "largest-component", "chained by distances < 0.5", 2, 1),
        ("r:cosine-mode", "cosine-mode", "cosine_bf16 = 1.0, the most frequent, from r", 3, 2),
        ("r:dot-mode", "dot-mode", "dot_bf16 = 0.0, the most frequent, from r", 3, 3),
        ("r:dot-self", "dot-self", "dot_bf16 = 1.0, as r has with itself", 3, 2),
    ]


def test_members_have_their_clusters_kind(known: Path) -> None:
    kinds = "select distinct cluster, kind from cluster_members order by cluster"
    assert of_m(known, kinds) == of_m(known, "select cluster, kind from clusters order by cluster")
    types = [(name, type_) for name, type_, *_ in rows(known, "describe cluster_members")]
    assert types == [("model", "VARCHAR"), ("cluster", "VARCHAR"), ("token_id", "INTEGER"), ("kind", "VARCHAR")]


def test_recipes_and_views_have_one_grammar_of_names_and_kinds(known: Path) -> None:
    """What SQL names, a recipe's centroid takes, and finds the reference in; and there is no other kind."""
    found = dict(of_m(known, "select cluster, kind from clusters"))
    assert set(found.values()) == {*CLASSES, LARGEST, *NUMBERED, "recipe"}
    for name, kind in found.items():
        above, asked = Reference("r", "token", 0), Reference("asked", "centroid", name)
        check_order([above, asked], {name for name, kind in found.items() if kind == "recipe"})
        assert asked.builds_on == ("r" if kind in CLASSES else None)
    with connected(known) as connection:
        for kind in (*CLASSES, *NUMBERED):
            named = connection.execute("select name_of_cluster($1, '7')", [kind]).fetchall()
            assert named == [(f"7:{kind}" if kind in CLASSES else f"{kind}:7",)]


def test_a_clusters_members_come_with_text_and_features(known: Path) -> None:
    expected = {
        "component:4": [4, 5],
        "duplicate:0": [0, 1],
        "even": [0, 2, 4, 6],
        "largest-component": [0, 1],
        "r:cosine-mode": [0, 1, 3],
        "r:dot-mode": [4, 5, 7],
        "r:dot-self": [0, 1, 2],
    }
    for cluster, tokens in expected.items():
        found = in_shell(known, f"set variable model = 'm'; from members('{cluster}');")
        assert [row["token_id"] for row in found] == tokens, cluster
        assert {row["cluster"] for row in found} == {cluster}
    (_, second) = in_shell(known, "set variable model = 'm'; from members('component:4');")
    assert second["norm"] == pytest.approx(3.1, rel=1e-6)
    assert (second["component"], second["nn_token_id"], second["kind"], second["text"]) == (4, 4, "missing", None)


def test_an_overlap_tells_every_token_and_the_view_counts_them(known: Path) -> None:
    sides = of_m(known, "select token_id, side from overlap('even', 'r:dot-self')")
    assert sides == [(0, "both"), (1, "second only"), (2, "both"), (4, "first only"), (6, "first only")]
    query = "from cluster_overlaps where cluster_a = 'even' and cluster_b = 'r:dot-self'"
    assert of_m(known, query) == [("m", "even", "r:dot-self", 4, 3, 2, 2, 1, 0.5, 2 / 3, 2 / 5)]


def test_overlaps_are_of_every_ordered_pair_with_a_token_in_common(known: Path) -> None:
    members: dict[str, set[int]] = {}
    for cluster, token in of_m(known, "select cluster, token_id from cluster_members"):
        members.setdefault(cluster, set()).add(token)
    expected = sorted(
        (a, b, len(x), len(y), len(x & y), len(x - y), len(y - x), len(x & y) / len(x | y))
        for a, x in members.items()
        for b, y in members.items()
        if a != b and x & y
    )
    columns = "cluster_a, cluster_b, n_a, n_b, n_both, n_only_a, n_only_b, jaccard"
    assert of_m(known, f"select {columns} from cluster_overlaps order by all") == expected


def test_a_centroid_is_the_mean_of_the_finite_rows(known: Path) -> None:
    """Of `even`, tokens 0, 2, 4 and 6, the last isn't finite: (1 + 1 + 0) / 3 and (0 + 1 + 3) / 3."""
    third = torch.tensor([2 / 3, 4 / 3, 0]).tolist()
    assert of_m(known, "select centroid_of('even'), typeof(centroid_of('even'))") == [(third, "FLOAT[]")]
    pointed = of_m(known, "select dot_bf16 from point_at(centroid_of('duplicate:0')) where token_id = 3")
    assert pointed == [(2.0,)]
    every = of_m(known, "select cluster, len(centroid_of(cluster)) from clusters")
    assert {length for _, length in every} == {3}


def test_the_mean_of_listed_tokens_is_that_of_their_finite_rows_each_once(known: Path) -> None:
    """Tokens 0 and 1 have equal rows, 6 isn't finite: as `even`, with 1 beside 0."""
    assert of_m(known, "select mean_of([0, 2, 4, 6, 4]), typeof(mean_of([0]))") == [
        (torch.tensor([2 / 3, 4 / 3, 0]).tolist(), "FLOAT[]")
    ]
    listed = "(select list(token_id) from cluster_members where cluster = '{}')"
    for cluster in ("even", "duplicate:0", "r:dot-self", "r:cosine-mode"):
        asked = f"select mean_of({listed.format(cluster)}), centroid_of('{cluster}')"
        ((mean, centroid),) = of_m(known, asked)
        assert mean == centroid
    assert of_m(known, "with t as (select [0, 1] as ids) select dot from point_at((select mean_of(ids) from t))")


def test_tokens_without_a_finite_row_or_of_several_models_have_no_mean(known: Path, tmp_path: Path) -> None:
    for ids in ("[6]", "[99]", "[]", "null", "[null]"):
        done = shell_run(known, f"set variable model = 'm'; select mean_of({ids});")
        assert "mean_of: none of the tokens has a finite row in vectors" in done.stderr, ids
    assert "mean_of: several models in view have such tokens" in shell_run(known, "select mean_of([0]);").stderr
    ingest_bare(tmp_path / "c", torch.eye(4)[:3], with_vectors=False, asked=LinkageDistances(2, 2))
    assert "a model ingested with --no-vectors has none" in shell_run(tmp_path / "c", "select mean_of([0]);").stderr


def test_a_name_that_no_model_has_is_an_error_and_not_an_empty_cluster(known: Path) -> None:
    for query in (
        "from members('evn');",
        "from overlap('even', 'evn');",
        "from overlap('evn', 'even');",
        "select centroid_of('evn');",
        "from point_at(centroid_of('evn'));",
        "set variable model = 'other'; from members('evn');",
    ):
        done = shell_run(known, query)
        assert "has a cluster 'evn' with a token in it; `from clusters` lists them" in done.stderr
    assert "a cluster NULL" in shell_run(known, "from members(NULL);").stderr
    misspelt = "set variable model = 'n'; from members('even');"
    assert "no model in view (the variable model is n) has a cluster 'even'" in shell_run(known, misspelt).stderr


def test_clusters_of_different_models_have_no_overlap_to_show(known: Path) -> None:
    """`even` is m's alone, component:1 of nobody, and `other` has component:0, too."""
    assert {model for (model,) in rows(known, "select model from overlap('component:0', 'largest-component')")} == {
        "m",
        "other",
    }
    assert {model for (model,) in rows(known, "select model from overlap('even', 'largest-component')")} == {"m"}
    done = shell_run(known, "set variable model = 'other'; from overlap('mean:dot-mode', 'component:0');")
    assert not done.stderr.partition("Error")[1]
    done = shell_run(known, "from overlap('even', 'mean:dot-mode');")
    assert "no model in view has both clusters; `from clusters` lists them" in done.stderr


def test_without_vectors_there_is_no_centroid(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", torch.eye(4)[:3], with_vectors=False, asked=LinkageDistances(2, 2))
    done = shell_run(tmp_path / "c", "select centroid_of('largest-component');")
    assert "centroid_of: the cluster has no finite row in vectors" in done.stderr


def test_clusters_of_one_name_in_several_models_are_shown_side_by_side_but_have_no_common_centroid(known: Path) -> None:
    assert rows(known, "select model, token_id from members('largest-component')") == [
        ("m", 0), ("m", 1), ("other", 0), ("other", 1), ("other", 2),
    ]  # fmt: skip
    done = shell_run(known, "select centroid_of('largest-component');")
    assert "several models in view have a cluster of that name; set variable model = 'NAME'" in done.stderr
    assert rows(known, "select len(centroid_of('even'))") == [(3,)]  # only one model has it


def test_disagreements_are_counted_and_none_is_a_row_of_0(minilm: Path, known: Path) -> None:
    assert of_m(known, "from rounding_disagreements") == [("m", "r", "dot", 0), ("m", "r", "cosine", 0)]
    for reference, metric, n in rows(minilm, "select reference, metric, n_tokens from rounding_disagreements"):
        counted = rows(
            minilm,
            f"select count(*) from scores where reference = '{reference}' and {metric}_native <> {metric}_bf16",
        )
        assert counted == [(n,)]


def test_every_view_of_clusters_honours_the_variable_model(known: Path) -> None:
    for relation in (
        "reference_vectors", "scores", "dot_classes", "cosine_classes", "mode_classes", "degeneracy",
        "rounding_disagreements", "cluster_members", "clusters", "cluster_overlaps",
    ):  # fmt: skip
        assert rows(known, f"select distinct model from {relation} order by model") == [("m",), ("other",)], relation
        assert rows(known, f"select distinct model from {relation}", "other") == [("other",)], relation
    assert rows(known, "select distinct model from recipe_clusters") == [("m",)]
    assert rows(known, "from recipe_clusters", "other") == []


def test_minilms_unused_tokens_are_one_cluster_of_the_demos_recipe(minilm: Path) -> None:
    sizes = dict(rows(minilm, "select cluster, n_tokens from clusters where kind in ('recipe', 'largest-component')"))
    assert sizes == {"unused": 994, "largest-component": 1737}
    assert rows(minilm, "select count(*) from overlap('unused', 'largest-component') where side = 'both'") == [(993,)]
    alone = rows(minilm, "select text from overlap('unused', 'largest-component') where side = 'first only'")
    assert len(alone) == 1
    assert {kind for (kind,) in rows(minilm, "select kind from members('unused')", MINILM)} == {"unused"}
