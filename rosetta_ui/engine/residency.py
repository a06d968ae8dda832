"""Which device is used, and which models are on it.

Imports torch only inside the calls that need it.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from rosetta_ui.engine.requests import checked_device
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.types import Role

if TYPE_CHECKING:
    import torch

    from rosetta_ui.models.backbone import Backbone
    from rosetta_ui.models.generator import Generator

log = logging.getLogger(__name__)

CPU_BYTES = 1 << 30
"""Weights that stay loaded on a CPU: the whole embedded zoo is 0.4 GiB."""

GPU_SHARE = 0.5
"""Share of a GPU's memory that weights may keep; the rest is for maps and tables."""


def choose_device(name: str) -> torch.device:
    """The device of this name; auto takes a CUDA device where there is one, else the CPU.

    mps must be asked for: it is untested here.

    Raises:
        BadRequestError: there is no such device, or this machine does not have it.
    """
    import torch

    checked_device(name)
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if has["cuda"] else "cpu")
    device = torch.device(name)
    present = [kind for kind, there in has.items() if there]
    if not has[device.type]:
        raise BadRequestError(
            f"This machine has no device '{name}'.", f"Choose auto or {' or '.join(present)}."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadRequestError(
            f"This machine has no device '{name}'.",
            f"It has {torch.cuda.device_count()} CUDA devices, counted from 0.",
        )
    return device


class Residency:
    """Loaded models, the least recently used dropped first.

    A model that is dropped while somebody uses it lives until they are done with it.

    Args:
        registry: knows the models.
        weights: has their weights.
        device: name of the device.
    """

    def __init__(self, registry: Registry, weights: WeightStore, device: str) -> None:
        self._registry = registry
        self._weights = weights
        self._name = checked_device(device)
        self._device: torch.device | None = None
        self._models: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def device(self) -> torch.device:
        """Where models go.

        Raises:
            BadRequestError: this machine does not have the device that was asked for.
        """
        with self._lock:
            if self._device is None:
                self._device = choose_device(self._name)
            return self._device

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU is used, as far as it is known without loading torch."""
        with self._lock:
            return self._device is not None and self._device.type != "cpu"

    def use(self, device: torch.device) -> None:
        """Take another device from now on, such as the one of a rank."""
        with self._lock:
            self._device = device

    def generator(self, name: str) -> Generator:
        """A generator, loaded if it is not.

        Raises:
            UnknownModelError: no generator has this name.
            WeightsUnavailableError, WeightsCorruptError: see `load_model`.
            DeviceMemoryError: its weights do not fit.
        """
        from rosetta_ui.models.loading import load_generator

        return self._get(name, "generator", load_generator)

    def backbone(self, name: str) -> Backbone:
        """A backbone, loaded if it is not; raises what `generator` raises."""
        from rosetta_ui.models.loading import load_backbone

        return self._get(name, "backbone", load_backbone)

    def names(self) -> list[str]:
        """What is loaded, least recently used first."""
        with self._lock:
            return [name for name, _ in self._models]

    def _get(self, name: str, role: Role, load: Any) -> Any:
        import torch

        from rosetta_ui.probing.memory import out_of_memory

        with self._lock:
            key = (name, self._weights.digest(self._registry.card(name, role)))
            if key not in self._models:
                # Whoever asks first may only look, in inference mode: tensors that were made there
                # could never be optimised through, and later inversions and edits would break.
                with out_of_memory(self.device, f"loading {name}"), torch.inference_mode(False):
                    model = load(self._registry, name, self._weights, self.device)
                    if role == "backbone":
                        # 18 % less time for EfficientNet-Lite0, 24 % for the thin ResNet-50.
                        model.net.to(memory_format=torch.channels_last)
                self._models[key] = (model, _bytes(model.net))
                log.info("loaded %s on %s", name, self.device)
            self._models.move_to_end(key)
            self._drop_oldest()
            return self._models[key][0]

    def _drop_oldest(self) -> None:
        import torch

        limit = CPU_BYTES
        if self.device.type == "cuda":
            limit = int(GPU_SHARE * torch.cuda.get_device_properties(self.device).total_memory)
        while len(self._models) > 1 and sum(size for _, size in self._models.values()) > limit:
            (name, _), _ = self._models.popitem(last=False)
            log.info("dropped %s from %s", name, self.device)


def _bytes(net: torch.nn.Module) -> int:
    tensors = [*net.parameters(), *net.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
