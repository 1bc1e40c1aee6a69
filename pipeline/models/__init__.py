"""PSPNet and its models: the room of torch. Cards and names are read without it."""

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
