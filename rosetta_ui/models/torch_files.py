"""Reading the files that `torch.save` writes, numbers only."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor

from rosetta_ui.errors import UnsafeFileError, WeightsCorruptError


def read_state(content: bytes, name: str, inside: str = "") -> dict[str, Tensor]:
    """Read a state dict, of the present (zip) or the older (legacy) layout.

    Only tensors and plain containers are made; torch refuses everything else before it is called.

    Args:
        content: of the file.
        name: of the file, for errors.
        inside: key under which a training script may have put the state dict.

    Returns:
        Key → tensor on the CPU, in the file's order.

    Raises:
        UnsafeFileError: the file asks for something other than numbers.
        WeightsCorruptError: the file is damaged or holds no state dict.
    """
    try:
        loaded: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except torch.serialization.pickle.UnpicklingError as error:
        raise UnsafeFileError(f"{name} holds something other than weights: {error}.") from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        raise WeightsCorruptError(f"{name} is no readable torch file: {error}.") from error
    if isinstance(loaded, dict) and inside in loaded:
        loaded = loaded[inside]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsCorruptError(f"{name} holds no state dict.")
    return {str(key): tensor for key, tensor in loaded.items()}
