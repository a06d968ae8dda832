"""Weights from timm's hub, and what to do where there is no network."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
from torch import nn

from rosetta_ui.errors import WeightsUnavailableError
from rosetta_ui.models.hub_cache import in_hub_cache
from rosetta_ui.types import ModelCard

_LOG = logging.getLogger(__name__)
_SECONDS = 5.0


def create_from_hub(
    card: ModelCard, options: Mapping[str, Any], cache_dir: Path | None = None
) -> nn.Module:
    """Build a network with the weights that timm publishes for it.

    Args:
        card: of family timm; `options["model"]` names architecture and weights.
        options: keyword arguments for `timm.create_model`.
        cache_dir: where downloads are kept; the hub's own cache by default.

    Raises:
        WeightsUnavailableError: not downloaded; says which file, and the command that adds it.
    """
    from huggingface_hub.errors import HfHubHTTPError

    name = str(card.options["model"])
    downloaded = card.source is not None and in_hub_cache(card.source, cache_dir)
    if not downloaded and not _reachable():
        raise _unavailable(card, "there is no network")
    try:
        return timm.create_model(name, pretrained=True, cache_dir=cache_dir, **options).eval()
    except HfHubHTTPError as error:
        raise _unavailable(card, _first_line(error)) from error
    except OSError as error:
        raise _unavailable(card, _first_line(error)) from error


def _unavailable(card: ModelCard, reason: str) -> WeightsUnavailableError:
    source = card.source
    file = source.filename if source is not None and source.filename else "its weights file"
    origin = f" from {source.origin}" if source is not None and source.origin else ""
    return WeightsUnavailableError(
        f"The weights of '{card.name}' could not be downloaded: {reason}.",
        f"Try again with a network, or bring {file}{origin} (licence: {card.licence}) and run: "
        f"python -m rosetta_ui zoo add {card.name} {file}",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _reachable() -> bool:
    """Whether the hub answers at all: its client retries for 47 s before it says no."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=_SECONDS):
            return True
    except OSError as error:
        _LOG.info("The hub at %s does not answer: %s", constants.ENDPOINT, error)
        return False
