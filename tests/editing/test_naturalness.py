"""Natural samples come out uniform; strange ones come out far out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rosetta_ui.editing.latents import Prior
from rosetta_ui.editing.naturalness import LatentYardstick, PictureYardstick, Realism, share_below
from rosetta_ui.types import Space

SIZE = 16


def latents(n: int, seed: int) -> Tensor:
    return torch.randn(n, SIZE, generator=torch.Generator().manual_seed(seed))


def features(z: Tensor) -> Tensor:
    """A picture's features: some function of its latent, plus what the latent does not tell."""
    noise = torch.randn(len(z), 8, generator=torch.Generator().manual_seed(len(z)))
    return torch.tanh(z[:, :8] * 0.7) + 0.2 * noise


def realism(space: Space = "z") -> Realism:
    latent = LatentYardstick.of(space, Prior.standard(SIZE), latents(2048, 1))
    picture = PictureYardstick.of(features(latents(512, 2)))
    held_out = latents(2048, 3)
    return Realism.calibrate(latent, picture, held_out, features(held_out))


def uniform(percentile: Tensor) -> None:
    """Deciles of 4,096 uniform values lie within 3 points: four standard errors are 2.8."""
    for decile in range(10, 100, 10):
        share = 100 * float((percentile < decile).double().mean())
        assert share == pytest.approx(decile, abs=3.5), decile


@pytest.mark.parametrize("space", ["z", "w"])
def test_natural_samples_come_out_uniform(space: Space) -> None:
    z = latents(4096, 4)
    uniform(realism(space).percentile(z, features(z)))


def test_a_latent_too_far_out_is_beyond_all_and_one_too_near_is_too() -> None:
    measure = realism()
    z = latents(64, 5)
    usual = z / z.square().mean(1, keepdim=True).sqrt()
    assert float(measure.percentile(2 * usual, features(z)).min()) > 99
    assert float(measure.percentile(0.2 * usual, features(z)).min()) > 99


def test_a_w_near_the_mean_is_natural() -> None:
    z = latents(64, 5)
    latent, _ = realism("w").parts(0.2 * z, features(z))
    assert float(latent.max()) < 0.01


def test_a_strange_picture_is_seen_beside_a_natural_latent() -> None:
    z = latents(64, 5)
    assert float(realism().percentile(z, features(z) + 3).min()) > 99


def test_layers_that_differ_make_w_plus_less_natural() -> None:
    measure = LatentYardstick.of("w+", Prior.standard(SIZE), latents(2048, 1))
    same = latents(64, 6)[:, None].expand(64, 5, SIZE)
    mixed = torch.stack([latents(64, 7 + i) for i in range(5)], 1) * 1.3
    uniform_share = share_below(measure.natural, measure.prior.mean_square(same[:, 0]))
    assert torch.equal(measure.share(same), uniform_share)
    assert float(measure.share(mixed).median()) > 0.8


def test_ties_count_half() -> None:
    reference = torch.tensor([1.0, 2.0, 2.0, 3.0])
    assert share_below(reference, torch.tensor([0.0, 2.0, 9.0])).tolist() == [0.0, 0.5, 1.0]
