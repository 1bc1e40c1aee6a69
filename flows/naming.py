"""What runs of the flows are called, and tagged with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from prefect.runtime import flow_run

from pipeline import Job

TAG = "pipeline"
"""Tag of all runs."""


class _AsText:
    """Takes a path as its text, so that a form has one field for paths and addresses."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:  # noqa: ANN401  (pydantic's)
        function = {"type": "no-info", "function": lambda value: str(value) if isinstance(value, Path) else value}
        return {"type": "function-before", "function": function, "schema": handler(source)}


LedgerName = Annotated[str | None, _AsText()]
"""A file, or the address of a database without its password."""


def run_name() -> str:
    """Return the name of this flow run: its job file or its inputs, and when it began."""
    about = flow_run.parameters
    what = Path(about["config"]).stem if "config" in about else _inputs(about["jobs"])
    return f"{what} {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"


def tags_of(jobs: Iterable[Job]) -> list[str]:
    """Return the tags of a run: that of the package, and the models that are named."""
    return [TAG, *sorted({f"model:{Path(model).name}" for job in jobs for model in job.models})]


def _inputs(jobs: list[Job]) -> str:
    return Path(jobs[0].name).name if len(jobs) == 1 else f"{len(jobs)} items"
