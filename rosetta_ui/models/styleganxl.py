"""StyleGAN-XL, stem and super-resolution stages, from its official files.

The network is StyleGAN3's; classes are rows of a table, and every class has its own mean w. The
stages are read layer by layer as the file stores them: its top-level settings still describe the
stem.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional

from rosetta_ui.models.foreign import ForeignGenerator
from rosetta_ui.models.state_plan import Plan, shape_of
from rosetta_ui.models.style_files import plan_mapping, published_mapping
from rosetta_ui.models.style_layers import SQRT2, StyleGenerator
from rosetta_ui.models.stylegan3 import load as load_stylegan3
from rosetta_ui.models.stylegan3_files import finish, plan_synthesis, synthesis_shape
from rosetta_ui.models.stylegan3_net import Shape
from rosetta_ui.types import ModelCard

TITLE = "StyleGAN-XL generator"
_PROJECTION = "mapping.embed_proj.weight"


def load(card: ModelCard, tensors: Mapping[str, Tensor]) -> StyleGenerator:
    """Build the generator that the tensors describe.

    Args:
        card: as for StyleGAN3.
        tensors: of `convert_state`.

    Raises:
        WeightsCorruptError: the tensors are not those of a StyleGAN-XL.
    """
    return load_stylegan3(card, tensors)


def convert_state(foreign: ForeignGenerator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Rename and fold the tensors of a published file.

    Args:
        foreign: of an official file.

    Returns:
        The tensors and facts that `load` takes.

    Raises:
        WeightsCorruptError: the file is not a whole StyleGAN-XL; missing and surplus entries are
            named.
    """
    state = foreign.state
    mapping = published_mapping(foreign, TITLE)
    means = 1
    if _PROJECTION in state:
        mapping["embed_size"] = shape_of(state, _PROJECTION, TITLE)[0]
        mapping["z_size"] -= mapping["embed_size"]
        mean = shape_of(state, "mapping.w_avg", TITLE)
        rows = mean if len(mean) > 1 else shape_of(state, "mapping.embed.weight", TITLE)
        mapping["n_classes"] = rows[0]
        means = mean[0] if len(mean) > 1 else 1
    shape = Shape(
        **synthesis_shape(foreign, TITLE),
        **mapping,
        class_table=True,
        means=means,
    )
    plan: Plan = {}
    plan_mapping(plan, foreign)
    plan_synthesis(plan, foreign, shape)
    if _PROJECTION in state:
        inputs = shape_of(state, _PROJECTION, TITLE)[1]
        weight_gain = foreign.attribute("mapping.embed_proj", "weight_gain", inputs**-0.5)
        bias_gain = foreign.attribute("mapping.embed_proj", "bias_gain", 1.0)

        def rows(table: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            projected = functional.linear(
                table[: shape.n_classes], weight * weight_gain, bias * bias_gain
            )
            return functional.leaky_relu(projected, 0.2) * SQRT2

        parts = ("mapping.embed.weight", _PROJECTION, "mapping.embed_proj.bias")
        plan["mapping.embed.weight"] = (rows, parts)
    return finish(plan, foreign, shape, TITLE)
