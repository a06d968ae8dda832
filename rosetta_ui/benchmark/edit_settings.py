"""Which edits `bench edit` makes, and how: one line a setting, so that another is one line more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rosetta_ui.editing.setup import latent_settings, usual_settings
from rosetta_ui.edits import Edit, EditSettings, Mirror, Shift, Zoom
from rosetta_ui.types import ModelCard, Space

EDITS: Mapping[str, Sequence[Edit]] = {
    "dcgan-digiface": (Shift(0.12), Zoom(1.25)),
    "mobilestylegan": (Zoom(1.25), Shift(0.06), Shift(0.10)),
}
MORE_EDITS: Sequence[Edit] = (Mirror(),)
"""Of every generator, in a whole run and with the first settings only."""

SEEDS = {"dcgan-digiface": 24, "mobilestylegan": 8}
QUICK_SEEDS = {"dcgan-digiface": 6, "mobilestylegan": 1}


@dataclass(frozen=True)
class Setting:
    """One way to try.

    Attributes:
        name: in the table.
        layers: whose units are moved; empty takes what is usual.
        changes: what differs from the settings of the generator's latent alone; None, with the
            usual layers, takes what is usual.
        published: z that may leave its shell, targets without a mask, and the time of `usual`.
        pixels: no generator at all: the picture's own pixels are moved. What it reaches is as much
            as the judge gives to a perfect edit, and how natural the picture is that was asked for.
        quick: also measured with `--quick`.
    """

    name: str
    layers: tuple[str, ...] = ()
    changes: Mapping[str, float | str] | None = None
    published: bool = False
    pixels: bool = False
    quick: bool = False

    def settings(self, card: ModelCard, edit: Edit) -> EditSettings:
        """What the optimiser gets for an edit of a generator."""
        if self.published:
            space: Space = "z"
            return EditSettings(space, PUBLISHED_STEPS, PUBLISHED_RATE, patience=0)
        if self.changes is None and not self.layers:
            return usual_settings(card, (edit,))
        changes = dict(self.changes or {})
        return replace(latent_settings(card, (edit,)), **changes)


PUBLISHED_RATE = 0.001
PUBLISHED_STEPS = 500
PUBLISHED_ZOOM_PULL = 10.0

LATENT = "latent alone"
FIRST = (
    Setting("usual", quick=True),
    Setting(LATENT, changes={}, quick=True),
    Setting("published, equal time", published=True, quick=True),
    Setting("pixels moved", pixels=True, quick=True),
)
"""The latent alone comes before the published settings: it says how much time they get."""

SETTINGS: Mapping[str, Sequence[Setting]] = {
    "dcgan-digiface": (
        *FIRST,
        Setting("early maps", changes={"early": True, "steps": 1}),
        Setting("early maps, then the latent", changes={"early": True}),
        Setting("8 to 32 px", ("main.5", "main.8", "main.11")),
        Setting("no colours", changes={"colours": 0.0}),
        Setting("band 4", changes={"band": 4.0}),
        Setting("4 small steps", changes={"stages": 4}),
        Setting("1 restart", changes={"restarts": 1}),
        Setting("4 restarts", changes={"restarts": 4}),
    ),
    "mobilestylegan": (
        *FIRST,
        Setting("early maps, then the latent", changes={"early": True}),
        Setting("early rows first", changes={"coarse_first": True, "colours": 0.0}),
    ),
}
