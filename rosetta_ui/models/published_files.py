"""From a published generator's file to tensors of ours: the one way in, whoever brings the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosetta_ui.models.checkpoints import read_generator
from rosetta_ui.models.foreign import ForeignGenerator, guess_family
from rosetta_ui.models.registry import FAMILIES, resolve

if TYPE_CHECKING:
    from torch import Tensor


def read_published(
    path: Path, config: Path | None = None
) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """Read a file without running what is inside and convert its generator.

    Args:
        path: an official `.pkl`, a rosinality `.pt`, BigGAN's `.bin`, or `.safetensors` with
            published key names.
        config: BigGAN's `config.json`.

    Returns:
        The family, and the tensors and facts that its loader takes. Resolution, sizes and classes
        are among the facts: they come from the file, never from its name.

    Raises:
        BadRequestError: the file holds no generator of a known family.
        UnsafeFileError: the file asks for more than numbers.
        WeightsCorruptError: the file is damaged, or entries are missing or surplus.
    """
    return convert_foreign(read_generator(path, config))


def convert_foreign(
    foreign: ForeignGenerator,
) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """Convert what a reader found; as `read_published`."""
    family = guess_family(foreign.state)
    tensors, facts = resolve(FAMILIES[family].convert_state)(foreign)
    return family, tensors, facts
