"""How a network is computed: all that may change the rounding of its scores, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "bfloat16", "int8"]
Runtime = Literal["torch", "compiled", "openvino", "onnx"]


@dataclass(frozen=True)
class Numerics:
    """Where and in what numbers a network is computed. Recorded in every output."""

    device: str = "cpu"
    """Device of torch: cpu, cuda, cuda:1 or mps."""
    precision: Precision = "float32"
    """Numbers that convolutions are computed in; scores are float32 from the last one on."""
    runtime: Runtime = "torch"
    """What runs it: torch, torch with kernels made by its compiler, OpenVINO; ONNX Runtime if all are ONNX files."""
    fused: bool = False
    """Whether what follows a convolution is computed with it and rounded once: in bfloat16 on CPUs that are fast in it.

    Where such a run is continued on a CPU that cannot, they are computed apart.
    """

    @property
    def on_cpu(self) -> bool:
        """Whether the device is the CPU."""
        return self.device == "cpu"

    @property
    def is_reference(self) -> bool:
        """Whether there is nothing to compare it with: float32 on the CPU, as torch or ONNX Runtime compute it."""
        return self.on_cpu and self.precision == "float32" and self.runtime in ("torch", "onnx")


REFERENCE = Numerics()
"""What every other is compared with: torch, in float32, on the CPU."""
