"""The numbers of edits: fidelity, held-out partners, realism. Called through `dispatch`.

What they stand on (partners, natural features) is kept in the cache, or comes with the project for
the embedded generators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Generator as Generator_
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.editing.judge import asked, judge_cosine, patch_features
from rosetta_ui.editing.latents import Prior
from rosetta_ui.editing.naturalness import Realism
from rosetta_ui.editing.partners import Partners, partner_corr
from rosetta_ui.editing.setup import usual_units
from rosetta_ui.editing.yardstick import natural_features, realism
from rosetta_ui.edits import Edit, EditNumbers, PictureState
from rosetta_ui.engine.editing_work import cancel_check, edit_key, edit_setup
from rosetta_ui.engine.requests import model_key
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import StoreError
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator
from rosetta_ui.settings import PROJECT
from rosetta_ui.store.files import map_npy

JUDGE = "dinov2-s"
BUNDLED_YARDSTICKS = PROJECT / "assets" / "yardsticks"
"""Natural features of the embedded generators: 640 pictures of the slow one take ten minutes."""

Check = Callable[[], None]
NAN = float("nan")


def run(bench: Workbench, values: Mapping[str, Any]) -> Iterator[EditNumbers | int]:
    """The task `edit-numbers` of `dispatch`: judges one edit.

    Args:
        bench: has the models; the caller holds the device's lock.
        values: `before` and `after` (states, the second one edit further), `job`.

    Yields:
        Numbers as far as they are known: fidelity, then partners, then realism; between them, how
        many natural pictures have been looked at, so that the device can be given to others.
    """
    before, after = values["before"], values["after"]
    check = cancel_check(bench, values)
    step = after.steps[-1]
    jury = Jury.of(bench, after.generator)
    with torch.inference_mode():
        images = [jury.draw(state) for state in (before, after)]
        source = None if step.source is None else jury.draw(step.source)
        check()
        seen = [patch_features(jury.judge, image) for image in images]
        other = None if source is None else patch_features(jury.judge, source)
        was = float(judge_cosine(seen[0], seen[0], step.edits, other)[0])
        now = float(judge_cosine(seen[0], seen[1], step.edits, other)[0])
    numbers = EditNumbers(was, now, NAN, NAN, NAN, NAN, JUDGE)
    yield numbers
    if not math.isnan(now):
        partners = yield from partners_of(bench, jury, after, check)
        moved = jury.partner_corr(partners, images[0], images[1], step.edits, source)
        numbers = replace(numbers, partner_corr=float(moved[0]))
        yield numbers
    yardstick = yield from realism_of(bench, jury.generator, after, check)
    yield with_realism(numbers, yardstick, after, seen[1])


@dataclass(frozen=True)
class Jury:
    """A generator and the backbone that judges its edits."""

    generator: Generator
    judge: Backbone

    @classmethod
    def of(cls, bench: Workbench, generator: str) -> Jury:
        """Load both."""
        return cls(bench.models.generator(generator), bench.models.backbone(JUDGE))

    def draw(self, state: PictureState) -> Tensor:
        """The full picture of a state: [1, 3, H, W]."""
        return self.generator.synthesise(state.latents)

    def partner_corr(
        self,
        partners: Partners,
        before: Tensor,
        after: Tensor,
        edits: tuple[Edit, ...],
        source: Tensor | None = None,
    ) -> Tensor:
        """`partner_corr` of edited pictures: [n], NaN where an edit moves nothing.

        Args:
            partners: of the judge.
            before: [n, 3, H, W].
            after: likewise.
            edits: what was asked.
            source: pictures that a `Paste` copies from.
        """
        with torch.inference_mode():
            maps = partners.maps(self.judge, before)
            other = None if source is None else partners.maps(self.judge, source)
            wanted = {
                name: asked(each, edits, None if other is None else other[name])
                for name, each in maps.items()
            }
            known = {name: found for name, found in wanted.items() if found is not None}
            if not known:
                return torch.full((len(before),), NAN)
            return partner_corr(known, partners.maps(self.judge, after))


def with_realism(
    numbers: EditNumbers, yardstick: Realism, state: PictureState, features: Tensor
) -> EditNumbers:
    """Numbers with how natural a state is.

    Args:
        numbers: of its last edit.
        yardstick: of its generator and space.
        state: its latents are measured.
        features: [1, c, h, w] of its picture, from `patch_features`.
    """
    with torch.inference_mode():
        latents = torch.from_numpy(state.latents.values).to(features.device)
        pooled = features.mean((-2, -1))
        percentile = float(yardstick.percentile(latents, pooled)[0])
        latent, picture = (100 * float(part[0]) for part in yardstick.parts(latents, pooled))
    return replace(
        numbers,
        realism_percentile=percentile,
        latent_percentile=latent,
        picture_percentile=picture,
    )


def partners_of(
    bench: Workbench, jury: Jury, state: PictureState, check: Check
) -> Generator_[int, None, Partners]:
    """The judge's partners of a state's generator, ψ and class, from the cache or found now.

    Yields:
        How many pictures have been looked at.
    """
    judge = model_key(jury.judge.card, bench.weights)
    key = edit_key(bench, jury.generator, state, "edit-partners", judge=judge)
    kept = bench.store.get(key)
    if kept is not None:
        return Partners.from_arrays(kept)
    setup = edit_setup(bench, jury.generator, state, check)
    found = yield from Partners.find(
        jury.generator,
        jury.judge,
        setup,
        usual_units(jury.generator.layers),
        state.psi,
        state.class_index,
    )
    bench.store.put(key, found.arrays(), "edit-partners")
    return found


def realism_of(
    bench: Workbench, generator: Generator, state: PictureState, check: Check
) -> Generator_[int, None, Realism]:
    """The yardstick for a state's generator, ψ, class and space.

    Yields:
        How many natural pictures are done, where they must be looked at first.
    """
    features = yield from _features(bench, generator, state)
    setup = edit_setup(bench, generator, state, check)
    space = state.latents.space
    prior = setup.prior
    if space == "z" and generator.n_ws:
        prior = Prior.standard(generator.card.latent_size).to(generator.device)
    return realism(generator, prior, features, space, state.psi, state.class_index)


def features_key(bench: Workbench, generator: Generator, state: PictureState) -> str:
    """The key of a generator's natural features: names the file of those that are bundled."""
    judge = model_key(bench.registry.card(JUDGE, "backbone"), bench.weights)
    return edit_key(bench, generator, state, "natural-features", judge=judge)


def features_known(bench: Workbench, generator: Generator, state: PictureState) -> bool:
    """Whether natural features are kept or bundled, so that realism takes no picture."""
    key = features_key(bench, generator, state)
    return bundled_features(key) is not None or bench.store.get(key) is not None


def _features(
    bench: Workbench, generator: Generator, state: PictureState
) -> Generator_[int, None, NDArray[np.float32]]:
    key = features_key(bench, generator, state)
    kept = bench.store.get(key)
    if kept is not None:
        return np.asarray(kept[""], np.float32)
    bundled = bundled_features(key)
    if bundled is not None:
        return bundled
    judge = bench.models.backbone(JUDGE)
    made = yield from natural_features(generator, judge, state.psi, state.class_index)
    bench.store.put(key, {"": made}, "natural-features")
    return made


def bundled_features(key: str) -> NDArray[np.float32] | None:
    """Natural features that come with the project, or None."""
    path: Path = BUNDLED_YARDSTICKS / f"{key}.npy"
    if not path.is_file():
        return None
    try:
        return np.asarray(map_npy(path), np.float32)
    except StoreError:
        return None
