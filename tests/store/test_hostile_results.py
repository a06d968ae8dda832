"""Result folders that somebody made to do harm, or that lost a value: refused in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rosetta_ui.errors import RosettaError, StaleCacheError, StoreError
from rosetta_ui.store.files import seal_of
from rosetta_ui.store.record import LAYER_FIELDS, REQUEST_FIELDS
from rosetta_ui.store.results import ResultFolder
from rosetta_ui.types import LayerSpec, MatchRequest
from tests.store.synthetic import ANCHOR, planted, write_planted


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "original"
    write_planted(path, planted(images=16), cross=False, scores=("pearson",))
    return path


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "out")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "result.json"
    told = json.loads(path.read_text("utf-8"))
    change(told)
    path.write_text(json.dumps(told), "utf-8")


def put(*keys: Any) -> Callable[[dict[str, Any]], None]:
    """Set the value at a path of keys; the last one is the value."""

    def change(told: Any) -> None:
        for key in keys[:-2]:
            told = told[key]
        told[keys[-2]] = keys[-1]

    return change


def assert_one_sentence(error: RosettaError) -> None:
    assert error.message.endswith(".")
    assert "\n" not in error.sentence
    assert "Traceback" not in error.sentence
    assert len(error.sentence) < 500


WRONG = {
    "request is a list": put("request", []),
    "seed is text": put("request", "seed", "0"),
    "seed is a truth": put("request", "seed", True),
    "n_images is huge": put("request", "n_images", 10**40),
    "n_images is negative": put("request", "n_images", -1),
    "score is unknown": put("request", "score", "cosine"),
    "backbones are numbers": put("request", "backbones", [1, 2]),
    "psi is infinite": put("request", "psi", 1e999),
    "title is a number": put("title", 7),
    "title is long": put("title", "x" * 10_000),
    "created is text": put("created", "today"),
    "no models": put("models", []),
    "one model": lambda t: t.update(models=t["models"][:1]),
    "the same model twice": lambda t: t.update(models=[t["models"][0]] * 3),
    "a model is text": put("models", 0, "evil"),
    "a name leads out": put("models", 1, "name", "../../etc/passwd"),
    "a name has a newline": put("models", 1, "name", "a\nb"),
    "a role is unknown": put("models", 1, "role", "root"),
    "a digest is no digest": put("models", 1, "digest", "zz"),
    "layers are missing": put("models", 1, "layers", []),
    "channels are huge": put("models", 1, "layers", 0, "channels", 10**12),
    "channels are many in sum": lambda t: [
        layer.update(channels=1 << 24) for layer in t["models"][1]["layers"]
    ],
    "channels are zero": put("models", 1, "layers", 0, "channels", 0),
    "channels are a fraction": put("models", 1, "layers", 0, "channels", 6.5),
    "a size has three sides": put("models", 1, "layers", 0, "size", [1, 2, 3]),
    "a kind is unknown": put("models", 1, "layers", 0, "kind", "matrix"),
    "two layers of one name": lambda t: t["models"][1]["layers"][1].update(name="stem"),
    "a layer's name has a colon": put("models", 1, "layers", 0, "name", "a:3"),
    "a table of nobody": put("tables", 0, "cols", "nobody"),
    "a table is missing": lambda t: t["tables"].pop(),
    "a table stands twice": lambda t: t["tables"].append(t["tables"][0]),
    "a score of nothing": put("tables", 0, "kept", {}),
    "an unknown score": put("tables", 0, "kept", {"evil": ["real"]}),
    "no real neighbours": put("tables", 0, "kept", {"pearson": ["null"]}),
    "files are a list": put("files", []),
    "a file leads out": lambda t: t["files"].update({"../result.json": [1, "0" * 64]}),
    "a file is absolute": lambda t: t["files"].update({"/etc/passwd": [1, "0" * 64]}),
    "a file is hidden": lambda t: t["files"].update({".bashrc": [1, "0" * 64]}),
    "a seal is text": lambda t: t["files"].update({"pairs.csv": "x"}),
    "a seal is short": lambda t: t["files"].update({"pairs.csv": [1]}),
    "a size is huge": lambda t: t["files"].update({"pairs.csv": [10**30, "0" * 64]}),
    "previews are many": put("previews", 10**9),
    "preview sizes are huge": put("preview_size", [16384, 16384]),
    "an unknown snapshot": put("run", "snapshots", {"at_n3": 5}),
    "timings are text": put("run", "timings", {"seconds": "2"}),
    "notes are numbers": put("run", "notes", [1]),
    "partial is a number": put("run", "partial", 1),
    "run is missing": lambda t: t.pop("run"),
    "kind is another": put("kind", "recipe"),
    "schema is text": put("schema", "1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_value_is_refused_in_one_sentence(folder: Path, what: str) -> None:
    edit(folder, WRONG[what])
    with pytest.raises(StoreError) as caught:
        ResultFolder.open(folder)
    assert_one_sentence(caught.value)
    assert "cannot be opened" in caught.value.message


@pytest.mark.parametrize("key", ["schema", "kind", "request", "models", "tables", "files", "title"])
def test_a_missing_value_is_named(folder: Path, key: str) -> None:
    edit(folder, lambda told: told.pop(key))
    with pytest.raises(StoreError, match=f"has no '{key}'"):
        ResultFolder.open(folder)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema": NaN}',
        b'{"schema": ' + b"9" * 10_000 + b"}",
        b"null",
        b"[1, 2]",
        b'"text"',
        b" " * (17 << 20),
    ],
    ids=["empty", "bytes", "nested", "nan", "huge", "null", "list", "text", "large"],
)
def test_what_is_no_record_at_all_is_refused(folder: Path, text: bytes) -> None:
    (folder / "result.json").write_bytes(text)
    with pytest.raises(StoreError) as caught:
        ResultFolder.open(folder)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("schema", [0, 2, 999])
def test_another_format_says_so(folder: Path, schema: int) -> None:
    edit(folder, put("schema", schema))
    with pytest.raises(StaleCacheError, match=f"of format {schema}, but this version reads"):
        ResultFolder.open(folder)


def reseal(folder: Path, name: str) -> None:
    """Make result.json agree with a changed file, as an attacker would."""
    seal = list(seal_of(folder / name))
    edit(folder, lambda told: told["files"].update({name: seal}))


NEIGHBOURS = "neighbours-tiny-a.safetensors"


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("real/row_index", lambda a: a + 1000),
        ("real/col_index", lambda a: a - 7),
        ("real/row_index", lambda a: a.astype(np.float32)),
        ("real/row_index", lambda a: a[:-1]),
        ("real/row_index", lambda a: a[:, :0]),
        ("real/row_score", lambda a: a * np.nan),
        ("real/row_score", lambda a: a * 50),
        ("real/col_score", lambda a: a[..., None]),
        ("real/col_score", lambda a: a.astype(np.float64)),
    ],
)
def test_neighbours_that_name_no_unit_are_refused(folder: Path, part: str, change) -> None:
    arrays = load_file(folder / NEIGHBOURS)
    arrays[part] = np.ascontiguousarray(change(arrays[part]))
    save_file(arrays, folder / NEIGHBOURS)
    reseal(folder, NEIGHBOURS)
    with pytest.raises(StoreError, match="damaged") as caught:
        ResultFolder.open(folder).neighbours(ANCHOR, "tiny-a", "pearson")
    assert_one_sentence(caught.value)


def test_pickled_arrays_are_refused_and_never_run(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(folder / "ran").touch, ())

    for name in ("dead-tiny-a.npy", "scores-tiny-a.npy"):
        np.save(folder / name, np.array([Trap()], object), allow_pickle=True)
        reseal(folder, name)
    result = ResultFolder.open(folder)
    for ask in (lambda: result.dead("tiny-a"), lambda: result.scores(ANCHOR, "tiny-a", "pearson")):
        with pytest.raises(StoreError, match="damaged"):
            ask()
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"RIFF1234WEBPxxxx", b"\xff" * 100])
@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("dead-tiny-a.npy", lambda r: r.dead("tiny-a")),
        ("scores-tiny-a.npy", lambda r: r.scores(ANCHOR, "tiny-a", "pearson")),
        (NEIGHBOURS, lambda r: r.neighbours(ANCHOR, "tiny-a", "pearson")),
        ("stats-tiny-b.safetensors", lambda r: r.stats("tiny-b")),
        ("views-tiny-a.safetensors", lambda r: r.views()),
        ("previews.webp", lambda r: r.preview(0)),
    ],
)
def test_files_of_rubbish_are_refused(folder: Path, name: str, content: bytes, ask) -> None:
    (folder / name).write_bytes(content)
    reseal(folder, name)
    with pytest.raises(StoreError) as caught:
        ask(ResultFolder.open(folder))
    assert_one_sentence(caught.value)


def test_a_picture_of_another_size_is_not_decoded(folder: Path) -> None:
    edit(folder, put("preview_size", [256, 256]))
    with pytest.raises(StoreError, match="was expected"):
        ResultFolder.open(folder).preview(0)


def test_views_of_units_that_do_not_exist_are_refused(folder: Path) -> None:
    name = "views-tiny-a.safetensors"
    arrays = load_file(folder / name)
    for units in (arrays["units"] + 100, arrays["units"][::-1].copy(), arrays["units"][:-1].copy()):
        save_file({**arrays, "units": units}, folder / name)
        reseal(folder, name)
        with pytest.raises(StoreError, match="damaged"):
            ResultFolder.open(folder).views()


def test_every_field_of_a_request_and_a_layer_is_read_and_checked() -> None:
    assert set(REQUEST_FIELDS) == {f.name for f in fields(MatchRequest)}
    assert set(LAYER_FIELDS) == {f.name for f in fields(LayerSpec)} - {"model"}
