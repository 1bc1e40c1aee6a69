"""What all algorithms share: they run the command, follow it, and pass on what it says."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsFeatureSink,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
)
from qgis.PyQt.QtGui import QIcon

from . import settings
from .inputs import RasterFile, raster_file
from .logic.commands import Value, command_line
from .logic.errors import CommandError, LayerError
from .logic.printed import Line, Rarely, document, error_text, parse_line
from .logic.process import Ended, follow
from .logic.results import MaskClass, classes_of
from .styles import ClassStyle

ICON = str(Path(__file__).with_name("icon.svg"))
Parameters = Mapping[str, Any]


class Listener:
    """Passes the lines of a command on to QGIS."""

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self._feedback, self._rarely = feedback, Rarely()
        self.messages: list[str] = []

    def take(self, printed: str) -> None:
        """Show the progress or the message in a line."""
        line = parse_line(printed)
        if line is None:
            return
        if line.share is None:
            self._say(line)
            return
        self._feedback.setProgress(100 * line.share)
        if self._rarely.lets(line, time.monotonic()):
            self._feedback.setProgressText(line.text)

    def _say(self, line: Line) -> None:
        """Pass a message on; one that Python prints when it is interrupted is not for the user."""
        self.messages.append(line.text)
        if line.own or not self._feedback.isCanceled():
            self._feedback.pushInfo(line.text)


class PipelineAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that calls a verb of the command. Errors of the command are the errors of the algorithm."""

    NAME = TITLE = HELP = ""

    def name(self) -> str:
        """Return its name in scripts."""
        return self.NAME

    def displayName(self) -> str:  # noqa: N802
        """Return its name in the toolbox."""
        return self.TITLE

    def shortHelpString(self) -> str:  # noqa: N802
        """Return the text beside its form."""
        return "".join(f"<p>{' '.join(part.split())}</p>" for part in self.HELP.split("\n\n"))

    def icon(self) -> QIcon:
        """Return the icon of the provider."""
        return QIcon(ICON)

    def createInstance(self) -> PipelineAlgorithm:  # noqa: N802
        """Return a new one."""
        return type(self)()

    def processAlgorithm(  # noqa: N802
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run it, in a thread that is not that of the window; what is wrong ends it with words for the log."""
        try:
            return self.run_verb(parameters, context, feedback)
        except (CommandError, LayerError, OSError) as error:
            raise QgsProcessingException(str(error)) from None

    def run_verb(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the verb and return the outputs."""
        raise NotImplementedError

    def add(self, parameter: QgsProcessingParameterDefinition, help_text: str = "", *, advanced: bool = False) -> None:
        """Add a parameter with what is shown when the mouse is over it."""
        parameter.setHelp(help_text)
        if advanced:
            parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
        self.addParameter(parameter)

    def call(
        self,
        verb: str,
        options: Mapping[str, Value],
        feedback: QgsProcessingFeedback,
        arguments: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Run the command and return its JSON document; empty if it was stopped.

        Raises:
            CommandError: If it cannot be started, or fails; the message is its own.

        """
        words = command_line(verb, {**options, "json": True}, arguments)
        command = settings.usable_command(feedback)
        feedback.pushCommandInfo(shlex.join([command, *words]))
        listener = Listener(feedback)
        ended = follow([command, *words], settings.variables(), listener.take, feedback.isCanceled)
        return _document(ended, listener)

    def raster(
        self, parameters: Parameters, name: str, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> RasterFile | None:
        """Return the file of a parameter that is a raster layer; None: it is not given."""
        layer = self.parameterAsRasterLayer(parameters, name, context)
        if layer is None and parameters.get(name):
            raise QgsProcessingException(self.invalidRasterError(parameters, name))
        return None if layer is None else raster_file(layer, feedback)

    def choice(self, parameters: Parameters, name: str, context: QgsProcessingContext) -> str:
        """Return the word that is chosen of an optional list, whose first entry stands for the default."""
        number = self.parameterAsEnum(parameters, name, context)
        return "" if number < 1 else str(self.parameterDefinition(name).options()[number])

    def classes(self, path: str, feedback: QgsProcessingFeedback) -> list[MaskClass]:
        """Return the classes of a mask."""
        return [] if feedback.isCanceled() else classes_of(self.call("info", {}, feedback, [path]))

    def name_output(
        self, context: QgsProcessingContext, destination: str, name: str, style: ClassStyle | None = None
    ) -> None:
        """Say how an output is called and styled, if it is to be loaded."""
        if not context.willLoadLayerOnCompletion(destination):
            return
        details = context.layerToLoadOnCompletionDetails(destination)
        details.name = name
        details.forceName = True
        if style is not None:
            details.setPostProcessor(style.kept())


def _document(ended: Ended, listener: Listener) -> dict[str, Any]:
    if ended.stopped and ended.code:
        return {}
    if ended.code:
        raise CommandError(error_text(ended, listener.messages))
    return document(ended.out)


def add_row(sink: QgsFeatureSink, feature: Any) -> None:  # noqa: ANN401  (a feature)
    """Add a row to a table.

    Raises:
        QgsProcessingException: If it cannot be written.

    """
    if not sink.addFeature(feature, QgsFeatureSink.FastInsert):
        raise QgsProcessingException(f"a row of the table cannot be written: {sink.lastError()}")
