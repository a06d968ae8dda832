"""`bench edit` and `bench invert` as commands, on the real DCGAN: rows, and what they reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.weights, pytest.mark.slow]


def rows(zoo: Any, folder: Path, *command: str) -> dict[str, dict[str, Any]]:
    """Rows of a benchmark by the name of their method or setting."""
    if not (folder / "zoo").exists():
        (folder / "zoo").symlink_to(zoo.root / "zoo", target_is_directory=True)
    file = folder / "rows.json"
    subprocess.run(
        [sys.executable, "-m", "rosetta_ui", "bench", *command, "--json", str(file)],
        env=os.environ | {"ROSETTA_CACHE_DIR": str(folder), "ROSETTA_DEVICE": "cpu"},
        check=True,
        capture_output=True,
        timeout=1800,
    )
    record = json.loads(file.read_text("utf-8"))
    assert record["schema"] == 1
    assert record["machine"]
    return {row.get("method") or row["setting"]: row for row in record["rows"]}


def test_inversions_reach_what_was_asked_of_them(zoo: Any, tmp_path: Path) -> None:
    own = rows(zoo, tmp_path, "invert", "--quick", "--only", "dcgan-digiface, generated")
    assert set(own) == {"ours", "pixels", "published, equal time"}
    assert own["pixels"]["psnr"] >= 36
    assert own["pixels"]["steps"] <= 200
    for name in ("psnr", "ssim"):
        assert own["ours"][name] > own["published, equal time"][name]
    assert own["ours"]["perceptual"] < own["published, equal time"]["perceptual"]

    drawn = rows(zoo, tmp_path, "invert", "--quick", "--only", "dcgan-digiface, sketches")
    assert drawn["activations"]["layout"] > drawn["pixels"]["layout"] + 0.05


def test_edits_are_judged_and_stay_natural(zoo: Any, tmp_path: Path) -> None:
    found = rows(zoo, tmp_path, "edit", "--quick", "--only", "dcgan-digiface, shift 12 %")
    assert list(found) == ["usual", "latent alone", "published, equal time", "pixels moved"]
    ours, latent, published, pixels = found.values()
    assert {row["seeds"] for row in found.values()} == {6}
    assert len({row["fidelity_before"] for row in found.values()}) == 1
    assert latent["fidelity_after"] > latent["fidelity_before"] + 0.15
    assert latent["fidelity_after"] > published["fidelity_after"]
    for row in (ours, latent, pixels):
        assert row["realism_percentile"] <= 95
    # Six of the 24 seeds whose median is held to 0.85; pixels are as far as a judge can go.
    assert ours["fidelity_after"] >= 0.85
    assert abs(ours["fidelity_after"] - pixels["fidelity_after"]) < 0.05
    assert ours["beyond_95"] <= ours["beyond_95_before"] + 1
