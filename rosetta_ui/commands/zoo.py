"""`python -m rosetta_ui zoo …`: the models there are, and their weights on this machine.

Exposes `app`. Lists and paths import no torch; fetching does, once it converts.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from rosetta_ui.errors import WeightsCorruptError, WeightsUnavailableError
from rosetta_ui.models.disk import megabytes
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.settings import Settings
from rosetta_ui.types import ModelCard, ModelStatus

app = typer.Typer(help="List, fetch and check the models' weights.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(help="Names of models.", show_default=False)]
CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", help="Where weights are kept.", show_default=False)
]
Models = Annotated[
    str | None,
    typer.Option("--models", help="A Python file that registers models.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_HEAD = ("name", "role", "state", "size", "units", "licence")


def open_zoo(cache_dir: Path | None, models: str | None = None) -> tuple[Registry, WeightStore]:
    """The models and the store that the options name."""
    settings = Settings.read({"cache_dir": cache_dir, "models_file": models})
    store = WeightStore(settings.cache_dir)
    return build_registry(store.added, settings.models_file), store


@app.command("list")
def list_models(cache_dir: CacheDir = None, models: Models = None, as_json: AsJson = False) -> None:
    """List every model: role, state, size, units, licence."""
    registry, store = open_zoo(cache_dir, models)
    states = [store.state(card) for card in registry.cards()]
    if as_json:
        typer.echo(json.dumps([_json(status, store) for status in states], indent=1))
        return
    rows = [_HEAD, *(_row(status, store) for status in states)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    if missing := [s for s in states if s.state == "fetch"]:
        total = sum(s.card.source.size for s in missing if s.card.source)
        typer.echo(
            f"\n{len(missing)} to fetch ({megabytes(total)}): python -m rosetta_ui zoo fetch"
        )


@app.command()
def fetch(
    names: Names = None,
    cache_dir: CacheDir = None,
    models: Models = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Convert anew even what is whole.")
    ] = False,
) -> None:
    """Fetch and convert weights: of the models named, else of every embedded one."""
    registry, store = open_zoo(cache_dir, models)
    cards = _chosen(registry, names) or [c for c in registry.cards() if c.embedded]
    line = ProgressLine()
    try:
        store.ensure_all(cards, line.show, rebuild=rebuild)
    finally:
        line.end()
    for card in cards:
        status = store.state(card)
        place = store.where(card) if status.state == "ready" else status.detail
        typer.echo(f"{card.name}  {status.state}  {place}")


@app.command()
def verify(names: Names = None, cache_dir: CacheDir = None, models: Models = None) -> None:
    """Compute every digest anew: of the models named, else of every one whose weights are here."""
    registry, store = open_zoo(cache_dir, models)
    cards = _chosen(registry, names)
    if not cards:
        ready = [c for c in registry.cards() if store.state(c).state == "ready"]
        cards = [c for c in ready if c.source is not None]
    bad = 0
    for card in cards:
        try:
            store.verify(card)
        except (WeightsCorruptError, WeightsUnavailableError) as error:
            bad += 1
            typer.echo(f"{card.name}  bad  {error.sentence}")
        else:
            typer.echo(f"{card.name}  good  sha256 {store.digest(card)}")
    if not cards:
        typer.echo("No weights are here. Fetch them: python -m rosetta_ui zoo fetch")
    if bad:
        raise typer.Exit(1)


@app.command()
def where(names: Names = None, cache_dir: CacheDir = None, models: Models = None) -> None:
    """Print the paths of the models named, else the folders and the paths of every one."""
    registry, store = open_zoo(cache_dir, models)
    cards = _chosen(registry, names)
    if not cards:
        typer.echo(
            f"cache      {store.root}\ndownloads  {store.downloads}\nadded      {store.added}"
        )
    for card in cards or [c for c in registry.cards() if c.source is not None]:
        path = store.where(card)
        typer.echo(f"{card.name}  {path}" if path.is_file() else f"{card.name}  {path}  (not here)")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a model.")],
    cache_dir: CacheDir = None,
    models: Models = None,
) -> None:
    """Print a model's card, and its layers where the weights are here."""
    registry, store = open_zoo(cache_dir, models)
    card = registry.card(name)
    status = store.state(card)
    for label, value in card_lines(card):
        typer.echo(textwrap.fill(f"{label:<13}{value}", 96, subsequent_indent=" " * 13))
    typer.echo(f"{'state':<13}{status.state} {status.detail}".rstrip())
    if status.command:
        typer.echo(f"{'command':<13}{status.command}")
    if status.state == "ready":
        from rosetta_ui.models.loading import load_model

        for spec in load_model(registry, name, store).layers:
            size = f"{spec.size[0]}×{spec.size[1]}"
            typer.echo(f"{'layer':<13}{spec.name}  {spec.channels} units at {size}")


