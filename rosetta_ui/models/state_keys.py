"""State dicts of other publishers, brought to a network's own key names and checked to the last.

A file may wrap its state dict (`state_dict`, `model`, `teacher` …), put prefixes in front of the
keys (`module.`, `backbone.` …) and use torchvision's names or those of the original release. What
cannot be explained is named: nothing is loaded in part.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rosetta_ui.errors import WeightsCorruptError

_LOG = logging.getLogger(__name__)

# In order of preference: a teacher is what a self-distillation publishes, averaged weights are what
# a training script evaluates.
WRAPPERS = (
    "teacher",
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "student",
    "net",
)
PREFIXES = (
    "module.",
    "_orig_mod.",
    "state_dict.",
    "model.",
    "net.",
    "backbone.",
    "encoder.",
    "base_encoder.",
    "visual.",
    "trunk.",
)
_COUNTER = "num_batches_tracked"
_SHOWN = 5

# torchvision's ViT; its ResNets already have timm's names.
_TORCHVISION_VIT = (
    (r"^class_token$", "cls_token"),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.", r"blocks.\1.norm\2."),
    (
        r"^encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(weight|bias)$",
        r"blocks.\1.attn.qkv.\2",
    ),
    (
        r"^encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.",
        r"blocks.\1.attn.proj.",
    ),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:linear_1|0)\.", r"blocks.\1.mlp.fc1."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:linear_2|3)\.", r"blocks.\1.mlp.fc2."),
)


def unwrap(content: Any, name: str) -> dict[str, Tensor]:
    """Find the state dict in what a file holds.

    Args:
        content: as the safe reader gives it.
        name: of the file, for errors.

    Returns:
        Key → tensor, in the file's order.

    Raises:
        WeightsCorruptError: there is no state dict under any known key.
    """
    seen: list[str] = []
    while isinstance(content, Mapping) and content:
        if all(isinstance(value, Tensor) for value in content.values()):
            return {str(key): value for key, value in content.items()}
        seen = [str(key) for key in content]
        inner = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = content[inner]
    held = f"only {_some(seen)}" if seen else f"a {type(content).__name__}"
    raise WeightsCorruptError(
        f"'{name}' holds no state dict, {held}.",
        f"Save the state dict alone, or under one of {', '.join(WRAPPERS)}.",
    )


def fit_state(
    state: Mapping[str, Tensor], net: nn.Module, name: str, ignore: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Bring a state dict to a network's key names and check it.

    Tried in order, and only until one explains every key: the names as they are, without known
    prefixes, torchvision's, and those that timm itself converts for this architecture.

    Args:
        state: of a file.
        net: the network, on any device; only its names and shapes are used.
        name: of the file, for errors.
        ignore: beginnings of keys that may be dropped, such as "fc." for a classifier.

    Returns:
        float32 copies of exactly the network's keys.

    Raises:
        WeightsCorruptError: keys are missing or surplus, or shapes differ; names them.
    """
    expected = net.state_dict()
    stripped = strip_prefixes(state, expected)
    schemes: list[Callable[[], Mapping[str, Tensor]]] = [
        lambda: state,
        lambda: stripped,
        lambda: _renamed(stripped, _TORCHVISION_VIT),
        lambda: _timm_filter(state, net),
        lambda: _timm_filter(stripped, net),
    ]
    best: tuple[int, Mapping[str, Tensor]] | None = None
    for scheme in schemes:
        candidate = _without(scheme(), expected, ignore)
        wrong = _misfits(candidate, expected)
        if best is None or wrong < best[0]:
            best = (wrong, candidate)
        if wrong == 0:
            break
    chosen = best[1] if best is not None else state
    check_state(chosen, expected, name)
    fitted = {key: _copied(chosen[key]) for key in expected if key in chosen}
    # Counters of training batches are no weights; old files lack them.
    counters = {key: torch.zeros((), dtype=torch.int64) for key in expected if key not in fitted}
    return {**fitted, **counters}


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    """Check that a state dict has exactly the expected keys and shapes.

    Raises:
        WeightsCorruptError: keys are missing or surplus, or shapes differ; names up to five each.
    """
    missing = [key for key in expected if key not in state and not key.endswith(_COUNTER)]
    surplus = [key for key in state if key not in expected]
    other = [
        f"{key} {_shape(state[key])} instead of {_shape(expected[key])}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    faults = [
        f"{what} {_some(keys)}"
        for what, keys in (("lacks", missing), ("has unknown", surplus), ("has", other))
        if keys
    ]
    if faults:
        raise WeightsCorruptError(
            f"'{name}' does not fit: it {'; it '.join(faults)}.",
            "Give the file of this very architecture; a head that is not needed has to be "
            "declared in the card's option 'ignore'.",
        )


def strip_prefixes(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Take known prefixes off wherever that explains more keys, or where every key has it."""
    for _ in PREFIXES:
        better = next(
            (
                candidate
                for prefix in PREFIXES
                if (candidate := _stripped(state, prefix)) is not None
                and (
                    _matches(candidate, expected) > _matches(state, expected)
                    or (
                        all(key.startswith(prefix) for key in state)
                        and _matches(state, expected) == 0
                    )
                )
            ),
            None,
        )
        if better is None:
            break
        state = better
    return state


def _stripped(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor] | None:
    if not any(key.startswith(prefix) for key in state):
        return None
    result = {key.removeprefix(prefix): value for key, value in state.items()}
    return result if len(result) == len(state) else None


def _renamed(state: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        new = key
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        result[new] = value
    return result


def _timm_filter(state: Mapping[str, Tensor], net: nn.Module) -> Mapping[str, Tensor]:
    """Use timm's own conversion of the architecture's original release, where it has one.

    It also says what of that release is no part of the image network (CLIP's text tower).
    """
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        converted: Any = convert(dict(state), net)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        # It was written for files of that release; on any other the names as they are decide.
        _LOG.debug("timm's conversion for %s does not apply: %s", type(net).__name__, error)
        return state
    return converted if isinstance(converted, Mapping) else state


def _without(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], ignore: Sequence[str]
) -> dict[str, Tensor]:
    beginnings = tuple(ignore)
    return {
        key: value
        for key, value in state.items()
        if key in expected or not (beginnings and key.startswith(beginnings))
    }


def _misfits(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> int:
    needed = [key for key in expected if not key.endswith(_COUNTER)]
    fitting = sum(key in state and state[key].shape == expected[key].shape for key in needed)
    return len(needed) - fitting + sum(key not in expected for key in state)


def _matches(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> int:
    return sum(key in expected for key in state)


def _copied(tensor: Tensor) -> Tensor:
    value = tensor.detach()
    kind = torch.float32 if value.is_floating_point() else value.dtype
    return value.to(kind, copy=True, memory_format=torch.contiguous_format)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
