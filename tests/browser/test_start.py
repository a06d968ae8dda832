"""How the app starts: before torch, on a Space, behind a password. Over HTTP, without a browser."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from driving import PATIENCE, PROJECT, free_port, running

BEFORE_TORCH = """
import sys, urllib.request
import app
from rosetta_ui.engine.engine import Engine
loaded = []
Engine.warm = lambda self: loaded.extend({"torch", "timm"} & set(sys.modules))
page, _ = app.main(["--port", "0", "--cache-dir", sys.argv[1], "--no-fetch"])
assert b"rosettaColours" in urllib.request.urlopen(page.local_url, timeout=30).read()
assert not loaded and not {"torch", "timm"} & set(sys.modules), loaded
page.close()
"""


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read()


def status(address: str, data: bytes | None = None) -> int:
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_page_answers_before_torch_is_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_TORCH, str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_space_is_served_where_its_variables_say(tmp_path: Path) -> None:
    port = free_port()
    space = {
        "SYSTEM": "spaces",
        "SPACE_ID": "somebody/rosetta-ui",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "HOME": "/nonexistent",
        "ROSETTA_CACHE_DIR": str(tmp_path),
        "ROSETTA_FETCH": "no",
    }
    with running([sys.executable, "app.py"], port, 30 * PATIENCE, space) as address:
        assert b"rosettaColours" in get(address)
        assert json.loads(get(f"{address}/config"))["title"] == "Rosetta UI"


def test_behind_a_password_nothing_is_told(tmp_path: Path) -> None:
    port = free_port()
    flags = ["--auth", "ada:secret", "--no-fetch", "--cache-dir", str(tmp_path)]
    command = [sys.executable, "app.py", "--port", str(port), *flags]
    with running(command, port, 30 * PATIENCE) as address:
        assert status(f"{address}/config") == 401
        assert status(f"{address}/gradio_api/info") == 401
        question = {"data": {}, "component_id": 1, "fn_name": "readiness", "session_hash": "x"}
        asked = json.dumps(question).encode()
        assert status(f"{address}/gradio_api/component_server", asked) == 401


@pytest.mark.parametrize("question", ["readiness", "results", "nothing"])
def test_only_the_calls_of_a_widget_can_be_made(drawn_app: str, question: str) -> None:
    config = json.loads(get(f"{drawn_app}/config"))
    header = next(c for c in config["components"] if c["props"].get("elem_id") == "header")
    asked = {"data": {}, "component_id": header["id"], "fn_name": question, "session_hash": "x"}
    code = status(f"{drawn_app}/gradio_api/component_server", json.dumps(asked).encode())
    assert code == (200 if question == "readiness" else 404)
