"""Whether timm has already downloaded a model's weights. Looks at names only, imports no torch."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from rosetta_ui.types import WeightSource

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth")


def in_hub_cache(source: WeightSource, root: Path | None = None) -> bool:
    """Whether the hub's cache on this machine holds weights of this source.

    Args:
        source: of kind timm; the path of its origin is the model's name on the hub.
        root: the hub's cache folder; by default the one that the hub's own client uses.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    hub_name = urlsplit(source.origin).path.strip("/")
    if not hub_name:
        return False
    folder = repo_folder_name(repo_id=hub_name, repo_type="model")
    snapshots = Path(root or constants.HF_HUB_CACHE) / folder / "snapshots"
    # A download under way has no name in a snapshot yet; one whose blob is gone is a dead link.
    return any(p.suffix in WEIGHT_SUFFIXES and p.exists() for p in snapshots.glob("*/*"))
