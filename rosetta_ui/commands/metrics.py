"""`python -m rosetta_ui metrics DIR0 DIR1`: how like the pictures of two folders are, by name.

Exposes `mount(app)`. What cannot be compared is named on standard error and makes the exit code 1.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError, StoreError
from rosetta_ui.inverting.pictures import read_whole
from rosetta_ui.matching.photos import find_photos
from rosetta_ui.settings import Settings

Picture = NDArray[np.uint8]
Row = dict[str, Any]

MEASURES = ("psnr", "ssim", "perceptual", "lpips")
LEAST_SIDE = 11  # the window of SSIM


def mount(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command("metrics")(metrics)


def metrics(
    dir0: Annotated[Path, typer.Argument(help="Folder of pictures.")],
    dir1: Annotated[Path, typer.Argument(help="Another, with pictures of the same names.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Write the rows: .csv, or else JSON.", show_default=False),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Where weights are kept.")] = None,
) -> None:
    """Compare two folders by name: PSNR, SSIM, a feature distance, and LPIPS where installed."""
    couples = Couples.of(dir0, dir1)
    rows: list[Row] = []
    if couples.names:
        with Engine(Settings.read({"device": device, "cache_dir": cache_dir})) as engine:
            for found in engine.inverting.compare(couples.read()):
                row: Row = {"file": couples.compared[len(rows)], **found}
                rows.append(row)
                typer.echo(_line(row["file"], row))
    mean = mean_of(rows)
    if rows:
        typer.echo(_line(f"mean of {len(rows)}", mean))
        typer.echo(f"perceptual: {rows[0]['perceptual_name']}; larger is less alike")
    for problem in couples.problems:
        typer.echo(f"not compared: {problem}", err=True)
    if out is not None:
        _write(out, rows, mean, couples.problems)
    if couples.problems or not rows:
        raise typer.Exit(1)


@dataclass
class Couples:
    """Pictures of the same name in two folders.

    Attributes:
        first, second: the folders.
        names: in both.
        compared: those that were read and are alike in size, in the order they come.
        problems: sentences: names in one folder only, sizes that differ, files that are none.
    """

    first: Path
    second: Path
    names: Sequence[str]
    compared: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, first: Path, second: Path) -> Couples:
        """Look which names there are.

        Raises:
            BadRequestError: a folder is missing or has no picture.
        """
        mine, theirs = (
            {path.relative_to(folder).as_posix() for path in find_photos(folder)}
            for folder in (first, second)
        )
        problems = [f"'{name}' is in '{first}' only" for name in sorted(mine - theirs)]
        problems += [f"'{name}' is in '{second}' only" for name in sorted(theirs - mine)]
        return cls(first, second, sorted(mine & theirs), problems=problems)

    def read(self) -> Iterator[tuple[Picture, Picture]]:
        """The pictures two by two; what cannot be compared becomes a problem."""
        for name in self.names:
            try:
                pair = read_whole(self.first / name), read_whole(self.second / name)
            except BadRequestError as error:
                self.problems.append(f"'{name}': {error.message}")
                continue
            sizes = [f"{p.shape[1]}×{p.shape[0]}" for p in pair]
            if pair[0].shape != pair[1].shape:
                self.problems.append(f"'{name}' has {sizes[0]} pixels, but {sizes[1]} in the other")
            elif min(pair[0].shape[:2]) < LEAST_SIDE:
                self.problems.append(f"'{name}' has {sizes[0]} pixels; {LEAST_SIDE} are needed")
            else:
                self.compared.append(name)
                yield pair


def mean_of(rows: Sequence[Row]) -> Row:
    """The mean of each measure; an equal pair makes the mean PSNR infinite."""
    return {
        name: float(np.mean([row[name] for row in rows]))
        for name in MEASURES
        if rows and name in rows[0]
    }


def _line(name: str, values: Row) -> str:
    shown = "  ".join(f"{m} {values[m]:.4f}" for m in MEASURES if m in values)
    return f"{name}: {shown}"


def _write(out: Path, rows: Sequence[Row], mean: Row, problems: Sequence[str]) -> None:
    try:
        if out.suffix.lower() == ".csv":
            with out.open("w", encoding="utf-8", newline="") as file:
                names = ["file", *(m for m in MEASURES if rows and m in rows[0])]
                writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
                writer.writerow({"file": "mean", **mean})
            return
        told = {
            "rows": [_finite(r) for r in rows],
            "mean": _finite(mean),
            "not_compared": list(problems),
        }
        out.write_text(json.dumps(told, indent=1), "utf-8")
    except OSError as error:
        raise StoreError(f"'{out}' cannot be written ({error.strerror or error}).") from error


def _finite(row: Row) -> Row:
    """JSON has no infinity: equal pictures have no PSNR there."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
