"""Priors: whitening is exact, and natural samples look natural."""

from __future__ import annotations

import pytest
import torch

from rosetta_ui.editing.latents import Prior


def samples(n: int = 20000, size: int = 6) -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    mix = torch.randn(size, size, generator=source) * torch.logspace(-1, 1, size)
    return torch.randn(n, size, generator=source) @ mix + 5


def test_whitening_gives_unit_covariance_and_colouring_undoes_it() -> None:
    data = samples()
    prior = Prior.fit(data)
    white = prior.whiten(data)
    assert torch.allclose(white.mean(0), torch.zeros(6), atol=1e-2)
    assert torch.allclose(white.T @ white / len(data), torch.eye(6), atol=1e-2)
    assert torch.allclose(prior.colour(white), data, atol=1e-3)


def test_natural_samples_lie_one_deviation_away_and_doubled_ones_further() -> None:
    data = samples()
    prior = Prior.fit(data)
    assert float(prior.mean_square(data).mean()) == pytest.approx(1, abs=0.02)
    far = prior.mean + 2 * (data - prior.mean)
    assert float(prior.mean_square(far).mean()) == pytest.approx(4, abs=0.1)


def test_a_direction_without_variance_keeps_distances_finite() -> None:
    data = samples()
    data[:, 2] = 1.0
    assert bool(Prior.fit(data).mean_square(samples()).isfinite().all())


def test_z_has_its_own_simple_prior() -> None:
    values = torch.randn(4, 8)
    assert torch.equal(Prior.standard(8).whiten(values), values)
