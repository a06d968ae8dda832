"""Which layers of a network hold its units, found by one dry run and never by a model's name.

The dry run keeps what every module returned and the graph of how it was made. From these:

- MLPs whose activation is a map over positions (token, channels-last or 1×1 convolution MLPs): the
  activation, in every block. A gated MLP's unit is the product of gate and value, read from the
  module that carries it on (`mlp.drop1`): this is what the second matrix reads, and a gate alone
  says little.
- Other stages, as the architecture lists them (stems are left out): the stage's output where that
  is post-activation; else the norm and activation that read it directly (pre-activation networks);
  else the last activation inside the stage at the output's resolution (linear bottlenecks); else
  the output as it is.

Everything is decided from structure and shapes, so random and trained weights give the same layers
and the run may be made on the meta device, where it costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn
from torch.autograd.graph import Node

from rosetta_ui.errors import NotSpatialError, UnknownLayerError
from rosetta_ui.models.dry_run import (
    Call,
    Trace,
    feature_info,
    is_activated,
    is_product,
    reads_directly,
    run_dry,
)
from rosetta_ui.types import LayerSpec

_MLP_CLASS = ("mlp", "ffn", "feedforward", "swiglu")
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)


def find_layers(
    net: nn.Module,
    model: str,
    image_size: tuple[int, int],
    names: Sequence[str] | Mapping[str, str] = (),
) -> tuple[LayerSpec, ...]:
    """Run the network once on an empty batch and describe the layers that hold its units.

    Args:
        net: in eval mode, on the meta device or any other.
        model: its name, for the specs.
        image_size: (height, width) of its input.
        names: module paths to use, or shown name → module path; without them the architecture
            decides.

    Returns:
        At least one layer, in the order they run (in the given order where names are given).

    Raises:
        UnknownLayerError: a name is not a module of the network, or it did not run.
        NotSpatialError: a layer's output is not a map over positions, or no layer's is.
    """
    trace = run_dry(net, image_size)
    if names:
        wanted = names.items() if isinstance(names, Mapping) else ((name, name) for name in names)
        return tuple(_named(trace, model, shown, path) for shown, path in wanted)
    found = _discover(trace, model)
    specs = [spec for call in found if isinstance(spec := describe(trace, model, call), LayerSpec)]
    if not specs:
        raise NotSpatialError(
            f"No layer of {model} is a map over positions at "
            f"{image_size[0]}×{image_size[1]} pixels.",
            "Name layers in the card's options, or choose another model.",
        )
    return tuple(specs)


def _named(trace: Trace, model: str, shown: str, path: str) -> LayerSpec:
    call = trace.calls.get(path)
    if call is None:
        raise UnknownLayerError(path, model, trace.calls)
    spec = describe(trace, model, call)
    if isinstance(spec, str):
        raise NotSpatialError(spec, "Name another layer.")
    return spec if shown == path else replace(spec, name=shown, module=path)


def describe(trace: Trace, model: str, call: Call) -> LayerSpec | str:
    """The spec of one module's output, or a sentence that says why it is not a map."""
    shape = tuple(call.output.shape)
    told = f"Layer '{call.name}' of {model} gave {'×'.join(map(str, shape))}"
    if call.changed:
        return f"{told}, which the network then overwrites in place."
    if len(call.shapes) > 1:
        return f"{told} last, but runs at {len(call.shapes)} sizes."
    if shape[0] != trace.batch:
        return f"{told} for {trace.batch} images, so positions are mixed into the batch."
    if call.output.ndim == 4:
        return _describe_grid(trace, model, call) or (
            f"{told}, which is no grid of a {trace.image_size[0]}×{trace.image_size[1]} image."
        )
    if call.output.ndim != 3:
        return f"{told}, which has no positions."
    if hasattr(trace.net, "reroll"):
        return f"{told}, in an order of its own that the network undoes only at its end."
    return _describe_tokens(trace, model, call) or (
        f"{told}: {shape[1]} tokens, of which {trace.prefix_tokens} are declared as prefix, "
        "make no grid of the image."
    )


def _describe_grid(trace: Trace, model: str, call: Call) -> LayerSpec | None:
    _, one, two, three = call.output.shape
    if trace.is_grid((two, three)):
        return LayerSpec(model, call.name, one, (two, three))
    if trace.is_grid((one, two)):
        return LayerSpec(model, call.name, three, (one, two), "channels_last")
    return None


def _describe_tokens(trace: Trace, model: str, call: Call) -> LayerSpec | None:
    _, tokens, channels = call.output.shape
    # A class token may join only in the last blocks, so none is the second thing to try.
    for prefix in dict.fromkeys((trace.prefix_tokens, 0)):
        grid = trace.grid_of(tokens - prefix, before=call.order)
        if grid is not None:
            return LayerSpec(model, call.name, channels, grid, "tokens", prefix)
    return None


