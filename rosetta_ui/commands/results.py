"""Commands that read results: rosetta, unit, report, export, bundle, cache. None loads torch.

Exposes `mount(app)`. A result is the path of a result folder, or an id that `cache ls` shows.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, cast

import typer

from rosetta_ui.commands.telling import headline, neuron_lines, report_lines
from rosetta_ui.engine.workbench import BUNDLED
from rosetta_ui.errors import BadRequestError, StoreError
from rosetta_ui.matching import answers
from rosetta_ui.settings import GIB, Settings
from rosetta_ui.store.dictionary import dictionary_json
from rosetta_ui.store.exchange import (
    Packing,
    export_json,
    neurons_csv,
    neurons_parquet,
    pack_dictionary,
)
from rosetta_ui.store.files import folder_bytes, write_bytes
from rosetta_ui.store.folder import RECORD, ResultFolder
from rosetta_ui.store.shelf import ResultShelf
from rosetta_ui.store.store import Store
from rosetta_ui.types import (
    RULES,
    SCORES,
    PersonNames,
    RosettaNeuron,
    RuleName,
    ScoreName,
    Selection,
    Unit,
)

MIB = 1 << 20
_NAME = re.compile(r"[\w-][\w.-]*")

Result = Annotated[str, typer.Argument(help="Result folder, or an id from cache ls.")]
K = Annotated[int, typer.Option(help="K of the rule.")]
Rule = Annotated[str, typer.Option(help=f"{', '.join(RULES)}.")]
Score = Annotated[str, typer.Option(help=f"{', '.join(SCORES)}.", show_default="the match's")]
Q = Annotated[float, typer.Option(help="Share of null matches that may pass the threshold.")]
Lowest = Annotated[float, typer.Option(help="Smallest score to keep.")]
AboveNull = Annotated[bool, typer.Option("--above-null", help="Only what beats the null.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", help="Where results are kept.", show_default=False)
]

cache_app = typer.Typer(help="List what the cache holds, or make room.", no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add the commands to an app."""
    app.command("rosetta")(rosetta)
    app.command("unit")(unit)
    app.command("report")(report)
    app.command("export")(export)
    app.command("bundle")(bundle)
    app.add_typer(cache_app, name="cache")


def rosetta(
    result: Result,
    k: K = 5,
    rule: Rule = "published",
    score: Score = "",
    q: Q = 0.05,
    lowest: Lowest = -1.0,
    above_null: AboveNull = False,
    top: Annotated[int, typer.Option(help="How many to list; 0 lists all.")] = 0,
    as_json: AsJson = False,
    cache_dir: CacheDir = None,
) -> None:
    """List the Rosetta Neurons of a result: anchor, partners, scores and nulls, best first."""
    with opened(result, cache_dir) as folder:
        chosen = selection(folder, rule, score, Selection("published", k, q=q, lowest=lowest))
        chosen = replace(chosen, above_null=above_null)
        found = answers.neurons(folder, chosen)
        listed = found[:top] if top > 0 else found
        if as_json:
            typer.echo(json.dumps(export_json(listed), indent=1))
            return
        typer.echo(headline(folder, chosen))
        for at, neuron in enumerate(listed, 1):
            typer.echo("\n".join(("", *neuron_lines(at, neuron))))
        if not found:
            typer.echo("No neuron passes. Try a larger --k or a smaller --lowest.")


def unit(
    result: Result,
    which: Annotated[str, typer.Argument(help="A flat number, or model/layer:channel.")],
    model: Annotated[str, typer.Option(help="Of a flat number; every model's by default.")] = "",
    as_json: AsJson = False,
    cache_dir: CacheDir = None,
) -> None:
    """Convert a unit's flat number to its spelling, or back."""
    with opened(result, cache_dir) as folder:
        found = spelled_units(folder, which, model)
        if as_json:
            told = [{"unit": str(named), "model": named.model, "flat": at} for at, named in found]
            typer.echo(json.dumps(told, indent=1))
            return
        for flat, named in found:
            count = len(folder.index(named.model))
            typer.echo(f"{named}  =  {flat} of {named.model}'s {count:,} units")


def report(
    result: Result,
    k: K = 5,
    rule: Rule = "published",
    score: Score = "",
    q: Q = 0.05,
    as_json: AsJson = False,
    cache_dir: CacheDir = None,
) -> None:
    """Say how far a result can be trusted: nulls, halves, convergence, depth, selectivity."""
    with opened(result, cache_dir) as folder:
        chosen = selection(folder, rule, score, Selection("published", k, q=q))
        told = answers.report(folder, chosen)
        if as_json:
            typer.echo(json.dumps(told, indent=1))
            return
        typer.echo(headline(folder, chosen))
        for line in report_lines(told):
            typer.echo(line)


