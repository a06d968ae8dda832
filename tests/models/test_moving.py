"""Early maps that are moved: by whole cells, in this thread only, and nothing is left behind.

Every published family is moved in `test_published_generators`.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rosetta_ui.affine import STILL, shifted
from rosetta_ui.editing.targets import affine_of
from rosetta_ui.edits import Mirror, Rotate
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.dcgan import Dcgan, DcganNet
from rosetta_ui.models.moving import done_at, first_of_each_side, parts, sample
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec, ModelCard

SPECS = tuple(LayerSpec("m", f"{side}", 1, (side, side)) for side in (4, 8, 16, 32, 64, 128))
MOVABLE = first_of_each_side(SPECS, 256)
TEXT = ("Random weights.", "none", "none")


def dcgan() -> Dcgan:
    torch.manual_seed(0)
    widths = (12, 16, 12, 8, 8, 3)
    card = ModelCard("chain", "generator", "dcgan", "Chain", *TEXT, image_size=(64, 64))
    return Dcgan(replace(card, latent_size=12), DcganNet(widths), widths)


def cells(part: tuple[tuple[float, ...], ...], spec: LayerSpec) -> tuple[float, float]:
    return -part[0][2] * spec.size[1], -part[1][2] * spec.size[0]


def test_maps_of_16_to_64_cells_below_the_pictures_side_are_moved() -> None:
    assert [spec.size[0] for spec in MOVABLE] == [16, 32, 64]
    assert [spec.size[0] for spec in first_of_each_side(SPECS, 64)] == [16, 32]
    doubled = (SPECS[2], replace(SPECS[2], name="second"))
    assert [spec.name for spec in first_of_each_side(doubled, 64)] == ["16"]


@pytest.mark.parametrize("dx", [0.0, 0.06, -0.06, 0.1, 0.12, -0.2, 0.33, 0.017])
def test_a_shift_goes_by_whole_cells_that_add_up_to_it(dx: float) -> None:
    found = parts(MOVABLE, shifted(dx, -dx / 2))
    for part, spec in zip(found, MOVABLE, strict=True):
        x, y = cells(part, spec)
        assert x == pytest.approx(round(x), abs=1e-9)
        assert y == pytest.approx(round(y), abs=1e-9)
    # No more is missing than half of the finest cell.
    assert abs(dx - sum(-part[0][2] for part in found)) <= 0.5 / 64 + 1e-9
    # The coarsest maps take all they can: what is left is less than one of their cells.
    assert abs(dx + found[0][0][2]) < 1 / 16


def test_the_coarsest_cell_takes_what_is_nearly_one() -> None:
    # 6 % is 0.96 of a 16 px cell: one cell, and nothing of 32 px to take back.
    first, second, third = parts(MOVABLE, shifted(0.06, 0.0))
    assert cells(first, MOVABLE[0]) == (1, 0)
    assert (second, third) == (STILL, STILL)


def test_what_is_no_shift_moves_the_finest_of_the_maps() -> None:
    for move in (Mirror(), Rotate(10)):
        assert parts(MOVABLE, affine_of(move)) == (STILL, STILL, affine_of(move))
    assert parts((), affine_of(Mirror())) == ()


def test_it_is_known_how_far_each_layers_maps_have_moved() -> None:
    moved = shifted(3 / 32, 0.0)  # one cell of 16, one of 32
    found = done_at(SPECS, MOVABLE, moved)
    assert [-found[spec.name][0][2] * 32 for spec in SPECS] == [0, 0, 2, 3, 3, 3]
    between = (LayerSpec("m", "after 16 px", 1, (16, 16)),)
    assert done_at(SPECS, between, shifted(1 / 16, 0.0))["16"] == STILL
    assert done_at(SPECS, between, shifted(1 / 16, 0.0))["32"] == shifted(1 / 16, 0.0)


def test_sampling_by_whole_cells_copies_them_and_repeats_the_edge() -> None:
    maps = torch.randn(2, 3, 8, 8)
    moved = sample(maps, [shifted(2 / 8, 0.0)], edge="border")
    assert torch.allclose(moved[..., 2:], maps[..., :-2], atol=1e-5)
    assert torch.allclose(moved[..., :2], maps[..., :1].expand(-1, -1, -1, 2), atol=1e-5)
    each = sample(maps, [STILL, shifted(0.0, -1 / 8)], edge="zeros")
    assert torch.allclose(each[0], maps[0], atol=1e-5)
    assert torch.allclose(each[1, :, :-1], maps[1, :, 1:], atol=1e-5)
    assert not each[1, :, -1].any()


def test_positions_mean_the_picture_inside_a_margin() -> None:
    # A map of 8 cells with two more on every side, mirrored about the middle of the picture.
    maps = torch.randn(1, 1, 12, 12)
    mirrored = sample(maps, [affine_of(Mirror())], edge="border", margin=2)
    assert torch.allclose(mirrored, maps.flip(-1), atol=1e-5)
    shift = sample(maps, [shifted(1 / 8, 0.0)], edge="border", margin=2)
    assert torch.allclose(shift[..., 1:], maps[..., :-1], atol=1e-5)


def test_taps_read_moved_maps_and_each_image_may_go_its_own_way() -> None:
    generator = dcgan()
    values = torch.from_numpy(generator.sample([0, 0], seed=1).values)
    (spec, finest) = generator.movable
    ways = (STILL, shifted(3 / spec.size[1], 1 / spec.size[0]))
    with torch.inference_mode(), generator.moving(*ways), tap(generator.net, [spec]) as maps:
        images = generator.synthesise_from(values, "z")
    one, other = maps[spec.name]
    assert torch.allclose(other[:, 1:, 3:], one[:, :-1, :-3], atol=1e-5)
    assert not torch.equal(images[0], images[1])
    assert finest.size == (32, 32)
    alone = generator.synthesise(replace(generator.sample([0], seed=1), moved=ways[1]))
    assert torch.allclose(alone[0], images[1], atol=1e-5)


def test_another_thread_draws_its_picture_as_it_was() -> None:
    generator = dcgan()
    latents = generator.sample([0], seed=1)
    still = generator.synthesise(latents)
    seen: list[Tensor] = []
    with generator.moving(shifted(0.25, 0.0)):
        thread = threading.Thread(target=lambda: seen.append(generator.synthesise(latents)))
        thread.start()
        thread.join()
    assert torch.equal(seen[0], still)


def test_hooks_end_with_an_error_inside() -> None:
    generator = dcgan()
    with pytest.raises(ZeroDivisionError), generator.moving(shifted(0.25, 0.0)):
        _ = 1 / 0
    assert not any(module._forward_hooks for module in generator.net.modules())


def test_a_generator_whose_maps_cannot_be_moved_says_so() -> None:
    generator = dcgan()
    generator.movable = ()
    with generator.moving(STILL):  # nothing is asked for
        pass
    with pytest.raises(BadRequestError, match="early maps of 'chain' cannot be moved"):
        generator.moving(shifted(0.1, 0.0))


def test_a_shift_passes_gradients_to_the_latent() -> None:
    generator = dcgan()
    z = torch.from_numpy(generator.sample([0], seed=1).values).requires_grad_(True)
    with generator.moving(shifted(0.25, 0.0)):
        generator.synthesise_from(z, "z").square().mean().backward()
    assert z.grad is not None
    assert float(z.grad.abs().max()) > 0
