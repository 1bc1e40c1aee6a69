"""PSPNet on a GPU, behind the engine's `Predictor`: pixels go up as they are, scores stay until they are labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle
from math import prod
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.inference.cuda_graph import CudaGraphNetwork
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.passes import scores_of
from pipeline.models.inference.runtime import InferenceModel
from pipeline.models.inference.tensor_arrays import TensorArrays
from pipeline.models.inference.tta import NO_AUGMENTATION, TTA
from pipeline.sources.validity import LARGEST

MEMORY_SHARE = 0.6
"""Share of the GPU's free memory that a batch may take."""
METAL_BATCH = 4
"""Patches in a batch on a Metal GPU, which shares its memory with everything else."""
MAX_BATCH = 64
"""Patches in the largest batch: more do not make it faster."""


class GpuPredictor:
    """A `Predictor` for one input on one GPU.

    A batch is always filled up to the same size, so that the same kernels compute every patch. Where the memory does
    not do after all, the size is halved and remembered; other kernels may then round otherwise.
    """

    classes: int
    batch: int
    threads: int = 2
    """One call copies its pixels to the GPU while the other's are computed."""

    def __init__(
        self,
        model: InferenceModel,
        scaling: Scaling,
        native_spacing: tuple[float, float] | None = None,
        *,
        augmentation: TTA = NO_AUGMENTATION,
        batch: int,
    ) -> None:
        """Set up for an input of `native_spacing` (height, width)."""
        self.classes = len(model.card.classes)
        self.batch = self._step = batch
        self.arrays = TensorArrays(torch.device(model.numerics.device))
        self._model = model
        self._scaling = scaling
        self._spacing = native_spacing
        self._augmentation = augmentation
        self._upload = Upload(self.arrays.device)
        self._computing = Lock()

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Tensor:
        """Scores as `CpuPredictor` gives them, as a tensor on the GPU."""
        with torch.inference_mode(), current_device(self.arrays.device):
            seen = self._upload(values)
            scaled = scaled_on_device(seen, None if valid is None else self._upload(valid), self._scaling)
            stacked = scaled.flatten(1, -3)
            with self._computing:
                scores = self._scores(stacked)
        return scores if self._model.card.kind == "scene" else scores[:, :, None]

    def _scores(self, stacked: Tensor) -> Tensor:
        while True:
            try:
                parts = [self._filled(part) for part in torch.split(stacked, self._step)]
                return torch.cat(parts)
            except torch.OutOfMemoryError:
                if self._step == 1:
                    raise
                self._step //= 2
                if isinstance(self._model.network, CudaGraphNetwork):
                    self._model.network.clear()

    def _filled(self, part: Tensor) -> Tensor:
        missing = self._step - len(part)
        full = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
        return scores_of(self._model, self._spacing, full, self._augmentation)[: len(part)]


class Upload:
    """Copies to a GPU. To one of CUDA from two buffers of pinned memory in turn: one is filled while the other is sent.

    To others, numbers are sent as float32: a Metal GPU has no float64 and no unsigned numbers of 16 bits.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lock = Lock()
        if device.type == "cuda":
            self._aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._buffers: Iterator[_Pinned] = cycle((_Pinned(), _Pinned()))

    def __call__(self, values: NDArray[Any]) -> Tensor:
        """`values` as a tensor on the device."""
        source = torch.from_numpy(np.ascontiguousarray(values))
        if self._device.type != "cuda":
            return (source if source.dtype == torch.bool else source.to(torch.float32)).to(self._device)
        with self._lock:
            buffer = next(self._buffers)
            pinned = buffer.take(source)
            with torch.cuda.stream(self._aside):
                sent = pinned.to(self._device, non_blocking=True)
                buffer.sent.record(self._aside)
        now = torch.cuda.current_stream(self._device)
        now.wait_event(buffer.sent)
        sent.record_stream(now)
        return sent


class _Pinned:
    def __init__(self) -> None:
        self.sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._bytes = torch.empty(0, dtype=torch.uint8)

    def take(self, source: Tensor) -> Tensor:
        """A copy of `source` in this buffer, once what it held before is sent."""
        self.sent.synchronize()
        needed = prod(source.shape) * source.element_size()
        if self._bytes.numel() < needed:
            self._bytes = torch.empty(needed, dtype=torch.uint8, pin_memory=True)
        return self._bytes[:needed].view(source.dtype).view(source.shape).copy_(source)


def scaled_on_device(values: Tensor, valid: Tensor | None, scaling: Scaling) -> Tensor:
    """What `Scaling` does, to a tensor `(n, channels, *seen)`: the same float32 values."""
    scaled = values.to(torch.float32)
    unseen = ~(scaled.abs() < LARGEST)
    if valid is not None:
        unseen |= ~valid[:, None]
    scaled = scaled.masked_fill(unseen, 0)
    mean, std, low, high = (
        torch.tensor(numbers, dtype=torch.float32, device=values.device).view(-1, *(1,) * (values.ndim - 2))
        for numbers in (scaling.mean, scaling.std, scaling.low, scaling.high)
    )
    if scaling.low:
        scaled = scaled.clamp(low, high)
    return ((scaled - mean) / std).masked_fill(unseen, 0)


def measure_batch(network: Callable[[Tensor], Tensor], shape: tuple[int, int, int], device: torch.device) -> int:
    """Patches of `shape` (channels, height, width) that fit into the GPU's free memory: a power of 2 up to `MAX_BATCH`.

    Tried with one patch and with two: what the second takes is what each takes. `METAL_BATCH` on a Metal GPU.
    """
    if device.type != "cuda":
        return METAL_BATCH
    plain = network.network if isinstance(network, CudaGraphNetwork) else network
    peaks = []
    with torch.inference_mode(), current_device(device):
        for count in (1, 2):
            torch.cuda.reset_peak_memory_stats(device)
            plain(torch.zeros((count, *shape), device=device))
            peaks.append(torch.cuda.max_memory_allocated(device))
    torch.cuda.empty_cache()
    return largest_batch(torch.cuda.mem_get_info(device)[0], peaks[1] - peaks[0])


def current_device(device: torch.device) -> AbstractContextManager[object]:
    """Makes `device` the current one of its kind."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def largest_batch(free: int, each: int) -> int:
    """The largest power of 2 of patches of `each` bytes, up to `MAX_BATCH`, that fit into a share of `free` bytes."""
    fitting = min(MAX_BATCH, int(MEMORY_SHARE * free / max(1, each)))
    return 1 << max(0, fitting.bit_length() - 1)
