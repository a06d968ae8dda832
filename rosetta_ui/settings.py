"""What a person sets once: flags, then `ROSETTA_*` variables, then defaults; passed from there.

No other module reads the environment.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from rosetta_ui.errors import BadRequestError

PROJECT = Path(__file__).resolve().parent.parent
LOG_LEVELS = ("debug", "info", "warning", "error")
GIB = 1 << 30


@dataclass(frozen=True)
class Settings:
    """Everything that is chosen at start.

    Attributes:
        host, port: where the page is served; port 0 takes any free one.
        device: auto, cpu, cuda, cuda:1, mps; auto takes the best there is.
        cache_dir: weights, results and previews; see `writable_cache_dir`.
        log_level: one of `LOG_LEVELS`.
        auth: "user:password", or empty for none.
        share: ask gradio for a public link.
        budget_gb: what the cache may hold beside saved results, in GiB.
        models_file: a Python file of the user's own that registers models; it is run.
        mcp: also serve the API as MCP tools.
        fetch: fetch missing embedded weights at start.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    device: str = "auto"
    cache_dir: Path = PROJECT / "cache"
    log_level: str = "info"
    auth: str = ""
    share: bool = False
    budget_gb: float = 20.0
    models_file: str = ""
    mcp: bool = False
    fetch: bool = True

    @property
    def private(self) -> bool:
        """Whether only those who run the page, or know its password, can reach it."""
        here = self.host in ("127.0.0.1", "localhost", "::1") and not self.share
        return here or bool(self.auth)

    @classmethod
    def read(
        cls, flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
    ) -> Self:
        """Merge flags over `ROSETTA_*` variables over defaults.

        Args:
            flags: field name → value; None values count as not given.
            environment: defaults to the process's own.

        Raises:
            BadRequestError: a value cannot be read; says which, and what is allowed.
        """
        env = os.environ if environment is None else environment
        given = {k: v for k, v in (flags or {}).items() if v is not None}
        values: dict[str, Any] = {}
        for item in fields(cls):
            variable = f"ROSETTA_{item.name.upper()}"
            if item.name in given:
                values[item.name] = _parse(item.name, given[item.name])
            elif variable in env:
                values[item.name] = _parse(item.name, env[variable], f"variable {variable}")
        # A Space says where to listen in gradio's own variables.
        values.setdefault("host", env.get("GRADIO_SERVER_NAME", cls.host))
        if "port" not in values and "GRADIO_SERVER_PORT" in env:
            values["port"] = _parse(
                "port", env["GRADIO_SERVER_PORT"], "variable GRADIO_SERVER_PORT"
            )
        values.setdefault("cache_dir", default_cache_dir(env))
        return cls(**values)


def _parse(name: str, value: Any, where: str = "") -> Any:
    label = where or f"option --{name.replace('_', '-')}"
    default: object = getattr(Settings, name)
    kind: Any = type(default)
    if name == "cache_dir":
        return Path(str(value)).expanduser().resolve()
    try:
        if kind is bool:
            return value if isinstance(value, bool) else _truth(str(value))
        parsed = kind(value)
    except ValueError as error:
        raise BadRequestError(
            f"The {label} is '{value}', which is not a {_WORDS[kind]}.", "Give another value."
        ) from error
    accepts, hint = _ACCEPTED.get(name, (_anything, ""))
    if not accepts(parsed):
        shown = "has no colon" if name == "auth" else f"is '{parsed}'"
        raise BadRequestError(f"The {label} {shown}.", hint)
    return parsed


def _anything(_value: Any) -> bool:
    return True


_ACCEPTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "port": (lambda port: 0 <= port <= 65535, "Give a port from 0 to 65535."),
    "log_level": (lambda level: level in LOG_LEVELS, f"Give {', '.join(LOG_LEVELS)}."),
    "budget_gb": (lambda size: 0 < size < float("inf"), "Give a number of GiB above 0."),
    "auth": (lambda pair: not pair or ":" in pair, "Write user:password."),
}


_WORDS = {int: "whole number", float: "number", bool: "yes or no", str: "text"}


def _truth(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(text)


def default_cache_dir(environment: Mapping[str, str]) -> Path:
    """`cache/` in the project where it can be written, else the user's cache, else a temporary one.

    A Space may have a read-only tree and an unwritable HOME; the last choice always works there.
    """
    home = environment.get("XDG_CACHE_HOME") or str(
        Path(environment.get("HOME", "/nonexistent")) / ".cache"
    )
    candidates = [
        PROJECT / "cache",
        Path(home) / "rosetta-ui",
        Path(tempfile.gettempdir()) / "rosetta-ui",
    ]
    for folder in candidates:
        if can_write(folder):
            return folder
    return candidates[-1]


def can_write(folder: Path) -> bool:
    """Whether a file can be made in this folder, which is created where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".write-test-"):
            return True
    except OSError:
        return False
