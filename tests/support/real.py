"""Where the real data lie, if they do: the folder named by PIPELINE_DATA, or `shared/data` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

DATA = Path(os.environ.get("PIPELINE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
ZOO = DATA / "nifti_zoo"
