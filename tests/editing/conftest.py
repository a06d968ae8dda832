"""Lets the tests of editing import what they share, and gives them a tiny generator."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_edits import load

from rosetta_ui.editing.session import EditBench
from rosetta_ui.editing.setup import EditSetup


@pytest.fixture(scope="module")
def bench() -> EditBench:
    generator = load("tiny-gan")
    return EditBench(generator, EditSetup.fit(generator, 1.0, None))
