"""A models file for torchrun tests: the tiny models, and a process that dies when it is told to.

Where the file named by ROSETTA_TEST_DIE exists, the process of rank 1 removes it and kills itself
in its fifth forward pass.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rosetta_ui.models.registry import register
from rosetta_ui.models.tiny import tiny_cards

DIE = Path(os.environ.get("ROSETTA_TEST_DIE", "/nonexistent"))
passes = 0


def watched(loader: Any) -> Any:
    def load(card: Any, tensors: Mapping[str, Any]) -> Any:
        model = loader(card, tensors)
        if card.name != "tiny-tokens":
            return model
        forward = model.forward

        def watch(prepared: Tensor) -> Tensor:
            global passes
            passes += 1
            if passes == 5 and os.environ.get("RANK") == "1" and DIE.exists():
                DIE.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            return forward(prepared)

        model.forward = watch
        return model

    return load


for _card, _loader in tiny_cards():
    register(_card)(watched(_loader))
