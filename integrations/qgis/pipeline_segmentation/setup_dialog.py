"""The set-up page: finds the command or makes an environment for it, and says what is wrong. It never waits."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from qgis.core import QgsApplication
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from . import settings
from .background import Background
from .logic import environment, install
from .logic.errors import CommandError
from .logic.install import Plan, Step
from .logic.printed import document
from .logic.process import Ended

SEARCH = "Look for it"
QUESTION = """This runs

{commands}

It downloads what pipeline needs, torch among it (from 0.3 GB, with CUDA some 3 GB), into {folder}, and changes \
nothing else. Start?"""


class SetUpDialog(QDialog):
    """Where the command is, what is wrong with it, and how to install it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Segmentation (pipeline): set up")
        self.resize(760, 640)
        self._asking, self._making = Background(self._asked), Background(self._step_ended, self._log)
        self._then: Callable[[Ended], None] = self._judge
        self._trying = Background(self._tried)
        self._pythons: list[str] = []
        self._refused: list[str] = []
        self._verdict = environment.Verdict(False, "")
        self._steps: list[Step] = []
        self.state = QLabel()
        self.state.setWordWrap(True)
        self.log = QPlainTextEdit(readOnly=True)
        whole = QVBoxLayout(self)
        for part in (self._command_group(), self._new_group(), self.log):
            whole.addWidget(part)

    def _command_group(self) -> QWidget:
        group = QGroupBox("The pipeline command")
        self.choice = QComboBox()
        self.choice.setEditable(True)
        self.choice.activated.connect(lambda index: self._choose())
        self.choice.lineEdit().editingFinished.connect(self._choose)
        self._check = _button("Check", self._check_now)
        form = QVBoxLayout(group)
        form.addLayout(_row(self.choice, _button("Browse…", self._browse), self._check))
        form.addWidget(self.state)
        return group

    def _new_group(self) -> QWidget:
        group = QGroupBox("Install it in a new environment")
        self.folder = QLineEdit(str(Path(QgsApplication.qgisSettingsDirPath()) / environment.OWN_FOLDER))
        self.source = QLineEdit(install.default_source(Path(__file__).parent))
        self.source.setPlaceholderText("Wheel (.whl) of pipeline, or folder with its source code")
        self.python = QLineEdit()
        self.arguments = QLineEdit()
        self.arguments.setPlaceholderText("Further arguments for pip, e.g. the index of the torch for your machine")
        form = QFormLayout(group)
        form.addRow("Install", _row(self.source, _button("File…", self._wheel), _button("Folder…", self._checkout)))
        form.addRow("Into", self.folder)
        form.addRow("With the Python", self.python)
        form.addRow("Arguments of pip", self.arguments)
        self._make, self._stop = _button("Install…", self._ask_to_make), _button("Stop", self._making.stop)
        self._stop.setEnabled(False)
        form.addRow("", _row(self._make, self._stop))
        return group

    def look(self) -> None:
        """List the commands that are found, and check the one in use."""
        given = settings.places().given
        everywhere = environment.Places(**{**vars(settings.places()), "given": ""})
        self.choice.clear()
        self.choice.addItem(SEARCH, "")
        for found in environment.candidates(everywhere):
            self.choice.addItem(f"{found.command} ({found.origin})", str(found.command))
        self._show_choice(given)
        self._check_now()
        if not self.python.text():
            self._pythons = list(install.pythons(os.environ))
            self._try_python()

    def _try_python(self) -> None:
        """Ask the next Python whether it will do."""
        if self._pythons and not self._trying.running:
            self._trying.start(install.check_words(self._pythons[0]))

    def _tried(self, ended: Ended) -> None:
        python = self._pythons.pop(0)
        problem = install.judge_python(python, ended)
        if not problem:
            self.python.setText(python)
            return
        self._refused.append(problem)
        if not self._pythons:
            self._log("\n".join(self._refused))
        self._try_python()

    def _show_choice(self, given: str) -> None:
        place = self.choice.findData(given)
        if place >= 0:
            self.choice.setCurrentIndex(place)
        else:
            self.choice.setCurrentText(given)

    def _chosen(self) -> str:
        place = self.choice.findText(self.choice.currentText())
        return str(self.choice.itemData(place)) if place >= 0 else self.choice.currentText().strip()

    def _choose(self) -> None:
        if self._chosen() != settings.places().given:
            settings.choose(self._chosen())
            self._check_now()

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Environment in which pipeline is installed")
        if folder:
            self.choice.setCurrentText(folder)
            self._choose()

    def _wheel(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Wheel of pipeline", "", "Wheels (*.whl)")
        self.source.setText(file or self.source.text())

    def _checkout(self) -> None:
        self.source.setText(QFileDialog.getExistingDirectory(self, "Source code of pipeline") or self.source.text())

    def _check_now(self) -> None:
        if self._asking.running or self._making.running:
            return
        try:
            self._command = str(environment.find(settings.places()).command)
        except CommandError as error:
            self._show(False, str(error))
            return
        self.state.setText(f"{self._command}: is asked for its version…")
        self._ask([self._command, "--version"], self._judge)

    def _ask(self, words: Sequence[str], then: Callable[[Ended], None]) -> None:
        self._then = then
        self._check.setEnabled(False)
        self._asking.start(words)

    def _asked(self, ended: Ended) -> None:
        self._check.setEnabled(True)
        self._then(ended)

    def _judge(self, ended: Ended) -> None:
        self._verdict = environment.judge(self._command, ended, environment.made_for())
        self._show(self._verdict.usable, self._verdict.text)
        if self._verdict.usable:
            self._ask([self._command, "doctor", "--json"], self._examine)

    def _examine(self, ended: Ended) -> None:
        """Show what `doctor` finds; a version without it is as good as its word."""
        wrong = environment.findings(document(ended.out))
        self._show(True, "\n".join([self._verdict.text, *wrong]))

    def _show(self, usable: bool, text: str) -> None:
        self.state.setText(("Ready. " if usable else "Not ready. ") + text)

    def _ask_to_make(self) -> None:
        """Check the Python first, then ask, then make."""
        try:
            self._steps = install.steps(self._plan())
        except CommandError as error:
            self._log(str(error))
            return
        if self._asking.running:
            return
        self._ask(install.check_words(self.python.text()), self._ask_user)

    def _plan(self) -> Plan:
        folder = Path(self.folder.text()).expanduser()
        return Plan(folder, self.python.text().strip(), self.source.text().strip(), self.arguments.text())

    def _ask_user(self, ended: Ended) -> None:
        problem = install.judge_python(self.python.text(), ended)
        if problem:
            self._log(problem)
            return
        commands = "\n".join(shlex.join(step.words) for step in self._steps)
        text = QUESTION.format(commands=commands, folder=self.folder.text())
        if QMessageBox.question(self, "Install pipeline", text) == QMessageBox.Yes:
            self._next_step()

    def _next_step(self) -> None:
        self._make.setEnabled(False)
        self._stop.setEnabled(True)
        self._log(f"{self._steps[0].title}: {shlex.join(self._steps[0].words)}\n")
        self._making.start(self._steps[0].words)

    def _step_ended(self, ended: Ended) -> None:
        done = self._steps.pop(0)
        if ended.code == 0 and self._steps and not ended.stopped:
            self._next_step()
            return
        self._make.setEnabled(True)
        self._stop.setEnabled(False)
        if ended.code or ended.stopped:
            self._log(
                f"{'stopped' if ended.stopped else 'failed'}: {done.title}; Install starts over in the same folder\n"
            )
            return
        self._log("done")
        settings.choose(self.folder.text())
        self.look()

    def _log(self, text: str) -> None:
        self.log.appendPlainText(text.rstrip())


def _button(text: str, do: Callable[[], object]) -> QPushButton:
    button = QPushButton(text)
    button.setAutoDefault(False)
    button.clicked.connect(lambda checked=False: do())
    return button


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part, 0 if isinstance(part, QPushButton) else 1)
    return row
