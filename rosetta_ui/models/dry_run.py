"""One run of a network on an empty batch: what each module returned, and how that was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules import activation as torch_activations

BATCH = 2
"""Two images, so that a layer that folds positions into the batch is seen to do so."""

# Autograd's names. A value stays post-activation through moves, pooling and sums of its like.
_ACTIVATIONS = ("Relu", "Gelu", "Silu", "Hardswish", "Hardtanh", "Elu", "Mish", "PreluKernel")
_MOVES = (
    "Alias",
    "Cat",
    "View",
    "Permute",
    "Transpose",
    "Clone",
    "Slice",
    "Split",
    "Pool2D",
    "Add",
)
_NORMS = ("BatchNorm", "LayerNorm", "GroupNorm", "View", "Permute", "Transpose", "Clone", "Mul")
_NOT_UNITS = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin)
_ACTIVATION_FILES = (
    torch_activations.__name__,
    "timm.layers.activations",
    "timm.layers.activations_me",
)
_ACTIVATION_ENDS = ("act", "relu", "gelu", "silu", "swish", "mish")


@dataclass(frozen=True, eq=False)
class Call:
    """The last run of one module.

    Attributes:
        name: its path in the network.
        module: itself.
        order: how many modules had returned before it.
        output: the tensor it returned.
        node: the graph node that made the output, None for a constant.
        version: of the output's memory at that time.
        shapes: every shape it returned; several where one module serves several scales.
    """

    name: str
    module: nn.Module
    order: int
    output: Tensor
    node: Node | None
    version: int
    shapes: frozenset[tuple[int, ...]]

    @property
    def changed(self) -> bool:
        """Whether the network has since written into the output's memory."""
        return self.output._version != self.version  # pyright: ignore[reportPrivateUsage]

    @property
    def is_activation(self) -> bool:
        """Whether the module is a pointwise nonlinearity; a sigmoid is a gate, not a unit."""
        kind = type(self.module)
        if isinstance(self.module, _NOT_UNITS) or "sigmoid" in kind.__name__.lower():
            return False
        # A convolution with norm and activation is called …Act too, but holds more than that.
        alone = all(type(child).__module__ in _ACTIVATION_FILES for child in self.module.children())
        return kind.__module__ in _ACTIVATION_FILES or (
            alone and kind.__name__.lower().endswith(_ACTIVATION_ENDS)
        )


@dataclass
class Trace:
    """What a dry run saw.

    Attributes:
        net: the network that ran.
        image_size: (height, width) of the input.
        calls: module path → its last call, in the order in which modules returned.
        prefix_tokens: class and register tokens that the network declares.
        grids: (height, width) that the network declares: of its patches and its stages' strides.
        batch: number of images.
    """

    net: nn.Module
    image_size: tuple[int, int]
    prefix_tokens: int = 0
    grids: tuple[tuple[int, int], ...] = ()
    batch: int = BATCH
    calls: dict[str, Call] = field(default_factory=dict[str, Call])

    @property
    def last(self) -> int:
        """Order of the last call."""
        return max((call.order for call in self.calls.values()), default=-1)

    def is_grid(self, size: Sequence[int]) -> bool:
        """Whether (height, width) can be the whole image at one stride, give or take a cell."""
        height, width = size
        full_height, full_width = self.image_size
        return (
            height * width > 1
            and height <= full_height
            and abs(width - full_width * height / full_height) <= 1
            and abs(height - full_height * width / full_width) <= 1
        )

    def grid_of(self, positions: int, before: int) -> tuple[int, int] | None:
        """The grid that this many tokens were cut from: declared, or the latest that ran."""
        for declared in self.grids:
            if declared[0] * declared[1] == positions:
                return declared
        for call in reversed(self.calls.values()):
            if call.order >= before or call.output.ndim != 4:
                continue
            _, one, two, three = call.output.shape
            for size in ((two, three), (one, two)):
                if size[0] * size[1] == positions and self.is_grid(size):
                    return size
        return None


