"""The command line: parse, call the library, print. Torch loads only with the commands that compute."""

import os
import sys
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from token_catalog.api import open as open_catalog
from token_catalog.catalog.paths import default_catalog
from token_catalog.exits import DEBUG_VARIABLE, EXIT_BAD_INPUT, EXIT_FIGURE_FAILS, run
from token_catalog.flags import as_flags
from token_catalog.reports import batch_bar, print_batch, print_profile

if TYPE_CHECKING:
    from token_catalog.ingest.report import Report

app = typer.Typer(
    name="token-catalog",
    help="A catalog of language models' token embeddings: ingest a model once, then ask in SQL.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CatalogOption = Annotated[
    Path,
    typer.Option(
        "--catalog",
        default_factory=default_catalog,
        show_default="$TOKEN_CATALOG, else ./token-catalog",
        help="The catalog's folder.",
    ),
]
RadiusOption = Annotated[
    float | None,
    typer.Option(help="Link tokens up to this distance; components_at answers to there.", show_default="from the data"),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(help="Tell features.component at this distance, at most the radius.", show_default="from the data"),
]
DeviceOption = Annotated[
    str, typer.Option(help="auto, cuda, mps or cpu: where to compute (MPS has no fp64, so the CPU does it there).")
]
SeriesOption = Annotated[
    str | None, typer.Option(help="Narrow every view but models to this series.", show_default=False)
]
ProfileOption = Annotated[bool, typer.Option("--profile", help="Print seconds per stage and peak memory to stderr.")]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


@app.command()
def ingest(
    catalog: CatalogOption,
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Hugging Face ids, folders with a model, or files with a matrix.", metavar="SOURCE..."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in the catalog.", show_default="from SOURCE")
    ] = None,
    matrix: Annotated[
        str | None,
        typer.Option(help="input, output or both: which matrix of an untied model.", show_default="all stored apart"),
    ] = None,
    tensor: Annotated[str | None, typer.Option(help="The tensor to take, by its name in the file.")] = None,
    stored_as: Annotated[
        str | None,
        typer.Option("--as", help="bf16: the tensor is stored as U16, the bit patterns of bf16.", show_default=False),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="A folder with a tokenizer, or a Hugging Face id.", show_default="SOURCE's own")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hugging Face id.")] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="A recipe (TOML): sky, linkage, references, clusters, frames; or the name of one that ships.",
            show_default="the one for this model, else references mean and largest-component",
        ),
    ] = None,
    radius: RadiusOption = None,
    threshold: ThresholdOption = None,
    device: DeviceOption = "auto",
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a model of that name.")] = False,
    no_vectors: Annotated[
        bool,
        typer.Option(
            "--no-vectors",
            help="Leave out the vectors, and so nearest, point_at, same_dot_as, relink and add-references.",
        ),
    ] = False,
    no_tokenizer: Annotated[bool, typer.Option("--no-tokenizer", help="Catalogue W without any text.")] = False,
    list_file: Annotated[
        Path | None,
        typer.Option("--list", help="A list (CSV, TOML or JSON lines): source, name, recipe, series, step, role …"),
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="The run that the sources are steps of.", show_default="their folder's name")
    ] = None,
    step_from: Annotated[
        str | None,
        typer.Option(help=r"A regular expression whose group is the step in a source's name: 'step_(\d+)'."),
    ] = None,
    steps: Annotated[
        bool, typer.Option("--steps", help="The tensor is (steps, tokens, dimensions): catalogue each step.")
    ] = False,
    role: Annotated[
        str | None,
        typer.Option(help="What the sources are in their series: m, v, grad, …", show_default="the weights"),
    ] = None,
    frame_of: Annotated[
        int | None,
        typer.Option(help="The step whose sky, radius and threshold are the series'.", show_default="the last"),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Workers beside each other; threads and memory are shared out.")] = 1,
    profile: ProfileOption = False,
) -> None:
    """Catalogue a model, or many: features, tokens and vectors of every row of W.

    \b
    token-catalog ingest Qwen/Qwen3-4B-Instruct-2507
    token-catalog ingest ./my-model --name mine --matrix output
    token-catalog ingest tensors/M/W.safetensors --tokenizer ./my-model
    token-catalog ingest runs/mine --step-from 'step_(\\d+)' --series mine --jobs 2
    """
    options = {
        "name": name,
        "matrix": matrix,
        "tensor": tensor,
        "stored_as": stored_as,
        "revision": revision,
        "tokenizer": tokenizer,
        "recipe": recipe,
        "radius": radius,
        "threshold": threshold,
        "device": device,
        "replace": replace,
        "with_vectors": not no_vectors,
        "with_tokenizer": not no_tokenizer,
    }
    of_batch = (list_file, series, step_from, role, frame_of)
    single = sources and len(sources) == 1 and (not has_magic(sources[0]) or Path(sources[0]).expanduser().exists())
    if sources and single and of_batch == (None,) * 5 and not steps and jobs == 1:
        report = open_catalog(catalog).ingest(sources[0], **options)  # type: ignore[arg-type]
        _print_report(report, catalog, profile=profile)
        return
    with batch_bar() as progress:
        batch = open_catalog(catalog).ingest_many(
            sources or (),
            list_file=list_file,
            series=series,
            step_from=step_from,
            steps=steps,
            role=role,
            frame_of=frame_of,
            jobs=jobs,
            progress=progress,
            **options,  # type: ignore[arg-type]
        )
    if not print_batch(batch, catalog, app, profile=profile):
        raise typer.Exit(EXIT_BAD_INPUT)


