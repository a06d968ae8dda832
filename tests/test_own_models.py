"""A generator and a backbone of one's own: the very file that the README shows, used throughout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from torch import Tensor, nn
from typer.testing import CliRunner

import rosetta_ui
from rosetta_ui.commands import match, results
from rosetta_ui.edits import EditRequest, EditSettings, Shift, UnitChoice
from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError, NotSpatialError, UnknownLayerError
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.loading import load_backbone, load_generator
from rosetta_ui.models.own import backbone_from, generator_from, own_card
from rosetta_ui.models.registry import build_registry
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.settings import Settings
from rosetta_ui.types import LayerSpec, MatchRequest, Selection

PROJECT = Path(__file__).resolve().parent.parent
EXAMPLE = PROJECT / "tests" / "own_models" / "my_models.py"
REQUEST = MatchRequest("my-gan", ("my-net",), n_images=12)
GAN = own_card("g", "generator", latent_size=8, image_size=(32, 32))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    settings = Settings(cache_dir=tmp_path / "cache", device="cpu", models_file=str(EXAMPLE))
    with Engine(settings) as made:
        yield made


def lines_of_code(path: Path) -> int:
    """Lines that hold something."""
    return sum(bool(line.strip()) for line in path.read_text("utf-8").splitlines())


def test_the_readme_shows_this_very_file_of_at_most_fifteen_lines() -> None:
    assert lines_of_code(EXAMPLE) <= 15, "both models together"
    assert f"```python\n{EXAMPLE.read_text('utf-8')}```" in (PROJECT / "README.md").read_text()


def test_it_is_matched_from_the_command_line_and_listed(tmp_path: Path) -> None:
    app = typer.Typer()
    match.mount(app)
    results.mount(app)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--cache-dir", str(tmp_path / "cache")])
        assert done.exit_code == 0, done.output
        return done.stdout

    out = str(tmp_path / "result")
    names = ("--generator", "my-gan", "--backbones", "my-net", "--models", str(EXAMPLE))
    said = run("match", *names, "--images", "12", "--device", "cpu", "--out", out)
    assert "my-gan × my-net: 12 images" in said
    listed = run("rosetta", out, "--rule", "mutual", "--json")
    neurons = json.loads(listed)["neurons"]
    assert neurons
    assert all(neuron["anchor"].startswith("my-gan/up:") for neuron in neurons)
    layers = {n["partners"]["my-net"]["unit"].partition(":")[0] for n in neurons}
    assert layers <= {"my-net/edges", "my-net/shapes"}


def test_its_neurons_are_seen_in_the_gallery(engine: Engine) -> None:
    status = engine.wait(engine.start_match(REQUEST), 60)
    assert status.state == "done", status
    chosen = Selection("mutual", 5)
    neurons = engine.neurons(status.result, chosen)
    index = engine.index(status.result)
    assert [len(units) for units in index.values()] == [16, 36]
    assert [spec.size for spec in index["my-net"].layers] == [(16, 16), (16, 16)]
    thumbs, images = engine.thumbs(status.result, neurons)
    assert thumbs.shape == (len(neurons), 2, 16, 16)
    assert thumbs.any()
    assert set(images) <= set(range(12))
    units = [neurons[0].anchor, neurons[0].partners["my-net"].unit]
    row = engine.heatmaps(status.result, units, 3)
    assert row.picture.shape == (32, 32, 3)
    assert [row.maps[unit].shape for unit in units] == [(8, 8), (16, 16)]
    assert np.array_equal(row.picture, engine.preview(status.result, 3))


def test_its_matched_neurons_are_moved_by_an_edit(engine: Engine) -> None:
    result = engine.wait(engine.start_match(REQUEST), 60).result
    neurons = engine.neurons(result, Selection("mutual", 5))
    units = tuple(neuron.anchor for neuron in neurons)
    state, before = engine.editing.start_picture("my-gan", seed=3)
    settings = EditSettings("z", steps=40, learning_rate=0.1)
    request = EditRequest((Shift(0.25),), UnitChoice("units", units=units), settings)
    frames = list(engine.editing.edit(state, request))
    assert frames[-1].loss < frames[0].loss
    edited, after = frames[-1].state, frames[-1].picture
    assert edited is not None
    assert after is not None
    assert edited.steps[0].units == units
    assert after.shape == before.shape == (32, 32, 3)
    assert not np.array_equal(after, before)
    assert np.array_equal(engine.editing.draw(edited), after)


def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    store = WeightStore(tmp_path)
    pictures: list[Tensor] = []
    for draws in (0, 7):
        torch.rand(draws)
        registry = build_registry(models_file=str(EXAMPLE))
        generator = load_generator(registry, "my-gan", store)
        pictures.append(generator.synthesise(generator.sample([0, 5], seed=1)))
    assert torch.equal(*pictures)
    backbone = load_backbone(registry, "my-net", store)
    assert all(not weight.requires_grad for weight in backbone.net.parameters())


def test_a_changed_file_is_another_model_to_the_cache(tmp_path: Path) -> None:
    digests: list[str] = []
    for code in (EXAMPLE.read_text(), EXAMPLE.read_text().replace("Tanh", "Hardtanh")):
        (tmp_path / "my_models.py").write_text(code)
        registry = build_registry(models_file=str(tmp_path / "my_models.py"))
        digests.append(WeightStore(tmp_path).digest(registry.card("my-gan")))
    assert digests[0] != digests[1]


# The helpers


def drawing(image: int = 32) -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (8, 1, 1)), nn.ConvTranspose2d(8, 3, image))


def test_what_does_not_fit_the_card_is_one_sentence() -> None:
    with pytest.raises(BadRequestError, match="'g' draws 3×16×16, but its card says 3×32×32"):
        generator_from(GAN, drawing(16), ["0"])
    with pytest.raises(UnknownLayerError, match="'g' has no layer 'relu'"):
        generator_from(GAN, drawing(), ["relu"])
    flat = nn.Sequential(nn.Identity(), *drawing())
    with pytest.raises(NotSpatialError, match="Layer '0' of g gave 1×8, which is no map"):
        generator_from(GAN, flat, ["0"])
    with pytest.raises(NotSpatialError, match="Layer '0' of g gave 1×8×1×1"):
        generator_from(GAN, drawing(), ["0"])
    generator = generator_from(GAN, drawing(), ["1"])
    latents = generator.sample([0], seed=0)
    with pytest.raises(BadRequestError, match="no mean latent to truncate towards"):
        generator.synthesise_from(torch.from_numpy(latents.values), "z", psi=0.5)
    with pytest.raises(BadRequestError, match="has no w space"):
        generator.synthesise_from(torch.from_numpy(latents.values), "w")


def test_classes_are_passed_on_as_numbers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.draw = drawing()
            self.classes = nn.Embedding(3, 8)

        def forward(self, z: Tensor, classes: Tensor) -> Tensor:
            return self.draw(z + self.classes(classes))

    card = own_card("g", "generator", latent_size=8, image_size=(32, 32), n_classes=3)
    generator = generator_from(card, Net(), {"picture": "draw.1"})
    assert generator.layers == (LayerSpec("g", "picture", 3, (32, 32), module="draw.1"),)
    one, two = (generator.synthesise(generator.sample([0], 0, class_index=c)) for c in (0, 2))
    assert not torch.equal(one, two)


def test_gradients_reach_the_latent() -> None:
    generator = generator_from(GAN, drawing(), ["1"])
    z = torch.zeros(1, 8, requires_grad=True)
    generator.synthesise_from(z, "z").square().sum().backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0


def test_a_backbones_layers_are_found_where_none_are_named() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU())
    card = own_card("b", "backbone", image_size=(32, 32))
    backbone = backbone_from(card, net.requires_grad_(False))
    assert [(layer.name, layer.channels) for layer in backbone.layers] == [("1", 4), ("3", 6)]
    with pytest.raises(UnknownLayerError):
        backbone_from(card, net, ["9"])


def test_the_documented_names_are_there() -> None:
    names: dict[str, Any] = {name: getattr(rosetta_ui, name) for name in rosetta_ui._LAZY}
    assert names["Generator"] is Generator
    assert {"Backbone", "LayerSpec", "ModelCard", "register", "own_card"} <= names.keys()
    with pytest.raises(AttributeError):
        rosetta_ui.nothing  # noqa: B018 - the access itself is the test
