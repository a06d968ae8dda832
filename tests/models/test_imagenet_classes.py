"""Names of ImageNet's classes come from timm and are found by number, name or part of a name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.imagenet_classes import class_index, class_names


def test_there_are_a_thousand_names_in_the_usual_order() -> None:
    names = class_names()
    assert len(names) == 1000
    assert names[0].startswith("tench")
    assert "golden retriever" in names[207]
    assert "toilet tissue" in names[999]


@pytest.mark.parametrize(
    ("text", "index"),
    [("207", 207), ("golden retriever", 207), (" Golden  Retriever ", 207), ("tench", 0)],
)
def test_a_class_is_found_by_number_and_by_name(text: str, index: int) -> None:
    assert class_index(text) == index


def test_a_whole_name_wins_over_parts_of_others() -> None:
    # "volcano" is a class; a part that several share is not one.
    assert class_names()[class_index("volcano")] == "volcano"


@pytest.mark.parametrize("text", ["retriever", "1000", "-1", "", "qwertz"])
def test_what_names_no_single_class_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        class_index(text)
    assert "number" in caught.value.hint


def test_importing_it_loads_no_torch() -> None:
    code = "import sys, rosetta_ui.models.imagenet_classes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_candidates_of_an_unclear_name_are_listed_with_their_numbers() -> None:
    with pytest.raises(BadRequestError, match="is part of") as caught:
        class_index("retriever")
    assert "207 golden retriever" in caught.value.hint
