"""Pictures and recipes as a person's own files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rosetta_ui.editing.recipe import recipe_state
from rosetta_ui.edits import PictureState
from rosetta_ui.errors import BadRequestError, StoreError

MOST_BYTES = 20_000_000


def write_picture(path: Path, picture: NDArray[np.uint8], recipe: Mapping[str, Any]) -> None:
    """Write a picture, and its recipe beside it under the same name with `.json`.

    Raises:
        BadRequestError: the name does not end in .png.
        StoreError: the folder cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise BadRequestError(f"'{path.name}' is no name of a picture.", "Let it end in .png.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, "PNG")
        path.with_suffix(".json").write_text(json.dumps(recipe, indent=1), "utf-8")
    except OSError as error:
        raise StoreError(f"'{path}' cannot be written ({error.strerror or error}).") from error


def read_recipe(path: Path) -> PictureState:
    """Read a recipe that a person kept.

    Raises:
        BadRequestError: there is no such file, or it is no recipe.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadRequestError(f"'{path}' is too large for a recipe.")
        return recipe_state(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise BadRequestError(f"'{path}' cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise BadRequestError(f"'{path}' is no recipe: it is not JSON.") from error


def read_source(path: Path) -> PictureState:
    """Read the picture that an edit copies from or goes to: a recipe, or a PNG with one beside it.

    Raises:
        BadRequestError: it is a photo without a recipe, or nothing that can be read.
    """
    if path.suffix.lower() == ".json":
        return read_recipe(path)
    beside = path.with_suffix(".json")
    if beside.is_file():
        return read_recipe(beside)
    if not path.is_file():
        raise BadRequestError(f"There is no file '{path}'.", "Give a seed, a recipe or its PNG.")
    raise BadRequestError(
        f"'{path.name}' is a photo, and a photo has no neurons of the generator to copy.",
        "Invert it first, and give the recipe that comes of it.",
    )


def write_file(path: Path, data: bytes) -> None:
    """Write a file that a person asked for.

    Raises:
        StoreError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise StoreError(f"'{path}' cannot be written ({error.strerror or error}).") from error
