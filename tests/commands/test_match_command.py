"""`python -m rosetta_ui match`: the page's numbers, the published flags, plain sentences."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer

from rosetta_ui.commands import match as command
from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError, RosettaError, StoreError
from rosetta_ui.models.registry import build_registry
from rosetta_ui.settings import Settings
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.types import JobStatus, MatchRequest

PROJECT = Path(__file__).resolve().parent.parent.parent
MODELS = PROJECT / "tests" / "matching" / "shared_models.py"
PLANTED = ("--generator", "planted-gan", "--backbones", "planted-copy-a, planted-copy-b")


def run(*arguments: object) -> None:
    """The command in this process; raises what `cli.main` turns into a sentence."""
    app = typer.Typer()
    command.mount(app)
    app.command("other")(lambda: None)  # with one command alone, typer would take no name
    app(["match", *map(str, arguments)], standalone_mode=False)


def start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    whole = [sys.executable, "-m", "rosetta_ui", "match", *map(str, arguments)]
    return subprocess.Popen(
        [*whole, "--models", str(MODELS), "--cache-dir", str(folder), "--device", "cpu"],
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that runs in the background inherits an ignored Ctrl-C and would pass it on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_11_the_command_gives_the_pages_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        *PLANTED,
        *("--images", 32, "--seed", 3, "--device", "cpu", "--models", MODELS),
        *("--cache-dir", tmp_path / "cache", "--out", tmp_path / "out"),
    )
    told = capsys.readouterr()
    assert "32 images, seed 3" in told.out
    assert "planted-copy-b" in told.out
    assert "24 of 24 units" in told.out
    assert "32 of 32 images" in told.err
    found = ResultFolder.open(tmp_path / "out")
    settings = Settings(cache_dir=tmp_path / "page", device="cpu")
    with Engine(settings, build_registry(models_file=str(MODELS))) as engine:
        request = MatchRequest(
            "planted-gan", ("planted-copy-a", "planted-copy-b"), n_images=32, seed=3
        )
        status = engine.wait(engine.start_match(request), 60)
        expected = engine._bench.shelf.open(status.result)
        assert status.result in told.out, "the same result has the same id"
        for name in request.backbones:
            for score in ("pearson", "centred"):
                np.testing.assert_array_equal(
                    found.scores("planted-gan", name, score),
                    expected.scores("planted-gan", name, score),
                )
    found.verify()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[MatchRequest]:
    """Requests that the command made; nothing is matched."""
    requests: list[MatchRequest] = []

    def keep(_self: Engine, request: MatchRequest, **_: object) -> str:
        requests.append(request)
        raise BadRequestError("Enough.")

    monkeypatch.setattr(Engine, "start_match", keep)
    monkeypatch.setenv("ROSETTA_CACHE_DIR", str(tmp_path))
    return requests


def test_without_names_the_fast_generator_meets_every_embedded_backbone(
    asked: list[MatchRequest],
) -> None:
    with pytest.raises(BadRequestError, match="Enough"):
        run("--device", "cpu")
    (request,) = asked
    embedded = [card.name for card in build_registry().cards("backbone") if card.embedded]
    assert request.generator == "dcgan-digiface"
    assert list(request.backbones) == embedded
    assert len(embedded) == 4
    assert (request.n_images, request.seed, request.score) == (128, 0, "pearson")


def test_every_flag_reaches_the_request(asked: list[MatchRequest]) -> None:
    with pytest.raises(BadRequestError, match="Enough"):
        run(
            *("--generator", "biggan", "--backbones", "dino,clip", "--class", 7, "--psi", 0.4),
            *("--batches", 10, "--batch-size", 100, "--seed", 5, "--score", "centred"),
            *("--rule", "clique", "--k", 3, "--dtype", "float64"),
        )
    assert asked == [
        MatchRequest(
            "biggan",
            ("dino", "clip"),
            n_images=1000,
            batch_size=100,
            seed=5,
            psi=0.4,
            class_index=7,
            score="centred",
            backbone_pairs=True,
            dtype="float64",
        )
    ]
    with pytest.raises(BadRequestError, match="Enough"):
        run("--photos", "/some/folder", "--backbones", "dino,clip", "--images", 9)
    assert (asked[1].generator, asked[1].photos) == ("", "/some/folder")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--images", 10, "--batches", 2), "Give one"),
        (("--batches", 0), "number of batches is 0"),
        (("--rule", "guess"), "no rule 'guess'"),
        (("--score", "guess"), "no score 'guess'"),
        (("--photos", "/a", "--generator", "biggan"), "Choose one of the two"),
        (("--device", "banana"), "no device 'banana'"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    asked: list[MatchRequest], flags: tuple[object, ...], words: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        run(*flags)
    assert words in caught.value.sentence
    assert asked == []


def test_a_folder_with_other_files_is_refused_before_the_work(
    asked: list[MatchRequest], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work", "utf-8")
    with pytest.raises(StoreError, match="holds other files"):
        run("--out", tmp_path / "mine")
    with pytest.raises(StoreError, match="is a file"):
        run("--save-path", tmp_path / "mine" / "thesis.tex")
    assert asked == []
    assert (tmp_path / "mine" / "thesis.tex").read_text("utf-8") == "years of work"


def test_an_unknown_model_ends_with_one_sentence_and_an_exit_code(tmp_path: Path) -> None:
    with start(tmp_path, "--generator", "planted-gam", "--images", 8) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out == ""
    assert err.count("\n") == 1
    assert "There is no generator called 'planted-gam'." in err
    assert "planted-gan" in err


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_counted_and_the_same_command_goes_on(tmp_path: Path) -> None:
    flags = (*PLANTED, "--images", 4000, "--save-every", 64)
    with start(tmp_path, *flags) as process:
        while not list(tmp_path.glob("work/*/state.safetensors")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "The same command goes on from there." in err
    with start(tmp_path, *flags) as again:
        out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert "Going on after" in err
    assert "4000 images" in out


def test_progress_is_one_line_on_a_terminal_and_few_lines_elsewhere() -> None:
    texts: list[str] = []
    status = JobStatus("j", "match", "running", 5, 128, rate=2.5, seconds_left=49.2, message="Go.")
    assert command.progress_text(status) == "Go.  5 of 128 images  2.50/s  0:49 left"
    line = command.ProgressLine(texts.append, terminal=True)
    line.show(status)
    line.show(status)
    line.end()
    assert texts == [f"\r{command.progress_text(status):<79}", "\n"]
    texts.clear()
    line = command.ProgressLine(texts.append, terminal=False)
    for done in range(50):
        line.show(JobStatus("j", "match", "running", done, 128, message="Go."))
    line.show(JobStatus("j", "match", "running", 50, 128, message="Go.", log=("Batch halved.",)))
    assert texts == ["Go.  0 of 128 images\n", "Batch halved.\n"]


def test_failures_keep_their_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failed = JobStatus("j", "match", "failed", message="No.", hint="Do this.")
    monkeypatch.setattr(Engine, "start_match", lambda *_, **__: "j")
    monkeypatch.setattr(Engine, "wait", lambda *_: failed)
    with pytest.raises(RosettaError) as caught:
        run("--cache-dir", tmp_path, "--images", 8)
    assert caught.value.sentence == "No. Do this."
