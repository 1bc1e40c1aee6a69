"""A real QGIS with the plugin, in a profile of its own; and a `pipeline` command in an environment of its own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "integrations/qgis/pipeline_segmentation"
# Debian starts it with an option that it does not know.
WINDOW = shutil.which("qgis.bin") or "qgis"
PROCESS = shutil.which("qgis_process.bin") or "qgis_process"
LACKING = next(
    (f"{program} is not installed" for program in ("qgis_process", "xvfb-run") if shutil.which(program) is None), ""
)
"""Why there is no QGIS to test in; empty: there is one."""


@dataclass(frozen=True)
class Qgis:
    """A profile in which the plugin is enabled."""

    home: Path
    command: Path

    @property
    def variables(self) -> dict[str, str]:
        """Its environment: that of a desktop, not that of the tests."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        path = ":".join(
            part for part in kept["PATH"].split(":") if not part.startswith(str(Path(sys.executable).parent))
        )
        own = {"HOME": self.home, "XDG_DATA_HOME": self.home / "data", "XDG_RUNTIME_DIR": self.home / "run"}
        said = {"PIPELINE_COMMAND": self.command, "QT_QPA_PLATFORM": "offscreen", "PATH": path, "LC_ALL": "C.UTF-8"}
        return {**kept, **{name: str(value) for name, value in {**own, **said}.items()}}

    def process(self, algorithm: str, **parameters: object) -> tuple[dict[str, Any], str]:
        """Run an algorithm with `qgis_process`; return its results, empty if it failed, and what it said."""
        words = [f"{name}={value}" for name, value in parameters.items()]
        ended = subprocess.run(
            [PROCESS, "--json", "run", f"pipeline:{algorithm}", "--", *words],
            env=self.variables,
            cwd=self.home,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        results = json.loads(ended.stdout)["results"] if ended.returncode == 0 else {}
        return results, ended.stdout + ended.stderr

    def session(self, script: Path, given: Path, seconds: float = 600.0) -> str:
        """Let a window of QGIS run a script, on a screen of its own; return what it printed."""
        words = ["xvfb-run", "-a", "-s", "-screen 0 1400x900x24", WINDOW, "--nologo", "--code", str(script)]
        variables = {**self.variables, "QT_QPA_PLATFORM": "xcb", "SESSION": str(given)}
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
        return subprocess.run(words, env=variables, cwd=self.home, check=False, timeout=seconds, **how).stdout


def put_qgis(home: Path, python_path: Path = ROOT) -> Qgis:
    """Make a profile with the plugin, and a command that runs this checkout."""
    profile = home / "data/QGIS/QGIS3/profiles/default"
    (profile / "python/plugins").mkdir(parents=True)
    (profile / "QGIS").mkdir()
    (home / "run").mkdir(mode=0o700)
    (profile / "python/plugins" / PLUGIN.name).symlink_to(PLUGIN)
    (profile / "QGIS/QGIS3.ini").write_text(f"[PythonPlugins]\n{PLUGIN.name}=true\nprocessing=true\n")
    return Qgis(home, put_command(home / "environment", python_path))


def put_command(environment: Path, python_path: Path = ROOT) -> Path:
    """Make a command as pip does, in a folder like an environment."""
    command = environment / "bin/pipeline"
    command.parent.mkdir(parents=True)
    words = shlex.join([sys.executable, "-m", "pipeline.cli"])
    command.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(python_path))} exec {words} "$@"\n')
    command.chmod(0o755)
    return command


def put_wheel(folder: Path) -> Path:
    """Make a wheel with a command of this name and another version."""
    path = folder / "pipeline-9.9.0-py3-none-any.whl"
    about = "pipeline-9.9.0.dist-info"
    files = {
        "other_pipeline.py": "def main():\n    print('pipeline 9.9.0')\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: pipeline\nVersion: 9.9.0\nProvides-Extra: vectors\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\npipeline = other_pipeline:main\n",
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
        file.writestr(f"{about}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"]))
    return path
