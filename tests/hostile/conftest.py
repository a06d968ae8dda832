"""Small whole files of every kind, for tests to read, cut and poison."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.hostile.makers import EasyDict, _reconstruct_persistent_obj, module


@pytest.fixture(scope="session")
def published_names() -> Iterator[None]:
    """Modules with the names that official pickles mention, while files are written."""
    patch = pytest.MonkeyPatch()
    for where, name, value in [
        ("dnnlib.util", "EasyDict", EasyDict),
        ("torch_utils.persistence", "_reconstruct_persistent_obj", _reconstruct_persistent_obj),
    ]:
        made = types.ModuleType(where)
        patch.setattr(value, "__module__", where)
        setattr(made, name, value)
        patch.setitem(sys.modules, where.partition(".")[0], types.ModuleType("parent"))
        patch.setitem(sys.modules, where, made)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def official(published_names: None) -> dict[str, bytes]:
    """Small whole files by kind, each of which reads without complaint."""
    torch.manual_seed(0)
    inner = module(
        {"weight": torch.nn.Parameter(torch.randn(3, 2)), "bias": None},
        {},
        gain=np.float64(0.5),
        sizes=np.array([4, 4]),
    )
    ema = module({}, {"conv": inner}, c_dim=0, _init_kwargs=EasyDict(z_dim=4, names=["a", "b"]))
    content = {"G": ema, "D": inner, "G_ema": ema, "training_set_kwargs": EasyDict(path="x")}
    files = {f"pkl-{p}": pickle.dumps(content, protocol=p) for p in (2, 3, 4, 5)}
    state = {"g_ema": {"a.weight": torch.randn(2, 3)[:, 1:], "n": torch.tensor(3)}}
    for kind, zipped in (("zip", True), ("legacy", False)):
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
        files[kind] = buffer.getvalue()
    files["table"] = pickle.dumps([torch.rand(3, 4), [[torch.ones(2), torch.ones(2)]]])
    return files


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is also the current one, where a canary would appear."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
