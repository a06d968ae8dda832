"""The README is under test: what it names exists, and what exists is named."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from huggingface_hub import RepoCard

from rosetta_ui.cli import app
from rosetta_ui.models.registry import build_registry

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text("utf-8")
CHANGELOG = (PROJECT / "CHANGELOG.md").read_text("utf-8")


def commands() -> list[str]:
    """Every `python -m rosetta_ui …` line of the README, without comments."""
    lines = re.findall(r"^(?:torchrun .*)?python -m rosetta_ui (.+)$", README, re.MULTILINE)
    lines += re.findall(r"-m rosetta_ui (match .+)$", README, re.MULTILINE)
    return sorted({line.partition(" #")[0].strip() for line in lines})


def test_the_front_matter_is_a_space_s_own() -> None:
    facts = RepoCard.load(PROJECT / "README.md", repo_type="space").data.to_dict()
    assert facts["sdk"] == "gradio"
    assert facts["app_file"] == "app.py"
    assert (PROJECT / facts["app_file"]).is_file()
    assert facts["license"] == "apache-2.0"
    assert str(facts["python_version"]) == "3.11"
    assert len(facts["short_description"]) <= 60


@pytest.mark.parametrize("tab", ["Match", "Rosetta Gallery", "Edit", "Invert"])
def test_every_tab_is_described(tab: str) -> None:
    assert f"**{tab}**" in README


def test_every_model_stands_with_its_licence_and_terms() -> None:
    for card in build_registry().cards():
        row = next((r for r in README.splitlines() if r.startswith(f"| `{card.name}` |")), "")
        assert row, f"{card.name} is not in the README"
        assert f"| {card.licence}. {card.terms} |" in row, card.name


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)
    node = typer.main.get_command(app)
    while words and hasattr(node, "commands") and words[0] in node.commands:
        node = node.commands[words.pop(0)]
    assert not hasattr(node, "commands"), f"'{line}' names no command"
    known = {o for p in node.params for o in (*p.opts, *p.secondary_opts)}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"'{line}' uses {used - known}"


def test_the_readme_shows_at_least_ten_commands() -> None:
    assert len(commands()) >= 10


def test_every_picture_of_the_readme_is_there() -> None:
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (PROJECT / path).is_file(), path


def test_the_example_of_an_own_model_is_the_one_that_is_tested() -> None:
    example = (PROJECT / "tests" / "own_models" / "my_models.py").read_text("utf-8")
    assert example.strip() in README


def test_the_example_of_a_client_is_the_one_that_is_tested() -> None:
    example = (PROJECT / "tests" / "tabs" / "api_examples.py").read_text("utf-8")
    assert example[example.index("import base64") :].strip() in README


def test_the_changelog_has_an_unreleased_part() -> None:
    assert "## Unreleased" in CHANGELOG
