"""Backbones of timm: the loader of the families `timm`, `timm_in_order` and `dinov2_onnx`.

`card.options` are

    model         name of the architecture in timm, with or without the tag of its weights;
    create        keyword arguments for `timm.create_model`, such as num_classes or img_size;
    layers        module paths whose channels are units, or shown name → module path; without it
                  the architecture decides (`timm_layers`);
    ignore        beginnings of keys that a file may hold beyond the network's, such as "fc.";
    random_seed   the weights are random, drawn from this seed, and no file is needed.

Weights come with the call (read from a converted file), from timm's hub for cards whose source is
of kind timm, or are random on request; a network is never half loaded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from rosetta_ui.errors import BadRequestError, WeightsUnavailableError
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.checkpoints import read_content
from rosetta_ui.models.state_keys import check_state, fit_state, unwrap
from rosetta_ui.models.timm_cards import timm_facts, unknown_timm
from rosetta_ui.models.timm_hub import create_from_hub
from rosetta_ui.models.timm_layers import find_layers
from rosetta_ui.types import LayerSpec, ModelCard


# A network made in inference mode could never be differentiated through, and editing does.
@torch.inference_mode(False)
def load(card: ModelCard, tensors: Mapping[str, Tensor]) -> Backbone:
    """Build the network of a card, give it its weights and find its units.

    Args:
        card: see this module for its options.
        tensors: the whole state dict by timm's names; empty where the weights come from timm's hub
            or are random.

    Raises:
        UnknownModelError: timm has no such architecture.
        BadRequestError: it cannot be built with these options.
        WeightsUnavailableError: there are no weights, or they could not be downloaded.
        WeightsCorruptError: keys are missing or surplus, or shapes differ; names them.
        UnknownLayerError, NotSpatialError: a layer that the card names is no layer of maps.
    """
    if tensors:
        net = build(card)
        check_state(tensors, net.state_dict(), card.name)
        # Not strict: checked above, where only counters of training batches may be missing.
        net.load_state_dict(dict(tensors), strict=False)
    elif "random_seed" in card.options:
        net = build(card)
        if "random" not in card.title.lower():
            card = replace(card, title=f"{card.title} (random weights)")
    elif card.source is not None and card.source.kind == "timm":
        net = create_from_hub(card, create_options(card))
    else:
        raise WeightsUnavailableError(
            f"The weights of '{card.name}' are not here.",
            f"Add its file: python -m rosetta_ui zoo add {card.name} FILE",
        )
    return Backbone(card, net, layers_of(card, net))


def build(card: ModelCard) -> nn.Module:
    """The network of a card in eval mode, with random weights from `random_seed` (default 0).

    The global random state is left as it was.

    Raises:
        UnknownModelError: timm has no such architecture.
        BadRequestError: it cannot be built with these options.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(card.options.get("random_seed", 0)))
        return create(card)


def create(card: ModelCard) -> nn.Module:
    """`build` without a seed of its own."""
    name, options = str(card.options["model"]), create_options(card)
    try:
        return timm.create_model(name, pretrained=False, **options).eval()
    except (TypeError, ValueError, AssertionError) as error:
        given = ", ".join(f"{key}={value}" for key, value in options.items()) or "no options"
        raise BadRequestError(
            f"timm cannot build '{name}' with {given}: {error}.",
            "Correct the card's image size or its options 'create'.",
        ) from error


def create_options(card: ModelCard) -> dict[str, Any]:
    """Keyword arguments for `timm.create_model`; the card's image size where it is built in.

    Raises:
        UnknownModelError: timm has no such architecture.
    """
    name = str(card.options["model"])
    facts = timm_facts(name)
    if facts is None:
        raise unknown_timm(name)
    options: dict[str, Any] = dict(card.options.get("create", {}))
    size = tuple(card.image_size)
    if (
        facts.fixed_input_size
        and tuple(facts.input_size[-2:]) != size
        and "img_size" not in options
    ):
        options["img_size"] = size
    return options


@torch.inference_mode(False)
def layers_of(card: ModelCard, net: nn.Module | None = None) -> tuple[LayerSpec, ...]:
    """The layers of a card's network: as it names them, or as its architecture says.

    The dry run is made on a twin without memory (torch's meta device), so it takes a tenth of a
    second for the largest networks too.

    Args:
        card: see this module for its options.
        net: used where the architecture cannot run without memory; its parameters must require
            gradients.

    Raises:
        UnknownLayerError, NotSpatialError: a layer that the card names is no layer of maps.
    """
    names = card.options.get("layers", ())
    with torch.device("meta"):
        twin = build(card)
    try:
        return find_layers(twin, card.name, card.image_size, names)
    except RuntimeError:
        # Some operators have no implementation on the meta device; none of timm 1.0.31's 1,371
        # architectures needs one, a later timm may.
        if net is None:
            net = build(card)
        return find_layers(net, card.name, card.image_size, names)


def convert(
    files: Mapping[str, bytes], card: ModelCard
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Bring one published file to timm's names.

    Args:
        files: file name → content: `.pth`, `.pt`, `.bin` or `.safetensors`, by the key names of
            timm, torchvision, DINO or MAE.
        card: see this module for its options.

    Returns:
        The whole state dict in float32, and no facts.

    Raises:
        BadRequestError: there is not exactly one file.
        UnsafeFileError: it asks for something other than numbers.
        WeightsCorruptError: it is damaged, or keys are missing or surplus; names them.
    """
    if len(files) != 1:
        raise BadRequestError(f"'{card.name}' is one file, but {len(files)} were given.")
    ((name, content),) = files.items()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (Path(name).name or "weights")
        path.write_bytes(content)
        return convert_state(read_content(path), card, path.name), {}


def convert_state(content: Any, card: ModelCard, name: str) -> dict[str, Tensor]:
    """`convert` for what the safe reader found in a file.

    Args:
        content: a state dict, or a mapping that holds one.
        card: see this module for its options.
        name: of the file, for errors.

    Raises:
        WeightsCorruptError: there is no state dict, or keys are missing or surplus; names them.
    """
    with torch.device("meta"):
        net = build(card)
    return fit_state(unwrap(content, name), net, name, tuple(card.options.get("ignore", ())))
