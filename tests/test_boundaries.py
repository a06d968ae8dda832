"""The rooms of the house: who may import whom, and what starting up may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "rosetta_ui"

LIGHT = (
    "rosetta_ui",
    "rosetta_ui.types",
    "rosetta_ui.edits",
    "rosetta_ui.inversions",
    "rosetta_ui.settings",
    "rosetta_ui.models.catalogue",
    "rosetta_ui.models.registry",
    "rosetta_ui.models.weights",
    "rosetta_ui.store.store",
    "rosetta_ui.store.results",
    "rosetta_ui.matching.rosetta",
    "rosetta_ui.matching.report",
    "rosetta_ui.engine.engine",
    "rosetta_ui.cli",
)
TABS = tuple(f"rosetta_ui.tabs.{p.stem}" for p in sorted((PACKAGE / "tabs").glob("[a-z]*.py")))

# Which rooms a room may look into; its own and the shared values are always open.
SHARED = {"affine", "types", "edits", "inversions", "errors"}
ALLOWED = {
    "widgets": set[str](),
    "tabs": {"widgets"},
    "store": set[str](),
    "rendering": set[str](),
    "models": {"settings"},
    "probing": {"models"},
    "matching": {"probing", "models", "store"},
    "editing": {"probing", "models", "matching"},
    "inverting": {"editing", "probing", "models", "matching"},
    "engine": {
        "matching",
        "editing",
        "inverting",
        "probing",
        "models",
        "store",
        "rendering",
        "settings",
    },
}


def imports(path: Path) -> set[str]:
    """Every absolute module that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found.add(node.module or "")
    return found


def files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).glob("**/*.py"))


@pytest.mark.parametrize("room", ["tabs", "widgets", "store", "rendering"])
def test_rooms_of_the_page_and_the_disk_never_import_torch(room: str) -> None:
    for path in files(room):
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & {"torch", "timm", "torchvision"}, path


def test_only_the_page_imports_gradio() -> None:
    for path in PACKAGE.glob("**/*.py"):
        if path.parent.name not in ("tabs", "widgets"):
            assert "gradio" not in {name.split(".")[0] for name in imports(path)}, path


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_dependencies_point_one_way(room: str) -> None:
    for path in files(room):
        rooms = {n.split(".")[1] for n in imports(path) if n.startswith("rosetta_ui.")}
        assert rooms <= ALLOWED[room] | SHARED | {room}, f"{path} looks into {rooms}"


def test_nothing_unpickles_or_evaluates() -> None:
    for path in PACKAGE.glob("**/*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        assert not imports(path) & {"pickle", "dill", "cloudpickle", "marshal", "shelve"}, path
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            assert name not in ("eval", "exec", "compile"), f"{path}:{node.lineno}"
            called = ast.unparse(node.func)
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if called == "torch.load":
                assert given.get("weights_only") == "True", f"{path}:{node.lineno}"
            if called == "np.load":
                assert given.get("allow_pickle", "False") == "False", f"{path}:{node.lineno}"


@pytest.mark.parametrize("module", [*LIGHT, *TABS])
def test_importing_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'timm'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False)
    assert done.returncode == 0, f"{module} pulls in torch or timm"
