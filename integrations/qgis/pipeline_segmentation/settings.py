"""Where the command is, as the user has set it and as it is found."""

from __future__ import annotations

import os
from pathlib import Path

from processing.core.ProcessingConfig import ProcessingConfig
from qgis.core import QgsApplication, QgsProcessingFeedback, QgsProject

from .logic import environment
from .logic.environment import Found, Places
from .logic.process import Ended, follow

COMMAND = "PIPELINE_COMMAND"
"""Name of the setting in the options of Processing."""
_told: dict[tuple[str, float], environment.Verdict] = {}
"""By path and time of commands: what was found about them."""


def places() -> Places:
    """Return where to look for the command."""
    project = QgsProject.instance().absolutePath()
    return Places(
        given=str(ProcessingConfig.getSetting(COMMAND) or ""),
        variables=os.environ,
        home=Path.home(),
        profile=Path(QgsApplication.qgisSettingsDirPath()),
        project=Path(project) if project else None,
    )


def choose(command: str) -> None:
    """Remember the command that the user has chosen; empty: it is looked for."""
    ProcessingConfig.setSettingValue(COMMAND, command)


def variables() -> dict[str, str]:
    """Return the environment variables for the command."""
    return environment.clean_variables(os.environ)


def usable_command(feedback: QgsProcessingFeedback) -> str:
    """Return the command, after a look at its version, which is told if it is not the one that is expected.

    Raises:
        CommandError: If there is none, or it does not start.

    """
    found = environment.find(places())
    verdict = _verdict(found)
    if not verdict.usable:
        raise environment.CommandError(f"{verdict.text}. To choose another, {environment.SET_UP}")
    if "made for" in verdict.text:
        feedback.pushWarning(verdict.text)
    return str(found.command)


def _verdict(found: Found) -> environment.Verdict:
    key = (str(found.command), found.command.stat().st_mtime)
    if key not in _told:
        _told[key] = environment.judge(found.command, _version(found), environment.made_for())
    return _told[key]


def _version(found: Found) -> Ended:
    return follow([str(found.command), "--version"], variables())
