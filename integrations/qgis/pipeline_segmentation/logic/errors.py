"""What goes wrong, in words for the log."""

from __future__ import annotations


class CommandError(Exception):
    """The command cannot be found, cannot be started, or has said what is wrong; the message is for the user."""


class LayerError(Exception):
    """The command cannot use a layer; the message is for the user."""
