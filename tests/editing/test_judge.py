"""The judge of edits: exact where the answer is known, silent where an edit moves nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rosetta_ui.editing.judge import asked, judge_cosine
from rosetta_ui.editing.partners import partner_corr
from rosetta_ui.editing.targets import affine_of, warp
from rosetta_ui.edits import Blend, Edit, Mirror, Paste, Region, Scale, Shift, Zoom

SIDE = 16


def features(seed: int = 0, n: int = 2) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, SIDE, SIDE, generator=stream)


@pytest.mark.parametrize("edit", [Shift(0.25), Zoom(1.25), Mirror(), Shift(-0.125, 0.5)])
def test_a_picture_that_moved_exactly_as_asked_scores_one(edit: Edit) -> None:
    original = features()
    mean = original.mean((-2, -1), keepdim=True)
    moved = warp(original - mean, affine_of(edit)) + mean
    assert torch.allclose(judge_cosine(original, moved, [edit]), torch.ones(2), atol=1e-5)


def test_a_picture_that_did_not_move_scores_the_value_before() -> None:
    original = features()
    assert float(judge_cosine(original, original, [Shift(0.25)]).abs().max()) < 0.2
    assert torch.allclose(judge_cosine(original, original, [Shift(0)]), torch.ones(2), atol=1e-5)


def test_two_moves_are_judged_as_one() -> None:
    whole = asked(features(), [Shift(0.25), Shift(0.125)])
    once = asked(features(), [Shift(0.375)])
    assert whole is not None
    assert once is not None
    assert torch.allclose(whole[0], once[0], atol=1e-5)
    assert torch.equal(whole[1], once[1])


def test_only_positions_whose_source_is_inside_count() -> None:
    found = asked(features(), [Shift(0.25)])
    assert found is not None
    assert found[1][:, :4].sum() == 0
    assert found[1][:, 4:].min() == 1


def test_a_copy_is_judged_against_both_pictures() -> None:
    original, source = features(1), features(2)
    edit = Paste(Region.box(0, 0, 0.5, 1), 0.5, 0)
    mean = original.mean((-2, -1), keepdim=True)
    pasted = original.clone()
    pasted[..., SIDE // 2 :] = source[..., : SIDE // 2]
    assert torch.allclose(judge_cosine(original, pasted, [edit], source), torch.ones(2), atol=1e-5)
    itself = (original - mean)[..., : SIDE // 2]
    found = asked(original - mean, [edit])
    assert found is not None
    assert torch.allclose(found[0][..., SIDE // 2 :], itself, atol=1e-5)


@pytest.mark.parametrize("edit", [Scale(0.0), Blend(0.5)])
def test_what_moves_nothing_has_no_fidelity(edit: Edit) -> None:
    assert asked(features(), [edit]) is None
    assert judge_cosine(features(), features(), [edit]).isnan().all()


def test_partners_that_moved_exactly_as_asked_correlate_fully() -> None:
    maps = features()
    wanted = asked(maps, [Shift(0.25)])
    assert wanted is not None
    moved = warp(maps, affine_of(Shift(0.25)))
    assert torch.allclose(partner_corr({"a": wanted}, {"a": moved}), torch.ones(2), atol=1e-5)
    assert float(partner_corr({"a": wanted}, {"a": maps}).abs().max()) < 0.2
