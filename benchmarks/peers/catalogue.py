"""The peers, and the memory that each will need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A way to segment a whole image: plain float32, and overlaps blended in arrays of the image's size."""

    name: str
    module: str
    """Of this package; it has `labels`."""
    scores: int
    """Scores of all classes, of the image's size in float32, at the peak."""
    planes: int
    """Single planes beside them and the image, counted in float32."""

    def needed(self, pixels: int, channels: int, classes: int) -> int:
        """Bytes of its arrays alone; what the network computes with comes on top."""
        return 4 * pixels * (channels + self.scores * classes + self.planes)


PEERS = (
    Peer("MONAI SlidingWindowInferer", "sliding_window", scores=1, planes=2),
    Peer("whole-array blend", "whole_array", scores=1, planes=3),
    Peer("mmsegmentation slide", "slide", scores=2, planes=1),
)
