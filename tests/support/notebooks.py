"""Notebooks of the documentation: read, and run in this process or in a kernel as Jupyter does."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs/notebooks").glob("*.ipynb"))


def run_here(notebook: Path) -> list[str]:
    """Run the cells of a notebook in this process, and return the HTML or the text that each of them shows."""
    shared: dict[str, Any] = {"__name__": "notebook"}
    return [_shown(cell.source, notebook, shared) for cell in _read(notebook).cells if cell.cell_type == "code"]


def _shown(text: str, notebook: Path, shared: dict[str, Any]) -> str:
    tree = ast.parse(text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(notebook), "exec"), shared)
    if last is None:
        return ""
    value = eval(compile(ast.Expression(last.value), str(notebook), "eval"), shared)
    return str(value._repr_html_() if hasattr(value, "_repr_html_") else value)


def run_in_kernel(notebook: Path, folder: Path) -> list[list[Any]]:
    """Run a notebook in a kernel, in `folder`; return the outputs of each cell of code. A cell that fails raises."""
    run = NotebookClient(
        _read(notebook), timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    return [cell.outputs for cell in run.execute().cells if cell.cell_type == "code"]


def kernel_folders(folder: Path) -> dict[str, str]:
    """Environment of a kernel that leaves nothing outside `folder`."""
    names = ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")
    return {name: os.fspath(folder / name.lower()) for name in names}


def html_in(outputs: list[Any]) -> str:
    """All HTML that a cell shows."""
    return "".join(output.data["text/html"] for output in outputs if "text/html" in output.get("data", {}))


def _read(notebook: Path) -> Any:
    return nbformat.read(notebook, as_version=4)
