"""Foreign state dicts fit a network's names, or what does not fit is named."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rosetta_ui.errors import WeightsCorruptError
from rosetta_ui.models.state_keys import PREFIXES, WRAPPERS, check_state, fit_state, unwrap


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)


@pytest.fixture
def net() -> _Net:
    torch.manual_seed(0)
    return _Net()


@pytest.fixture
def state(net: _Net) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_state_dict_is_found_under_every_known_key(
    wrapper: str, state: dict[str, Tensor]
) -> None:
    content = {wrapper: OrderedDict(state), "epoch": 3, "optimizer": {"lr": 0.1}}
    assert _same(unwrap(content, "f.pth"), state)


def test_wrappers_may_be_nested(state: dict[str, Tensor]) -> None:
    assert _same(unwrap({"model": {"state_dict": state, "step": 1}}, "f.pth"), state)


def test_the_teacher_is_taken_before_the_student(state: dict[str, Tensor]) -> None:
    student = {key: value + 1 for key, value in state.items()}
    assert _same(unwrap({"student": student, "teacher": state, "epoch": 1}, "f.pth"), state)


@pytest.mark.parametrize(
    ("content", "held"),
    [
        ({"epoch": 3, "loss": 0.5}, "only epoch, loss"),
        ([1, 2], "a list"),
        ({}, "a dict"),
        ({"model": {"epoch": 1}}, "only epoch"),
    ],
)
def test_a_file_without_a_state_dict_says_what_it_holds(content: Any, held: str) -> None:
    with pytest.raises(WeightsCorruptError, match=rf"'f\.pth' holds no state dict, {held}\."):
        unwrap(content, "f.pth")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_known_prefix_is_taken_off(prefix: str, net: _Net, state: dict[str, Tensor]) -> None:
    named = {prefix + key: value for key, value in state.items()}
    assert _same(fit_state(named, net, "f.pth"), state)


def test_prefixes_may_be_stacked(net: _Net, state: dict[str, Tensor]) -> None:
    named = {f"module._orig_mod.backbone.{key}": value for key, value in state.items()}
    assert _same(fit_state(named, net, "f.pth"), state)


def test_what_a_prefix_does_not_explain_is_surplus_until_it_is_declared(
    net: _Net, state: dict[str, Tensor]
) -> None:
    named = {f"module.backbone.{key}": value for key, value in state.items()}
    named["module.head.last_layer.weight"] = torch.zeros(2)
    with pytest.raises(WeightsCorruptError, match=r"has unknown head\.last_layer\.weight"):
        fit_state(named, net, "f.pth")
    assert _same(fit_state(named, net, "f.pth", ignore=("head.",)), state)


def test_declaring_a_head_drops_nothing_that_the_network_needs(
    net: _Net, state: dict[str, Tensor]
) -> None:
    assert _same(fit_state(state, net, "f.pth", ignore=("conv.",)), state)


def test_missing_surplus_and_misshapen_keys_are_all_named(
    net: _Net, state: dict[str, Tensor]
) -> None:
    del state["bn.bias"]
    state["fc.weight"] = torch.zeros(1)
    state["conv.weight"] = torch.zeros(4, 3, 1, 1)
    expected = (
        "'f.pth' does not fit: it lacks bn.bias; it has unknown fc.weight; "
        "it has conv.weight 4×3×1×1 instead of 4×3×3×3."
    )
    with pytest.raises(WeightsCorruptError, match=re.escape(expected)):
        fit_state(state, net, "f.pth")


def test_long_lists_are_cut_and_counted(net: _Net) -> None:
    state = {f"x{number}": torch.zeros(1) for number in range(9)}
    with pytest.raises(WeightsCorruptError, match="x0, x1, x2, x3, x4 and 4 more"):
        check_state(state, net.state_dict(), "f.pth")


def test_counters_of_training_batches_may_be_missing(net: _Net, state: dict[str, Tensor]) -> None:
    without = {key: value for key, value in state.items() if "num_batches" not in key}
    fitted = fit_state(without, net, "f.pth")
    assert set(fitted) == set(state)
    net.load_state_dict(fitted, strict=True)


def test_half_precision_becomes_float32_and_nothing_shares_memory(
    net: _Net, state: dict[str, Tensor]
) -> None:
    half = {key: v.half() if v.is_floating_point() else v for key, v in state.items()}
    assert fit_state(half, net, "f.pth")["conv.weight"].dtype == torch.float32
    fitted = fit_state(state, net, "f.pth")
    assert fitted["conv.weight"].data_ptr() != state["conv.weight"].data_ptr()
    assert all(value.is_contiguous() for value in fitted.values())


def test_a_network_without_memory_is_enough_to_fit(state: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        meta = _Net()
    assert _same(fit_state(state, meta, "f.pth"), state)