@app.command()
def demo(catalog: CatalogOption, device: DeviceOption = "auto", profile: ProfileOption = False) -> None:
    """Ingest a real model (all-MiniLM-L6-v2, installed by `make demo`) and show some answers.

    \b
    token-catalog demo
    """
    from token_catalog.queries.demo import show_demo

    report = open_catalog(catalog).ingest_demo(device=device)
    _print_report(report, catalog, profile=profile)
    show_demo(catalog, report.models[0])


@app.command()
def relink(
    catalog: CatalogOption,
    model: Annotated[str, typer.Argument(help="A model, or a name with several.")],
    radius: Annotated[
        float | None,
        typer.Option(help="Link tokens up to this distance.", show_default="as it is; with neither, from the data"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Tell features.component at this distance.", show_default="as it is; with neither, from the data"
        ),
    ] = None,
    device: DeviceOption = "auto",
    profile: ProfileOption = False,
) -> None:
    """Link a model's tokens anew, further or less far; with neither option, as its data suggest.

    \b
    token-catalog relink all-MiniLM-L6-v2 --radius 0.4
    """
    report = open_catalog(catalog)[model].relink(radius=radius, threshold=threshold, device=device)
    _print_report(report, catalog, profile=profile, verb="relinked")


@app.command()
def add_references(
    catalog: CatalogOption,
    model: Annotated[str, typer.Argument(help="A model, or a name with several.")],
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML) with [[reference]]s, [[cluster]]s and [[frame]]s.")],
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of those of the same names.")] = False,
    device: DeviceOption = "auto",
    profile: ProfileOption = False,
) -> None:
    """Score a model's tokens against further references, and add clusters and frames, without redoing the rest.

    \b
    token-catalog add-references all-MiniLM-L6-v2 more.toml
    """
    report = open_catalog(catalog)[model].add_references(recipe, replace=replace, device=device)
    _print_report(report, catalog, profile=profile, verb="added to")


@app.command()
def spectrum(
    catalog: CatalogOption,
    model: Annotated[str, typer.Argument(help="A model, or a name with several.")],
    cluster: Annotated[str, typer.Option(help="A cluster; `from clusters` lists them.")],
    weighting: Annotated[
        str, typer.Option(help="tokens: each counts once; vectors: equal rows count once.")
    ] = "tokens",
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a spectrum that is there.")] = False,
    device: DeviceOption = "auto",
    profile: ProfileOption = False,
) -> None:
    """Store a cluster's spectrum (eigenvalues and directions of its own rows), and its sky, the frame spectrum:CLUSTER.

    \b
    token-catalog spectrum all-MiniLM-L6-v2 --cluster unused
    """
    report = open_catalog(catalog)[model].spectrum(cluster, weighting=weighting, replace=replace, device=device)
    _print_report(report, catalog, profile=profile, verb="added to")


