"""`python -m rosetta_ui …`: mounts the groups of commands and turns errors into one sentence."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import typer

from rosetta_ui.commands import (
    bench,
    carrying,
    edit,
    invert,
    match,
    metrics,
    published,
    results,
    zoo,
    zoo_add,
)
from rosetta_ui.errors import Cancelled, RosettaError

app = typer.Typer(
    name="rosetta_ui",
    help="Mine, see and use the neurons that a generator and vision backbones share.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
zoo_add.mount(zoo.app)
app.add_typer(zoo.app, name="zoo")
app.add_typer(bench.app, name="bench")
match.mount(app)
edit.mount(app)
invert.mount(app)
metrics.mount(app)
results.mount(app)
carrying.mount(app)
published.mount(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        arguments: defaults to the process's own.

    Exit codes: 0 done; 1 a `RosettaError`, its sentence on standard error; 2 wrong options; 130
    stopped by the person.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app(args=None if arguments is None else list(arguments))
    except RosettaError as error:
        sys.stderr.write(f"error: {error.sentence}\n")
        raise SystemExit(1) from error
    except (Cancelled, KeyboardInterrupt) as error:
        sys.stderr.write("stopped\n")
        raise SystemExit(130) from error
