"""The dictionaries that come with the project: which lead, how large they are, what they can do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.engine.engine import Engine
from rosetta_ui.engine.inverting_guide import guide_of
from rosetta_ui.engine.workbench import BUNDLED
from rosetta_ui.inversions import InversionRequest
from rosetta_ui.settings import Settings
from rosetta_ui.types import Selection

NAMES = ("mobilestylegan", "dcgan-digiface")
BACKBONES = {"dinov2-s", "efficientnet-lite0", "mobilenetv2", "thin-resnet50"}
MIB = 1 << 20


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine on a cache in which nothing is."""
    with Engine(Settings(cache_dir=tmp_path_factory.mktemp("bare"), device="cpu")) as opened:
        yield opened


def test_the_large_faces_lead_and_the_small_ones_follow(engine: Engine) -> None:
    listed = engine.results()
    assert tuple(info.result for info in listed) == NAMES
    assert all(info.bundled for info in listed)
    assert tuple(info.request.generator for info in listed) == NAMES
    assert all(set(info.request.backbones) == BACKBONES for info in listed)


@pytest.mark.parametrize(("name", "most"), [("mobilestylegan", 4), ("dcgan-digiface", 2)])
def test_they_are_small(name: str, most: int) -> None:
    (folder,) = (place / name for place in BUNDLED if (place / name).is_dir())
    assert sum(path.stat().st_size for path in folder.iterdir()) <= most * MIB
    notice = (folder / "NOTICE.txt").read_text("utf-8")
    assert all(model in notice for model in (name, *BACKBONES))


@pytest.mark.parametrize("name", NAMES)
def test_they_have_neurons_in_every_backbone_with_pictures_and_maps(
    engine: Engine, name: str
) -> None:
    neurons = engine.neurons(name, Selection(score="centred"))
    assert len(neurons) > 50
    assert all(set(neuron.partners) == BACKBONES for neuron in neurons)
    maps, images = engine.thumbs(name, neurons[:5])
    assert len(maps) == len(images) == 5
    assert np.ptp(maps[0][0]) > 100


@pytest.mark.weights
@pytest.mark.parametrize("name", NAMES)
def test_each_guides_inversions_of_its_generator_as_it_comes(
    cache_with_zoo: Path, name: str
) -> None:
    """No match was run: the neurons of what comes with the project guide."""
    with Engine(Settings(cache_dir=cache_with_zoo, device="cpu", fetch=False)) as engine:
        assert [info.result for info in engine.inverting.dictionaries(name)][:1] == [name]
        picture = np.zeros((64, 64, 3), np.uint8)
        sketch = engine.inverting.presets(name)[1]
        asked = InversionRequest(name, picture, sketch.guidance, sketch.settings)
        desk = engine.inverting
        guide = guide_of(desk.bench, desk._pairs, desk.checked(asked))  # pyright: ignore
    assert guide is not None
    assert set(guide.backbones) == BACKBONES
    assert len(guide.pairs) > 200
