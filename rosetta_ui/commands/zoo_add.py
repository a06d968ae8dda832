"""`python -m rosetta_ui zoo add NAME FILE`: use a model file of one's own.

Exposes `mount(app)`, for the app of the `zoo` commands.
"""

from __future__ import annotations

from typing import Annotated

import typer

from rosetta_ui.commands.zoo import CacheDir, Models, ProgressLine, open_zoo
from rosetta_ui.models.adding import add_model
from rosetta_ui.types import AddRequest


def mount(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command("add")(add)


def add(
    name: Annotated[
        str,
        typer.Argument(help="A published name, a name of timm's, or a new one.", metavar="NAME"),
    ],
    file: Annotated[
        str,
        typer.Argument(
            help="Path or http(s) address of .pkl, .pt, .bin, .pth or .safetensors.",
            metavar="FILE",
        ),
    ],
    config: Annotated[
        str,
        typer.Option("--config", help="BigGAN's config.json; by default the one beside the file."),
    ] = "",
    backbone: Annotated[
        str,
        typer.Option("--backbone", help="The file is a backbone of this timm architecture."),
    ] = "",
    sha256: Annotated[str, typer.Option("--sha256", help="Expected digest of the file.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the model added under this name before.")
    ] = False,
    cache_dir: CacheDir = None,
    models: Models = None,
) -> None:
    """Add a model from a file: read without running it, converted once, kept with its card."""
    registry, store = open_zoo(cache_dir, models)
    request = AddRequest(name, file, config, backbone, sha256, replace)
    line = ProgressLine()
    try:
        card = add_model(store, registry, request, line.show)
    finally:
        line.end()
    height, width = card.image_size
    typer.echo(f"{card.name}  ready  {store.where(card)}")
    typer.echo(f"{card.title}: {card.role}, {width} × {height} px, {card.units:,} units")
    typer.echo(f"licence: {card.licence}\nterms:   {card.terms}")
