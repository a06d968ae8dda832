"""Models of one's own from any network, for a file that `--models` names.

    @register(own_card("my-gan", "generator", latent_size=8, image_size=(32, 32)))
    def my_gan(card, tensors):
        return generator_from(card, MyNetwork(), ["up1", "up2"])

Layers are named by their module's path; one run of the network tells their sizes. Whoever needs
more (a w space, other maps) derives from `Generator` or `Backbone` instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rosetta_ui.errors import BadRequestError, NotSpatialError, UnknownLayerError
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.timm_layers import find_layers
from rosetta_ui.types import LayerSpec, ModelCard, Role, Space


def own_card(name: str, role: Role, **facts: Any) -> ModelCard:
    """A card with plain words wherever nothing is said.

    Args:
        name: of the model.
        role: generator or backbone.
        **facts: fields of `ModelCard`: latent_size and image_size of a generator, image_size, mean
            and std of a backbone's input, n_classes, licence …
    """
    card = ModelCard(
        name=name,
        role=role,
        family="own",
        title=name,
        about="A model of one's own.",
        licence="not stated",
        terms="As the person who registered it says.",
        spaces=("z",) if role == "generator" else (),
        verified=False,
    )
    return replace(card, **facts)


def generator_from(
    card: ModelCard, net: nn.Module, layers: Sequence[str] | Mapping[str, str]
) -> Generator:
    """A generator from a network that draws [n, 3, H, W] in [-1, 1] of z [n, latent_size].

    With classes on its card the network is called with (z, class numbers int64 [n]).

    Args:
        card: with latent_size and image_size.
        net: the network.
        layers: module paths whose channels are units, or shown name → module path.

    Raises:
        UnknownLayerError: the network has no such module, or it did not run.
        NotSpatialError: a layer's output is no [n, channels, height, width].
        BadRequestError: the pictures are of another size than the card says.
    """
    return _OwnGenerator(card, net, layers)


def backbone_from(
    card: ModelCard, net: nn.Module, layers: Sequence[str] | Mapping[str, str] = ()
) -> Backbone:
    """A backbone from a network that takes [n, 3, H, W], resized and normalised as its card says.

    Args:
        card: with image_size, mean and std.
        net: the network.
        layers: module paths whose channels are units, or shown name → module path; without them
            the architecture decides, as for timm's models.

    Raises:
        UnknownLayerError: the network has no such module, or it did not run.
        NotSpatialError: a layer's output is no map over positions.
    """
    # The search reads the graph that autograd makes; `Backbone` freezes the weights afterwards.
    net = net.eval().requires_grad_(True)
    return Backbone(card, net, find_layers(net, card.name, card.image_size, layers))


class _OwnGenerator(Generator):
    def __init__(
        self, card: ModelCard, net: nn.Module, layers: Sequence[str] | Mapping[str, str]
    ) -> None:
        super().__init__(card, net)
        paths = layers if isinstance(layers, Mapping) else {name: name for name in layers}
        outputs, images = self._run_once(list(paths.values()))
        if tuple(images.shape) != (1, 3, *card.image_size):
            drawn = "×".join(map(str, images.shape[1:]))
            wanted = "×".join(map(str, (3, *card.image_size)))
            raise BadRequestError(
                f"'{card.name}' draws {drawn}, but its card says {wanted}.",
                "Correct image_size on its card.",
            )
        self.layers = tuple(self._spec(name, path, outputs) for name, path in paths.items())

    def _run_once(self, paths: list[str]) -> tuple[dict[str, Any], Tensor]:
        modules = dict(self.net.named_modules())
        if missing := [path for path in paths if path not in modules]:
            raise UnknownLayerError(missing[0], self.card.name, [name for name in modules if name])
        outputs: dict[str, Any] = {}
        handles = [
            modules[path].register_forward_hook(
                lambda _module, _inputs, output, path=path: outputs.__setitem__(path, output)
            )
            for path in paths
        ]
        z = torch.zeros(1, self.card.latent_size, device=self.device)
        try:
            with torch.inference_mode():
                images = self.synthesise_from(z, "z")
        finally:
            for handle in handles:
                handle.remove()
        return outputs, images

    def _spec(self, name: str, path: str, outputs: Mapping[str, Any]) -> LayerSpec:
        output = outputs.get(path)
        if output is None:
            raise UnknownLayerError(path, self.card.name, outputs)
        shape = tuple(output.shape) if isinstance(output, Tensor) else ()
        if len(shape) != 4 or shape[2] * shape[3] < 2:
            told = "×".join(map(str, shape)) or type(output).__name__
            raise NotSpatialError(
                f"Layer '{path}' of {self.card.name} gave {told}, which is no map over positions.",
                "Name another layer.",
            )
        module = "" if name == path else path
        return LayerSpec(self.card.name, name, shape[1], (shape[2], shape[3]), module=module)

    def synthesise_from(
        self, values: Tensor, space: Space, *, class_index: int | None = None, psi: float = 1.0
    ) -> Tensor:
        """Draw images from z [n, latent].

        Raises:
            BadRequestError: another space, a class out of range, or a truncation.
        """
        index = self.check_class(class_index)
        if space != "z":
            raise BadRequestError(f"'{self.card.name}' has no {space} space.", "Use z.")
        if psi != 1:
            raise BadRequestError(
                f"'{self.card.name}' has no mean latent to truncate towards, but ψ is {psi}.",
                "Leave ψ at 1.",
            )
        if index is None:
            return self.net(values)
        classes = torch.full((len(values),), index, dtype=torch.int64, device=values.device)
        return self.net(values, classes)
