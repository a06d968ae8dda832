"""A published generator as it came out of a file: numbers and plain settings, nothing to run.

The safe reader (`rosetta_ui.models.checkpoints`) makes a `ForeignGenerator` of a person's file; the
`convert_state` of a family turns it into the tensors and facts that its `load` takes. This module
knows neither side: only what passes between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rosetta_ui.errors import BadRequestError, WeightsCorruptError
from rosetta_ui.types import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

CARD_FACTS = ("image_size", "latent_size", "n_classes", "spaces", "units")
"""The facts that every `convert_state` gives and that overrule a card: a file knows its shape."""


@dataclass(frozen=True)
class ForeignGenerator:
    """One generator with its published key names.

    Attributes:
        state: the published state dict, buffers included. Of a rosinality `.pt`, the content of
            `g_ema` plus the entry `latent_avg` where the file has one; of an official `.pkl`, the
            parameters and buffers of `G_ema`; of BigGAN's `.bin`, the file's own state dict.
        attributes: module path → that module's plain attributes, "" being the generator itself
            (`c_dim`, `z_dim`, `img_resolution`, …) and for instance `synthesis.L3_52_64` giving
            `up_factor`, `down_factor`, `padding`, `conv_kernel`, `conv_clamp`, `is_torgb`,
            `in_size`, `out_size`, `in_sampling_rate`, `out_sampling_rate`. Values are None, bool,
            int, float, str and lists or string-keyed mappings of these; small arrays are lists,
            numpy scalars are Python numbers. Where a file has no such record (`.pt`,
            `.safetensors`) the mapping is empty and shapes alone decide. The content of BigGAN's
            `config.json` is the entry "".
    """

    state: Mapping[str, Tensor]
    attributes: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )

    def attribute(self, module: str, name: str, default: Any = None) -> Any:
        """One plain attribute of one module, or the default where the file has none."""
        return self.attributes.get(module, {}).get(name, default)


def guess_family(keys: Iterable[str]) -> str:
    """The family (of `registry.FAMILIES`) whose published files have such keys.

    Args:
        keys: of a state dict.

    Raises:
        BadRequestError: no generator that this project knows has such keys.
    """
    names = set(keys)
    if {"style.1.weight", "input.input"} <= names or "synthesis.b4.const" in names:
        return "stylegan2"
    if "synthesis.input.freqs" in names:
        # XL embeds its classes by a table whatever c_dim is; StyleGAN3 by a linear layer with bias.
        table = "mapping.embed.weight" in names and "mapping.embed.bias" not in names
        return "styleganxl" if table else "stylegan3"
    if {"embeddings.weight", "generator.gen_z.weight_orig"} <= names:
        return "biggan"
    if any(name.startswith("synthesis.init.init.") for name in names):
        return "fastgan"
    some = ", ".join(sorted(names)[:3]) or "none"
    raise BadRequestError(
        f"The file holds no generator of a known family; its first entries are {some}.",
        "Known are StyleGAN2, StyleGAN3, StyleGAN-XL, BigGAN-deep and FastGAN.",
    )


def take(state: Mapping[str, Tensor], keys: Sequence[str], title: str) -> None:
    """Check that a state dict has exactly these keys.

    Raises:
        WeightsCorruptError: some are missing or there are others; up to five of each are named.
    """
    missing = [key for key in keys if key not in state]
    expected = set(keys)
    surplus = [key for key in state if key not in expected]
    if not missing and not surplus:
        return
    parts = [f"lacks {_some(missing)}"] if missing else []
    parts += [f"has unknown entries {_some(surplus)}"] if surplus else []
    raise WeightsCorruptError(
        f"The file is not the {title} that its first entries promise: it {' and '.join(parts)}.",
        "Use the file as it was published.",
    )


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return ", ".join(keys[:5]) + more


def corrected_card(card: ModelCard, facts: Mapping[str, Any]) -> ModelCard:
    """The card with the shape that the file has: resolution and sizes never come from a name.

    Args:
        card: as the catalogue or a person wrote it.
        facts: of `convert_state`, or a card's options after they were merged in.
    """
    known = {key: facts[key] for key in CARD_FACTS if key in facts}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in known.items()}
    return replace(card, options={**card.options, **facts}, **values)
