"""What the pipeline makes of small inputs, as digests by name: `python -m tests.golden.record OUT.json`.

The pipeline that the interpreter finds is recorded, whatever tree it is of: only its command line and its public names
are used, and what `_inner` finds by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}

import numpy as np
import torch

from .checkpoint import put_checkpoint
from .decode import digest, scrubbed
from .inputs import (
    pixels,
    put_dicom,
    put_metaimage,
    put_model,
    put_nrrd,
    put_scene,
    put_stack,
    put_tiles,
    put_trainings,
    put_volume,
    put_zarr,
    still,
)

Record = dict[str, Any]
"""By name, a digest or a JSON value. Of names that begin with "options" and "document", a newer one may hold more."""

STEADY = ("--device", "cpu", "--precision", "float32", "--runtime", "torch")
SCENE, VOLUME = ("--model", "models/scene", *STEADY), ("--model", "models/volume", *STEADY)
ALONE = ("--no-prefect", "--json")
LAYERS = ("confidence", "probabilities", "scores", "disagreement")


def put_inputs() -> None:
    """Write all inputs into the folder that one is in."""
    values = pixels((2, 300, 280))
    values[:, 100:160, 90:150] = 0
    put_scene(Path("scene.tif"), values)
    put_scene(Path("rgb.tif"), pixels((3, 300, 280), 5))
    put_scene(Path("tall.tif"), pixels((2, 4500, 40), 1))
    put_scene(Path("wide.tif"), pixels((2, 40, 1800), 2))
    put_zarr(Path("scene.zarr"), values)
    put_tiles(Path("tiles"), values)
    put_stack(Path("bands"), values)
    scan = pixels((44, 36, 36), 3).astype(np.int16)
    for name in ("scan.nii", "scan.nii.gz"):
        put_volume(Path(name), scan)
    put_nrrd(Path("scan.nrrd"), scan)
    put_metaimage(Path("scan.mha"), scan)
    put_dicom(Path("series"), scan[:, :, :8])
    for kind in ("scene", "volume"):
        put_model(Path("models") / kind, kind)


def called(*words: str, code: int = 0) -> str:
    """What the command line says on stdout, in this process."""
    from typer.testing import CliRunner

    app = import_module("pipeline.cli").app
    ended = CliRunner().invoke(app, list(words))
    if ended.exit_code != code:
        raise RuntimeError(f"{' '.join(words)}: ended with {ended.exit_code}: {ended.output} {ended.exception!r}")
    return str(ended.stdout)


def outside(*words: str) -> str:
    """What the command line says on stdout, as a process of its own."""
    ended = subprocess.run([sys.executable, "-m", "pipeline.cli", *words], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(words)}: ended with {ended.returncode}: {ended.stderr}")
    return ended.stdout


def document(*words: str, code: int = 0) -> Any:
    """The JSON document that a verb prints, without what differs from run to run."""
    return scrubbed(json.loads(called(*words, "--json", code=code).replace(str(Path.cwd()), "HERE")))


def files(output: str) -> Record:
    """Digest of a mask and of what lies beside it; of TIFFs the bytes too."""
    path = Path(output)
    stem = path.name.split(".")[0]
    found: Record = {}
    for each in sorted(path.parent.iterdir()):
        name = each.name.removeprefix(stem)
        if each.name.startswith(stem) and name[:1] in (".", "_"):
            found[name] = digest(each)
            if each.suffix == ".tif":
                found[f"{name} bytes"] = hashlib.sha256(each.read_bytes()).hexdigest()
    return found


def made(
    name: str, given: str, output: str, *words: str, call: Callable[..., str] = called
) -> Iterator[tuple[str, Any]]:
    """What `pipeline run` writes, each file by its suffix. Each output is in a folder of its own."""
    folder = Path("out") / name.replace(" ", "-").replace(":", "")
    call("run", "--input", given, "--output", f"{folder / output}", *words, *ALONE)
    for suffix, found in files(f"{folder / output}").items():
        yield f"mask {name} {suffix}", found


SCENES: dict[str, tuple[str, ...]] = {
    "scene tif": ("scene.tif", "m.tif", *SCENE),
    "scene to zarr": ("scene.tif", "m.zarr", *SCENE),
    "scene of zarr": ("scene.zarr", "m.tif", *SCENE),
    "scene of mosaic": ("mosaic:tiles", "m.tif", *SCENE),
    "scene of stack": ("stack:a=bands/a.tif|b=bands/b.tif", "m.tif", *SCENE),
    "scene bands": ("scene.tif", "m.tif", *SCENE, "--bands", "2,1"),
    "scene values": ("scene.tif", "m.tif", *SCENE, "--scale", "0.5", "--offset", "3"),
    "scene window": ("scene.tif", "m.tif", *SCENE, "--window", "gaussian", "--patch", "96", "--overlap", "48"),
    "scene tta": ("scene.tif", "m.tif", *SCENE, "--tta", "flips"),
    "scene tta scales": ("scene.tif", "m.tif", *SCENE, "--tta", "turns,0.75", "--patch", "96", "--overlap", "32"),
    "scene aoi": ("scene.tif", "m.tif", *SCENE, "--aoi", "500020,5001900,500100,5001980,EPSG:32633"),
    "scene resolution": ("scene.tif", "m.tif", *SCENE, "--resolution", "0.75"),
    "scene crs": ("scene.tif", "m.tif", *SCENE, "--crs", "EPSG:32632", "--resolution", "0.75"),
    "scene layers": ("scene.tif", "m.tif", *SCENE, "--also", ",".join(LAYERS)),
    "scene layers zarr": ("scene.tif", "m.zarr", *SCENE, "--also", "scores,confidence"),
    "scene tall": ("tall.tif", "m.tif", *SCENE),
    "scene tall rows": ("tall.tif", "m.tif", *SCENE, "--band", "2048"),
    "scene wide": ("wide.tif", "m.tif", *SCENE),
    "scene wide strips": ("wide.tif", "m.tif", *SCENE, "--memory", "12MiB"),
    "landcover": ("rgb.tif", "m.tif", "--model", "landcover", *STEADY, "--also", ",".join(LAYERS)),
}
VOLUMES: dict[str, tuple[str, ...]] = {
    "volume nii": ("scan.nii", "m.nii", *VOLUME),
    "volume gz": ("scan.nii.gz", "m.nii.gz", *VOLUME),
    "volume to zarr": ("scan.nii.gz", "m.zarr", *VOLUME),
    "volume nrrd": ("scan.nrrd", "m.nii.gz", *VOLUME),
    "volume mha": ("scan.mha", "m.nii.gz", *VOLUME),
    "volume dicom": ("series", "m.nii.gz", *VOLUME),
    "volume coronal": ("scan.nii.gz", "m.nii.gz", *VOLUME, "--view", "coronal"),
    "volume sagittal": ("scan.nii.gz", "m.nii.gz", *VOLUME, "--view", "sagittal"),
    "volume averaged": ("scan.nii.gz", "m.nii.gz", *VOLUME, "--view", "axial,coronal,sagittal"),
    "volume tta": ("scan.nii.gz", "m.nii.gz", *VOLUME, "--tta", "flips"),
    "volume band": ("scan.nii.gz", "m.nii.gz", *VOLUME, "--band", "64"),
    "hippocampus": ("scan.nii.gz", "m.nii.gz", "--model", "hippocampus", *STEADY, "--view", "axial"),
    "hippocampus averaged": ("series", "m.nii.gz", "--model", "hippocampus", *STEADY, "--view", "axial,sagittal"),
}


def masks(which: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, Any]]:
    """Masks of all inputs, formats, views and layers."""
    for name, words in which.items():
        yield from tried(name, made(name, *words))


def shared() -> Iterator[tuple[str, Any]]:
    """Masks that workers make together."""
    for count in ("1", "3"):
        yield from made(f"workers {count}", "tall.tif", "m.tif", *SCENE, "--workers", count, call=outside)
    words = (*VOLUME, "--view", "axial,coronal", "--workers", "2")
    yield from made("workers volume", "scan.nii.gz", "m.nii.gz", *words, call=outside)


def resumed() -> Iterator[tuple[str, Any]]:
    """The mask of a run that was killed when it had done a part."""
    output = Path("out/killed/m.tif")
    words = ["run", "--input", "tall.tif", "--output", str(output), *SCENE, *ALONE]
    process = subprocess.Popen([sys.executable, "-m", "pipeline.cli", *words], stdout=subprocess.DEVNULL)
    done = output.with_name("m.tif.partial") / "done"
    while process.poll() is None and not (done.is_dir() and any(done.iterdir())):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    yield "killed in time", not output.exists()
    called(*words)
    yield from ((f"mask resumed {suffix}", found) for suffix, found in files(str(output)).items())


EXPORTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    **{f"scene to {kind}": ("scene", f"x.{kind}", ()) for kind in ("zarr", "gpkg", "geojson", "parquet", "qml", "png")},
    "scene to json": ("scene", "x.json", ()),
    "scene sieved": ("scene", "x.tif", ("--sieve", "40")),
    "scene class": ("scene", "x.tif", ("--structure", "left")),
    "scene simplified": ("scene", "x.geojson", ("--simplify", "1", "--min-area", "5")),
    "scene each": ("scene", "each", ("--each",)),
    **{f"volume to {kind}": ("volume", f"x.{kind}", ()) for kind in ("nii", "zarr", "png", "ctbl", "label")},
    "volume largest": ("volume", "x.nii.gz", ("--largest", "--min-volume", "0.05")),
    "volume class": ("volume", "x.nii.gz", ("--structure", "right")),
    "volume each": ("volume", "each", ("--each",)),
    "volume sheet": ("volume", "x.png", ("--image", "scan.nii.gz")),
    "dicom to dcm": ("dicom", "x.dcm", ("--image", "series")),
}
MASKS = {
    "scene": "out/scene-tif/m.tif",
    "volume": "out/volume-gz/m.nii.gz",
    "dicom": "out/volume-dicom/m.nii.gz",
}


def exports() -> Iterator[tuple[str, Any]]:
    """What `pipeline export` writes."""
    for name, (mask, output, words) in EXPORTS.items():
        yield from tried(f"export {name}", _exported(name, MASKS[mask], output, *words))


def _exported(name: str, mask: str, output: str, *words: str) -> Iterator[tuple[str, Any]]:
    to = Path("exports") / name.replace(" ", "-") / output
    to.parent.mkdir(parents=True)
    yield f"document export {name}", document("export", mask, "--output", str(to), *words)
    for path in sorted(to.iterdir()) if name.endswith("each") else (to,):
        yield f"export {name} {path.name}", digest(path)


def documents() -> Iterator[tuple[str, Any]]:
    """What the verbs say of masks, inputs and models."""
    scene, volume = MASKS["scene"], MASKS["volume"]
    asked = {
        "run": ("run", "--input", "scene.tif", "--output", "d/m.tif", *SCENE, "--no-prefect"),
        "run again": ("run", "--input", "scene.tif", "--output", "d/m.tif", *SCENE, "--no-prefect"),
        "plan scene": ("plan", "--input", "tall.tif", *SCENE, "--no-probe"),
        "plan strips": ("plan", "--input", "wide.tif", *SCENE, "--memory", "12MiB", "--no-probe"),
        "plan workers": ("plan", "--input", "tall.tif", *SCENE, "--workers", "3", "--band", "1024", "--no-probe"),
        "plan volume": ("plan", "--input", "scan.nii.gz", *VOLUME, "--view", "axial,coronal", "--no-probe"),
        "info scene": ("info", "scene.tif", scene),
        "info volume": ("info", "scan.nii.gz", "series", volume),
        "check scene": ("check", scene, "--like", "scene.tif"),
        "check volume": ("check", volume, "--like", "scan.nii.gz"),
        "areas": ("areas", scene),
        "measure": ("measure", volume, "--image", "scan.nii.gz"),
        "models": ("models",),
        "models landcover": ("models", "landcover", "models/scene"),
        "evaluate scene": ("evaluate", "--predictions", scene, "--truth", "out/scene-bands/m.tif"),
        "evaluate volume": ("evaluate", "--predictions", volume, "--truth", "out/volume-coronal/m.nii.gz"),
        "evaluate model": ("evaluate", "--input", "scene.tif", "--truth", "out/scene-bands/m.tif", *SCENE),
    }
    for name, words in asked.items():
        yield from tried(f"document {name}", ((f"document {name}", document(*words)) for _ in "1"))
    other = "out/scene-bands/m.tif"
    different = document("check", "out/scene-aoi/m.tif", "--like", "rgb.tif")
    yield "document check other", different
    called("areas", other, "--output", "areas.csv")
    called("measure", volume, "--output", "measures.csv")
    yield "table areas", digest(Path("areas.csv"))
    yield "table measure", digest(Path("measures.csv"))


def archives() -> Iterator[tuple[str, Any]]:
    """An archive with a broken item: run, told, tried again, and gone on with."""
    for number in range(3):
        put_scene(Path(f"many/s{number}.tif"), pixels((2, 60, 50), number))
    Path("many/s1.tif").write_bytes(b"II*\0 no scene")
    still(Path("many"))
    words = ("run", "--input", "many", "--output", "masks/", *SCENE, "--no-prefect")
    yield "document archive", document(*words, code=1)
    yield "document status", document("status", "masks")
    yield "document archive again", document(*words, code=1)
    yield "document retry", document("retry", "masks")
    Path("many/s1.tif").unlink()
    put_scene(Path("many/s1.tif"), pixels((2, 60, 50), 1))
    yield "document archive mended", document(*words)
    for path in sorted(Path("masks").glob("*.tif")):
        yield f"archive {path.name}", digest(path)


def options() -> Iterator[tuple[str, Any]]:
    """The options of each verb, with those that are hidden."""
    from typer.main import get_command

    group: Any = get_command(import_module("pipeline.cli").app)
    yield "options", sorted(group.commands)
    for name, command in group.commands.items():
        words = [word for each in command.params for word in (*each.opts, *each.secondary_opts)]
        yield f"options {name}", sorted(word for word in words if word.startswith("-"))


JOBS: dict[str, dict[str, Any]] = {
    "scene": {"input": "scene.tif", "output": "p/m.tif", "model": "models/scene"},
    "layers": {"input": "scene.tif", "output": "p/m.tif", "model": "models/scene", "also": "scores,confidence"},
    "bands": {"input": "scene.tif", "output": "p/m.tif", "model": "models/scene", "bands": (2, 1), "scale": (0.5,)},
    "aoi": {"input": "scene.tif", "output": "p/m.tif", "model": "models/scene", "aoi": SCENES["scene aoi"][-1]},
    "grid": {"input": "scene.tif", "output": "p/m.tif", "model": "models/scene", "resolution": (0.75, 0.75)},
    "tta": {"input": "scene.tif", "output": "p/m.tif", "model": "models/scene", "tta": "flips,0.75"},
    "stack": {"input": SCENES["scene of stack"][0], "output": "p/m.tif", "model": "models/scene"},
    "mosaic": {"input": "mosaic:tiles", "output": "p/m.zarr", "model": "models/scene"},
    "landcover": {"input": "rgb.tif", "output": "p/m.tif", "model": "landcover", "window": "hann"},
    "volume": {"input": "scan.nii.gz", "output": "p/m.nii.gz", "model": "models/volume"},
    "views": {"input": "scan.nii.gz", "output": "p/m.nii.gz", "model": "models/volume", "view": ("axial", "coronal")},
    "series": {"input": "series", "output": "p/m.nii.gz", "model": "hippocampus", "affine": "sform"},
    "default": {"input": "rgb.tif", "output": "p/m.tif"},
}


def fingerprints() -> Iterator[tuple[str, Any]]:
    """What masks, work folders and ledgers are known by."""
    import pipeline

    means = pipeline.Means(device="cpu", precision="float32", runtime="torch")
    for name, words in JOBS.items():
        job = pipeline.Job(**words | {"output": Path(words["output"])})
        prepared = _inner("prepare", "pipeline.prepare", "pipeline.runs.prepare")(job, means)
        yield f"fingerprint {name}", json.loads(json.dumps(prepared.fingerprint()))
        recipe = _inner("recipe_of", "pipeline.archive.choice", "pipeline.archive.archive")(job)
        yield f"recipe {name}", json.loads(json.dumps(recipe))


def _inner(name: str, *likely: str) -> Any:
    """A function that is not public, of the first module that has it: those that are likely, or else any."""
    import pipeline

    everything = (each.name for each in walk_packages(pipeline.__path__, "pipeline."))
    for module in (*likely, *everything):
        try:
            found = getattr(import_module(module), name, None)
        except ImportError:
            continue
        if found is not None:
            return found
    raise AttributeError(f"no module has {name}")


def imports() -> Iterator[tuple[str, Any]]:
    """A model of a published checkpoint."""
    put_checkpoint(Path("pspnet.pth"))
    words = ("import-weights", "pspnet.pth", "--out", "imported", "--licence", "CC0-1.0", "--credits", "nobody")
    yield "document import-weights", document(*words)
    for path in sorted(Path("imported").iterdir()):
        text = path.read_bytes()
        yield f"imported {path.name}", json.loads(text) if path.suffix == ".json" else hashlib.sha256(text).hexdigest()


def trainings() -> Iterator[tuple[str, Any]]:
    """Five steps of a tiny training: loss and scores of each, and the model."""
    config = put_trainings(Path("training"))
    said = called("train", "--config", str(config), "--out", "trained", "--device", "cpu", "--json")
    yield "document train", scrubbed(json.loads(said.strip().splitlines()[-1].replace(str(Path.cwd()), "HERE")))
    (table,) = Path("trained").rglob("metrics.csv")
    yield "training metrics", table.read_text().splitlines()
    yield "training weights", hashlib.sha256(Path("trained/model/model.safetensors").read_bytes()).hexdigest()
    yield "document training card", json.loads(Path("trained/model/card.json").read_text())
    yield "document training", scrubbed(json.loads(Path("trained/training.json").read_text()))


def configs() -> Iterator[tuple[str, Any]]:
    """The jobs in `configs/`, on the small inputs."""
    import pipeline

    tree = Path(pipeline.__file__).parents[1]
    Path("project/configs").mkdir(parents=True)
    put_scene(Path("project/demo/scene.tif"), pixels((3, 200, 200), 5))
    put_volume(Path("project/demo/volume.nii.gz"), pixels((40, 48, 12), 3).astype(np.int16))
    for config in sorted((tree / "configs").glob("*.toml")):
        copy = Path("project/configs") / config.name
        copy.write_bytes(config.read_bytes())
        if not config.stem.startswith("train-"):
            yield f"document config {config.stem}", document("run", "--config", str(copy), *STEADY, "--no-prefect")
    for path in sorted(Path("project/demo/masks").rglob("*_mask.*")):
        yield f"config {path.name}", digest(path)


PARTS: dict[str, Callable[[], Iterator[tuple[str, Any]]]] = {
    "options": options,
    "fingerprints": fingerprints,
    "scenes": lambda: masks(SCENES),
    "volumes": lambda: masks(VOLUMES),
    "workers": shared,
    "resumed": resumed,
    "exports": exports,
    "documents": documents,
    "archives": archives,
    "imports": imports,
    "trainings": trainings,
    "configs": configs,
}


def tried(name: str, part: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """What a part records; where it breaks, that it does."""
    try:
        yield from part
    except Exception as error:
        traceback.print_exc()
        yield f"{name} broke", f"{type(error).__name__}: {error}"


def record(parts: Sequence[str] = tuple(PARTS)) -> Record:
    """All that is recorded, made in a folder that is gone afterwards."""
    torch.set_num_threads(1)
    found: Record = {}
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        put_inputs()
        for name in parts:
            began = time.monotonic()
            found |= dict(tried(name, PARTS[name]()))
            print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    return found


def main(out: Path, parts: Sequence[str]) -> None:
    """Record into a file."""
    text = json.dumps(record(parts or tuple(PARTS)), indent=1, sort_keys=True)
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])
