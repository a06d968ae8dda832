"""Adding a model from a file that a person has: brought here, read without running it, kept.

`add_model` is the whole of it, for the command line and the page alike. Names, addresses and
digests are dealt with here; what is inside a file is `added_files`' matter, and torch is imported
only for that.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from rosetta_ui.errors import (
    BadRequestError,
    UnsafeFileError,
    WeightsCorruptError,
    WeightsUnavailableError,
)
from rosetta_ui.models.added_cards import new_backbone
from rosetta_ui.models.cards_published_backbones import PUBLISHED_BACKBONES
from rosetta_ui.models.cards_published_generators import PUBLISHED_GENERATORS
from rosetta_ui.models.disk import digest_of
from rosetta_ui.models.fetching import (
    CancelCheck,
    Progress,
    never_cancel,
    no_progress,
    wrong_digest,
)
from rosetta_ui.models.registry import FAMILIES, Registry
from rosetta_ui.models.timm_cards import card_by_rule
from rosetta_ui.models.web_downloads import download, is_address
from rosetta_ui.models.weights import WeightStore, fetch_command, folder_name
from rosetta_ui.types import AddRequest, ModelCard, WeightSource

_PUBLISHED = {card.name: card for card in (*PUBLISHED_GENERATORS, *PUBLISHED_BACKBONES)}
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_RANDOM = re.compile(r"\.random\d*$")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BIGGAN_WEIGHTS, _BIGGAN_CONFIG = "pytorch_model.bin", "config.json"


def check_request(store: WeightStore, registry: Registry, request: AddRequest) -> None:
    """Refuse what cannot be added whatever the file holds; cheap, reads no file.

    Raises:
        BadRequestError: the name is not spelled like one or is taken, or a value is missing or
            malformed.
    """
    name = request.name
    if not _NAME.fullmatch(name):
        raise BadRequestError(
            f"'{name[:64]}' is no name for a model.",
            "Use up to 64 lower case letters, digits, '-', '_' and '.', with a letter or digit at "
            "either end.",
        )
    if _RANDOM.search(name):
        raise BadRequestError(
            f"'{name}' is how a network with random weights is called.", "Choose another name."
        )
    if not request.file.strip():
        raise BadRequestError("No file was given.", "Give the path or the address of one.")
    if request.sha256 and not _SHA256.fullmatch(request.sha256.lower()):
        raise BadRequestError(
            f"'{request.sha256[:80]}' is no SHA-256 digest.", "Give its 64 hexadecimal digits."
        )
    if name in _PUBLISHED and request.backbone:
        raise BadRequestError(
            f"'{name}' is known already: {_PUBLISHED[name].title}.",
            "Leave --backbone out, or choose another name.",
        )
    _refuse_taken(store, registry, request)


def _refuse_taken(store: WeightStore, registry: Registry, request: AddRequest) -> None:
    name = request.name
    if (store.added / folder_name(name) / "card.json").is_file():
        if not request.replace:
            raise BadRequestError(
                f"A model '{name}' has been added already.",
                "Choose another name, or replace that one with --replace.",
            )
    elif name in registry.names() and name not in _PUBLISHED:
        embedded = registry.card(name).embedded
        hint = f" Its weights come with: {fetch_command(name)}" if embedded else ""
        raise BadRequestError(
            f"There is a model '{name}' already, which takes no file.",
            f"Choose another name.{hint}",
        )


def add_model(
    store: WeightStore,
    registry: Registry,
    request: AddRequest,
    on_progress: Progress | None = None,
    cancel: CancelCheck | None = None,
) -> ModelCard:
    """Bring a model's file here, convert it once and make the model known.

    Nothing inside the file is run. A published name keeps its card (licence, terms, default ψ …),
    with the shape that the file has; a new name gets a card of its own.

    Args:
        store: keeps the converted weights and the card.
        registry: told of the card.
        request: what to add.
        on_progress: gets bytes done, bytes in all, and words.
        cancel: called often; raises `Cancelled` to stop. What has been downloaded is kept.

    Returns:
        The card, as it was kept.

    Raises:
        BadRequestError: the name or a value cannot be used, or the file holds another kind of model
            than the name stands for.
        UnknownModelError: `request.backbone` is no architecture.
        UnsafeFileError: the file asks for more than numbers; nothing of it was run.
        WeightsCorruptError: it is damaged, of another digest, or lacks entries.
        WeightsUnavailableError: it cannot be downloaded.
        StoreError: the folder cannot be written or the disk is full.
    """
    report, check = on_progress or no_progress, cancel or never_cancel
    check_request(store, registry, request)
    base = _base(registry, request)
    carrier = _Carrier(store, report, check)
    path = carrier.bring(request.file, request.sha256.lower() or _known_digest(base))
    size, digest = path.stat().st_size, digest_of(path)
    check()
    report(size, size, f"Reading {path.name}")
    from rosetta_ui.models import added_files  # needs torch

    try:
        content = added_files.read(path, base, request.name)
    except (UnsafeFileError, WeightsCorruptError):
        # A server may have sent a page in the file's place: the next attempt must fetch it again.
        carrier.forget()
        raise
    config = carrier.config_of(request, path) if content.family == "biggan" else None
    check()
    report(size, size, f"Converting {path.name}")
    found = added_files.convert(content, base, request.name, config)
    source = WeightSource(
        kind="file", filename=path.name, origin=_origin(request.file), sha256=digest, size=size
    )
    card = replace(found.card, source=source)
    check()
    report(size, size, f"Writing {card.title}")
    store.add(card, found.tensors, found.facts, digest)
    carrier.forget()
    registry.add(card)
    report(size, size, f"{card.title} is ready")
    return card


def _known_digest(base: ModelCard | None) -> str:
    return base.source.sha256 if base is not None and base.source is not None else ""


def _base(registry: Registry, request: AddRequest) -> ModelCard | None:
    """The card that the name or the architecture gives; None for a new generator."""
    if request.name in _PUBLISHED:
        return _PUBLISHED[request.name]
    if not request.backbone:
        return card_by_rule(request.name, lambda _name: None)  # a name of timm's
    like = registry.card(request.backbone, "backbone")
    if like.family not in FAMILIES or FAMILIES[like.family].load != FAMILIES["timm"].load:
        raise BadRequestError(
            f"'{like.name}' is no architecture of timm's, so no file can be read as one.",
            "Give a name of timm's, such as --backbone resnet50.",
        )
    return new_backbone(request.name, like)


def _origin(file: str) -> str:
    """Where a file came from: an address without what may be secret in it, no path."""
    if not is_address(file):
        return "a file on this machine"
    parts = urlsplit(file)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


class _Carrier:
    """Brings files here, from this machine or from an address, and removes what it fetched."""

    def __init__(self, store: WeightStore, report: Progress, check: CancelCheck) -> None:
        self._downloads = store.downloads
        self._report, self._check = report, check
        self._folders: list[Path] = []

    def bring(self, file: str, sha256: str = "") -> Path:
        """A file on this machine, of the expected digest where one is given.

        Raises:
            BadRequestError: there is no such file, or the address is none.
            WeightsCorruptError: its digest is another one.
            WeightsUnavailableError: it cannot be downloaded; what has arrived is kept.
        """
        if is_address(file):
            # A folder of its own: two addresses may end in the same name.
            key = hashlib.sha256(file.encode()).hexdigest()[:16]
            self._folders.append(self._downloads / f"added-{key}")
            try:
                return download(file, self._folders[-1], self._report, self._check, sha256=sha256)
            except WeightsCorruptError:
                self.forget()
                raise
        path = Path(file).expanduser()
        if not path.is_file():
            raise BadRequestError(
                f"There is no file '{path}'.", "Give the path or the address of one."
            )
        if sha256 and (found := digest_of(path)) != sha256:
            raise wrong_digest(path.name, sha256, found)
        return path

    def config_of(self, request: AddRequest, path: Path) -> Path | None:
        """BigGAN's config.json: the one that was named, else the one beside the file."""
        if request.config:
            return self.bring(request.config)
        if not is_address(request.file):
            return _config_beside(path)
        if not path.name.endswith(_BIGGAN_WEIGHTS):
            return None
        name = path.name.removesuffix(_BIGGAN_WEIGHTS) + _BIGGAN_CONFIG
        parts = urlsplit(request.file)
        folder = parts.path.removesuffix(path.name)
        try:
            return self.bring(parts._replace(path=f"{folder}{name}").geturl())
        except WeightsUnavailableError:
            # The published three have known shapes; of any other the converter asks for it.
            self._report(0, 0, f"There is no {name} beside it")
            return None

    def forget(self) -> None:
        """Remove what was downloaded: once converted, or where it is no model at all."""
        for folder in self._folders:
            if folder.is_dir():
                shutil.rmtree(folder)
        self._folders.clear()


def _config_beside(path: Path) -> Path | None:
    """BigGAN's config in a file's folder: of its own name, the plain one, or the only one."""
    named = path.with_name(path.name.removesuffix(_BIGGAN_WEIGHTS) + _BIGGAN_CONFIG)
    for config in (named, path.with_name(_BIGGAN_CONFIG)):
        if config.is_file():
            return config
    others = sorted(path.parent.glob(f"*{_BIGGAN_CONFIG}"))
    return others[0] if len(others) == 1 else None