def export(
    result: Result,
    out: Annotated[Path, typer.Option(help="File to write: .json, .csv, .parquet or .zip.")],
    published: Annotated[
        bool, typer.Option("--published", help="Write a folder for the published notebooks.")
    ] = False,
    k: K = 5,
    rule: Rule = "published",
    score: Score = "",
    q: Q = 0.05,
    lowest: Lowest = -1.0,
    above_null: AboveNull = False,
    cache_dir: CacheDir = None,
) -> None:
    """Write the dictionary of Rosetta Neurons to a file; the name's end says which kind.

    `results import` takes .json (neurons, scores, concepts) and .zip (pictures and maps too).
    """
    if published:
        from rosetta_ui.commands.published import export_folder  # it uses `opened` of this module

        export_folder(result, out, score=score, cache_dir=cache_dir)
        return
    with opened(result, cache_dir) as folder:
        chosen = selection(folder, rule, score, Selection("published", k, q=q, lowest=lowest))
        chosen = replace(chosen, above_null=above_null)
        found = answers.neurons(folder, chosen)
    kinds: dict[str, Callable[[], bytes]] = {
        ".json": lambda: whole_file(result, chosen, cache_dir, zipped=False),
        ".csv": lambda: neurons_csv(found).encode(),
        ".parquet": lambda: neurons_parquet(found),
        ".zip": lambda: whole_file(result, chosen, cache_dir, zipped=True),
    }
    write = kinds.get(out.suffix.lower())
    if write is None:
        raise BadRequestError(
            f"'{out}' is of no kind that is known.", f"End it in {', '.join(kinds)}."
        )
    size, _ = write_bytes(out, write())
    typer.echo(f"{len(found):,} neurons written to {out} ({size:,} bytes)")


def whole_file(result: str, chosen: Selection, cache_dir: Path | None, *, zipped: bool) -> bytes:
    """The dictionary that `results import` opens; `zipped` with pictures and maps."""
    from rosetta_ui.commands.carrying import carrying  # it uses `cache` of this module

    with carrying(result, cache_dir) as (carried, named):
        if zipped:
            return carried.bundle(named, chosen, PersonNames())
        told = dictionary_json(carried.dictionary(named, chosen, PersonNames()))
        return json.dumps(told, indent=1, allow_nan=False).encode()


def bundle(
    result: Result,
    out: Annotated[Path, typer.Option(help="Folder to make, such as assets/dictionaries/faces.")],
    k: K = 5,
    images: Annotated[int, typer.Option(help="Pictures and maps to keep.")] = 24,
    neurons: Annotated[int, typer.Option(help="Neurons of each score whose maps are kept.")] = 120,
    preview_quality: Annotated[int, typer.Option(help="Of the pictures, 1 to 100.")] = 80,
    view_quality: Annotated[int, typer.Option(help="Of the maps, 1 to 100.")] = 70,
    snapshots: Annotated[bool, typer.Option(help="Keep what convergence is told from.")] = False,
    title: Annotated[str, typer.Option(help="For people.", show_default="the result's own")] = "",
    limit_mib: Annotated[float, typer.Option(help="Refuse to end above this.")] = 4.0,
    cache_dir: CacheDir = None,
) -> None:
    """Pack a result into a small folder: no whole tables, few neighbours, maps of some neurons."""
    if min(k, images, neurons) < 1 or not (min(preview_quality, view_quality) >= 1):
        raise BadRequestError("Every number must be at least 1.")
    packing = Packing(k, images, preview_quality, view_quality, snapshots, title)
    with opened(result, cache_dir) as folder:
        shown = neurons_to_show(folder, k, neurons)
        packed = pack_dictionary(folder, out, shown, packing)
    size = folder_bytes(packed.path)
    for name, (part, _) in sorted(packed.record.files.items(), key=lambda item: -item[1][0]):
        typer.echo(f"{part:>10,}  {name}")
    typer.echo(f"{size:>10,}  in all: {size / MIB:.2f} MiB in {out}")
    if size > limit_mib * MIB:
        raise StoreError(
            f"The folder is {size / MIB:.2f} MiB, above {limit_mib:g}.",
            "Take fewer --images or --neurons, or lower qualities.",
        )


