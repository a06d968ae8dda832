"""Which plots there are: their titles, what a person chooses in them, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PlotRequest:
    """Which plot of a result.

    Attributes:
        name: a key of `PLOTS`.
        model: which backbone or model, where a plot shows one; empty takes the first.
        layers: (layer of the anchor, layer of the backbone) to see unit by unit, or empty texts.
    """

    name: str
    model: str = ""
    layers: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Told:
    """What is said about a plot.

    Attributes:
        title: for people.
        of: what a person chooses in it: backbone, model, or an empty text for nothing.
        read: one sentence or two that say how to read it.
    """

    title: str
    of: str
    read: str


PLOTS: Mapping[str, Told] = {
    "layers": Told(
        "Layer by layer",
        "backbone",
        "The brighter a cell, the better the generator's layer (rows) is found in the backbone's "
        "layer (columns). Click one to see its units.",
    ),
    "scores": Told(
        "Score and chance",
        "",
        "Each point is a Rosetta Neuron: the further it lies above the line, the further its "
        "weakest score is above what shuffled images give. Click one to select it.",
    ),
    "nulls": Told(
        "Real and shuffled",
        "backbone",
        "Right of the threshold only few of the shuffled matches are left: what lies there is "
        "more than chance. Click a bar for the best neuron in it.",
    ),
    "depth": Told(
        "Score by depth",
        "backbone",
        "How well units of early (left) and late (right) layers are matched: the point is the "
        "median, the bar the middle half. Click a point for that layer's strongest neuron.",
    ),
    "where": Told(
        "Where they are",
        "model",
        "How many Rosetta Neurons have their unit in each layer of this model. Click a bar for "
        "the best of them.",
    ),
    "models": Told(
        "Model by model",
        "",
        "Best buddies of every two models: units that are each other's best match. Click a cell "
        "to see that backbone.",
    ),
    "convergence": Told(
        "Enough images?",
        "",
        "How many pairs are found after some of the images: where the lines are level, more "
        "images would change little.",
    ),
    "mean": Told(
        "Means",
        "model",
        "The units' mean activations over all images and positions. Click a bar for the best "
        "neuron in it.",
    ),
    "deviation": Told(
        "Deviations",
        "model",
        "How much the units' activations vary over images and positions; dead units are left "
        "out. Click a bar for the best neuron in it.",
    ),
    "selectivity": Told(
        "Selectivity",
        "model",
        "Excess kurtosis: a unit far to the right fires rarely and strongly. If Rosetta Neurons "
        "lie right of the others, they are the more selective ones. Click a bar for the best.",
    ),
}
