"""`python -m rosetta_ui bench …`: the ratios that the README quotes, measured on this machine.

Exposes `app`. Each command runs one module of `rosetta_ui.benchmark`, which is imported only then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure this machine: ratios, errors, memory.", no_args_is_help=True)

Quick = Annotated[bool, typer.Option("--quick", help="At most five minutes.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write the rows as JSON.", show_default=False)
]


@app.command("match")
def bench_match(
    quick: Quick = False,
    json_file: JsonFile = None,
    only: Annotated[str, typer.Option(help="Measure configurations that have this in them.")] = "",
) -> None:
    """Compare matching with the published algorithm: correlation, end to end, memory, errors."""
    from rosetta_ui.benchmark.matching import run

    run(quick, json_file, only)


@app.command("generators")
def bench_generators(quick: Quick = False, json_file: JsonFile = None) -> None:
    """Compare the generators with plain implementations, forward and backward."""
    from rosetta_ui.benchmark.generators import run

    run(quick, json_file)


@app.command("edit")
def bench_edit(
    quick: Quick = False,
    json_file: JsonFile = None,
    only: Annotated[
        str, typer.Option(help="Measure rows whose 'generator, edit, setting' has this in it.")
    ] = "",
    grid: Annotated[
        Path | None,
        typer.Option(help="Instead draw every kind of edit there, to look at.", show_default=False),
    ] = None,
    yardsticks: Annotated[
        Path | None,
        typer.Option(
            help="Instead write what is natural for the embedded generators there.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Judge edits of the embedded generators: fidelity, partners, realism, seconds."""
    if yardsticks is not None:
        from rosetta_ui.benchmark.edit_yardsticks import run as write

        write(yardsticks, only)
        return
    if grid is not None:
        from rosetta_ui.benchmark.edit_grids import run as draw

        draw(grid, only)
        return
    from rosetta_ui.benchmark.editing import run

    run(quick, json_file, only)


@app.command("invert")
def bench_invert(
    quick: Quick = False,
    json_file: JsonFile = None,
    only: Annotated[
        str, typer.Option(help="Measure rows whose 'generator, target, method' has this in it.")
    ] = "",
) -> None:
    """Invert pictures whose latent is known, photographs and sketches: likeness, seconds."""
    from rosetta_ui.benchmark.inverting import run

    run(quick, json_file, only)