def neurons_to_show(folder: ResultFolder, k: int, most: int) -> list[RosettaNeuron]:
    """The best neurons of every kept score: `most` of the published rule, half as many mutual."""
    shown: list[RosettaNeuron] = []
    for score in folder.record.tables[0].kept:
        for rule, count in (("published", most), ("mutual", -(-most // 2))):
            chosen = Selection(cast(RuleName, rule), k, score)
            shown += answers.neurons(folder, chosen)[:count]
    return shown


@cache_app.command("ls")
def list_cache(cache_dir: CacheDir = None, as_json: AsJson = False) -> None:
    """List results and what else is kept, least recently used first."""
    with cache(cache_dir) as (store, settings):
        results = {info.result: info for info in ResultShelf(store).list()}
        entries = store.entries()
        if as_json:
            told = [
                {
                    "key": e.key,
                    "kind": e.kind,
                    "bytes": e.bytes,
                    "used": e.used,
                    "saved": e.saved,
                    "title": results[e.key].title if e.key in results else "",
                }
                for e in entries
            ]
            typer.echo(json.dumps(told, indent=1))
            return
        for entry in entries:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
            title = results[entry.key].title if entry.key in results else ""
            saved = "saved" if entry.saved else ""
            line = f"{entry.key}  {when}  {entry.bytes:>14,}  {entry.kind:<9} {saved:<5}  {title}"
            typer.echo(line.rstrip())
        unsaved = sum(entry.bytes for entry in entries if not entry.saved)
        typer.echo(
            f"{len(entries)} entries in {store.root}: {unsaved / GIB:.3f} of "
            f"{settings.budget_gb:g} GiB beside saved results"
        )


@cache_app.command("prune")
def prune_cache(
    cache_dir: CacheDir = None,
    budget_gb: Annotated[
        float | None,
        typer.Option("--budget-gb", help="GiB to keep; 0 drops all that is not saved."),
    ] = None,
) -> None:
    """Drop the least recently used entries until the budget holds; saved results stay."""
    if budget_gb is not None and not 0 <= budget_gb < math.inf:
        raise BadRequestError(f"The budget is {budget_gb}.", "Give a number of GiB, 0 or more.")
    with cache(cache_dir) as (store, _):
        dropped = store.prune(None if budget_gb is None else int(budget_gb * GIB))
        freed = sum(entry.bytes for entry in dropped)
        typer.echo(f"{len(dropped)} entries dropped, {freed:,} bytes freed")


@contextmanager
def cache(cache_dir: Path | None) -> Generator[tuple[Store, Settings]]:
    """The cache folder that the options name."""
    settings = Settings.read({"cache_dir": cache_dir})
    with Store(settings.cache_dir, int(settings.budget_gb * GIB)) as store:
        yield store, settings


@contextmanager
def opened(result: str, cache_dir: Path | None) -> Generator[ResultFolder]:
    """A result by path or id; the cache is opened for ids only.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    if Path(result).exists() or "/" in result or "\\" in result:
        yield ResultFolder.open(Path(result))
        return
    for place in BUNDLED:
        if _NAME.fullmatch(result) and (place / result / RECORD).is_file():
            yield ResultFolder.open(place / result)
            return
    with cache(cache_dir) as (store, _):
        yield ResultShelf(store, paths=False).open(result)


def selection(folder: ResultFolder, rule: str, score: str, other: Selection) -> Selection:
    """The selection that the options name; the score is the match's own unless given."""
    score = score or folder.request.score
    for what, value, known in (("rule", rule, RULES), ("score", score, SCORES)):
        if value not in known:
            raise BadRequestError(f"There is no {what} '{value}'.", f"Give {', '.join(known)}.")
    return replace(other, rule=cast(RuleName, rule), score=cast(ScoreName, score))


def spelled_units(folder: ResultFolder, which: str, model: str) -> list[tuple[int, Unit]]:
    """(flat number, unit) of a number in every model that has it, or of one spelled unit.

    Raises:
        BadRequestError: it is neither, or no model has it.
        UnknownModelError: the result has no such model.
    """
    if not which.strip().isdecimal():
        named = Unit.parse(which)
        return [(folder.index(named.model).flat(named), named)]
    flat = int(which)
    if model:
        return [(flat, folder.index(model).unit(flat))]
    found = [(flat, index.unit(flat)) for index in folder.indexes().values() if flat < len(index)]
    if not found:
        most = max(len(index) for index in folder.indexes().values())
        raise BadRequestError(f"No model has a unit {flat}.", f"Give a number below {most}.")
    return found
