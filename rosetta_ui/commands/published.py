"""`import-published` and `export-published`: result folders of the published code, in and out.

Exposes `mount(app)`. Reading such a folder runs nothing that is in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rosetta_ui.commands.results import CacheDir, Result, cache, opened
from rosetta_ui.commands.zoo import Models, open_zoo
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.weights import folder_name
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.keys import digest
from rosetta_ui.store.published_export import NAMES, export_published
from rosetta_ui.types import SCORES, MatchRequest

Score = Annotated[str, typer.Option(help=f"{', '.join(SCORES)}.", show_default="the match's")]


def mount(app: typer.Typer) -> None:
    """Add the commands to an app."""
    app.command("import-published")(import_folder)
    app.command("export-published")(export_folder)


def import_folder(
    folder: Annotated[Path, typer.Argument(help=f"Folder with {', '.join(NAMES)}.")],
    generator: Annotated[str, typer.Option(help="Name of its generator; any name will do.")],
    backbone: Annotated[str, typer.Option(help="Name of its backbone; any name will do.")],
    out: Annotated[
        Path | None, typer.Option(help="Result folder to make.", show_default="into the cache")
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="How many were matched, if you know.", show_default=False)
    ] = None,
    class_index: Annotated[
        int | None, typer.Option("--class", help="The class, if there was one.", show_default=False)
    ] = None,
    cache_dir: CacheDir = None,
    models: Models = None,
) -> None:
    """Open a result folder of the published code as a result: rosetta, report and unit read it."""
    from rosetta_ui.matching.published_results import import_published  # needs torch

    if images is not None and images < 1:
        raise BadRequestError(f"The number of images is {images}.", "Give 1 or more.")
    registry, weights = open_zoo(cache_dir, models)
    request = MatchRequest(generator, (backbone,), images or 0, class_index=class_index)
    if out is not None:
        _tell(import_published(folder, out, request, registry, weights), str(out))
        return
    with cache(cache_dir) as (store, _):
        made = import_published(folder, store.new_folder(), request, registry, weights)
        key = digest("published-folder", {"request": made.request, **made.record.run.inputs})
        store.commit_folder(key, made.path)
        store.keep(key, saved=True)
        _tell(made, key)


def _tell(made: ResultFolder, result: str) -> None:
    for model in made.record.models:
        typer.echo(f"{model.name}: {len(model.index):,} units in {len(model.layers)} layers")
    for note in made.record.run.notes:
        typer.echo(note)
    typer.echo(f"Result {result}")


def export_folder(
    result: Result,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    backbone: Annotated[
        str, typer.Option(help="Which table.", show_default="all, a folder each")
    ] = "",
    score: Score = "",
    cache_dir: CacheDir = None,
) -> None:
    """Write a result as the three files that the published notebooks open."""
    with opened(result, cache_dir) as folder:
        chosen = score or folder.request.score
        if chosen not in SCORES:
            raise BadRequestError(f"There is no score '{chosen}'.", f"Give {', '.join(SCORES)}.")
        names = [backbone] if backbone else folder.backbones
        for name in names:
            place = out if len(names) == 1 else out / folder_name(name)
            export_published(folder, name, place, chosen)
            typer.echo(f"{folder.anchor} × {name}, {chosen}: {', '.join(NAMES)} in {place}")
