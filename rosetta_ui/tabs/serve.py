"""Serves the page: a free port or a clear sentence, then gradio with our options."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass
from importlib import metadata

import gradio as gr

from rosetta_ui.errors import BadRequestError
from rosetta_ui.tabs.theme import launch_options

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Serving:
    """Where and to whom the page is served.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 takes any free one.
        auth: "user:password", or empty for none.
        share: ask gradio for a public link.
        mcp: also serve the API as MCP tools.
    """

    host: str
    port: int
    auth: str = ""
    share: bool = False
    mcp: bool = False


def serve(page: gr.Blocks, where: Serving, colours: str) -> None:
    """Serve the page in the background.

    Args:
        page: as `build` makes it.
        where: address and visitors.
        colours: the colour table of heatmaps, a JSON list of 768 numbers.

    Raises:
        BadRequestError: the address cannot be listened on, or MCP lacks its package.
    """
    if where.mcp:
        need_mcp()
    name, _, password = where.auth.partition(":")
    port = free_port(where.host, where.port)
    page.launch(
        server_name=where.host,
        server_port=port,
        auth=(name, password) if where.auth else None,
        share=where.share,
        mcp_server=where.mcp or None,
        quiet=True,
        prevent_thread_lock=True,
        **launch_options(colours),
    )
    shown = "127.0.0.1" if where.host in ("0.0.0.0", "::") else where.host
    log.info("Rosetta UI is at http://%s:%d", shown, port)
    if page.share_url:
        log.info("Public link: %s", page.share_url)


def need_mcp() -> None:
    """Refuse to serve MCP tools where gradio could not: with version 2 it answers 404, silently.

    Raises:
        BadRequestError: the package mcp is missing, or not of version 1.
    """
    try:
        version = metadata.version("mcp")
    except metadata.PackageNotFoundError:
        version = ""
    if version.partition(".")[0] != "1":
        found = f"version {version} is installed" if version else "it is not installed"
        raise BadRequestError(
            f"Serving MCP tools needs the package mcp of version 1; {found}.",
            "Run: pip install 'mcp<2'. Or leave --mcp out.",
        )


def free_port(host: str, port: int) -> int:
    """The port to listen on; any free one for 0.

    Raises:
        BadRequestError: it is in use or not allowed, or the host is none of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise BadRequestError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}).",
            "Stop the program that uses it, or choose another with --port (0 takes any free one).",
        ) from error
