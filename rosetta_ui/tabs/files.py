"""Files on their way to a browser or a program."""

from __future__ import annotations

import base64
import re

MIME = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "html": "text/html",
    "webp": "image/webp",
    "zip": "application/zip",
}


def file_json(result: str, kind: str, data: bytes) -> dict[str, str]:
    """A file as JSON values.

    Args:
        result: id, which becomes part of the file's name.
        kind: json, csv, parquet, zip, html or webp: also the name's suffix.
        data: what is in it.

    Returns:
        {name, mime, data: base64}.
    """
    safe = re.sub(r"[^\w-]+", "_", result)[:40]
    return {
        "name": f"rosetta-{safe}.{kind}",
        "mime": MIME[kind],
        "data": base64.b64encode(data).decode("ascii"),
    }
