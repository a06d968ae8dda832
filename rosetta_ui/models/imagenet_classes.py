"""Names of ImageNet's 1,000 classes, in the order of every classifier and generator trained on it.

timm brings the list (WordNet's words for each class); it is read on first use, and nothing of it is
kept here. Importing this module imports neither timm nor torch.
"""

from __future__ import annotations

from functools import cache

from rosetta_ui.errors import BadRequestError

N_CLASSES = 1000
_SHOWN = 5


@cache
def class_names() -> tuple[str, ...]:
    """The 1,000 names by class index, each one or more words for the same thing."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(index) for index in range(N_CLASSES))


def class_index(text: str) -> int:
    """The class that a person means.

    Args:
        text: a number from 0 to 999, one of a class's names, or a part that only one class has.

    Raises:
        BadRequestError: no class or several classes are meant; names up to five.
    """
    wanted = " ".join(text.lower().split())
    if wanted.isdecimal() and int(wanted) < N_CLASSES:
        return int(wanted)
    names = [name.lower() for name in class_names()]
    whole = [at for at, name in enumerate(names) if wanted in name.split(", ")]
    found = whole or [at for at, name in enumerate(names) if wanted and wanted in name]
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadRequestError(
            f"ImageNet has no class '{text}'.", f"Give a number from 0 to {N_CLASSES - 1}."
        )
    listed = "; ".join(f"{at} {class_names()[at]}" for at in found[:_SHOWN])
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise BadRequestError(
        f"'{text}' is part of {len(found)} ImageNet classes.", f"Give one number: {listed}{more}."
    )
