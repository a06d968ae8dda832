"""What `bench match` matches: networks of published shapes with random weights, and the zoo.

Time does not depend on the weights, so networks that have to be brought by hand are seeded noise of
the same shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from rosetta_ui.benchmark.random_generators import random_generator, stylegan2_shape
from rosetta_ui.errors import BadRequestError
from rosetta_ui.matching.sources import GeneratedImages, Maps
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.loading import load_backbone, load_generator
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.probing.taps import tap
from rosetta_ui.settings import Settings
from rosetta_ui.types import LayerSpec

EMBEDDED = ("dinov2-s", "efficientnet-lite0", "mobilenetv2", "thin-resnet50")


@dataclass(frozen=True)
class PlainRun:
    """How the published algorithm is run for one of a case's backbones.

    Attributes:
        backbone: name.
        layers: so many of its layers, spread evenly; 0 is all. Its correlation time then counts
            for all of them, as it is proportional to their units.
        times: backbones of the case that this one stands for.
    """

    backbone: str
    layers: int = 0
    times: int = 1


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        config: its name.
        generator: makes the generator.
        backbones: names.
        plain: runs of the published algorithm that together match the same.
        batch: images a forward pass, in both.
        published: also compare the published-compatible scores.
    """

    config: str
    generator: Callable[[], Generator]
    backbones: tuple[str, ...]
    plain: tuple[PlainRun, ...]
    batch: int = 4
    published: bool = False


def _stylegan2(side: int) -> Callable[[], Generator]:
    return lambda: random_generator("stylegan2", stylegan2_shape(side))


def _zoo(name: str) -> Callable[[], Generator]:
    return lambda: load_generator(*_registry_and(name))


_RESNETS = tuple(f"resnet50.random{i}" for i in range(3))
_VITS = tuple(f"dino_vitb16.random{i}" for i in range(2))

FULL = (
    Case(
        "dcgan-digiface × 4 embedded backbones",
        _zoo("dcgan-digiface"),
        EMBEDDED,
        tuple(PlainRun(name) for name in EMBEDDED),
        batch=8,
    ),
    Case(
        "StyleGAN2-256 × ResNet-50",
        _stylegan2(256),
        _RESNETS[:1],
        (PlainRun(_RESNETS[0]),),
        published=True,
    ),
    Case("StyleGAN2-256 × ViT-B", _stylegan2(256), _VITS[:1], (PlainRun(_VITS[0], layers=2),)),
    Case(
        "StyleGAN2-256 × 3 ResNet-50 + 2 ViT-B",
        _stylegan2(256),
        (*_RESNETS, *_VITS),
        (PlainRun(_RESNETS[0], times=3), PlainRun(_VITS[0], layers=2, times=2)),
    ),
)
QUICK = (
    FULL[0],
    Case(
        "StyleGAN2-256 × ResNet-50",
        _stylegan2(256),
        _RESNETS[:1],
        (PlainRun(_RESNETS[0]),),
        batch=1,
        published=True,
    ),
    Case(
        "StyleGAN2-256 × ViT-B",
        _stylegan2(256),
        _VITS[:1],
        (PlainRun(_VITS[0], layers=1),),
        batch=1,
    ),
)


class Networks:
    """A case's networks, loaded.

    Args:
        case: whose.

    Raises:
        BadRequestError: the case needs weights that are not here.
    """

    def __init__(self, case: Case) -> None:
        self.generator = case.generator()
        self.backbones = [load_backbone(*_registry_and(name)) for name in case.backbones]
        self._source = GeneratedImages(self.generator, seed=0)

    @property
    def layers(self) -> dict[str, Sequence[LayerSpec]]:
        """Model → layers."""
        layers: dict[str, Sequence[LayerSpec]] = {b.card.name: b.layers for b in self.backbones}
        return {self.generator.card.name: self.generator.layers, **layers}

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The generator with every backbone."""
        return [(self.generator.card.name, b.card.name) for b in self.backbones]

    def maps(self, images: range) -> Maps:
        """All maps of some images: one forward pass of every network."""
        drawn, maps = self._source.draw(images, _nobody_stops)
        for backbone in self.backbones:
            card = backbone.card
            prepared = backbone.normalise(drawn.resized(card.image_size, card.interpolation))
            with tap(backbone.net, backbone.layers, stop=True) as found:
                backbone.forward(prepared)
            maps[card.name] = found
        return maps

    def plain_maps(self, images: range, run: PlainRun) -> tuple[list[Tensor], list[Tensor]]:
        """What the published algorithm sees: lists of maps of the generator and one backbone."""
        drawn, maps = self._source.draw(images, _nobody_stops)
        backbone = self.backbone(run)
        card, chosen = backbone.card, chosen_layers(backbone.layers, run.layers)
        prepared = backbone.normalise(drawn.resized(card.image_size, card.interpolation))
        with tap(backbone.net, chosen) as found:
            backbone.forward(prepared)
        drawn_maps = maps[self.generator.card.name]
        return [drawn_maps[s.name] for s in self.generator.layers], [found[s.name] for s in chosen]

    def backbone(self, run: PlainRun) -> Backbone:
        """The backbone of a plain run."""
        return next(b for b in self.backbones if b.card.name == run.backbone)

    def share(self, run: PlainRun) -> float:
        """What a plain run's time has to be multiplied by to stand for all of its layers."""
        layers = self.backbone(run).layers
        chosen = chosen_layers(layers, run.layers)
        return sum(s.channels for s in layers) / sum(s.channels for s in chosen)


def chosen_layers(layers: Sequence[LayerSpec], count: int) -> list[LayerSpec]:
    """So many layers, spread evenly; 0 is all."""
    if not count:
        return list(layers)
    return [layers[i * len(layers) // count] for i in range(count)]


def missing_weights(case: Case) -> str:
    """The first model of a case whose weights are not here, or nothing."""
    registry, store = _zoo_of_this_machine()
    names = list(case.backbones) if case.backbones[0] in EMBEDDED else []
    if names:
        names.append(case.config.split(" ")[0])
    return next((n for n in names if store.state(registry.card(n)).state != "ready"), "")


def case_called(config: str, quick: bool) -> Case:
    """A case by its name.

    Raises:
        BadRequestError: there is none.
    """
    cases = QUICK if quick else FULL
    for case in cases:
        if case.config == config:
            return case
    raise BadRequestError(f"There is no case '{config}'.", f"Try {cases[0].config}.")


def _zoo_of_this_machine() -> tuple[Registry, WeightStore]:
    store = WeightStore(Settings.read().cache_dir)
    return build_registry(store.added), store


def _registry_and(name: str) -> tuple[Registry, str, WeightStore]:
    registry, store = _zoo_of_this_machine()
    return registry, name, store


def _nobody_stops() -> None:
    """A check that never ends the work."""