def _discover(trace: Trace, model: str) -> list[Call]:
    """The calls whose outputs are units, in the order they ran."""
    activated = {c.node: c for c in trace.calls.values() if c.is_activation and c.node is not None}
    stages = _stages(trace)
    mlps = _mlps(trace, model)
    if not stages:
        return mlps or _last_of_each_size(trace, model)
    found: list[Call] = []
    start = -1
    for stage in stages:
        inside = [
            call
            for call in mlps
            if start < call.order <= stage.order and not _is_coarser(trace, model, call, stage)
        ]
        found += inside or [_stage_output(trace, model, stage, activated)]
        start = stage.order
    return sorted({call.name: call for call in found}.values(), key=lambda call: call.order)


def _stages(trace: Trace) -> list[Call]:
    """The stages that the architecture lists as its features, without the stem."""
    names = [str(entry["module"]) for entry in feature_info(trace.net)]
    calls = [trace.calls[name] for name in names if name in trace.calls]
    calls = [call for call in calls if not isinstance(call.module, _POOLS)]
    calls.sort(key=lambda call: call.order)
    first = next((at for at, call in enumerate(calls) if not _is_stem(call)), 0)
    calls = calls[first:]
    return [_sibling(trace, call, calls[at - 1]) for at, call in enumerate(calls)]


def _is_stem(call: Call) -> bool:
    """Something called a stem, or a norm or activation alone in front of the stages."""
    convolves = any(isinstance(module, nn.Conv2d) for module in call.module.modules())
    return "stem" in call.name or not convolves


def _sibling(trace: Trace, stage: Call, previous: Call) -> Call:
    """A listed module that only passes a stage on: the stage itself, found beside the previous."""
    if not isinstance(stage.module, nn.Identity):
        return stage
    parent = previous.name.rpartition(".")[0]
    same = [
        call
        for call in trace.calls.values()
        if call.node is stage.node and call.name.rpartition(".")[0] == parent
    ]
    return same[-1] if parent and same else stage


def _mlps(trace: Trace, model: str) -> list[Call]:
    """Of every MLP over positions: its last activation, or the gated product."""
    found: list[Call] = []
    for name, module in trace.net.named_modules():
        if not _is_mlp(module):
            continue
        children = [call for key, call in trace.calls.items() if key.startswith(f"{name}.")]
        matrices = [call.order for call in children if _is_matrix(call.module)]
        acts = [
            call
            for call in children
            if call.is_activation
            and min(matrices, default=call.order) < call.order < max(matrices, default=call.order)
            and _is_map(trace, model, call)
        ]
        if acts:
            act = acts[-1]
            products = [call for call in children if is_product(call.node, act.node)]
            found.append(products[0] if products else act)
    return sorted(found, key=lambda call: call.order)


def _is_mlp(module: nn.Module) -> bool:
    kind = type(module).__name__.lower()
    named = any(part in kind for part in _MLP_CLASS)
    return named or (hasattr(module, "fc1") and hasattr(module, "fc2"))


def _is_matrix(module: nn.Module) -> bool:
    pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
    return pointwise or isinstance(module, nn.Linear)


def _stage_output(trace: Trace, model: str, stage: Call, activated: Mapping[Node, object]) -> Call:
    """The output of a stage after an activation: its own, its reader's, or the last one inside."""
    if is_activated(stage.node, activated) and not stage.changed:
        return stage
    shape = tuple(stage.output.shape)
    for call in trace.calls.values():
        same = call.order > stage.order and call.is_activation and tuple(call.output.shape) == shape
        if same and stage.node and reads_directly(call.node, stage.node, activated):
            return call
    inside = [
        call
        for call in trace.calls.values()
        if call.name.startswith(f"{stage.name}.")
        and (call.is_activation or is_activated(call.node, activated))
        and _is_map(trace, model, call)
        and not _is_coarser(trace, model, call, stage)
    ]
    inside = [call for call in inside if call.output.shape[2:] == shape[2:]] or inside
    if not inside:
        return stage
    last = inside[-1].node
    return next(call for call in inside if call.node is last)


def _last_of_each_size(trace: Trace, model: str) -> list[Call]:
    """Without listed stages and MLPs: the last activation at each resolution."""
    sizes = {
        tuple(call.output.shape[2:]): call
        for call in trace.calls.values()
        if call.is_activation and call.output.ndim == 4 and _is_map(trace, model, call)
    }
    return list(sizes.values())


def _is_coarser(trace: Trace, model: str, call: Call, stage: Call) -> bool:
    """Whether an MLP works on a smaller map than its stage gives: part of an attention gate."""
    one, other = describe(trace, model, call), describe(trace, model, stage)
    if isinstance(one, str) or isinstance(other, str):
        return False
    return one.size[0] * one.size[1] < other.size[0] * other.size[1]


def _is_map(trace: Trace, model: str, call: Call) -> bool:
    return isinstance(describe(trace, model, call), LayerSpec)
