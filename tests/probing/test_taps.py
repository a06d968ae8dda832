"""Taps live exactly as long as a `with`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rosetta_ui.errors import NotSpatialError, UnknownLayerError
from rosetta_ui.probing.grids import to_maps
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1))


FIRST = LayerSpec("n", "1", 4, (6, 8))
LAST = LayerSpec("n", "2", 5, (6, 8))


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) for m in module.modules())


def test_maps_equal_what_the_modules_return() -> None:
    model, images = net(), torch.randn(2, 3, 6, 8)
    with tap(model, (FIRST, LAST)) as maps:
        out = model(images)
    assert torch.equal(maps["2"], out)
    assert torch.equal(maps["1"], model[1](model[0](images)))
    assert hooks(model) == 0


def test_nothing_is_left_when_the_model_raises() -> None:
    model = net()
    with pytest.raises(RuntimeError), tap(model, (FIRST,)):
        model(torch.randn(2, 7, 6, 8))
    assert hooks(model) == 0


def test_nothing_is_left_when_a_cancel_check_raises() -> None:
    model = net()

    def cancel(_spec: LayerSpec) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), tap(model, (FIRST,), on_output=cancel):
        model(torch.randn(1, 3, 6, 8))
    assert hooks(model) == 0


def test_a_stopped_pass_runs_nothing_after_the_last_tapped_layer() -> None:
    model, images, ran = net(), torch.randn(1, 3, 6, 8), []
    model[2].register_forward_hook(lambda *_: ran.append(1))
    with tap(model, (FIRST,), stop=True) as maps:
        model(images)
    assert not ran
    assert torch.equal(maps["1"], model[1](model[0](images)))


def test_an_unknown_layer_is_named_before_anything_runs() -> None:
    model = net()
    with (
        pytest.raises(UnknownLayerError, match="'9'"),
        tap(model, (LayerSpec("n", "9", 1, (1, 1)),)),
    ):
        pass
    assert hooks(model) == 0


def test_tokens_become_a_non_square_grid_without_their_prefix() -> None:
    spec = LayerSpec("v", "b", 2, (2, 3), "tokens", prefix_tokens=5)
    tokens = torch.arange(11 * 2, dtype=torch.float32).reshape(1, 11, 2)
    maps = to_maps(tokens, spec)
    assert maps.shape == (1, 2, 2, 3)
    assert torch.equal(maps[0, 1], tokens[0, 5:, 1].reshape(2, 3))


def test_margins_are_cropped_and_channels_last_is_turned() -> None:
    whole = torch.randn(1, 2, 26, 24)
    assert torch.equal(
        to_maps(whole, LayerSpec("g", "L", 2, (6, 4), margin=10)), whole[:, :, 10:16, 10:14]
    )
    last = torch.randn(1, 3, 4, 2)
    assert torch.equal(
        to_maps(last, LayerSpec("s", "b", 2, (3, 4), "channels_last")), last.permute(0, 3, 1, 2)
    )


@pytest.mark.parametrize(
    "output", [torch.zeros(1, 4), torch.zeros(1, 4, 6, 7), (torch.zeros(1),), None]
)
def test_an_output_of_another_shape_is_not_spatial(output: Tensor | None) -> None:
    with pytest.raises(NotSpatialError, match="Layer '1'"):
        to_maps(output, FIRST)
