"""Whether a move moved only: `python -m tests.golden.bodies OLD_TREE NEW_TREE` compares all functions of two trees.

Functions are compared by their syntax trees, imports left out, whatever module they are in. Prints those that only one
of the trees has, and exits with 1 if there are any.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

Function = tuple[str, str]
"""Name and body, as text of its syntax tree."""


def functions(tree: Path) -> Counter[Function]:
    """All functions and methods below `tree`, with how often each is there."""
    files = [file for folder in ("pipeline", "flows") for file in sorted((tree / folder).rglob("*.py"))]
    return Counter(function for file in files for function in _functions(file.read_text(encoding="utf-8")))


def _functions(text: str) -> list[Function]:
    nodes = ast.walk(_WithoutImports().visit(ast.parse(text)))
    return [(node.name, ast.dump(node)) for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


class _WithoutImports(ast.NodeTransformer):
    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Leave it out: modules have moved."""

    def visit_Import(self, node: ast.Import) -> None:
        """Leave it out."""


def main(old: Path, new: Path) -> int:
    """Compare, print, and give the exit code."""
    before, after = functions(old), functions(new)
    for words, left in (("only before", before - after), ("only after", after - before)):
        for name, _ in sorted(left):
            print(f"{words}: {name}")
    print(f"{sum((before & after).values())} functions are equal")
    return int(before != after)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
