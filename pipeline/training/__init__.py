"""Train a model from labeled files: sampling, augmentation, and the loop of Lightning.

May import models, jobs and everything below them; nothing of runs, archives or the command line.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.training.config import TrainingResources, read_training
    from pipeline.training.run import train

__all__ = ["TrainingResources", "read_training", "train"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.training.config": ("TrainingResources", "read_training"),
        "pipeline.training.run": ("train",),
    },
)
