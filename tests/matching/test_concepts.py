from __future__ import annotations

import numpy as np
import pytest

from rosetta_ui.matching.concepts import (
    centred_correlation,
    cluster,
    numbers,
    place,
    place_name,
)


def grouped(groups: list[int], noise: float = 0.4, seed: int = 0) -> np.ndarray:
    """Maps [units, 12, 8, 8] of units that follow their group's blobs, with a shared layout."""
    rng = np.random.default_rng(seed)
    blobs = rng.normal(size=(max(groups) + 1, 12, 8, 8))
    layout = 20 * rng.normal(size=(1, 1, 8, 8))
    own = rng.normal(size=(len(groups), 12, 8, 8))
    return blobs[groups] + noise * own + layout


def test_centred_correlation_is_the_plain_one_after_the_mean_map_is_gone() -> None:
    maps = grouped([0, 0, 1, 2])
    flat = (maps - maps.mean(1, keepdims=True)).reshape(4, -1)
    assert np.allclose(centred_correlation(maps), np.corrcoef(flat), atol=1e-3)
    scaled = maps * np.array([2, 5, 0.1, 9])[:, None, None, None] + 7
    assert np.allclose(centred_correlation(scaled), centred_correlation(maps))


def test_what_all_images_share_does_not_count() -> None:
    correlation = centred_correlation(grouped([0, 1]))
    assert abs(correlation[0, 1]) < 0.15
    plain = np.corrcoef(grouped([0, 1]).reshape(2, -1))
    assert plain[0, 1] > 0.9, "the layout would have made them alike"


def test_a_unit_that_never_changes_is_undefined_not_zero() -> None:
    maps = grouped([0, 0, 1])
    maps[1] = maps[1, :1]
    correlation = centred_correlation(maps)
    assert np.isnan(correlation[1]).all()
    assert np.isnan(correlation[:, 1]).all()
    assert correlation[0, 0] == 1


def test_planted_groups_come_back_in_order_of_their_first_member() -> None:
    groups = [3, 0, 3, 1, 0, 3, 2]
    found = cluster(centred_correlation(grouped(groups)))
    assert [concept.members for concept in found] == [(0, 2, 5), (1, 4), (3,), (6,)]
    assert [concept.number for concept in found] == [0, 1, 2, 3]
    assert numbers(found, 7).tolist() == [0, 1, 0, 2, 1, 0, 3]


def test_size_medoid_and_agreement_describe_a_concept() -> None:
    correlation = np.array([[1, 0.9, 0.8, 0], [0.9, 1, 0.95, 0], [0.8, 0.95, 1, 0], [0, 0, 0, 1]])
    first, second = cluster(correlation)
    assert (first.members, first.size, first.medoid) == ((0, 1, 2), 3, 1)
    assert first.agreement == pytest.approx((0.9 + 0.8 + 0.95) / 3)
    assert second.members == (3,)
    assert np.isnan(second.agreement)


def test_the_threshold_joins_and_splits() -> None:
    correlation = centred_correlation(grouped([0, 0, 1, 1, 2]))
    assert len(cluster(correlation, 0.0)) == 5
    assert len(cluster(correlation, 0.5)) == 3
    assert len(cluster(correlation, 2.0)) == 1


def test_linkage_is_by_average() -> None:
    # 2 lies 0.3 from 0 but 0.9 from 1: 0.6 on average, so it joins above that and not below.
    correlation = 1 - np.array([[0, 0.1, 0.3], [0.1, 0, 0.9], [0.3, 0.9, 0]])
    assert len(cluster(correlation, 0.59)) == 2
    assert len(cluster(correlation, 0.61)) == 1


def test_undefined_units_join_nobody() -> None:
    maps = grouped([0, 0, 0])
    maps[2] = 0
    assert [c.members for c in cluster(centred_correlation(maps), 1.5)] == [(0, 1), (2,)]


def test_none_and_one_anchor_are_no_special_case_for_the_caller() -> None:
    assert cluster(np.zeros((0, 0))) == []
    (only,) = cluster(np.ones((1, 1)))
    assert only.members == (0,)
    assert numbers([], 2).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("y", "x", "name"),
    [(2, 2, "top left"), (8, 8, "middle"), (13, 8, "bottom"), (8, 13, "right"), (2, 8, "top")],
)
def test_a_concept_is_named_by_its_place(y: int, x: int, name: str) -> None:
    maps = np.zeros((4, 16, 16))
    maps[:, y - 1 : y + 2, x - 1 : x + 2] = 5
    at = place(maps)
    assert at == pytest.approx(((x + 0.5) / 16, (y + 0.5) / 16))
    assert place_name(*at) == name
    assert place(np.ones((2, 4, 4))) == (0.5, 0.5)
