"""The words of the field: each that a widget names has a meaning, and no meaning is left over."""

from __future__ import annotations

import re
from pathlib import Path

from rosetta_ui.widgets import factory

HERE = Path(factory.__file__).parent
TERMS = HERE / "client" / "terms.js"


def meanings() -> set[str]:
    text = TERMS.read_text("utf-8")
    table = text[text.index("const MEANING = {") : text.index("\n  };")]
    return {quoted or bare for quoted, bare in re.findall(r'\n    (?:"([^"]+)"|(\w+)):', table)}


def named() -> dict[str, set[str]]:
    """Every term that a template or a script names → the files that do."""
    found: dict[str, set[str]] = {}
    for path in [*HERE.glob("*.html"), *HERE.glob("*.js"), *HERE.glob("client/*.js")]:
        text = path.read_text("utf-8")
        words = re.findall(r'data-(?:term|explain)="([^"]+)"', text)
        words += re.findall(r'\bterm\(\s*"([^"]+)"', text)
        words += re.findall(r'\bexplained\([^"\n]*"([^"]+)"\)', text)
        if path == TERMS:
            table = text[text.index("const SPOKEN = {") : text.index("const SPOKEN_WORDS")]
            words += re.findall(r': "([^"]+)",', table)
        for word in words:
            found.setdefault(word, set()).add(path.name)
    return found


def test_every_term_that_is_named_has_a_meaning() -> None:
    assert len(meanings()) > 30
    missing = {word: files for word, files in named().items() if word not in meanings()}
    assert missing == {}


def test_every_meaning_is_used_somewhere() -> None:
    # Inversion's numbers take their terms from the server.
    server = (HERE.parent / "tabs" / "invert_values.py").read_text("utf-8")
    scripts = (HERE / "invert_result.js").read_text("utf-8")
    unused = {word for word in meanings() - set(named()) if f'"{word}"' not in server + scripts}
    assert unused == set()