@app.command()
def compare(
    catalog: CatalogOption,
    model_a: Annotated[str, typer.Argument(help="A model.")],
    model_b: Annotated[str, typer.Argument(help="Another.")],
    align: Annotated[
        bool,
        typer.Option("--align", help="Turn MODEL_A onto MODEL_B first, and store what is left between their rows."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the rows to this file, .parquet or .csv.")
    ] = None,
    device: DeviceOption = "auto",
    profile: ProfileOption = False,
) -> None:
    """Put two models side by side: tokens matched by their bytes, and how far their rows are apart.

    \b
    token-catalog compare base instruct
    token-catalog compare base instruct --align -o compared.parquet
    """
    from token_catalog.queries.side_by_side import check_suffix, summary, write_rows

    if output is not None:
        check_suffix(output)
    model = open_catalog(catalog)[model_a]
    if align:
        _print_report(model.align(model_b, device=device), catalog, profile=profile, verb="added to")
    rows = model.compare(model_b)
    for words, figure in summary(rows).items():
        typer.echo(f"{words:24}{figure:>12}")
    if output is not None:
        write_rows(rows, output)
        typer.echo(f"wrote {output}")


@app.command()
def models(catalog: CatalogOption) -> None:
    """List what the catalog has.

    \b
    token-catalog models
    """
    from token_catalog.queries.session import run_query

    run_query(
        catalog,
        "select model, matrix, dtype, n_tokens, n_dims, n_vocab, linkage_radius as radius, "
        "linkage_threshold as threshold, source, ingested_at::timestamp_s as ingested_at "
        "from models order by model",
    )


@app.command()
def remove(
    catalog: CatalogOption, model: Annotated[str, typer.Argument(help="A model, or a name with several.")]
) -> None:
    """Take a model out of the catalog and delete its files.

    \b
    token-catalog remove all-MiniLM-L6-v2
    """
    for gone in open_catalog(catalog)[model].remove():
        typer.echo(f"removed {gone}")


@app.command()
def rebuild(catalog: CatalogOption) -> None:
    """Make catalog.duckdb anew from the Parquet files (after moving the folder, say), and clear what nothing names.

    \b
    token-catalog rebuild --catalog ./token-catalog
    """
    rebuilt = open_catalog(catalog).rebuild()
    for model in rebuilt.adopted:
        typer.echo(f"adopted {model}: its files were there, the database didn't name them")
    for model in rebuilt.gone:
        typer.echo(f"left out {model}: its files are gone", err=True)
    typer.echo(f"rebuilt {catalog}; models: {len(rebuilt.models)}; folders cleared: {rebuilt.n_cleared}")


@app.command()
def shell(
    catalog: CatalogOption,
    model: Annotated[str | None, typer.Argument(help="Narrow every view but models to this model, or name.")] = None,
    series: SeriesOption = None,
) -> None:
    """Open the DuckDB shell on the catalog, on a copy, so that nobody is locked out; `from help` says what there is.

    \b
    token-catalog shell
    token-catalog shell all-MiniLM-L6-v2
    """
    from token_catalog.queries.session import open_shell

    raise typer.Exit(open_shell(catalog, model, series))


@app.command()
def sql(
    catalog: CatalogOption,
    query: Annotated[str, typer.Argument(help="SQL; several statements are run in turn, the last one's rows written.")],
    format_: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file instead of stdout.")] = None,
    model: Annotated[str | None, typer.Option(help="Narrow every view but models to this model, or name.")] = None,
    series: SeriesOption = None,
) -> None:
    """Run SQL on the catalog.

    \b
    token-catalog sql "from help where kind = 'table'"
    token-catalog sql "from features" --format parquet -o features.parquet
    """
    from token_catalog.queries.session import run_query

    run_query(catalog, query, format_=format_, output=output, model=model, series=series)


@app.command()
def verify(
    catalog: CatalogOption,
    model: Annotated[str, typer.Argument(help="A model.")],
    figures: Annotated[
        Path | None,
        typer.Option(
            help="A table of published figures (CSV: figure, published, class, and query where it is none that "
            "ships); or the name of one that ships.",
            show_default="the one that ships for this model",
        ),
    ] = None,
) -> None:
    """Compare a model's published figures with what its catalog finds; exit 1 where one fails.

    \b
    token-catalog verify Qwen3-4B-Instruct-2507
    token-catalog verify all-MiniLM-L6-v2 --figures mine.csv
    """
    from token_catalog.queries.verify import print_comparison

    if not print_comparison(catalog, model, figures):
        raise typer.Exit(EXIT_FIGURE_FAILS)


@app.command()
def export(
    catalog: CatalogOption,
    model: Annotated[str, typer.Argument(help="A model.")],
    to: Annotated[
        str,
        typer.Option(
            help="tensors: the notebooks' own safetensors files; parquet: one flat file, a row per token, with the "
            "scores of every reference."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The folder of tensors, or the Parquet file.",
            show_default="tensors/MODEL, or MODEL.parquet",
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over files that are there.")] = False,
) -> None:
    """Write a model to files that other tools read. Any view or query goes out with `sql --format parquet`.

    \b
    token-catalog export Qwen3-4B-Instruct-2507 --to tensors
    token-catalog export all-MiniLM-L6-v2 --to parquet -o minilm.parquet
    """
    for path in open_catalog(catalog)[model].export(to, output, replace=replace):
        typer.echo(f"wrote {path}")


def main() -> None:
    """Run the command line, and leave with its exit code."""
    run(app)


def _print_report(report: "Report", catalog: Path, *, profile: bool, verb: str = "catalogued") -> None:
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if profile:
        print_profile(report)
    for note in report.notes:
        typer.echo(as_flags(note, app))
    for model in report.models:
        typer.echo(f"{verb} {model} in {catalog}")
