"""StyleGAN3, r and t, from its official files.

Maps carry a margin of 10 cells a side that lies outside the picture; the units' specs crop it, so
that positions can be compared. The published match script compares the whole maps. The published
networks run their upper layers in half precision on a GPU; here all of it is float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rosetta_ui.models.foreign import ForeignGenerator, corrected_card
from rosetta_ui.models.moving import first_of_each_side
from rosetta_ui.models.state_plan import Plan, assemble
from rosetta_ui.models.style_files import plan_mapping, published_mapping
from rosetta_ui.models.style_layers import StyleGenerator
from rosetta_ui.models.stylegan3_files import finish, plan_synthesis, synthesis_shape
from rosetta_ui.models.stylegan3_net import Shape, StyleGan3Net
from rosetta_ui.types import ModelCard

TITLE = "StyleGAN3 generator"


def load(card: ModelCard, tensors: Mapping[str, Tensor]) -> StyleGenerator:
    """Build the generator that the tensors describe; StyleGAN-XL's too.

    Args:
        card: its options hold the facts of `convert_state`; the option `truncation_cutoff` is the
            number of rows of w+ that ψ reaches.
        tensors: of `convert_state`.

    Raises:
        WeightsCorruptError: the tensors are not those of a StyleGAN3.
    """
    card = corrected_card(card, card.options)
    shape = Shape.of(card.options)
    net = assemble(lambda: StyleGan3Net(shape), tensors, card.name)
    generator = StyleGenerator(card, net, tuple(shape.units(card.name)), shape.n_ws)
    generator.movable = first_of_each_side(generator.layers, shape.resolution)
    return generator


def convert_state(foreign: ForeignGenerator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Rename and fold the tensors of a published file.

    Args:
        foreign: of an official file; without attributes each layer's factors and sizes follow from
            its filters and name.

    Returns:
        The tensors and facts that `load` takes.

    Raises:
        WeightsCorruptError: the file is not a whole StyleGAN3; missing and surplus entries are
            named.
    """
    shape = Shape(
        **synthesis_shape(foreign, TITLE),
        **published_mapping(foreign, TITLE),
        class_table=False,
        means=1,
    )
    plan: Plan = {}
    plan_mapping(plan, foreign)
    plan_synthesis(plan, foreign, shape)
    return finish(plan, foreign, shape, TITLE)
