"""StyleGAN-XL, stem and super-resolution stages, from its official files.

The network is StyleGAN3's; classes are rows of a table, and every class has its own mean w. The
stages are read layer by layer as the file stores them: its top-level settings still describe the
stem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    mapping = published_mapping(foreign, TITLE)
    classes = _classes(foreign) if _PROJECTION in foreign.state else None
    if classes is not None:
        mapping |= {"n_classes": classes.n_classes, "embed_size": classes.size}
        mapping["z_size"] -= classes.size
    shape = Shape(
        **synthesis_shape(foreign, TITLE),
        **mapping,
        class_table=True,
        means=1 if classes is None else classes.means,
    )
    plan: Plan = {}
    plan_mapping(plan, foreign)
    plan_synthesis(plan, foreign, shape)
    if classes is not None:
        parts = ("mapping.embed.weight", _PROJECTION, "mapping.embed_proj.bias")
        plan["mapping.embed.weight"] = (classes.rows, parts)
    return finish(plan, foreign, shape, TITLE)


@dataclass(frozen=True)
class _Classes:
    """How a file embeds its classes: a table of vectors and a projection, both without z.

    Attributes:
        n_classes: rows that are used.
        size: entries after the projection.
        means: rows of the mean w.
        weight_gain, bias_gain: factors on the projection's weight and bias.
    """

    n_classes: int
    size: int
    means: int
    weight_gain: float
    bias_gain: float

    def rows(self, table: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Each class's row, projected and activated once for all."""
        projected = functional.linear(
            table[: self.n_classes], weight * self.weight_gain, bias * self.bias_gain
        )
        return functional.leaky_relu(projected, 0.2) * SQRT2


def _classes(foreign: ForeignGenerator) -> _Classes:
    size, inputs = shape_of(foreign.state, _PROJECTION, TITLE)
    mean = shape_of(foreign.state, "mapping.w_avg", TITLE)
    table = shape_of(foreign.state, "mapping.embed.weight", TITLE)
    return _Classes(
        n_classes=mean[0] if len(mean) > 1 else table[0],
        size=size,
        means=mean[0] if len(mean) > 1 else 1,
        weight_gain=foreign.attribute("mapping.embed_proj", "weight_gain", inputs**-0.5),
        bias_gain=foreign.attribute("mapping.embed_proj", "bias_gain", 1.0),
    )