def run_dry(net: nn.Module, image_size: tuple[int, int]) -> Trace:
    """Run a network once on zeros and record every module's last output.

    Args:
        net: in eval mode; its parameters must require gradients, as they do when it is new.
        image_size: (height, width) of the input.
    """
    trace = Trace(net, image_size, _prefix_tokens(net), _declared_grids(net, image_size))
    count = 0

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def read(module: nn.Module, _inputs: Any, output: Any) -> None:
            nonlocal count
            if isinstance(output, Tensor):
                version = output._version  # pyright: ignore[reportPrivateUsage]
                earlier = trace.calls.pop(name, None)
                shapes = (earlier.shapes if earlier else frozenset()) | {tuple(output.shape)}
                trace.calls[name] = Call(
                    name, module, count, output, output.grad_fn, version, shapes
                )
                count += 1

        return read

    first = next(net.parameters())
    image = torch.zeros(BATCH, 3, *image_size, device=first.device, dtype=first.dtype)
    handles = [
        module.register_forward_hook(hook(name)) for name, module in net.named_modules() if name
    ]
    try:
        with torch.inference_mode(False), torch.enable_grad():
            net(image)
    finally:
        for handle in handles:
            handle.remove()
    return trace


def feature_info(net: nn.Module) -> tuple[dict[str, Any], ...]:
    """The stages that a network lists: `module` and `reduction` (its stride) of each."""
    listed: Any = getattr(net, "feature_info", None) or ()
    return tuple(dict(entry) for entry in listed)


def _prefix_tokens(net: nn.Module) -> int:
    """As the network declares; else as many as its longest class-token parameter holds."""
    declared = getattr(net, "num_prefix_tokens", None)
    if declared is not None:
        return int(declared)
    tokens = [
        parameter.shape[-2]
        for name, parameter in net.named_parameters()
        if name.rpartition(".")[2].startswith("cls_token") and parameter.ndim > 1
    ]
    return max(tokens, default=0)


def _declared_grids(net: nn.Module, image_size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    grids: list[tuple[int, int]] = []
    patches = getattr(getattr(net, "patch_embed", None), "grid_size", None)
    if patches is not None:
        grids.append((int(patches[0]), int(patches[1])))
    height, width = image_size
    for stride in sorted({int(entry["reduction"]) for entry in feature_info(net)}):
        grids.append((height // stride, width // stride))
        grids.append((-(-height // stride), -(-width // stride)))
    return tuple(grids)


def is_activated(node: Node | None, activated: Mapping[Node, object]) -> bool:
    """Whether every value that reaches a graph node has just been through an activation.

    Args:
        node: of a tensor.
        activated: nodes of activation modules' outputs.
    """
    waiting, seen = [node], set[Node]()
    while waiting:
        at = waiting.pop()
        if at is None:
            return False
        if at in seen or at in activated or at.name().startswith(_ACTIVATIONS):
            continue
        seen.add(at)
        if not _is(at, _MOVES) or not at.next_functions:
            return False
        waiting += [earlier for earlier, _ in at.next_functions]
    return True


def reads_directly(node: Node | None, source: Node, activated: Mapping[Node, object]) -> bool:
    """Whether a node is an activation of a source through nothing but normalisation."""
    if node is None or not (node in activated or node.name().startswith(_ACTIVATIONS)):
        return False
    waiting, seen = [earlier for earlier, _ in node.next_functions], set[Node]()
    found = False
    while waiting:
        at = waiting.pop()
        if at is None or at in seen or at.name().startswith("torch::autograd::AccumulateGrad"):
            continue
        if at is source:
            found = True
            continue
        seen.add(at)
        if not (_is(at, _NORMS) or at.name().startswith(_ACTIVATIONS)):
            return False
        waiting += [earlier for earlier, _ in at.next_functions]
    return found


def is_product(node: Node | None, factor: Node | None) -> bool:
    """Whether a node multiplies the value of another node with something else."""
    return (
        node is not None
        and factor is not None
        and node.name().startswith("Mul")
        and len(node.next_functions) > 1
        and any(earlier is factor for earlier, _ in node.next_functions)
    )


def _is(node: Node, kinds: tuple[str, ...]) -> bool:
    return any(kind in node.name() for kind in kinds)
