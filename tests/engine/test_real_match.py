"""A match of real weights through the engine: better than chance, and shown as the models see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.engine.engine import Engine
from rosetta_ui.settings import Settings
from rosetta_ui.types import MatchRequest, Selection


@pytest.mark.weights
def test_a_gan_and_real_backbones_share_units_beyond_chance(cache_with_zoo: Path) -> None:
    import torch

    from rosetta_ui.probing.taps import tap

    request = MatchRequest("dcgan-digiface", ("thin-resnet50", "mobilenetv2"), n_images=24)
    with Engine(Settings(cache_dir=cache_with_zoo, device="cpu", fetch=False)) as engine:
        status = engine.wait(engine.start_match(request), 600)
        assert status.state == "done", status
        summary = engine.summary(status.result, Selection())
        assert summary.anchor_units == 960
        # The rule goes by ranks, so it finds about as many pairs among shuffled images; what tells
        # them apart is the score.
        assert summary.rosetta_above_null > 2 * summary.null_rosetta_above
        for table in summary.tables:
            assert table.above_null > 3 * 0.05  # q: what chance alone would give
        neurons = engine.neurons(status.result, Selection(above_null=True))
        best = neurons[0]
        assert best.score_min > 0.4
        maps, images = engine.thumbs(status.result, neurons[:20])
        assert (maps.max((2, 3)) > 0).all(), "every shown unit has its maps"
        unit = best.partners["thin-resnet50"].unit
        row = engine.heatmaps(status.result, [best.anchor, unit], images[0])
        models = engine._bench.models
        generator = models.generator("dcgan-digiface")
        backbone = models.backbone("thin-resnet50")
        with tap(generator.net, generator.layers) as drawn:
            pictures = generator.synthesise(generator.sample([images[0]], 0))
        with torch.inference_mode(), tap(backbone.net, backbone.layers) as seen:
            backbone.forward(backbone.prepare(pictures))
        for found, expected in (
            (row.maps[best.anchor], drawn[best.anchor.layer][0, best.anchor.channel]),
            (row.maps[unit], seen[unit.layer][0, unit.channel]),
        ):
            scale = float(expected.abs().max())
            np.testing.assert_allclose(found, expected.numpy(), atol=2e-3 * scale)
