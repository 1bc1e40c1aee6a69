"""Where torch computes."""

from __future__ import annotations

import torch

from pipeline.errors import RequestError


def choose_device(asked: str | None) -> str:
    """The device `asked` for, if it is there; a GPU where there is one, else the CPU, if none is asked for.

    Raises RequestError for a name that torch does not know and for a GPU that is not there.
    """
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise RequestError(f"--device {asked}: torch knows no such device; give cpu, cuda or cuda:1") from error
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise RequestError(
            f"--device {asked}: there are {count} GPUs that torch can use here; give cpu, or see to CUDA"
        )
    return asked
