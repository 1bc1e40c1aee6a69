"""Whether users lose anything from one version to another: `python -m tests.golden.compare OLD_TREE NEW_TREE`.

Records both with the `record` beside this file, prints each name that differs with both values, and exits with 1 if
there is one. Options and keys of JSON documents may be added, everything else stays. The record of the old version is
kept in the temporary folder by its commit; `--fresh` makes it anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
GROWING = ("options/", "keys/")
"""Names whose values are lists that a new version may add to."""


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two records, in lines."""
    lines = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if name.startswith(GROWING):
            if lost := sorted({*(before or [])} - {*(after or [])}):
                lines.append(f"{name}: lost {', '.join(lost)}")
        elif before != after:
            lines += [f"{name}:", f"  old {_text(before)}", f"  new {_text(after)}"]
    return lines


def recorded(tree: Path, folder: Path) -> dict[str, Any]:
    """The record of the version in `tree`; its work stays in `folder`, to be looked at."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = os.pathsep.join(map(str, (tree, HERE.parent)))
    command = [sys.executable, "-m", f"{HERE.name}.record", str(folder / "record.json"), str(folder / "work")]
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)
    return _read(folder / "record.json")


def commit_of(tree: Path) -> str:
    """The commit of a tree, or a digest of its modules where there are changes, and of the recorder."""
    sums = hashlib.sha256()
    for file in (*sorted((tree / "pipeline").rglob("*.py")), *sorted(HERE.glob("*.py"))):
        sums.update(file.read_bytes())
    return sums.hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _text(value: Any) -> str:  # noqa: ANN401
    return "nothing" if value is None else json.dumps(value, sort_keys=True)


def main() -> int:
    """Record, compare, print, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--fresh", action="store_true", help="record the old version anew")
    asked = parser.parse_args()
    base = Path(tempfile.gettempdir()) / "golden"
    before = base / f"old-{commit_of(asked.old)}"
    kept = before / "record.json"
    old = _read(kept) if kept.is_file() and not asked.fresh else recorded(asked.old.resolve(), before)
    new = recorded(asked.new.resolve(), base / f"new-{commit_of(asked.new)}")
    lines = differences(old, new)
    print(*lines, sep="\n")
    print(f"{len(old)} names of old, {len(new)} of new; " + ("they differ" if lines else "nothing is lost"))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
