"""Rosetta UI: parse flags, build the engine, build the page, launch. Nothing else."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported

from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import RosettaError
from rosetta_ui.rendering.colormap import table_json
from rosetta_ui.settings import LOG_LEVELS, Settings

if TYPE_CHECKING:
    import gradio as gr


def parse(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Flags as `Settings.read` takes them; what is not given stays None."""
    parser = argparse.ArgumentParser(
        description="Mine, see and use the neurons that a generator and vision backbones share.",
        epilog="Each option has a variable, such as ROSETTA_PORT or ROSETTA_CACHE_DIR.",
    )
    add = parser.add_argument
    add("--host", help="address to serve on (default 127.0.0.1)")
    add("--port", help="port to serve on, 0 for any free one (default 7860)")
    add("--device", help="auto, cpu, cuda, cuda:1 or mps (default auto)")
    add("--cache-dir", help="folder for weights and results (default cache/ in the project)")
    add("--log-level", help=f"{', '.join(LOG_LEVELS)} (default info)")
    add("--auth", metavar="USER:PASSWORD", help="ask visitors for this name and password")
    add("--share", action="store_true", default=None, help="make a public link through gradio")
    add("--budget-gb", help="GiB that the cache may hold beside kept results (default 20)")
    add("--models", dest="models_file", metavar="FILE", help="Python file with models of your own")
    add("--mcp", action="store_true", default=None, help="also serve the API as MCP tools")
    add(
        "--no-fetch",
        dest="fetch",
        action="store_false",
        default=None,
        help="fetch nothing at start",
    )
    return vars(parser.parse_args(argv))


def main(argv: Sequence[str] | None = None) -> tuple[gr.Blocks, Engine]:
    """Serve the page, then let the engine load in the background.

    The page is up before torch and timm are imported: together they take seconds.
    """
    settings = Settings.read(parse(argv))
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel("WARNING")  # gradio greets itself on every start
    engine = Engine(settings)
    from rosetta_ui.tabs.build import build  # gradio, which --help need not wait for
    from rosetta_ui.tabs.serve import Serving, serve

    page = build(engine, own_machine=settings.private)
    where = Serving(settings.host, settings.port, settings.auth, settings.share, settings.mcp)
    serve(page, where, table_json())
    engine.warm()
    return page, engine


if __name__ == "__main__":
    try:
        demo, _ = main()
    except RosettaError as error:
        sys.exit(f"Rosetta UI could not start. {error.sentence}")
    demo.block_thread()
