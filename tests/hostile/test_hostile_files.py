"""Files that want to run something, lie about sizes, or never end: refused in one sentence."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from rosetta_ui.errors import BadRequestError, RosettaError, UnsafeFileError, WeightsCorruptError
from rosetta_ui.models.checkpoints import read_content, read_generator
from tests.hostile.makers import CANARY, called, legacy, named, tensor

TOUCH = f"touch {CANARY}"
FOUR = struct.pack("<4f", 1, 2, 3, 4)
GOOD = legacy("FloatStorage", 4, FOUR)

WANTS_CODE: dict[str, bytes] = {
    "os.system": called("os", "system", TOUCH),
    "posix.system": called("posix", "system", TOUCH),
    "nt.system": called("nt", "system", TOUCH),
    "os.popen": called("os", "popen", TOUCH),
    "os.remove": called("os", "remove", "x"),
    "subprocess.call": called("subprocess", "call", ["touch", CANARY]),
    "subprocess.Popen": called("subprocess", "Popen", ["touch", CANARY]),
    "subprocess by STACK_GLOBAL": named("subprocess", "getoutput"),
    "eval": called("builtins", "eval", f"open('{CANARY}', 'w')"),
    "exec": called("builtins", "exec", f"open('{CANARY}', 'w')"),
    "eval of protocol 2": called("__builtin__", "eval", f"open('{CANARY}', 'w')"),
    "compile": called("builtins", "compile", "1", "x", "eval"),
    "open": called("builtins", "open", CANARY, "w"),
    "__import__": called("builtins", "__import__", "os"),
    "getattr": called("builtins", "getattr", "x", "y"),
    "getattr by STACK_GLOBAL": named("builtins", "getattr"),
    "a dotted name": named("collections", "OrderedDict.fromkeys"),
    "a dotted name of torch": named("torch._utils", "_rebuild_tensor_v2.__globals__"),
    "torch.load": called("torch", "load", "x"),
    "torch.hub.load": called("torch.hub", "load", "x", "y"),
    "torch.ops": called("torch", "ops"),
    "torch.serialization.load": called("torch.serialization", "load", "x"),
    "numpy.fromfile": called("numpy", "fromfile", "/etc/hostname"),
    "numpy.load": called("numpy", "load", "x"),
    "an object array": called("numpy", "dtype", "O"),
    "a record type": called("numpy", "dtype", "f4,O"),
    "pickle.loads": called("pickle", "loads", b"."),
    "dill imports os": called("dill._dill", "_import_module", "os"),
    "dill imports by text": called("dill._dill", "_eval_repr", "1"),
    "dill getattr": called("dill._dill", "_get_attr", "os", "system"),
    "dill imports torch and takes load": b"\x80\x02cdill._dill\n_get_attr\n(cdill._dill\n_import_"
    b"module\n(X\x05\x00\x00\x00torchtRX\x04\x00\x00\x00loadtR.",
    "dill loads a type": called("dill._dill", "_load_type", "CodeWriter"),
    "codecs decode": called("_codecs", "decode", "x", "rot13"),
    "codecs encode to something else": called("_codecs", "encode", "x", "zip"),
    "a class instance": b"\x80\x02(ios\nsystem\nX\x01\x00\x00\x00xtR.",
    "an object by OBJ": b"\x80\x02(cos\nsystem\nX\x01\x00\x00\x00xo.",
    "an instance by INST": b"\x80\x02(X\x01\x00\x00\x00xios\nsystem\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"\x80\x02Px\n.",
    "a persistent object outside torch": b"\x80\x02X\x01\x00\x00\x00xQ.",
    "an out-of-band buffer": b"\x80\x05\x97.",
    "a call of a value": b"\x80\x02X\x01\x00\x00\x00x)R.",
    "a call of a storage type": b"\x80\x02ctorch\nFloatStorage\n)R.",
    "a reconstructed foreign class": called("copyreg", "_reconstructor", "x", "y", None),
    "a class of the running project": called("rosetta_ui.cli", "main"),
    "webbrowser": called("webbrowser", "open", "x"),
    "runpy": called("runpy", "run_path", "x"),
    "ctypes": called("ctypes", "CDLL", "x"),
}

LIES: dict[str, bytes] = {
    "an extent past the storage": tensor(GOOD, 0, (5,), (1,)),
    "an offset past the storage": tensor(GOOD, 4, (1,), (1,)),
    "a stride past the storage": tensor(GOOD, 0, (2, 2), (3, 1)),
    "a negative size": tensor(GOOD, 0, (-1,), (1,)),
    "a negative offset": tensor(GOOD, -1, (1,), (1,)),
    "a negative stride": tensor(GOOD, 3, (2,), (-1,)),
    "one number seen a billion times": tensor(GOOD, 0, (1 << 30,), (0,)),
    "a size beyond all memory": tensor(GOOD, 0, (1 << 62,), (0,)),
    "shape and strides of different length": tensor(GOOD, 0, (2, 2), (1,)),
    "a forged storage": tensor(legacy("FloatStorage", 1 << 34, FOUR), 0, (4,), (1,)),
    "a storage of another length": tensor(legacy("FloatStorage", 4, FOUR, 3), 0, (4,), (1,)),
    "a storage cut short": tensor(GOOD[:-3], 0, (4,), (1,)),
    "a storage of an unknown type": tensor(legacy("QInt8Storage", 4, FOUR), 0, (4,), (1,)),
    "a tensor in no storage": called("torch._utils", "_rebuild_tensor_v2", 1, 0, (1,), (1,), 0, 0),
    "a parameter of text": called("torch._utils", "_rebuild_parameter", "x", False, {}),
    "an array without a type": called("numpy.core.numeric", "_frombuffer", b"1234", 1, (1,), "C"),
    "a number without a type": called("numpy.core.multiarray", "scalar", "f8", b"12345678"),
}

BROKEN: dict[str, bytes] = {
    "nothing but a stop": b"\x80\x02.......",
    "text": b"this is no checkpoint at all, only text",
    "zeros": bytes(64),
    "an empty stack": b"\x80\x02000000.",
    "a missing mark": b"\x80\x02K\x01K\x02t.",
    "an unknown memo": b"\x80\x02h\x07......",
    "a list filled that is none": b"\x80\x02K\x01K\x02a..",
    "a key without a value": b"\x80\x02}(K\x01u.....",
    "a list as key": b"\x80\x02}](K\x01e]K\x02s.",
    "a number that is none": b"\x80\x02Iabc\n......",
    "a length past the end": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "a negative length": b"\x80\x02\x8b\xff\xff\xff\xffabc.",
    "an unknown opcode": b"\x80\x02\xff\xff\xff\xff\xff\xff.",
    "no end": b"\x80\x02" + b"K\x01" * 40,
    "something after the end": pickle.dumps([1, 2], 2) + b"more",
    "an empty zip": b"PK\x03\x04" + bytes(40),
    "a safetensors header without end": struct.pack("<Q", 1 << 62) + b"{" + bytes(40),
    "a safetensors header of nonsense": struct.pack("<Q", 8) + b"{nonsens" + bytes(8),
}


def refused(folder: Path, data: bytes, kind: type[RosettaError]) -> RosettaError:
    path = folder / "model.pkl"
    path.write_bytes(data)
    for read in (read_content, read_generator):
        with pytest.raises(kind) as raised:
            read(path)
        assert "model.pkl" in raised.value.message
        assert "Traceback" not in raised.value.sentence
        assert len(raised.value.sentence) < 300
    assert not (folder / CANARY).exists()
    return raised.value


@pytest.mark.parametrize("name", WANTS_CODE)
def test_a_file_that_wants_code_is_refused_and_nothing_runs(name: str, in_folder: Path) -> None:
    refused(in_folder, WANTS_CODE[name], (UnsafeFileError, WeightsCorruptError))  # type: ignore[arg-type]


def test_the_hostile_calls_would_run_under_the_standard_reader(in_folder: Path) -> None:
    """A control: the first hostile file is a real one, not one that no reader would obey."""
    pickle.loads(WANTS_CODE["os.system"])
    assert (in_folder / CANARY).exists()


@pytest.mark.parametrize("name", LIES)
def test_a_file_that_lies_about_its_numbers_is_refused(name: str, in_folder: Path) -> None:
    refused(in_folder, LIES[name], (UnsafeFileError, WeightsCorruptError))  # type: ignore[arg-type]


def test_the_same_tensor_told_truly_is_read(in_folder: Path) -> None:
    """A control: the lies above are refused for what they say, not for how they are built."""
    (in_folder / "true.pkl").write_bytes(tensor(GOOD, 1, (3,), (1,)))
    assert read_content(in_folder / "true.pkl").tolist() == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_called_damaged(name: str, in_folder: Path) -> None:
    refused(in_folder, BROKEN[name], (UnsafeFileError, WeightsCorruptError, BadRequestError))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pkl-2", "pkl-3", "pkl-4", "pkl-5", "zip", "legacy", "table"])
def test_a_file_cut_anywhere_is_refused(
    kind: str, official: dict[str, bytes], in_folder: Path
) -> None:
    whole = official[kind]
    for end in range(8, len(whole) - 1, max(1, len(whole) // 50)):
        refused(in_folder, whole[:end], (UnsafeFileError, WeightsCorruptError, BadRequestError))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pkl-2", "pkl-3", "pkl-4", "pkl-5"])
def test_the_published_layout_is_read_whole_without_running_its_source(
    kind: str, official: dict[str, bytes], in_folder: Path
) -> None:
    (in_folder / "model.pkl").write_bytes(official[kind])
    read = read_generator(in_folder / "model.pkl")
    torch.manual_seed(0)
    assert torch.equal(read.state["conv.weight"], torch.randn(3, 2))
    assert read.state["filter"].tolist() == [0, 1, 2, 3]
    assert read.attribute("conv", "gain") == 0.5
    assert read.attribute("conv", "sizes") == [4, 4]
    assert read.attribute("", "_init_kwargs") == {"z_dim": 4, "names": ["a", "b"]}
    assert not (in_folder / CANARY).exists()


def test_views_keep_their_own_numbers(official: dict[str, bytes], in_folder: Path) -> None:
    for kind in ("zip", "legacy"):
        (in_folder / "m.pt").write_bytes(official[kind])
        state = read_generator(in_folder / "m.pt").state
        assert state["a.weight"].shape == (2, 2)
        assert state["n"].item() == 3


def zipped(entries: dict[str, bytes], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(in_folder: Path) -> None:
    bomb = zipped({"m/data.pkl": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    assert "compressed" in refused(in_folder, bomb, UnsafeFileError).message


def test_a_zip_that_claims_more_than_it_holds_is_refused(in_folder: Path) -> None:
    data = bytearray(zipped({"m/data.pkl": pickle.dumps({}, 2)}, zipfile.ZIP_STORED))
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    refused(in_folder, bytes(data), (UnsafeFileError, WeightsCorruptError))  # type: ignore[arg-type]


@pytest.mark.parametrize("entries", [{}, {"a": b"x"}, {"a/data.pkl": b"x", "b/data.pkl": b"x"}])
def test_a_zip_that_is_no_torch_file_is_refused(entries: dict[str, bytes], in_folder: Path) -> None:
    data = zipped(entries, zipfile.ZIP_STORED)
    refused(in_folder, data, (WeightsCorruptError, UnsafeFileError))  # type: ignore[arg-type]


def endless(step: bytes, times: int) -> bytes:
    return b"\x80\x02" + step * times + b"."


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("three million steps", endless(b"N0", 1_500_000)),
        ("lists in lists", b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b"."),
        ("a list that holds itself", b"\x80\x02]q\x00h\x00a......"),
        (
            # Twenty lists, each holding the one before ten times: 10^20 leaves in 300 bytes.
            "a billion laughs",
            b"\x80\x02]q\x00"
            + b"".join(
                b"]q" + bytes([i + 1]) + b"(" + (b"h" + bytes([i])) * 10 + b"e0h" + bytes([i + 1])
                for i in range(20)
            )
            + b".",
        ),
        (
            "one mapping copied a million times",
            b"\x80\x02}("
            + b"".join(b"K" + bytes([i]) + b"N" for i in range(200))
            + b"uq\x000"
            + b"ccollections\nOrderedDict\nq\x010"
            + b"h\x01h\x00\x85R0" * 300_000
            + b"N.",
        ),
    ],
)
def test_an_endless_file_ends_in_a_sentence(name: str, data: bytes, in_folder: Path) -> None:
    (in_folder / "model.pkl").write_bytes(data)
    with pytest.raises(RosettaError) as raised:
        read_generator(in_folder / "model.pkl")
    assert len(raised.value.sentence) < 300, name


def test_a_missing_or_empty_file_is_named(in_folder: Path) -> None:
    with pytest.raises(BadRequestError, match=r"gone\.pkl"):
        read_content(in_folder / "gone.pkl")
    (in_folder / "empty.pkl").write_bytes(b"")
    with pytest.raises(WeightsCorruptError, match="0 bytes"):
        read_content(in_folder / "empty.pkl")


def test_there_are_at_least_forty_hostile_files() -> None:
    assert len(WANTS_CODE) + len(LIES) >= 40
