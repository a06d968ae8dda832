"""DCGANs: both published layouts, what their units are, and the pictures of the real ones."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from rosetta_ui.errors import BadRequestError, UnsafeFileError, WeightsCorruptError
from rosetta_ui.models.cards_embedded import DCGAN_ALIGNED, DCGAN_DIGIFACE
from rosetta_ui.models.dcgan import Dcgan, convert, load
from rosetta_ui.models.loading import load_generator
from rosetta_ui.models.registry import build_registry
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import ModelCard, UnitIndex

WIDTHS = (6, 16, 8, 5, 4, 3)
CARD = replace(DCGAN_DIGIFACE, name="tiny-dcgan", source=None, latent_size=6, units=33)


def state_dict(widths: tuple[int, ...] = WIDTHS, seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the names of `gan-face-generate`."""
    make = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for at in range(len(widths) - 1):
        # 0.2 keeps the tanh away from its ends, where every difference vanishes.
        weight = 0.2 * torch.randn(*widths[at : at + 2], 4, 4, generator=make)
        state[f"main.{3 * at}.weight"] = weight
        if at < len(widths) - 2:
            norm = f"main.{3 * at + 1}"
            for name in ("weight", "bias", "running_mean", "running_var"):
                state[f"{norm}.{name}"] = torch.rand(widths[at + 1], generator=make) + 0.2
            state[f"{norm}.num_batches_tracked"] = torch.tensor(9)
    return state


def old_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same under the names of `generateme`."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        _, number, name = key.split(".")
        at, kind = divmod(int(number), 3)
        renamed[f"{('convTr', 'batchNorm')[kind]}{at + 1}.{name}"] = tensor
    return renamed


def saved(content: Any, *, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def tiny(seed: int = 0) -> Dcgan:
    tensors, facts = convert(
        {"weights.tar": saved({"netG_state_dict": state_dict(seed=seed)})}, CARD
    )
    assert facts == {}
    return load(CARD, tensors)


def by_hand(state: Mapping[str, Tensor], z: Tensor) -> dict[str, Tensor]:
    """The network from its definition: every ReLU's output by the name of its unit, and "image"."""
    x = z.reshape(len(z), -1, 1, 1)
    outputs: dict[str, Tensor] = {}
    last = max(int(key.split(".")[1]) for key in state)
    for at in range(0, last + 1, 3):
        stride, padding = (1, 0) if at == 0 else (2, 1)
        x = functional.conv_transpose2d(
            x, state[f"main.{at}.weight"], stride=stride, padding=padding
        )
        if at < last:
            scale, shift, mean, variance = (
                state[f"main.{at + 1}.{name}"].reshape(1, -1, 1, 1)
                for name in ("weight", "bias", "running_mean", "running_var")
            )
            x = ((x - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp_min(0)
            outputs[f"main.{at + 2}"] = x
    outputs["image"] = x.tanh()
    return outputs


def test_images_and_units_are_those_of_the_definition() -> None:
    generator = tiny()
    latents = generator.sample(range(3), seed=5)
    expected = by_hand(state_dict(), torch.from_numpy(latents.values))
    with tap(generator.net, generator.layers) as maps:
        images = generator.synthesise(latents)
    assert torch.allclose(images, expected["image"], atol=1e-5)
    assert images.shape == (3, 3, 64, 64)
    for spec in generator.layers:
        assert maps[spec.name].shape == (3, spec.channels, *spec.size)
        assert torch.allclose(maps[spec.name], expected[spec.name], rtol=1e-4, atol=1e-4)


def test_layers_are_the_relus_under_stable_names() -> None:
    layers = tiny().layers
    assert [(s.name, s.channels, s.size) for s in layers] == [
        ("main.2", 16, (4, 4)),
        ("main.5", 8, (8, 8)),
        ("main.8", 5, (16, 16)),
        ("main.11", 4, (32, 32)),
    ]
    assert len(UnitIndex(layers)) == CARD.units


@pytest.mark.parametrize("legacy", [False, True])
def test_both_published_layouts_give_the_same_tensors(legacy: bool) -> None:
    state = state_dict()
    new, _ = convert({"a": saved({"netG_state_dict": state}, legacy=legacy)}, CARD)
    old, _ = convert({"b": saved(old_names(state), legacy=legacy)}, CARD)
    assert new.keys() == old.keys() == {k for k in state if "num_batches" not in k}
    assert all(torch.equal(new[key], old[key]) for key in new)


def test_the_network_is_in_eval_mode_and_its_weights_are_fixed() -> None:
    generator = tiny()
    assert not generator.net.training
    assert not any(p.requires_grad for p in generator.net.parameters())
    assert all(t.device.type == "cpu" for t in generator.net.state_dict().values())


def test_gradients_reach_z() -> None:
    generator = tiny()
    z = torch.from_numpy(generator.sample([0], 0).values).requires_grad_()
    generator.synthesise_from(z, "z").square().sum().backward()
    assert z.grad is not None
    assert z.grad.abs().min() > 0


def test_the_same_seed_gives_the_same_images_on_any_batch_size() -> None:
    check_batches(tiny())


def check_batches(generator: Dcgan) -> None:
    whole = generator.synthesise(generator.sample(range(7), seed=3))
    for size in (1, 2, 3):
        parts = [
            generator.synthesise(generator.sample(range(at, min(at + size, 7)), seed=3))
            for at in range(0, 7, size)
        ]
        assert float((torch.cat(parts) - whole).abs().max()) <= 1e-5 * float(whole.std())
    other = generator.synthesise(generator.sample(range(7), seed=4))
    assert float((other - whole).abs().max()) > 0.1


def test_what_a_dcgan_does_not_have_is_refused() -> None:
    generator = tiny()
    z = torch.zeros(1, 6)
    with pytest.raises(BadRequestError, match="has no w space"):
        generator.synthesise_from(z, "w")
    with pytest.raises(BadRequestError, match="no mean latent"):
        generator.synthesise_from(z, "z", psi=0.7)
    with pytest.raises(BadRequestError, match="has no classes"):
        generator.synthesise_from(z, "z", class_index=3)
    with pytest.raises(BadRequestError, match="has no classes"):
        generator.sample([0], 0, class_index=3)
    with pytest.raises(BadRequestError, match="has no w space"):
        generator.to_w(z)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"main.0.weight": torch.zeros(6, 16, 3, 3)}, r"main\.0\.weight is \(6, 16, 3, 3\)"),
        ({"main.4.bias": torch.zeros(9)}, r"main\.4\.bias is \(9,\), expected \(8,\)"),
        ({"main.4.bias": None}, r"main\.4\.bias is missing"),
        ({"main.12.weight": torch.zeros(4, 1, 4, 4)}, "draws 1 colours"),
        ({"main.3.weight": None}, "not those of a DCGAN"),
        ({"other.weight": torch.zeros(2)}, r"other\.weight is \(2,\), expected nothing"),
    ],
)
def test_other_weights_are_refused_by_name(
    change: dict[str, Tensor | None], complaint: str
) -> None:
    state = {k: v for k, v in {**state_dict(), **change}.items() if v is not None}
    with pytest.raises(WeightsCorruptError, match=complaint):
        convert({"a": saved(state)}, CARD)


