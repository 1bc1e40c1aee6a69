"""A list of models that can also be written in, filled while the form is open."""

from __future__ import annotations

from processing.gui.wrappers import WidgetWrapper
from qgis.PyQt import sip
from qgis.PyQt.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QToolButton, QWidget

from .background import Background
from .logic import environment
from .logic.commands import command_line
from .logic.errors import CommandError
from .logic.printed import document
from .logic.process import Ended
from .logic.results import scene_models
from .settings import places


class ModelWidget(WidgetWrapper):
    """The name of a model, chosen, or the folder of one of the user's own."""

    def createWidget(self) -> QWidget:  # noqa: N802  (QGIS calls it)
        """Return the list, with a button for a folder."""
        self._box = QComboBox()
        self._box.setEditable(True)
        self._box.setCurrentText(self.parameterDefinition().defaultValue() or "")
        self._box.currentTextChanged.connect(lambda text: self.widgetValueHasChanged.emit(self))
        self._asking = Background(self._fill)
        self._ask()
        return _beside(self._box, self._browse)

    def setValue(self, value: object) -> None:  # noqa: N802  (QGIS calls it)
        """Show a value."""
        if value is not None:
            self._box.setCurrentText(str(value))

    def value(self) -> str:
        """Return the name, or the folder."""
        found = self._box.findText(self._box.currentText())
        return str(self._box.itemData(found)) if found >= 0 else self._box.currentText().strip()

    def _ask(self) -> None:
        """Ask the command for its models; the form does not wait for it."""
        try:
            command = environment.find(places()).command
        except CommandError:
            return
        self._asking.start([str(command), *command_line("models", {"json": True})])

    def _fill(self, ended: Ended) -> None:
        """Add the models, unless the form was closed meanwhile."""
        if sip.isdeleted(self._box):
            return
        shown = self._box.currentText()
        for model in scene_models(document(ended.out)):
            self._box.addItem(model.label, model.name)
        place = self._box.findData(shown)
        if place >= 0:
            self._box.setCurrentIndex(place)
        else:
            self._box.setCurrentText(shown)

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self._box, "Folder of a model")
        if folder:
            self._box.setCurrentText(folder)


def _beside(box: QComboBox, browse: object) -> QWidget:
    whole, button = QWidget(), QToolButton()
    button.setText("…")
    button.setToolTip("Folder of a model of your own")
    button.clicked.connect(browse)
    row = QHBoxLayout(whole)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(box, 1)
    row.addWidget(button)
    return whole
