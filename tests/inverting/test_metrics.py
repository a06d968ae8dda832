"""Likeness of pictures: against scikit-image, and the laws of a distance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rosetta_ui.errors import BadRequestError
from rosetta_ui.inverting.features import FeatureDistance
from rosetta_ui.inverting.metrics import as_images, compare, psnr, ssim
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator


def noisy(deviation: float) -> tuple[np.ndarray, np.ndarray]:
    picture = data.astronaut()[40:240, 100:330]
    noise = np.random.default_rng(3).normal(0, deviation, picture.shape)
    return picture, (picture + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("deviation", [1.0, 10.0, 60.0])
def test_psnr_and_ssim_equal_those_of_scikit_image(deviation: float) -> None:
    first, second = noisy(deviation)
    assert psnr(first, second) == pytest.approx(peak_signal_noise_ratio(first, second), abs=1e-9)
    wanted = structural_similarity(
        first,
        second,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(first, second) == pytest.approx(wanted, abs=1e-9)


def test_equal_pictures_are_infinitely_alike() -> None:
    first, _ = noisy(1)
    assert math.isinf(psnr(first, first))
    assert ssim(first, first) == pytest.approx(1)


def test_pictures_of_two_sizes_are_refused_with_both_named() -> None:
    with pytest.raises(BadRequestError, match=r"\(20, 20, 3\) and \(20, 21, 3\)"):
        psnr(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 21, 3), np.uint8))
    with pytest.raises(BadRequestError, match="10×12"):
        ssim(np.zeros((12, 10, 3), np.uint8), np.zeros((12, 10, 3), np.uint8))


def test_the_feature_distance_is_one_and_named_after_its_backbone(
    models: tuple[Generator, Backbone],
) -> None:
    distance = FeatureDistance.of(models[1])
    assert distance.name == "planted-copy-a feature distance"
    near, far = noisy(5)[1][:128, :128], noisy(80)[1][:128, :128]
    features = {k: distance.features(as_images(p)) for k, p in (("near", near), ("far", far))}
    true = distance.features(as_images(noisy(5)[0][:128, :128]))
    assert float(distance.distance(true, true)[0]) == pytest.approx(0, abs=1e-6)
    apart = {k: float(distance.distance(f, true)[0]) for k, f in features.items()}
    assert 0 < apart["near"] < apart["far"] < 2


def test_pictures_are_compared_at_the_smaller_size(models: tuple[Generator, Backbone]) -> None:
    large = data.astronaut()[:256, :256]
    small = large.reshape(64, 4, 64, 4, 3).mean((1, 3)).astype(np.uint8)
    numbers = compare(large, small, FeatureDistance.of(models[1]))
    assert numbers.psnr > 25
    assert math.isnan(numbers.realism_percentile)


def test_the_distance_has_a_gradient(models: tuple[Generator, Backbone]) -> None:
    distance = FeatureDistance.of(models[1])
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    wanted = distance.features(torch.rand(1, 3, 32, 32))
    distance.distance(distance.features(images), wanted).sum().backward()
    assert images.grad is not None
    assert bool(images.grad.isfinite().all())
    assert float(images.grad.abs().sum()) > 0
