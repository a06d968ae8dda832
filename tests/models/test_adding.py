"""Adding models from files and addresses: what is kept, what is said, what is refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from rosetta_ui.errors import (
    BadRequestError,
    Cancelled,
    UnknownModelError,
    UnsafeFileError,
    WeightsCorruptError,
    WeightsUnavailableError,
)
from rosetta_ui.models.added_files import _doubles_as_published
from rosetta_ui.models.adding import add_model, check_request
from rosetta_ui.models.cards_published_backbones import PUBLISHED_BACKBONES
from rosetta_ui.models.cards_published_generators import PUBLISHED_GENERATORS
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.loading import load_backbone, load_generator
from rosetta_ui.models.published_files import read_published
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.types import AddRequest, ModelCard
from tests.hostile.makers import CANARY, called
from tests.models.file_server import FileServer, serving

PROJECT = Path(__file__).resolve().parents[2]
VECTORS = PROJECT / "tests" / "vectors"
STYLEGAN3 = VECTORS / "stylegan3_r_a" / "official.pkl"
STYLEGAN2 = VECTORS / "stylegan2_rosinality_b" / "official.pt"
BIGGAN = VECTORS / "biggan_deep_b" / "official_pytorch_model.bin"
PUBLISHED = {card.name: card for card in (*PUBLISHED_GENERATORS, *PUBLISHED_BACKBONES)}
# A backbone of 0.3 M weights; timm has it for tests.
SMALL = "test_resnet"

Add = Callable[..., ModelCard]


@pytest.fixture
def store(tmp_path: Path) -> WeightStore:
    return WeightStore(tmp_path / "cache")


@pytest.fixture
def registry(store: WeightStore) -> Registry:
    return build_registry(store.added)


@pytest.fixture
def add(store: WeightStore, registry: Registry) -> Add:
    def call(name: str, file: Path | str, **values: Any) -> ModelCard:
        return add_model(store, registry, AddRequest(name, str(file), **values))

    return call


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as made:
        yield made


def small_net(**options: Any) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return timm.create_model(SMALL, pretrained=False, **options)


def saved(folder: Path, state: Any, name: str = "weights.pth") -> Path:
    torch.save(state, folder / name)
    return folder / name


def nothing_added(store: WeightStore) -> bool:
    return not list(store.added.glob("*/card.json"))


# Generators


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("stylegan3-afhq", "stylegan3_r_a"),
        ("stylegan3-ffhq", "stylegan3_t_b"),
        ("stylegan2-ffhq", "stylegan2_rosinality_b"),
        ("stylegan2-lsun_car", "stylegan2_ada_b"),
        ("styleganxl", "styleganxl_superres_b"),
        ("styleganxl", "styleganxl_stem_a"),
        ("biggan", "biggan_deep_b"),
    ],
)
def test_a_published_name_takes_its_shape_from_the_file_and_keeps_its_terms(
    name: str, folder: str, add: Add, store: WeightStore, registry: Registry
) -> None:
    (file,) = (path for path in (VECTORS / folder).glob("official*") if path.suffix != ".json")
    card = add(name, file)
    _, tensors, facts = read_published(file)
    published = PUBLISHED[name]
    assert (card.licence, card.terms, card.psi, card.paper) == (
        published.licence,
        published.terms,
        published.psi,
        published.paper,
    )
    assert list(card.image_size) == facts["image_size"]
    assert card.units == facts["units"]
    assert card.n_classes == facts["n_classes"]
    side = card.image_size[0]
    assert f"{side} px" in card.title
    assert f"{side} × {side}" in card.about
    assert store.state(card).state == "ready"
    kept = store.tensors(card)
    assert kept.keys() == tensors.keys()
    assert all(torch.equal(kept[key], tensor) for key, tensor in tensors.items())
    assert drawn(load_generator(registry, name, store)).shape == (2, 3, side, side)


def drawn(generator: Generator) -> Tensor:
    images = generator.synthesise(generator.sample([0, 1], seed=0))
    assert images.isfinite().all()
    return images


@pytest.mark.parametrize(
    ("folder", "family"),
    [
        ("stylegan3_r_a", "stylegan3"),
        ("stylegan2_ada_b", "stylegan2"),
        ("styleganxl_stem_a", "styleganxl"),
        ("biggan_deep_b", "biggan"),
    ],
)
def test_safetensors_with_published_keys_become_a_model_of_a_new_name(
    folder: str, family: str, add: Add, store: WeightStore, registry: Registry
) -> None:
    card = add("my-generator", VECTORS / folder / "state.safetensors")
    assert card.family == family
    assert card.licence == "unknown: see where the file came from"
    assert not card.verified
    assert card.title.startswith("my-generator (")
    assert drawn(load_generator(registry, "my-generator", store)).shape[2:] == card.image_size


def test_the_format_is_told_by_the_content_and_never_by_the_name(tmp_path: Path, add: Add) -> None:
    wrong = shutil.copy(STYLEGAN3, tmp_path / "weights.safetensors")
    assert add("one", wrong).family == "stylegan3"
    wrong = shutil.copy(STYLEGAN2, tmp_path / "biggan.pkl")
    assert add("two", wrong).family == "stylegan2"


def test_projgan_may_be_a_stylegan2(add: Add, store: WeightStore, registry: Registry) -> None:
    card = add("projgan", VECTORS / "stylegan2_ada_b" / "official.pkl")
    assert card.family == "stylegan2"
    assert card.terms == PUBLISHED["projgan"].terms
    drawn(load_generator(registry, "projgan", store))


@pytest.mark.parametrize("where", ["given", "beside", "config.json", "another-config.json"])
@pytest.mark.parametrize("name", ["my-pytorch_model.bin", "my.safetensors"])
def test_biggans_config_is_given_or_found_beside_the_file(
    where: str, name: str, tmp_path: Path, add: Add, store: WeightStore
) -> None:
    config = json.loads((BIGGAN.parent / "official_config.json").read_text())
    config["eps"] = 0.25
    source = BIGGAN if name.endswith(".bin") else BIGGAN.parent / "state.safetensors"
    file = shutil.copy(source, tmp_path / name)
    named = {"given": "other.json", "beside": "my-config.json"}.get(where, where)
    (tmp_path / named).write_text(json.dumps(config))
    given = {"config": str(tmp_path / named)} if where == "given" else {}
    assert store.facts(add("biggan", file, **given))["eps"] == 0.25


@pytest.mark.parametrize(("blocks", "published"), [(10, True), (12, True), (14, True), (8, False)])
def test_the_published_biggans_need_no_config(blocks: int, published: bool) -> None:
    facts = {"z_size": 128, "embed_size": 128, "n_classes": 1000, "n_stats": 51}
    assert _doubles_as_published({**facts, "blocks": [()] * blocks}) is published
    assert not _doubles_as_published({**facts, "n_classes": 20, "blocks": [()] * blocks})


def test_a_biggan_of_its_own_shape_is_not_guessed_without_its_config(
    tmp_path: Path, add: Add, store: WeightStore
) -> None:
    file = shutil.copy(BIGGAN, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadRequestError, match=r"its config\.json, which says where") as caught:
        add("biggan", file)
    assert "--config" in caught.value.hint
    assert nothing_added(store)
    for folder in ("a", "b"):
        (tmp_path / f"{folder}-config.json").write_text("{}")
    with pytest.raises(BadRequestError, match="is not beside it"):
        add("biggan", file)  # which of two would be a guess


# Backbones


@pytest.mark.parametrize("form", ["pth", "safetensors", "wrapped"])
def test_a_backbone_is_read_by_its_architecture(
    form: str, tmp_path: Path, add: Add, store: WeightStore, registry: Registry
) -> None:
    net = small_net().eval()
    state = net.state_dict()
    if form == "safetensors":
        file = tmp_path / "w.safetensors"
        save_file(state, file)
    elif form == "pth":
        file = saved(tmp_path, state)
    else:
        file = saved(tmp_path, {"epoch": 3, "model": {f"module.{k}": v for k, v in state.items()}})
    card = add("my-net", file, backbone=SMALL)
    assert card.licence == "unknown: see where the file came from"
    backbone = load_backbone(registry, "my-net", store)
    assert card.units == sum(layer.channels for layer in backbone.layers) > 0
    images = torch.randn(2, 3, *card.image_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(backbone.forward(images), net(images))


@pytest.mark.parametrize("options", [{"num_classes": 7}, {"num_classes": 0}])
def test_another_classifier_or_none_is_left_out_and_said(
    options: dict[str, int], tmp_path: Path, add: Add, store: WeightStore, registry: Registry
) -> None:
    file = saved(tmp_path, small_net(**options).state_dict())
    card = add("my-net", file, backbone=SMALL)
    assert "classifier is left out" in card.about
    load_backbone(registry, "my-net", store)


def test_a_name_of_timms_needs_no_architecture(
    tmp_path: Path, add: Add, store: WeightStore, registry: Registry
) -> None:
    card = add(SMALL, saved(tmp_path, small_net().state_dict()))
    assert (card.role, card.options["model"].partition(".")[0]) == ("backbone", SMALL)
    assert store.state(card).state == "ready"
    load_backbone(registry, SMALL, store)


def test_missing_and_surplus_entries_of_a_backbone_are_named(tmp_path: Path, add: Add) -> None:
    state = small_net().state_dict()
    first = next(iter(state))
    state["surplus.weight"] = state.pop(first)
    with pytest.raises(WeightsCorruptError, match=rf"lacks {first}.*unknown surplus\.weight"):
        add("x", saved(tmp_path, state), backbone=SMALL)


def test_an_unknown_architecture_lists_the_nearest(tmp_path: Path, add: Add) -> None:
    file = saved(tmp_path, small_net().state_dict())
    with pytest.raises(UnknownModelError) as caught:
        add("x", file, backbone="resnet5O")
    assert "resnet50" in caught.value.hint
    with pytest.raises(BadRequestError, match="no architecture of timm"):
        add("x", file, backbone="thin-resnet50")


# What a name stands for


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("dino", STYLEGAN2, "'dino' is a backbone, but 'official.pt' holds a StyleGAN2 generator."),
        ("dino", STYLEGAN3, "'dino' is a backbone, but 'official.pkl' holds a generator."),
        (
            "stylegan3-afhq",
            STYLEGAN2,
            "'stylegan3-afhq' is a StyleGAN3 generator, but 'official.pt' holds a StyleGAN2.",
        ),
        ("biggan", STYLEGAN3, "'biggan' is a BigGAN-deep generator, but"),
    ],
)
def test_a_file_of_another_kind_is_one_clear_sentence(
    name: str, file: Path, said: str, add: Add, store: WeightStore
) -> None:
    with pytest.raises(BadRequestError) as caught:
        add(name, file)
    assert caught.value.message.startswith(said)
    assert caught.value.hint == "Add it under a name of its own."
    assert nothing_added(store)


def test_a_backbones_file_where_a_generator_is_meant_says_what_to_type(
    tmp_path: Path, add: Add
) -> None:
    file = saved(tmp_path, small_net().state_dict())
    with pytest.raises(BadRequestError, match="'stylegan2-ffhq' is a generator, but the file"):
        add("stylegan2-ffhq", file)
    with pytest.raises(BadRequestError) as caught:
        add("my.own", file)
    assert "--backbone resnet50" in caught.value.hint


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "a\\b", "A", "x y", ".x", "x.", "-x", "a\n", "é", "a" * 65),
        *("<img onerror=alert(1)>", "${alert(1)}", "%2e%2e", "a:b"),
    ],
)
def test_a_name_that_could_be_a_path_or_markup_is_refused(
    name: str, add: Add, store: WeightStore
) -> None:
    with pytest.raises(BadRequestError, match="is no name for a model"):
        add(name, STYLEGAN3)
    assert nothing_added(store)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dcgan-digiface", "There is a model 'dcgan-digiface' already, which takes no file."),
        ("resnet50.random", "'resnet50.random' is how a network with random weights is called."),
        ("resnet50.random3", "'resnet50.random3' is how a network"),
    ],
)
def test_names_that_stand_for_something_else_are_refused(name: str, said: str, add: Add) -> None:
    with pytest.raises(BadRequestError) as caught:
        add(name, STYLEGAN3)
    assert caught.value.message.startswith(said)


def test_a_name_is_taken_once_and_replaced_on_request(
    add: Add, store: WeightStore, registry: Registry
) -> None:
    first = add("mine", STYLEGAN3)
    digest = store.digest(first)
    with pytest.raises(BadRequestError, match="'mine' has been added already"):
        add("mine", STYLEGAN2)
    assert store.digest(first) == digest
    second = add("mine", STYLEGAN2, replace=True)
    assert registry.card("mine") == second
    assert (second.family, second.image_size) == ("stylegan2", (32, 32))
    drawn(load_generator(registry, "mine", store))


def test_another_process_finds_what_was_added(
    add: Add, store: WeightStore, registry: Registry
) -> None:
    card = add("stylegan3-afhq", STYLEGAN3)
    again = build_registry(store.added)
    assert again.card("stylegan3-afhq") == card
    assert again.names() == registry.names()
    drawn(load_generator(again, "stylegan3-afhq", store))


# Files


def test_the_files_digest_is_kept_and_checked_where_one_is_given(
    add: Add, store: WeightStore
) -> None:
    digest = hashlib.sha256(STYLEGAN3.read_bytes()).hexdigest()
    with pytest.raises(WeightsCorruptError, match=digest):
        add("mine", STYLEGAN3, sha256="0" * 64)
    with pytest.raises(BadRequestError, match="is no SHA-256 digest"):
        add("mine", STYLEGAN3, sha256="abc")
    assert nothing_added(store)
    card = add("mine", STYLEGAN3, sha256=digest.upper())
    assert card.source is not None
    assert card.source.sha256 == digest == store.record(card).source_sha256
    assert str(STYLEGAN3.parent) not in json.dumps(card.to_json())


def test_no_file_is_one_sentence(tmp_path: Path, add: Add) -> None:
    with pytest.raises(BadRequestError, match="There is no file"):
        add("mine", tmp_path / "missing.pkl")
    with pytest.raises(BadRequestError, match="No file was given"):
        add("mine", " ")


def test_a_hostile_file_is_refused_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, add: Add, store: WeightStore
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "official.pkl"
    file.write_bytes(called("os", "system", f"touch {CANARY}"))
    for name, values in (("mine", {}), ("stylegan3-afhq", {}), ("net", {"backbone": SMALL})):
        with pytest.raises(UnsafeFileError):
            add(name, file, **values)
    assert not (tmp_path / CANARY).exists()
    assert nothing_added(store)


def test_an_interrupted_download_goes_on_and_leaves_only_the_model(
    add: Add, store: WeightStore, server: FileServer
) -> None:
    server.files["/files/gan.pkl"] = STYLEGAN3.read_bytes()
    server.cut_after = 300_000
    address = server.address("/files/gan.pkl?token=secret")
    with pytest.raises(WeightsUnavailableError, match="ended after 300,000 of"):
        add("mine", address)
    server.cut_after = 0
    card = add("mine", address)
    assert server.asked[-1] == ("/files/gan.pkl", "bytes=300000-")
    assert card.source is not None
    assert card.source.origin == server.address("/files/gan.pkl")
    assert card.source.filename == "gan.pkl"
    assert not [path for path in store.downloads.rglob("*") if path.is_file()]


def test_two_addresses_that_end_alike_are_two_files(add: Add, server: FileServer) -> None:
    server.files["/a/model.bin"] = STYLEGAN3.read_bytes()
    server.files["/b/model.bin"] = STYLEGAN2.read_bytes()
    server.cut_after = 1000
    with pytest.raises(WeightsUnavailableError):
        add("a", server.address("/a/model.bin"))
    server.cut_after = 0
    assert add("b", server.address("/b/model.bin")).family == "stylegan2"
    assert add("a", server.address("/a/model.bin")).family == "stylegan3"


def test_a_page_in_the_files_place_is_fetched_again(add: Add, server: FileServer) -> None:
    address = server.address("/gan.pkl")
    server.files["/gan.pkl"] = b"<html>Please log in</html>"
    with pytest.raises(WeightsCorruptError, match="neither a safetensors file"):
        add("mine", address)
    server.files["/gan.pkl"] = STYLEGAN3.read_bytes()
    with pytest.raises(WeightsCorruptError, match="expected"):
        add("mine", address, sha256="0" * 64)
    assert add("mine", address).family == "stylegan3"


def test_biggans_config_comes_from_beside_the_address(
    add: Add, store: WeightStore, server: FileServer
) -> None:
    server.files["/m/x-pytorch_model.bin"] = BIGGAN.read_bytes()
    with pytest.raises(BadRequestError, match="is not beside it"):
        add("biggan", server.address("/m/x-pytorch_model.bin"))
    assert ("/m/x-config.json", "") in server.asked
    config = json.loads((BIGGAN.parent / "official_config.json").read_text()) | {"eps": 0.25}
    server.files["/m/x-config.json"] = json.dumps(config).encode()
    card = add("biggan", server.address("/m/x-pytorch_model.bin"))
    assert store.facts(card)["eps"] == 0.25
    assert [path for path, _ in server.asked].count("/m/x-pytorch_model.bin") == 1
    assert not [path for path in store.downloads.rglob("*") if path.is_file()]


def test_progress_is_told_and_stop_leaves_nothing_half_done(
    store: WeightStore, registry: Registry, server: FileServer
) -> None:
    server.files["/gan.pkl"] = STYLEGAN3.read_bytes()
    request = AddRequest("mine", server.address("/gan.pkl"))
    told: list[tuple[int, int, str]] = []

    def stop() -> None:
        if told and told[-1][2].startswith("Converting"):
            raise Cancelled

    def report(done: int, total: int, text: str) -> None:
        told.append((done, total, text))

    with pytest.raises(Cancelled):
        add_model(store, registry, request, report, stop)
    assert nothing_added(store)
    asked = len(server.asked)
    add_model(store, registry, request, report)
    assert len(server.asked) == asked, "what was fetched before Stop is used"
    words = [text.split()[0] for *_, text in told]
    said = [word for word, _ in itertools.groupby(words)]
    assert said[:3] == ["Fetching", "Reading", "Converting"]
    assert said[-4:] == ["Reading", "Converting", "Writing", "mine"]
    assert all(done <= total for done, total, _ in told)


def test_the_door_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from rosetta_ui.models.adding import check_request\n"
        "from rosetta_ui.models.registry import build_registry\n"
        "from rosetta_ui.models.weights import WeightStore\n"
        "from rosetta_ui.types import AddRequest\n"
        "store = WeightStore(Path(sys.argv[1]))\n"
        "check_request(store, build_registry(store.added), AddRequest('mine', 'x.pkl'))\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT, check=True)


# What is not here yet


@pytest.mark.parametrize("card", PUBLISHED.values(), ids=list(PUBLISHED))
def test_a_published_name_says_where_its_file_comes_from_and_what_to_type(
    card: ModelCard, store: WeightStore, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(store.root / "hub"))
    status = store.state(card)
    assert card.source is not None
    assert status.state == ("download" if card.source.kind == "timm" else "add")
    assert card.source.filename
    assert card.source.filename in status.detail
    assert card.source.origin
    assert card.source.origin in status.detail
    assert f"Licence: {card.licence}" in status.detail
    command = f"python -m rosetta_ui zoo add {card.name} {card.source.filename}"
    assert status.command == command
    request = AddRequest(*command.split()[5:])
    check_request(store, registry, request)  # the command is one that this program takes
    if card.source.kind == "file":
        with pytest.raises(WeightsUnavailableError) as caught:
            store.record(card)
        assert command in caught.value.hint
        assert card.licence in caught.value.message


def test_a_misspelled_published_name_lists_the_nearest(registry: Registry) -> None:
    for wrong, right in (("stylegan3-afqh", "stylegan3-afhq"), ("dino_vitb61", "dino_vitb16")):
        with pytest.raises(UnknownModelError) as caught:
            registry.card(wrong)
        assert right in caught.value.hint
