"""CUDA graphs: kernels are recorded once and replayed without launching each one again."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

_WARM_UP = 3


class _Graph(NamedTuple):
    graph: torch.cuda.CUDAGraph
    image: Tensor
    scores: Tensor


class CudaGraphNetwork:
    """A network whose kernels are recorded once for each shape of its input and then replayed, one call at a time."""

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self.network = network
        self._graphs: dict[torch.Size, _Graph] = {}
        self._lock = Lock()

    def __call__(self, image: Tensor) -> Tensor:
        """Return the scores of an image on the GPU."""
        with self._lock:
            if image.shape not in self._graphs:
                self._graphs[image.shape] = self._record(image)
            graph, fixed, scores = self._graphs[image.shape]
            fixed.copy_(image)
            graph.replay()
            return scores.clone()

    def clear(self) -> None:
        """Drop all graphs and free their memory."""
        with self._lock:
            self._graphs.clear()
            torch.cuda.empty_cache()

    def _record(self, image: Tensor) -> _Graph:
        fixed = image.clone()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self.network(fixed)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # others go on copying meanwhile
            scores = self.network(fixed)
        return _Graph(graph, fixed, scores)
