"""What the words of a command line ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.parsing import bands, lengths, numbers, pair, volume, words

if TYPE_CHECKING:
    from pipeline.jobs.job_file import Request


def request_of(config: Path | None, options: Mapping[str, Any]) -> Request:
    """The job file, if there is one, with those of a verb's `options` that are a request's own before its own."""
    from pipeline.jobs.job_file import Request, check, read_request

    said = Request() if config is None else read_request(config)
    named = {field.name for field in fields(Request)}
    plain = {option.rstrip("_"): value for option, value in options.items()}
    request = replace(said, **given(**{name: value for name, value in plain.items() if name in named}))
    check(request)
    return request


def given(**options: Any) -> dict[str, Any]:  # noqa: ANN401
    """The options that are not None, as a `Request` has them."""
    listed = {"bands": bands, "view": words, "tta": words, "also": words}
    of_numbers = {"scale": numbers, "offset": numbers, "patch": pair, "overlap": pair, "volume": volume}
    readers: dict[str, Any] = {"input": tuple, "resolution": lengths, **of_numbers, **listed}
    return {
        name: readers[name](value) if name in readers else value for name, value in options.items() if value is not None
    }
