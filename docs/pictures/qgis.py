"""Picture of the plugin in QGIS: `python -m docs.pictures.qgis`, from the root of the project.

qgis.webp     the demo scene, its mask, and the algorithms in the toolbox

Needs QGIS and xvfb. Everything is made anew in a temporary folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from pipeline.demo import make
from tests.support.qgis import ROOT, put_qgis

FOLDER = Path(__file__).parent
SCRIPT = ROOT / "tests/integrations/qgis_session.py"
SHAPE = (600, 800)


def main() -> None:
    """Segment the demo scene in a window of QGIS, and keep what it shows."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, shape=SHAPE)
        (folder / "home").mkdir()
        (folder / "session").mkdir()
        given = {"scene": folder / "scene.tif", "output": folder / "session/mask.tif", "model": "landcover"}
        words = {"parts": ["window"], **{key: str(value) for key, value in given.items()}}
        (folder / "session/given.json").write_text(json.dumps(words), encoding="utf-8")
        put_qgis(folder / "home").session(SCRIPT, folder / "session/given.json")
        with Image.open(folder / "session/window.png") as picture:
            picture.convert("RGB").save(FOLDER / "qgis.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
