"""PSPNet and its models: cards, stores and weights. The room of torch; cards and names are read without it.

May import sources, the engine, geometry and everything below them; nothing of io, jobs or what is above them.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.models.publish import publish_model

__all__ = ["publish_model"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.models.publish": ("publish_model",),
    },
)
