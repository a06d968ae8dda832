"""Natural features of the embedded generators, as files that come with the project."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from rosetta_ui.editing.session import start_state
from rosetta_ui.editing.yardstick import NATURAL_PICTURES, natural_features
from rosetta_ui.engine.editing_numbers import Jury, features_key
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.settings import Settings


def run(folder: Path, only: str = "") -> None:
    """Write `KEY.npy` for every embedded generator at its usual ψ.

    float16: the features are below 10 and their distances some 0.1 apart, so that a percentile
    moves by less than its step.

    Args:
        folder: where to.
        only: generators whose name has this in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    workbench = Workbench.open(Settings.read())
    try:
        for card in workbench.registry.cards():
            if card.role != "generator" or not card.embedded or only not in card.name:
                continue
            jury = Jury.of(workbench, card.name)
            state = start_state(jury.generator, 0)
            work = natural_features(jury.generator, jury.judge, state.psi, None)
            while True:
                try:
                    done = next(work)
                except StopIteration as end:
                    features = end.value
                    break
                sys.stdout.write(f"\r{card.name}: {done} of {NATURAL_PICTURES}")
                sys.stdout.flush()
            path = folder / f"{features_key(workbench, jury.generator, state)}.npy"
            np.save(path, features.astype(np.float16), allow_pickle=False)
            sys.stdout.write(f"\r{card.name}: {path}, {path.stat().st_size} bytes\n")
    finally:
        workbench.close()
