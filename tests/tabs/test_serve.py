"""Where the page is served, and what starting it says when it cannot be."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from rosetta_ui.errors import BadRequestError
from rosetta_ui.tabs import serve, theme
from rosetta_ui.tabs.serve import free_port

PROJECT = Path(__file__).resolve().parents[2]
FLAGS = (
    *("host", "port", "device", "cache-dir", "log-level", "auth"),
    *("share", "budget-gb", "models", "mcp", "no-fetch"),
)


def run_app(*flags: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ROSETTA_", "GRADIO_"))}
    return subprocess.run(
        [sys.executable, "app.py", *flags],
        cwd=PROJECT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_port_zero_takes_any_free_port() -> None:
    assert free_port("127.0.0.1", 0) > 0


def test_a_port_in_use_is_said_with_the_next_step() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadRequestError, match=str(port)) as caught:
            free_port("127.0.0.1", port)
    assert "--port" in caught.value.hint


def test_a_host_that_is_none_of_ours_is_said() -> None:
    with pytest.raises(BadRequestError, match=re.escape("192.0.2.1")):
        free_port("192.0.2.1", 0)


def test_help_names_every_setting_and_needs_neither_gradio_nor_torch() -> None:
    done = run_app("--help")
    assert done.returncode == 0
    for flag in FLAGS:
        assert f"--{flag}" in done.stdout


@pytest.mark.parametrize(
    "flags",
    [("--port", "many"), ("--port", "70000"), ("--log-level", "loud"), ("--budget-gb", "-1")],
    ids=" ".join,
)
def test_a_bad_flag_ends_in_one_sentence_and_an_exit_code(flags: tuple[str, str]) -> None:
    done = run_app(*flags)
    assert done.returncode != 0
    assert done.stderr.strip().count("\n") == 0
    assert flags[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_ends_in_one_sentence_and_an_exit_code(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_app("--port", port, "--cache-dir", str(tmp_path), "--no-fetch")
    assert done.returncode != 0
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_the_head_fetches_nothing() -> None:
    head = theme.head(json.dumps([0] * 768))
    assert "src=" not in head
    assert not re.search(r"@import|url\((?!\"?data:)", head)
    assert set(re.findall(r'href="([^"]*)"', head)) == {theme.ICON}


@pytest.mark.parametrize(("version", "said"), [("", "not installed"), ("2.1.0", "version 2.1.0")])
def test_mcp_without_its_package_is_refused_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch, version: str, said: str
) -> None:
    def installed(name: str) -> str:
        if not version:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", installed)
    with pytest.raises(BadRequestError, match=said) as caught:
        serve.need_mcp()
    assert "pip install 'mcp<2'" in caught.value.hint


def test_mcp_of_version_1_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "1.30.0")
    serve.need_mcp()
