"""Functions stay small: the lengths of their bodies, and how many ways there are through them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
MEDIAN, P95, COMPLEXITY = 5, 20, 12
"""Most lines of a body, without its docstring, in the middle and at the 95th percentile; and most ways, of any."""
BRANCHES = (
    ast.If,
    ast.For,
    ast.While,
    ast.IfExp,
    ast.ExceptHandler,
    ast.comprehension,
    ast.And,
    ast.Or,
    ast.match_case,
)


class Function(NamedTuple):
    place: str
    lines: int
    complexity: int


def functions(text: str, place: str) -> list[Function]:
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [Function(f"{place}:{node.lineno} {node.name}", lines_of(node), ways_of(node)) for node in nodes]


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def ways_of(node: ast.AST) -> int:
    return 1 + sum(isinstance(part, BRANCHES) for part in ast.walk(node))


@cache
def ours() -> list[Function]:
    files = [file for folder in ("pipeline", "flows", "integrations") for file in sorted((ROOT / folder).rglob("*.py"))]
    return [function for file in files for function in functions(file.read_text("utf-8"), str(file.relative_to(ROOT)))]


def test_functions_are_short():
    lines = sorted(function.lines for function in ours())
    assert len(lines) > 1000
    assert median(lines) <= MEDIAN
    assert lines[int(0.95 * (len(lines) - 1))] <= P95


def test_functions_have_few_ways_through_them():
    assert [function for function in ours() if function.complexity > COMPLEXITY] == []


def test_a_function_with_many_ways_is_seen():
    many = "\n".join(f"    if x == {number}: return {number}" for number in range(COMPLEXITY))
    (found,) = functions(f'def f(x):\n    """Two lines\n    do not count."""\n{many}\n', "here")
    assert found == ("here:1 f", COMPLEXITY, COMPLEXITY + 1)
