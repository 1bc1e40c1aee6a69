"""Whether users lose anything from one version to another: `python -m tests.golden.compare OLD_TREE NEW_TREE`.

Records both with the `record` beside this file, prints each name that differs with both values, and exits with 1 if
there is one. Verbs, options and keys of JSON documents may be added, and the sentences in these may be worded
otherwise; everything else stays. The record of the old version is kept in the temporary folder by its sources;
`--fresh` makes a new one.
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
RECORDERS = ("checkpoint", "decode", "inputs", "record")
OPTIONS, DOCUMENT = "options", "document"
"""How the names of records begin to which a new version may add."""
SENTENCES = ("told", "concluded", "reason")
"""Keys of JSON documents whose text is for people."""


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two records, in lines."""
    lines = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if name not in old and name.startswith(OPTIONS):
            continue
        if name not in new or name not in old:
            where = "old" if name in old else "new"
            lines += [f"{name}:", f"  only in the {where} record: {_text(old.get(name, after))}"]
        elif name.startswith(OPTIONS):
            if lost := sorted({*before} - {*after}):
                lines += [f"{name}:", f"  lost {', '.join(lost)}"]
        else:
            found = _changed(before, after, more=name.startswith(DOCUMENT))
            lines += [f"{name}{place}:\n  old {_text(one)}\n  new {_text(other)}" for place, one, other in found]
    return lines


def _changed(old: Any, new: Any, place: str = "", *, more: bool) -> list[tuple[str, Any, Any]]:
    """Where two JSON values differ, with both; keys that are new do not count where there may be `more`."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = list(old) if more else sorted({*old, *new})
        pairs = [
            (f"{place} {name}", old.get(name, _MISSING), new.get(name, _MISSING))
            for name in names
            if not (more and name in SENTENCES and _alike(old.get(name), new.get(name)))
        ]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(f"{place} [{at}]", one, other) for at, (one, other) in enumerate(zip(old, new, strict=True))]
    else:
        return [] if old == new else [(place, old, new)]
    return [found for at, one, other in pairs for found in _changed(one, other, at, more=more)]


_MISSING = "(no such key)"


def _alike(old: Any, new: Any) -> bool:
    """Whether both are sentences, or lists of as many."""
    if isinstance(old, str) and isinstance(new, str):
        return True
    return isinstance(old, list) and isinstance(new, list) and len(old) == len(new)


def recorded(tree: Path, folder: Path, parts: list[str]) -> dict[str, Any]:
    """The record of the version in `tree`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = os.pathsep.join(map(str, (tree, HERE.parent)))
    command = [sys.executable, "-m", f"{HERE.name}.record", str(folder / "record.json"), *parts]
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)
    return _read(folder / "record.json")


def digest_of(tree: Path) -> str:
    """A digest of the sources of a tree, changed or not, and of the recorder."""
    sums = hashlib.sha256()
    for file in (*sorted((tree / "pipeline").rglob("*.py")), *(HERE / f"{name}.py" for name in RECORDERS)):
        sums.update(file.read_bytes())
    return sums.hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def main() -> int:
    """Record, compare, print, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--fresh", action="store_true", help="record the old version anew")
    parser.add_argument("--only", nargs="+", default=[], help="some parts, as record.py names them")
    asked = parser.parse_args()
    base = Path(tempfile.gettempdir()) / "golden"
    before = base / "-".join(["old", digest_of(asked.old), *asked.only])
    kept = before / "record.json"
    old = _read(kept) if kept.is_file() and not asked.fresh else recorded(asked.old.resolve(), before, asked.only)
    new = recorded(asked.new.resolve(), base / f"new-{digest_of(asked.new)}", asked.only)
    lines = differences(old, new)
    print(*lines, sep="\n")
    print(f"{len(old)} names of old, {len(new)} of new; " + ("they differ" if lines else "nothing is lost"))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
