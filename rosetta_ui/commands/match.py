"""`python -m rosetta_ui match`: the page's match without the page, and over several processes.

Exposes `mount(app)`. Progress goes to standard error, the summary to standard output. Under
torchrun every process takes its share of the images and the first one writes the result.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError, Cancelled, RosettaError
from rosetta_ui.settings import Settings
from rosetta_ui.types import (
    RULES,
    SCORES,
    JobStatus,
    MatchRequest,
    MatchSummary,
    RuleName,
    ScoreName,
    Selection,
)

_LINE_SECONDS = 5.0  # between lines of progress where there is no terminal

Text = typer.Option


def mount(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command("match")(match)


def match(
    generator: Annotated[
        str, Text(help="Name of a generator.", show_default="the fast embedded one")
    ] = "",
    backbones: Annotated[
        str, Text(help="Names, comma between.", show_default="every embedded one")
    ] = "",
    images: Annotated[
        int | None, Text(help="How many.", show_default="128 on a CPU, 1600 on a GPU")
    ] = None,
    batch_size: Annotated[int, Text(help="Images a forward pass.")] = 8,
    batches: Annotated[
        int | None, Text(help="Instead of --images: how many batches.", show_default=False)
    ] = None,
    seed: Annotated[int, Text(help="Of the images and of the shuffled null.")] = 0,
    psi: Annotated[
        float | None, Text(help="Truncation.", show_default="the generator's own")
    ] = None,
    class_index: Annotated[
        int | None, Text("--class", help="For class-conditional generators.", show_default=False)
    ] = None,
    photos: Annotated[
        str, Text(help="Folder of pictures instead of a generator.", show_default=False)
    ] = "",
    score: Annotated[str, Text(help=f"Ranks the matches: {', '.join(SCORES)}.")] = "pearson",
    rule: Annotated[str, Text(help=f"For the summary: {', '.join(RULES)}.")] = "published",
    k: Annotated[int, Text(help="K of the rule.")] = 5,
    dtype: Annotated[str, Text(help="Of the sums: float32 or float64.")] = "float32",
    half: Annotated[bool, Text("--half", help="Run the networks in float16 (CUDA only).")] = False,
    resume: Annotated[bool, Text(help="Go on with an unfinished run of the same match.")] = True,
    out: Annotated[
        Path | None, Text("--out", "--save-path", help="Folder for the result.", show_default=False)
    ] = None,
    save_every: Annotated[
        int, Text(help="Images between saves of the state; 0 goes by the clock.")
    ] = 0,
    device: Annotated[str | None, Text(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    cache_dir: Annotated[Path | None, Text(help="Where results and weights are kept.")] = None,
    models: Annotated[str | None, Text(help="A Python file that registers models.")] = None,
    torchrun: Annotated[str, Text(envvar="TORCHELASTIC_RUN_ID", hidden=True)] = "",
) -> None:
    """Match a generator with backbones over generated images, or backbones over photos."""
    selection = _selection(rule, k, score)
    flags = {"device": device, "cache_dir": cache_dir, "models_file": models}
    with Engine(Settings.read(flags)) as engine:
        usual = engine.default_request()
        request = MatchRequest(
            generator="" if photos and not generator else generator or usual.generator,
            backbones=_names(backbones) or usual.backbones,
            n_images=_n_images(images, batches, batch_size, engine),
            batch_size=batch_size,
            seed=seed,
            psi=psi,
            class_index=class_index,
            photos=photos,
            score=cast(ScoreName, score),
            backbone_pairs=selection.rule == "clique",
            dtype=cast(Any, dtype),
            half=half,
        )
        if photos and generator:
            raise BadRequestError(
                "Both a generator and a folder of photos were chosen.", "Choose one of the two."
            )
        if out is not None:
            engine.check_folder(out)
        if not resume:
            engine.forget(request)
        run = _together if torchrun else _alone
        result = run(engine, request, save_every)
        if result:
            _tell(engine, result, selection, out)


def _selection(rule: str, k: int, score: str) -> Selection:
    for what, value, known in (("rule", rule, RULES), ("score", score, SCORES)):
        if value not in known:
            raise BadRequestError(f"There is no {what} '{value}'.", f"Choose {', '.join(known)}.")
    return Selection(rule=cast(RuleName, rule), k=k, score=cast(ScoreName, score))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _n_images(images: int | None, batches: int | None, batch_size: int, engine: Engine) -> int:
    if images is not None and batches is not None:
        raise BadRequestError(
            "Both --images and --batches were given.", "Give one: images are batches × batch size."
        )
    if batches is not None:
        if batches < 1:
            raise BadRequestError(f"The number of batches is {batches}.", "Give 1 or more.")
        return batches * batch_size
    return engine.usual_images() if images is None else images


def _alone(engine: Engine, request: MatchRequest, save_every: int) -> str:
    """Run the match as a job of this process and show its progress."""
    job = engine.start_match(request, save_every=save_every)
    line = ProgressLine(lambda text: typer.echo(text, err=True, nl=False), sys.stderr.isatty())
    try:
        while True:
            status = engine.wait(job, 0.25)
            line.show(status)
            if status.state not in ("queued", "running"):
                break
    except KeyboardInterrupt:
        engine.stop(job)
        status = engine.wait(job, 10)
        line.show(status)
    finally:
        line.end()
    if status.state == "failed":
        raise RosettaError(status.message, status.hint)
    if status.state == "stopped":
        typer.echo(f"Stopped after {status.done} of {status.total} images.", err=True)
        # Leaving the engine waits until they are written.
        typer.echo("Keeping them. The same command goes on from there.", err=True)
        raise Cancelled
    return status.result


def _together(engine: Engine, request: MatchRequest, save_every: int) -> str:
    """Take this process's share; the result's id in the process that wrote it."""
    job = engine.start_shared_match(request, save_every=save_every)

    def end(_number: int, _frame: object) -> None:
        engine.stop(job)

    # torchrun ends the others with SIGTERM when one is gone: save, and say why.
    signal.signal(signal.SIGTERM, end)
    line = ProgressLine(lambda text: typer.echo(text, err=True, nl=False), terminal=False)
    while (status := engine.wait(job, 0.25)).state in ("queued", "running"):
        line.show(status)
    if status.state == "failed":
        raise RosettaError(status.message, status.hint)
    return status.result


def _tell(engine: Engine, result: str, selection: Selection, out: Path | None) -> None:
    if out is not None:
        engine.save_to(result, out)
    for text in summary_lines(engine.summary(result, selection)):
        typer.echo(text)
    typer.echo(f"Result {result}" + (f", saved in {out}" if out is not None else ""))


def summary_lines(summary: MatchSummary) -> list[str]:
    """What a person reads at the end of a match."""
    request = summary.request
    lines = [
        f"{summary.anchor_model} × {', '.join(t.backbone for t in summary.tables)}: "
        f"{request.n_images} images, seed {request.seed}, {summary.seconds:.1f} s "
        f"({summary.images_per_second:.2f} images/s), "
        f"peak {summary.peak_bytes / (1 << 30):.2f} GiB",
        f"{'backbone':<24}{'units':>8}{'dead':>7}{'best buddies':>14}{'of units':>10}"
        f"{'shuffled':>11}{'threshold':>11}{'above null':>12}{'halves agree':>14}",
    ]
    lines += [
        f"{table.backbone:<24}{table.units:>8,}{table.dead:>7,}{table.best_buddies:>14,}"
        f"{_percent(table.share):>10}{_count(table.null_best_buddies):>11}{_score(table.threshold):>11}"
        f"{_percent(table.above_null):>12}{_percent(table.jaccard):>14}"
        for table in summary.tables
    ]
    null, above = f"{summary.null_rosetta:,}", f"{summary.null_rosetta_above:,}"
    if summary.null_rosetta < 0:
        null = above = "none"  # below 2 images
    chosen = summary.selection
    lines.append(
        f"Rosetta Neurons ({chosen.rule}, K {chosen.k}, {chosen.score}): {summary.rosetta:,} of "
        f"{summary.anchor_units:,} units, with shuffled images {null}. Above the null's threshold "
        f"of {_score(summary.threshold)}: {summary.rosetta_above_null:,}, shuffled {above}."
    )
    return lines


def _percent(share: float) -> str:
    return f"{share:.1%}" if math.isfinite(share) else "-"


def _count(value: int) -> str:
    return f"{value:,}" if value >= 0 else "-"


def _score(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


class ProgressLine:
    """Progress for a person: one line redrawn on a terminal, else a line every few seconds.

    Args:
        write: gets text to print.
        terminal: whether a line can be redrawn.
    """

    def __init__(self, write: Callable[[str], None], terminal: bool) -> None:
        self._write, self._terminal = write, terminal
        self._last, self._printed = "", -math.inf
        self._notes = 0

    def show(self, status: JobStatus) -> None:
        """Print new notes, and the progress where it is time."""
        for note in status.log[self._notes :]:
            self._write(f"\r{note:<79}\n" if self._terminal else f"{note}\n")
        self._notes = len(status.log)
        text = progress_text(status)
        if text == self._last:
            return
        if self._terminal:
            self._write(f"\r{text:<79}")
        elif time.monotonic() - self._printed >= _LINE_SECONDS or status.state == "done":
            self._write(f"{text}\n")
            self._printed = time.monotonic()
        self._last = text

    def end(self) -> None:
        """Leave the line."""
        if self._terminal and self._last:
            self._write("\n")


def progress_text(status: JobStatus) -> str:
    """One line about a running job."""
    parts = [status.message]
    if status.total:
        parts.append(f"{status.done:,} of {status.total:,} {status.unit_name}")
    if status.rate:
        parts.append(f"{status.rate:.2f}/s")
    if math.isfinite(status.seconds_left) and status.seconds_left > 0:
        minutes, seconds = divmod(round(status.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    return "  ".join(parts)
