"""A match spread over several processes by torchrun: the same numbers, also after a death."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.matching.distributed import shard
from rosetta_ui.matching.nulls import Blocks
from rosetta_ui.store.folder import ResultFolder

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
BACKBONES = ("tiny-net-a", "tiny-net-b", "tiny-tokens")


def run(folder: Path, ranks: int, die: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Match tiny models over some processes."""
    start = [sys.executable]
    if ranks > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    # A cache folder and a result for each number of processes: nothing is shared but the code.
    command = [
        *start,
        *("-m", "rosetta_ui", "match", "--models", str(HERE / "shared_models.py")),
        *("--generator", "tiny-gan", "--backbones", ",".join(BACKBONES), "--images", "90"),
        *("--batch-size", "4", "--save-every", "4", "--device", "cpu"),
        *("--cache-dir", str(folder / "cache"), "--out", str(folder / "out")),
    ]
    variables = {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    if die is not None:
        variables["ROSETTA_TEST_DIE"] = str(die)
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, ResultFolder]]:
    """The same match by one, two and three processes."""
    found: dict[int, ResultFolder] = {}
    for ranks in (1, 2, 3):
        folder = tmp_path_factory.mktemp(f"ranks{ranks}")
        done = run(folder, ranks)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("Rosetta Neurons") == 1, "one process speaks for all"
        found[ranks] = ResultFolder.open(folder / "out")
    yield found


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_processes_gives_the_same_tables_and_pairs(
    results: dict[int, ResultFolder], ranks: int
) -> None:
    alone, shared = results[1], results[ranks]
    assert alone.record.request == shared.record.request
    for name in BACKBONES:
        for score in ("pearson", "centred"):
            one = np.array(alone.scores("tiny-gan", name, score))
            other = np.array(shared.scores("tiny-gan", name, score))
            alive = np.isfinite(one)
            assert (np.isfinite(other) == alive).all()
            assert np.abs(one[alive] - other[alive]).max() <= 1e-6
            for which in ("real", "null", "half0", "half1"):
                mine = alone.neighbours("tiny-gan", name, score, which)
                theirs = shared.neighbours("tiny-gan", name, score, which)
                assert mine is not None
                assert theirs is not None
                scores = mine["row_score"][:, :5]
                # Ties closer than 2e-6 may fall either way.
                clear = np.abs(np.diff(scores, axis=1)).min(1, initial=1) > 2e-6
                first = mine["row_index"][clear, :4]
                np.testing.assert_array_equal(first, theirs["row_index"][clear, :4])
        np.testing.assert_array_equal(alone.dead(name), shared.dead(name))
        one, other = alone.stats(name), shared.stats(name)
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one.deviation, other.deviation, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(alone.preview(47), shared.preview(47))
    assert set(shared.record.run.snapshots) <= {"at_n8", "at_n4", "at_n2"}


@pytest.mark.slow
def test_views_do_not_depend_on_who_drew_the_image(results: dict[int, ResultFolder]) -> None:
    alone, shared = results[1].views(), results[3].views()
    assert alone is not None
    assert shared is not None
    for name, kept in alone.models.items():
        np.testing.assert_array_equal(kept.units, shared.models[name].units)
        off = np.abs(kept.maps.astype(int) - shared.models[name].maps.astype(int))
        assert off.max() <= 1


@pytest.mark.slow
def test_a_dead_process_ends_the_run_plainly_and_the_next_run_goes_on(
    results: dict[int, ResultFolder], tmp_path: Path
) -> None:
    die = tmp_path / "die"
    die.touch()
    broken = run(tmp_path, 2, die)
    assert broken.returncode != 0
    assert not die.exists(), "nobody died"
    assert "goes on from what was saved" in broken.stderr
    assert not (tmp_path / "out" / "result.json").exists()
    assert list((tmp_path / "cache" / "work").glob("*/state-*-of-2.safetensors"))
    again = run(tmp_path, 2)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "Going on after" in again.stderr
    found, expected = ResultFolder.open(tmp_path / "out"), results[2]
    assert found.record.files == expected.record.files, "identical to the last bit"
    assert not list((tmp_path / "cache" / "work").glob("*/state*"))


@pytest.mark.parametrize("n_images", [1, 2, 7, 8, 9, 17, 64, 90, 1601])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_shards_meet_at_blocks_and_cover_every_image_once(n_images: int, world: int) -> None:
    blocks = Blocks(n_images, 0)
    shards = [shard(n_images, rank, world, blocks.boundary_after) for rank in range(world)]
    assert shards[0][0] == 0
    assert shards[-1][1] == n_images
    for (_, stop), (start, _) in pairwise(shards):
        assert stop == start
        assert start == blocks.boundary_after(start)
