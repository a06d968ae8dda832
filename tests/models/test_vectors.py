"""Every published generator family against recorded runs of the original networks.

Folders of vectors are taken from ROSETTA_VECTORS, else from tests/vectors. Each is loaded twice:
from `state.safetensors` and, as a person's own file would be, from `official.*`.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rosetta_ui.models.foreign import ForeignGenerator
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.published_files import convert_foreign, read_published
from rosetta_ui.models.registry import FAMILIES, resolve
from rosetta_ui.models.style_layers import StyleGenerator
from rosetta_ui.types import ModelCard

COMMITTED = Path(__file__).parents[1] / "vectors"
ROOT = Path(os.environ.get("ROSETTA_VECTORS") or COMMITTED)
FOLDERS = sorted(path.parent for path in ROOT.glob("*/vector.json"))
LIMIT = 1e-4
CARD = ModelCard("vector", "generator", "", "A vector", "Random weights.", "none", "none")

Case = Mapping[str, Any]


@functools.cache
def description(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "vector.json").read_text("utf-8"))


@functools.cache
def recorded(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "io.safetensors")


def attributes(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What an official file of this vector says beside its tensors."""
    if "biggan_config" in config:
        return {"": config["biggan_config"]}
    found: dict[str, dict[str, Any]] = {"": {}}
    synthesis = config.get("init_kwargs", {}).get("synthesis_kwargs", {})
    if "conv_clamp" in synthesis:
        found["synthesis.b4.conv1"] = {"conv_clamp": synthesis["conv_clamp"]}
    if "input" in config:
        found["synthesis.input"] = config["input"]
    for spec in config.get("layer_specs", []):
        found[f"synthesis.{spec['name']}"] = spec
    return found


def published_state(folder: Path) -> ForeignGenerator:
    state = load_file(folder / "state.safetensors")
    if "latent_avg" in recorded(folder):
        state["latent_avg"] = recorded(folder)["latent_avg"]
    return ForeignGenerator(state, attributes(description(folder)["config"]))


@functools.lru_cache(maxsize=2)
def converted(folder: Path, source: str) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    if source == "state":
        return convert_foreign(published_state(folder))
    config = folder / "official_config.json"
    return read_published(official(folder), config if config.exists() else None)


def official(folder: Path) -> Path:
    (path,) = (p for p in folder.glob("official*") if p.suffix != ".json")
    return path


def generator_of(folder: Path, source: str, case: Case) -> Generator:
    family, tensors, facts = converted(folder, source)
    options = {**facts, "truncation_cutoff": case.get("truncation_cutoff")}
    options["noise"] = "none" if case.get("noise") == "none" else "const"
    generator = resolve(FAMILIES[family].load)(
        replace(CARD, family=family, options=options), tensors
    )
    assert isinstance(generator, Generator)
    transform = recorded(folder).get(f"{case['name']}.transform")
    if transform is not None:
        generator.net.synthesis.input.transform = transform
    return generator


def our_layer(name: str) -> str:
    """The path of our module whose output a record describes."""
    if not name.startswith("synthesis.b"):
        return name
    _, block, kind = name.split(".")
    level = int(block[1:]).bit_length() - 4
    if level < 0:
        return "conv1.activate" if kind == "conv1" else "to_rgb1.colour"
    # An ADA record of a picture layer is taken after its bias.
    places = {"conv0": 2 * level, "conv1": 2 * level + 1}
    return f"to_rgbs.{level}.colour" if kind == "torgb" else f"convs.{places[kind]}.activate"


@contextmanager
def outputs(generator: Generator, names: list[str]) -> Iterator[dict[str, Tensor]]:
    maps: dict[str, Tensor] = {}
    modules = dict(generator.net.named_modules())
    handles = [
        modules[our_layer(name)].register_forward_hook(
            lambda _module, _inputs, output, name=name: maps.__setitem__(name, output.clone())
        )
        for name in names
    ]
    yield maps
    for handle in handles:
        handle.remove()


def draw(
    generator: Generator, io: Mapping[str, Tensor], case: Case
) -> tuple[Tensor | None, Tensor]:
    """The w+ and images of a case."""
    if not isinstance(generator, StyleGenerator):
        condition = generator.net.condition(io["z"], io[case["class_input"]])
        assert near(condition, io[f"{case['name']}.cond_vector"])
        return None, generator.net(condition, case["truncation"])
    if case.get("ws_input"):
        return None, generator.synthesise_from(io[case["ws_input"]], "w+")
    psi = case.get("truncation_psi", case.get("truncation", 1.0))
    condition = io.get("c")
    if condition is not None and "zero" in case.get("class_input", ""):
        condition = torch.zeros_like(condition)
    ws = generator.map(io["z"], condition, psi)
    if "inject_index" in case:
        at = case["inject_index"]
        ws = torch.cat([ws[:, :at], generator.map(io["z2"], condition, psi)[:, at:]], 1)
    return ws, generator.net(ws)


def near(ours: Tensor, theirs: Tensor) -> bool:
    assert ours.shape == theirs.shape
    return bool((ours - theirs).abs().max() <= LIMIT * theirs.std(correction=0))


def check_record(maps: Tensor, record: Mapping[str, Any]) -> None:
    assert list(maps.shape) == record["shape"]
    limit = LIMIT * record["std"]
    flat = maps.double().flatten()
    assert abs(float(flat.mean()) - record["mean"]) <= limit
    assert abs(float(flat.std(correction=0)) - record["std"]) <= limit
    values = flat[torch.tensor(record["indices"])].numpy()
    assert np.abs(values - np.array(record["values"])).max() <= limit


def cases() -> Iterator[Any]:
    for folder in FOLDERS:
        for source in ("state", "official"):
            for case in description(folder)["cases"]:
                yield pytest.param(
                    folder, source, case, id=f"{folder.name}-{source}-{case['name']}"
                )


def test_there_are_vectors() -> None:
    assert FOLDERS, f"no vectors under {ROOT}"


def test_a_plain_clone_tests_every_family_with_small_files() -> None:
    folders = [path.parent for path in COMMITTED.glob("*/vector.json")]
    families = {description(folder)["family"] for folder in folders}
    layouts = {description(folder)["config"]["layout"] for folder in folders}
    assert families == {
        "stylegan2_rosinality",
        "stylegan2_ada",
        "stylegan3",
        "styleganxl",
        "biggan_deep",
    }
    assert len(layouts) == 5
    assert any(description(f)["config"].get("superres_stages") for f in folders)
    sizes = [path.stat().st_size for path in COMMITTED.rglob("*") if path.is_file()]
    assert sum(sizes) <= 20_000_000
    assert max(sizes) <= 4 << 20


@pytest.mark.parametrize(("folder", "source", "case"), list(cases()))
def test_a_generator_reproduces_the_recorded_run(folder: Path, source: str, case: Case) -> None:
    generator = generator_of(folder, source, case)
    io, name = recorded(folder), case["name"]
    records = description(folder)["layers"].get(name, [])
    with torch.inference_mode(), outputs(generator, [r["name"] for r in records]) as maps:
        ws, images = draw(generator, io, case)
    if ws is not None:
        assert near(ws, io[f"{name}.ws"])
    assert near(images, io[f"{name}.img"])
    for record in records:
        check_record(maps[record["name"]], record)
