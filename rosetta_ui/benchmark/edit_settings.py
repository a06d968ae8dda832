"""Which edits `bench edit` makes, and how: one line a setting, so that another is one line more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rosetta_ui.editing.setup import usual_settings
from rosetta_ui.edits import Edit, EditSettings, Shift, Zoom
from rosetta_ui.types import ModelCard, Space

EDITS: Mapping[str, Sequence[Edit]] = {
    "dcgan-digiface": (Shift(0.12), Zoom(1.25)),
    "mobilestylegan": (Zoom(1.25), Shift(0.06), Shift(0.10)),
}
SEEDS = {"dcgan-digiface": 24, "mobilestylegan": 8}
QUICK_SEEDS = {"dcgan-digiface": 6, "mobilestylegan": 1}


@dataclass(frozen=True)
class Setting:
    """One way to try.

    Attributes:
        name: in the table.
        layers: whose units are moved; empty takes what is usual.
        changes: what differs from the generator's usual settings.
        published: z that may leave its shell, targets without a mask, and the time of `usual`.
        quick: also measured with `--quick`.
    """

    name: str
    layers: tuple[str, ...] = ()
    changes: Mapping[str, float | str] | None = None
    published: bool = False
    quick: bool = False

    def settings(self, card: ModelCard, edit: Edit) -> EditSettings:
        """What the optimiser gets for an edit of a generator."""
        if self.published:
            space: Space = "z"
            return EditSettings(space, PUBLISHED_STEPS, PUBLISHED_RATE, patience=0)
        return replace(usual_settings(card, (edit,)), **dict(self.changes or {}))


PUBLISHED_RATE = 0.001
PUBLISHED_STEPS = 500
PUBLISHED_ZOOM_PULL = 10.0

FIRST = (Setting("usual", quick=True), Setting("published, equal time", published=True, quick=True))
"""`usual` comes first: it says how much time the published settings get."""

SETTINGS: Mapping[str, Sequence[Setting]] = {
    "dcgan-digiface": (
        *FIRST,
        Setting("16 px", ("main.8",)),
        Setting("32 px", ("main.11",)),
        Setting("8 to 32 px", ("main.5", "main.8", "main.11"), quick=True),
        Setting("no colours", changes={"colours": 0.0}, quick=True),
        Setting("colours 3", changes={"colours": 3.0}),
        Setting("band 2", changes={"band": 2.0}),
        Setting("band 4", changes={"band": 4.0}),
        Setting("rate 0.05", changes={"learning_rate": 0.05}),
        Setting("rate 0.3", changes={"learning_rate": 0.3}),
        Setting("40 steps", changes={"steps": 40}),
        Setting("4 small steps", changes={"stages": 4}),
        Setting("4 restarts", changes={"restarts": 4}, quick=True),
        Setting("4 restarts, 512 natural", changes={"restarts": 4, "natural": 512}),
    ),
    "mobilestylegan": (
        *FIRST,
        Setting("pull 0.2", changes={"pull": 0.2}),
        Setting("no colours", changes={"colours": 0.0}, quick=True),
        Setting("no colours, pull 0.1", changes={"colours": 0.0, "pull": 0.1}),
        Setting("early rows first", changes={"coarse_first": True, "colours": 0.0}),
    ),
}
