"""The edit loss against a plain loop over units, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rosetta_ui.editing.losses import ChosenUnits, agreement, correlation, squared_error
from rosetta_ui.errors import BadRequestError
from rosetta_ui.types import LayerSpec, Unit

LAYERS = (LayerSpec("g", "a", 6, (8, 8)), LayerSpec("g", "b", 4, (4, 12)))


def maps(seed: int, n: int = 3) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(seed)
    return {
        spec.name: torch.randn(n, spec.channels, *spec.size, generator=source, dtype=torch.float64)
        * 3
        + 10
        for spec in LAYERS
    }


def chosen() -> ChosenUnits:
    units = [Unit("g", "b", 3), Unit("g", "a", 5), Unit("g", "a", 0), Unit("g", "a", 5)]
    mean = {spec.name: torch.full((spec.channels,), 9.0, dtype=torch.float64) for spec in LAYERS}
    deviation = {
        spec.name: torch.linspace(1, 3, spec.channels, dtype=torch.float64) for spec in LAYERS
    }
    return ChosenUnits.choose(LAYERS, units, mean, deviation)


def plain(acts: dict[str, Tensor], targets: dict[str, Tensor], units: ChosenUnits) -> Tensor:
    """The same formula, one unit and one image at a time."""
    total = []
    for image in range(3):
        scores = []
        for name, index in units.channels.items():
            for k, channel in enumerate(index.tolist()):
                z = (acts[name][image, channel] - units.mean[name][k]) / units.deviation[name][k]
                t = targets[name][k]
                scores.append((z * t).sum() / (z.norm() * t.norm()))
        total.append(torch.stack(scores).mean())
    return torch.stack(total)


def test_units_are_grouped_by_layer_once_each() -> None:
    units = chosen()
    assert len(units) == 3
    assert units.channels["a"].tolist() == [0, 5]


def test_value_and_gradient_equal_a_plain_loop_over_units() -> None:
    units = chosen()
    targets = {k: v[0] for k, v in units.standardise(maps(2)).items()}
    ours = {k: v.requires_grad_() for k, v in maps(1).items()}
    theirs = {k: v.requires_grad_() for k, v in maps(1).items()}
    a, b = agreement(units.standardise(ours), targets), plain(theirs, targets, units)
    assert torch.allclose(a, b, rtol=1e-12)
    a.sum().backward()
    b.sum().backward()
    for name in ours:
        got, want = ours[name].grad, theirs[name].grad
        assert got is not None and want is not None
        assert float((got - want).norm() / want.norm()) <= 1e-10


def test_a_map_agrees_with_itself_and_with_any_positive_multiple() -> None:
    target = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(correlation(target[None] * 7, target), torch.ones(1, 2))


def test_a_map_at_its_mean_gives_zero_and_a_finite_gradient() -> None:
    flat = torch.zeros(1, 2, 5, 5, requires_grad=True)
    score = correlation(flat, torch.ones(2, 5, 5))
    assert score.tolist() == [[0.0, 0.0]]
    score.sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()


def test_squared_error_sees_the_strength_that_correlation_cannot() -> None:
    target = {"a": torch.ones(2, 4, 4)}
    assert float(agreement({"a": torch.full((1, 2, 4, 4), 5.0)}, target)) == pytest.approx(1)
    assert float(squared_error({"a": torch.full((1, 2, 4, 4), 5.0)}, target)) == pytest.approx(16)


def test_an_empty_or_dead_choice_is_refused() -> None:
    zero = {spec.name: torch.zeros(spec.channels) for spec in LAYERS}
    with pytest.raises(BadRequestError, match="No neuron"):
        ChosenUnits.choose(LAYERS, [], zero, zero)
    with pytest.raises(BadRequestError, match="No neuron"):
        ChosenUnits.choose(LAYERS, [Unit("g", "a", 0)], zero, zero)