def test_files_that_hold_more_than_numbers_are_refused() -> None:
    class Thing:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("run",))

    for content in (saved({"netG_state_dict": Thing()}), saved(Thing(), legacy=True)):
        with pytest.raises(UnsafeFileError, match="something other than weights"):
            convert({"weights.tar": content}, CARD)


@pytest.mark.parametrize("content", [b"", b"PK", bytes(200), saved([1, 2]), saved({"a": "text"})])
def test_files_that_hold_no_weights_are_refused(content: bytes) -> None:
    with pytest.raises((WeightsCorruptError, UnsafeFileError), match=r"weights\.tar"):
        convert({"weights.tar": content}, CARD)


def test_truncated_files_are_refused() -> None:
    for legacy in (False, True):
        whole = saved({"netG_state_dict": state_dict()}, legacy=legacy)
        for share in (0.1, 0.5, 0.99):
            with pytest.raises((WeightsCorruptError, UnsafeFileError)):
                convert({"weights.tar": whole[: int(len(whole) * share)]}, CARD)


# The real ones


@pytest.mark.weights
@pytest.mark.parametrize("card", [DCGAN_DIGIFACE, DCGAN_ALIGNED], ids=lambda card: card.name)
def test_a_real_dcgan_draws_what_its_file_says(card: ModelCard, zoo: Any, artefacts: Path) -> None:
    generator = load_generator(build_registry(), card.name, zoo)
    assert isinstance(generator, Dcgan)
    assert [(s.channels, s.size) for s in generator.layers] == [
        (512, (4, 4)),
        (256, (8, 8)),
        (128, (16, 16)),
        (64, (32, 32)),
    ]
    assert len(UnitIndex(generator.layers)) == card.units
    check_batches(generator)
    latents = generator.sample(range(25), seed=0)
    images = generator.synthesise(latents)
    expected = by_hand(zoo.tensors(card), torch.from_numpy(latents.values))["image"]
    assert float((images - expected).abs().max()) <= 1e-4
    assert_are_photos(images)
    save_grid(images, artefacts / f"{card.name}-25.png")


def assert_are_photos(images: Tensor) -> None:
    """Smooth, coloured, and each another: what noise, grey or one repeated picture is not."""
    steps = (images[..., 1:] - images[..., :-1]).abs().mean()
    assert steps < 0.3 * images.std(), "neighbouring pixels are unrelated"
    assert (images[:, 0] - images[:, 2]).abs().mean() > 0.02, "the pictures are grey"
    apart = torch.cdist(images.flatten(1), images.flatten(1)) / images[0].numel() ** 0.5
    assert (apart + torch.eye(len(images))).min() > 0.1, "two pictures are the same"


def save_grid(images: Tensor, path: Path) -> None:
    """25 pictures as 5 × 5, for a person to look at."""
    pixels = ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    side = pixels.shape[1]
    grid = pixels.reshape(5, 5, side, side, 3).transpose(0, 2, 1, 3, 4)
    picture = Image.fromarray(np.ascontiguousarray(grid.reshape(5 * side, 5 * side, 3)))
    picture.resize((15 * side, 15 * side), Image.Resampling.NEAREST).save(path)