def card_lines(card: ModelCard) -> list[tuple[str, str]]:
    """A card's facts as (label, text), in the order in which a person reads them."""
    size = f"{card.image_size[1]} × {card.image_size[0]} px"
    lines = [("name", f"{card.name} ({card.title})"), ("about", card.about)]
    if card.role == "generator":
        lines += [("images", f"{size}, nominally in [-1, 1]")]
        lines += [("latents", f"{card.latent_size} × {card.latent_distribution}, ψ {card.psi:g}")]
        lines += [("spaces", ", ".join(card.spaces))]
        lines += [("classes", str(card.n_classes))] if card.n_classes else []
    else:
        mean, std = (", ".join(f"{v:.4g}" for v in values) for values in (card.mean, card.std))
        lines += [("input", f"{size}, {card.interpolation}, mean {mean}, deviation {std}")]
    lines += [("units", str(card.units or "known once loaded"))]
    lines += [("licence", card.licence), ("terms", card.terms), ("paper", card.paper)]
    if (source := card.source) is not None:
        package = f"{source.package}=={source.version}" if source.package else source.filename
        lines += [("source", ", ".join(filter(None, (package, source.origin))))]
        lines += [("size", megabytes(source.size))] if source.size else []
        lines += [("sha256", source.sha256)] if source.sha256 else []
    return [(label, value) for label, value in lines if value]


class ProgressLine:
    """One line on standard error: redrawn on a terminal, else printed when its words change."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = ""

    def show(self, done: int, total: int, text: str) -> None:
        """Draw bytes done of bytes in all, and what happens now."""
        share = done / total if total else 0.0
        if self._terminal:
            bar = "█" * round(20 * share)
            line = f"{bar:░<20} {done / 1e6:6.1f} of {megabytes(total)}  {text}"
            width = shutil.get_terminal_size().columns - 1
            typer.echo(f"\r{line[:width]:<{width}}", err=True, nl=False)
        elif text != self._shown:
            typer.echo(f"{share:4.0%} of {megabytes(total)}  {text}", err=True)
        self._shown = text

    def end(self) -> None:
        """Leave the line."""
        if self._terminal and self._shown:
            typer.echo("", err=True)


def _chosen(registry: Registry, names: list[str] | None) -> list[ModelCard]:
    return [registry.card(name) for name in dict.fromkeys(names or [])]


def _size_of(status: ModelStatus, store: WeightStore) -> str:
    path = store.where(status.card)
    if status.card.source is None:
        return "-"
    if status.state == "ready" and path.is_file():
        return megabytes(path.stat().st_size)
    return megabytes(status.card.source.size) if status.card.source.size else "?"


def _row(status: ModelStatus, store: WeightStore) -> tuple[str, ...]:
    card = status.card
    units = f"{card.units:,}" if card.units else "?"
    return (card.name, card.role, status.state, _size_of(status, store), units, card.licence)


def _json(status: ModelStatus, store: WeightStore) -> dict[str, Any]:
    return {
        **status.card.to_json(),
        "state": status.state,
        "detail": status.detail,
        "command": status.command,
        "path": str(store.where(status.card)),
    }
