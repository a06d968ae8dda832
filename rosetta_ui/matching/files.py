"""Tables in memory-mapped .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from rosetta_ui.errors import StoreError

_DTYPES: dict[torch.dtype, str] = {
    torch.float16: "<f2",
    torch.float32: "<f4",
    torch.float64: "<f8",
}


def zeroed_file(path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor of zeros that lives in a .npy file, shared with it.

    Its pages belong to the file, not to the process: they can be written back and dropped.

    Args:
        path: replaced where it exists; its folder is created.
        shape: of the tensor.
        dtype: float16, float32 or float64.

    Raises:
        StoreError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = npy.open_memmap(path, mode="w+", dtype=np.dtype(_DTYPES[dtype]), shape=shape)
    except OSError as error:
        raise StoreError(
            f"The table file '{path}' cannot be made: {error.strerror}.",
            "Choose another folder or free some space.",
        ) from error
    return torch.from_numpy(array)
