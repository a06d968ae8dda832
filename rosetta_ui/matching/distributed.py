"""Several processes that share one match: who looks at which images, and how their sums meet.

`torchrun … -m rosetta_ui match …` starts them. Only plain tensors cross; nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor
from torch import distributed as dist

from rosetta_ui.errors import RosettaError


class WorkerLostError(RosettaError):
    """Another process of a distributed run is gone."""


class Workers(Protocol):
    """The processes that share a run; every method but `shard` is called by all of them."""

    @property
    def rank(self) -> int:
        """Number of this process; 0 writes the result."""
        ...

    @property
    def world(self) -> int:
        """How many processes there are."""
        ...

    def broadcast(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rank 0's values for everybody; the others give tensors of the same shapes."""
        ...

    def add_up(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace each tensor by the sum over all processes, in place."""
        ...

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Everybody's tensor, by rank."""
        ...

    def barrier(self) -> None:
        """Wait for everybody."""
        ...


class Alone:
    """The usual case: one process."""

    rank = 0
    world = 1

    def broadcast(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values themselves."""
        return dict(tensors)

    def add_up(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing to add."""

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor itself."""
        return [tensor]

    def barrier(self) -> None:
        """Nobody to wait for."""


class TorchWorkers:
    """The processes of a torchrun, over torch.distributed.

    Args:
        device: of this process; NCCL where it is a CUDA device, else gloo.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else torch.device("cpu")
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        with _peers():
            dist.init_process_group("nccl" if self._device.type == "cuda" else "gloo")
        self.rank = dist.get_rank()
        self.world = dist.get_world_size()

    def broadcast(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rank 0's values for everybody.

        Raises:
            WorkerLostError: another process is gone.
        """
        out: dict[str, Tensor] = {}
        with _peers():
            for name, tensor in tensors.items():
                sent = tensor.to(self._device, copy=True)
                dist.broadcast(sent, 0)
                out[name] = sent.to(tensor.device)
        return out

    def add_up(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace each tensor by the sum over all processes, in place.

        Raises:
            WorkerLostError: another process is gone.
        """
        with _peers():
            for tensor in tensors.values():
                if tensor.device == self._device:
                    dist.all_reduce(tensor)
                else:
                    there = tensor.to(self._device)
                    dist.all_reduce(there)
                    tensor.copy_(there)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Everybody's tensor, by rank.

        Raises:
            WorkerLostError: another process is gone.
        """
        mine = tensor.to(self._device).contiguous()
        out = [torch.empty_like(mine) for _ in range(self.world)]
        with _peers():
            dist.all_gather(out, mine)
        return [one.to(tensor.device) for one in out]

    def barrier(self) -> None:
        """Wait for everybody.

        Raises:
            WorkerLostError: another process is gone.
        """
        self.add_up({"": torch.zeros(1, device=self._device)})

    def close(self) -> None:
        """Leave the group."""
        dist.destroy_process_group()


@contextmanager
def _peers() -> Generator[None]:
    try:
        yield
    except RuntimeError as error:
        raise WorkerLostError(
            f"Another process of this run is gone ({str(error).splitlines()[0]}).",
            "Run the same command again: it goes on from what was saved.",
        ) from error


def launched() -> bool:
    """Whether torchrun started this process."""
    return dist.is_available() and dist.is_torchelastic_launched()


def local_device(device: torch.device) -> torch.device:
    """The device of this process: one GPU each, by its number on this machine."""
    if device.type != "cuda":
        return device
    return torch.device("cuda", dist.get_node_local_rank() % torch.cuda.device_count())


def shard(
    n_images: int, rank: int, world: int, boundary_after: Callable[[int], int]
) -> tuple[int, int]:
    """The images of one process: from the first number up to, not including, the second.

    Shards meet only where a block of the null ends, so that no block is split; a process may have
    nothing to do where there are fewer blocks than processes.

    Args:
        n_images: of the whole run.
        rank: number of the process.
        world: how many there are.
        boundary_after: the first image number ≥ its argument at which a block ends.
    """

    def cut(part: int) -> int:
        return min(boundary_after(n_images * part // world), n_images) if part else 0

    return cut(rank), cut(rank + 1)
