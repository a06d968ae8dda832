"""Writes a tiny MobileStyleGAN as OpenVINO IR, in the names and order of the published files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

Port = tuple[int, int]
"""(node, output port)."""

_TYPES = {"float32": ("f32", "FP32"), "int64": ("i64", "I64")}


class IrWriter:
    """Collects nodes; `files` gives the XML and the constants."""

    def __init__(self, seed: int) -> None:
        self._layers: list[str] = []
        self._edges: list[str] = []
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._blob = bytearray()
        self._rng = np.random.default_rng(seed)

    def normal(self, name: str, *shape: int, scale: float = 1.0) -> Port:
        """A constant of random numbers."""
        return self.const(name, self._rng.normal(0, scale, shape).astype(np.float32))

    def const(self, name: str, value: NDArray[np.generic]) -> Port:
        element, precision = _TYPES[str(value.dtype)]
        offset = len(self._blob)
        self._blob += value.tobytes()
        data = f'element_type="{element}" offset="{offset}" size="{value.nbytes}"'
        shape = ",".join(map(str, value.shape))
        return self._add("Const", name, f'{data} shape="{shape}"', (), value.shape, precision)

    def parameter(self, name: str, *shape: int) -> Port:
        text = ",".join(map(str, shape))
        return self._add("Parameter", name, f'shape="{text}" element_type="f32"', (), shape)

    def op(
        self, kind: str, name: str, inputs: Sequence[Port], shape: Sequence[int], **data: object
    ) -> Port:
        text = " ".join(f"{key}={quoteattr(str(value))}" for key, value in data.items())
        return self._add(kind, name, text, inputs, tuple(shape))

    def result(self, source: Port) -> None:
        self._add("Result", "result", "", (source,), None)

    def files(self) -> tuple[bytes, bytes]:
        layers, edges = "".join(self._layers), "".join(self._edges)
        xml = f'<net name="tiny" version="10"><layers>{layers}</layers><edges>{edges}</edges></net>'
        return xml.encode(), bytes(self._blob)

    def _add(
        self,
        kind: str,
        name: str,
        data: str,
        inputs: Sequence[Port],
        shape: tuple[int, ...] | None,
        precision: str = "FP32",
    ) -> Port:
        number = len(self._layers)
        ports = ""
        for port, (source, source_port) in enumerate(inputs):
            ports += f'<port id="{port}">{_dims(self._shapes[source])}</port>'
            self._edges.append(
                f'<edge from-layer="{source}" from-port="{source_port}" '
                f'to-layer="{number}" to-port="{port}"/>'
            )
        out = len(inputs)
        written = f"<input>{ports}</input>" if inputs else ""
        if shape is not None:
            self._shapes[number] = shape
            body = f'<port id="{out}" precision="{precision}">{_dims(shape)}</port>'
            written += f"<output>{body}</output>"
        self._layers.append(
            f'<layer id="{number}" name={quoteattr(name)} type="{kind}" version="opset1">'
            f"<data {data}/>{written}</layer>"
        )
        return number, out


def _dims(shape: Sequence[int]) -> str:
    return "".join(f"<dim>{side}</dim>" for side in shape)


def write_mapping(size: int, depth: int, slope: float = 0.2) -> tuple[bytes, bytes]:
    """The mapping network: normalise, then linear layers, leaky ReLU and √2."""
    ir = IrWriter(seed=1)
    x = z = ir.parameter("var", 1, size)
    squared = ir.op("Multiply", "square", (z, z), (1, size), auto_broadcast="numpy")
    axis = ir.const("axis", np.array([1], np.int64))
    mean = ir.op("ReduceMean", "mean", (squared, axis), (1, 1), keep_dims="true")
    for kind, value in (("Add", 1e-8), ("Power", -0.5)):
        operand = ir.const(f"{kind}/value", np.array([[value]], np.float32))
        mean = ir.op(kind, kind, (mean, operand), (1, 1), auto_broadcast="numpy")
    x = ir.op("Multiply", "normalised", (x, mean), (1, size), auto_broadcast="numpy")
    for i in range(depth):
        weight = ir.normal(f"{171 + i}", size, size, scale=size**-0.5)
        x = ir.op(
            "MatMul", f"MatMul_{i}", (x, weight), (1, size), transpose_a="false", transpose_b="true"
        )
        shape = ir.const(f"shape_{i}", np.array([1, size], np.int64))
        bias = ir.normal(f"bias_{i}", size)
        bias = ir.op("Reshape", f"Reshape_{i}", (bias, shape), (1, size), special_zero="true")
        x = ir.op("Add", f"Add_{i}", (x, bias), (1, size), auto_broadcast="numpy")
        x = ir.op("PReLU", f"LeakyRelu_{i}", (x, _scalar(ir, f"slope_{i}", slope)), (1, size))
        gain = ir.const(f"gain_{i}", np.array([[2**0.5]], np.float32))
        x = ir.op("Multiply", f"Mul_{i}", (x, gain), (1, size), auto_broadcast="numpy")
    ir.result(x)
    return ir.files()


def write_synthesis(w_size: int, widths: Sequence[int], slope: float = 0.2) -> tuple[bytes, bytes]:
    """The synthesis network; `widths` are those of conv0 and of every block."""
    writer = _SynthesisWriter(w_size, slope)
    x = writer.constant_conv(widths[0])
    for i, (width_in, width) in enumerate(itertools.pairwise(widths)):
        side = 4 << i
        x = writer.modulated(x, f"m.layers.{i}.up", width_in, side, None)
        x = writer.inverse_haar(x, f"up_{i}", width_in, side)
        x = writer.separable(x, f"m.layers.{i}.conv1", width_in // 4, width, 2 * side)
        x = writer.separable(x, f"m.layers.{i}.conv2", width, width, 2 * side)
    writer.to_image(x, f"m.layers.{len(widths) - 2}.to_img", widths[-1], 4 << len(widths) - 2)
    return writer.ir.files()


class _SynthesisWriter:
    def __init__(self, w_size: int, slope: float) -> None:
        self.ir = IrWriter(seed=2)
        self._slope = slope
        self._w_size = w_size
        self._w = self.ir.parameter("style", 1, w_size)

    def modulated(self, x: Port, name: str, channels: int, side: int, scale: float | None) -> Port:
        ir, shape = self.ir, (1, channels)
        weight = ir.normal(f"{name}.modulation.weight", channels, self._w_size, scale=0.3)
        style = ir.op(
            "MatMul",
            f"{name}/matmul",
            (self._w, weight),
            shape,
            transpose_a="false",
            transpose_b="true",
        )
        bias = ir.normal(f"{name}.modulation.bias", *shape)
        style = ir.op("Add", f"{name}/add", (style, bias), shape, auto_broadcast="numpy")
        target = ir.const(f"{name}/shape", np.array([1, -1, 1, 1], np.int64))
        maps = (1, channels, 1, 1)
        style = ir.op("Reshape", f"{name}/reshape", (style, target), maps, special_zero="true")
        if scale is not None:
            scalar = ir.const(f"{name}/scale", np.full((1, 1, 1, 1), scale, np.float32))
            style = ir.op("Multiply", f"{name}/mul", (style, scalar), maps, auto_broadcast="numpy")
        shape = (1, channels, side, side)
        return ir.op("Multiply", f"{name}/modulate", (style, x), shape, auto_broadcast="numpy")

    def constant_conv(self, width: int) -> Port:
        x = self.ir.normal("m.input.input", 1, width, 4, 4)
        x = self.modulated(x, "m.conv1.conv", width, 4, 0.7)
        weight = self.ir.normal("Mul_39_copy", width, width, 3, 3, scale=(9 * width) ** -0.5)
        x = self._convolve("Convolution", "Conv_21", x, weight, (1, width, 4, 4), pad=1)
        return self._finish(x, "m.conv1", width, 4)

    def separable(self, x: Port, name: str, n_in: int, n_out: int, side: int) -> Port:
        x = self.modulated(x, f"{name}.conv", n_in, side, 0.6)
        depthwise = self.ir.normal(f"{name}.conv.weight_dw", n_in, 1, 1, 3, 3, scale=0.5)
        shape = (1, n_in, side, side)
        x = self._convolve("GroupConvolution", f"{name}/dw", x, depthwise, shape, pad=1)
        pointwise = self.ir.normal(f"{name}/pw/weight", n_out, n_in, 1, 1, scale=n_in**-0.5)
        shape = (1, n_out, side, side)
        x = self._convolve("Convolution", f"{name}/pw", x, pointwise, shape, pad=0)
        return self._finish(x, name, n_out, side)

    def to_image(self, x: Port, name: str, width: int, side: int) -> None:
        x = self.modulated(x, f"{name}.conv", width, side, 0.125)
        weight = self.ir.normal(f"{name}.conv.weight", 12, width, 1, 1)
        x = self._convolve("Convolution", f"{name}/conv", x, weight, (1, 12, side, side), pad=0)
        bias = self.ir.normal(f"{name}.bias", 1, 12, 1, 1)
        shape = (1, 12, side, side)
        x = self.ir.op("Add", f"{name}/add", (x, bias), shape, auto_broadcast="numpy")
        self.ir.result(self.inverse_haar(x, "image", 12, side))

    def inverse_haar(self, x: Port, name: str, channels: int, side: int) -> Port:
        """One dense transposed convolution, written down from the transform's definition."""
        signs = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
        kernel = np.zeros((channels, channels // 4, 2, 2), np.float32)
        for c in range(channels // 4):
            bands = (c, *range(channels // 4 + 3 * c, channels // 4 + 3 * c + 3))
            for band, sign in zip(bands, signs.T, strict=True):
                kernel[band, c] = 0.5 * sign.reshape(2, 2)
        weight = self.ir.const(f"{name}/kernel", kernel)
        shape = (1, channels // 4, 2 * side, 2 * side)
        return self._convolve(
            "ConvolutionBackpropData", name, x, weight, shape, pad=0, stride="2,2"
        )

    def _finish(self, x: Port, name: str, width: int, side: int) -> Port:
        shape = (1, width, side, side)
        noise = self.ir.normal(f"{name}/noise", 1, 1, side, side, scale=0.3)
        x = self.ir.op("Add", f"{name}/noisy", (x, noise), shape, auto_broadcast="numpy")
        bias = self.ir.normal(f"{name}.bias", 1, width, 1, 1, scale=0.3)
        x = self.ir.op("Add", f"{name}/biased", (x, bias), shape, auto_broadcast="numpy")
        slope = _scalar(self.ir, f"{name}/slope", self._slope)
        return self.ir.op("PReLU", f"{name}/active", (x, slope), shape)

    def _convolve(
        self,
        kind: str,
        name: str,
        x: Port,
        weight: Port,
        shape: Sequence[int],
        *,
        pad: int,
        stride: str = "1,1",
    ) -> Port:
        pads = f"{pad},{pad}"
        return self.ir.op(
            kind,
            name,
            (x, weight),
            shape,
            strides=stride,
            dilations="1,1",
            pads_begin=pads,
            pads_end=pads,
            auto_pad="explicit",
        )


def _scalar(ir: IrWriter, name: str, value: float) -> Port:
    return ir.const(name, np.array([value], np.float32))
