"""Results between installations: `results ls` and `results import`, and what `export` needs for it.

Exposes `mount(app)`. None of it loads torch or asks a model.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from rosetta_ui.commands.results import CacheDir, cache
from rosetta_ui.engine.answers import Answers
from rosetta_ui.engine.carrying import MOST_BYTES, Carrying, take
from rosetta_ui.engine.grouping import Grouping
from rosetta_ui.engine.views import Views
from rosetta_ui.engine.workbench import BUNDLED, FIRST, Workbench
from rosetta_ui.errors import StoreError
from rosetta_ui.settings import Settings
from rosetta_ui.store.files import said_plainly
from rosetta_ui.store.shelf import ResultShelf

results_app = typer.Typer(
    help="List results, or bring one in from another installation.", no_args_is_help=True
)


def mount(app: typer.Typer) -> None:
    """Add the commands to an app."""
    app.add_typer(results_app, name="results")


@results_app.command("ls")
def list_results(cache_dir: CacheDir = None) -> None:
    """List every result: those that come with the project first, then newest first."""
    with cache(cache_dir) as (store, _):
        for info in ResultShelf(store, BUNDLED, first=FIRST).list():
            when = time.strftime("%Y-%m-%d", time.localtime(info.created))
            note = " (imported: no tables)" if info.fixed else ""
            typer.echo(
                f"{info.result}  {when}  {info.request.n_images:>6,} images  {info.title}{note}"
            )


@results_app.command("import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="A .json or .zip that was exported."),
    ],
    cache_dir: CacheDir = None,
) -> None:
    """Open a dictionary (.json) or a bundle (.zip) of another installation as a result here."""
    with said_plainly(file, "read"):
        size = file.stat().st_size
        data = b"" if size > MOST_BYTES else file.read_bytes()
    if size > MOST_BYTES:
        raise StoreError(
            f"'{file}' has {size:,} bytes; at most {MOST_BYTES:,} are taken.",
            "Copy the result's folder instead, and give its path.",
        )
    with cache(cache_dir) as (store, _):
        came = take(store, data)
        # Whoever brings a file in wants to find it again, as with `import-published`.
        store.keep(came.result, saved=True)
        title = ResultShelf(store).info(came.result).title
    chosen = came.selection
    typer.echo(f"{title} (rule {chosen.rule}, K {chosen.k}, score {chosen.score})")
    if came.note:
        typer.echo(came.note)
    if names := len(came.names.neurons) + len(came.names.concepts):
        typer.echo(
            f"It has {names} favourites and names, which belong to a browser: read them in the "
            "Gallery (Export, Read names from a JSON)."
        )
    typer.echo(f"Result {came.result}")


@contextmanager
def carrying(result: str, cache_dir: Path | None) -> Generator[tuple[Carrying, str]]:
    """What makes dictionaries and bundles, and the result as it knows it.

    Args:
        result: folder or id.
        cache_dir: the cache folder; None takes the usual one.
    """
    bench = Workbench.open(Settings.read({"cache_dir": cache_dir}))
    try:
        answers, views = Answers(bench.shelf), Views(bench, "", lambda: False)
        grouping = Grouping(bench, "", answers, views, lambda: False)
        path = Path(result)
        named = str(path.resolve()) if path.is_dir() else result
        yield Carrying(bench.store, bench.shelf, answers, grouping), named
    finally:
        bench.close()
