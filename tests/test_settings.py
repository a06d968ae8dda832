"""Flags over variables over defaults, and a cache folder that can be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosetta_ui import settings as settings_module
from rosetta_ui.errors import BadRequestError
from rosetta_ui.settings import Settings, default_cache_dir


def test_flags_win_over_variables_and_variables_over_defaults(tmp_path: Path) -> None:
    env = {"ROSETTA_PORT": "9000", "ROSETTA_SHARE": "yes", "ROSETTA_CACHE_DIR": str(tmp_path)}
    read = Settings.read({"port": 9001, "host": None}, env)
    assert (read.port, read.share, read.host, read.cache_dir) == (9001, True, "127.0.0.1", tmp_path)


def test_sharing_and_a_password_are_off_by_default() -> None:
    assert Settings().share is False
    assert Settings().auth == ""


def test_a_space_says_where_to_listen(tmp_path: Path) -> None:
    env = {
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": "7861",
        "ROSETTA_CACHE_DIR": str(tmp_path),
    }
    read = Settings.read({}, env)
    assert (read.host, read.port) == ("0.0.0.0", 7861)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ROSETTA_PORT", "http", "not a whole number"),
        ("ROSETTA_PORT", "70000", "70000"),
        ("ROSETTA_LOG_LEVEL", "loud", "loud"),
        ("ROSETTA_BUDGET_GB", "-1", "-1"),
        ("ROSETTA_BUDGET_GB", "nan", "nan"),
        ("ROSETTA_SHARE", "perhaps", "not a yes or no"),
        ("ROSETTA_AUTH", "nocolon", "no colon"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(variable: str, value: str, says: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        Settings.read({}, {variable: value})
    assert variable in raised.value.message
    assert says in raised.value.message
    assert raised.value.hint


def test_an_unwritable_tree_and_home_leave_a_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused = {settings_module.PROJECT / "cache", tmp_path / ".cache" / "rosetta-ui"}

    def writable(folder: Path) -> bool:
        return folder not in refused

    monkeypatch.setattr(settings_module, "can_write", writable)
    chosen = default_cache_dir({"HOME": str(tmp_path)})
    assert chosen.name == "rosetta-ui"
    assert chosen not in refused


def test_a_file_in_the_way_is_no_writable_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    assert settings_module.can_write(tmp_path / "new")
    assert not settings_module.can_write(tmp_path / "taken")


@pytest.mark.parametrize(
    ("flags", "private"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "auth": "me:secret"}, True),
        ({"share": True}, False),
    ],
)
def test_a_page_is_private_on_this_machine_or_behind_a_password(
    flags: dict[str, object], private: bool, tmp_path: Path
) -> None:
    assert Settings.read({"cache_dir": tmp_path, **flags}, {}).private is private
