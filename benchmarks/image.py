"""The image of the `Dockerfile`, built and run: seconds, bytes, and whether its mask has the bytes of one made outside.

    python -m benchmarks.image FOLDER [--lend PATH ...] [--torch-index URL] [--side 1024] [--keep]

No registry is asked for the base: it is the Debian of this machine with its Python, which mmdebstrap makes from the
sources of apt. Files and folders that --lend names, such as configurations of pip, certificates and wheels, are in the
same place during the build, and not in the image. Then a scene of SIDE x SIDE is segmented to a COG in the image, by
its user and by another one, and by the interpreter that runs this.

Layers and containers are in FOLDER, 10 GB while a build for CPUs runs, and 20 GB for CUDA. They are removed at the end;
with --keep they stay, and the next build takes what has not changed from them.

Needs root, and `buildah`, `podman`, `runc` and `mmdebstrap` of Debian.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.demo import make
from pipeline.files.atomic import remove

ROOT = Path(__file__).resolve().parents[1]
BASE, IMAGE = "localhost/base:debian", "localhost/pipeline"
OURS, OTHER = 1000, 4321
"""The user of the image, and one that it does not know."""
_DEBIAN = "python3,python3-venv,ca-certificates"
_RUN = ("run", "--input", "scene.tif", "--model", "landcover", "--precision", "float32", "--no-prefect", "--json")
_LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
"""Podman would raise them, which takes a right of its own."""
_VERSIONS = (
    "import platform, torch, rasterio; print(platform.python_version(), torch.__version__, rasterio.__version__)"
)


@dataclass(frozen=True)
class Store:
    """Images and containers in a folder."""

    folder: Path

    def call(self, program: str, *words: str) -> str:
        """Return what buildah or podman prints."""
        places = ("--root", str(self.folder / "store"), "--runroot", str(self.folder / "run"))
        return told([program, *places, *words])

    def run(self, data: Path, user: int, *words: str) -> str:
        """Run the image as a user whose only folder is /data, without a network."""
        os.chown(data, user, user)
        how = ("--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--rm", "--network", "none", *_LIMITS)
        return self.call("podman", *how, "--user", f"{user}:{user}", "--volume", f"{data}:/data", *words)

    def remove(self) -> None:
        """Remove all of it, with what is mounted."""
        self.call("buildah", "rm", "--all")
        self.call("buildah", "rmi", "--all", "--force")
        subprocess.run(["umount", "--quiet", str(self.folder / "store" / "overlay")], check=False)
        for name in ("store", "run", "data"):
            remove(self.folder / name)


def told(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def make_base(store: Store) -> None:
    """Make an image of Debian with Python, unless there is one."""
    if BASE in store.call("buildah", "images", "--format", "{{.Name}}:{{.Tag}}"):
        return
    (suite,) = (
        line[17:] for line in Path("/etc/os-release").read_text().splitlines() if line[:16] == "VERSION_CODENAME"
    )
    tree = store.folder / "base.tar"
    told(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_DEBIAN}", suite, str(tree), *_sources()])
    container = store.call("buildah", "from", "scratch").strip()
    store.call("buildah", "add", "--quiet", container, str(tree), "/")
    store.call("buildah", "commit", "--quiet", "--rm", container, BASE)
    tree.unlink()


def _sources() -> list[str]:
    """Where apt installs Debian from."""
    found = Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources")
    return [str(path) for path in found if path.exists()]


def build(store: Store, lent: Sequence[Path], torch_index: str) -> None:
    mounts = [word for path in lent for word in ("--volume", f"{path.absolute()}:{path.absolute()}:ro")]
    arguments = ["--build-arg", f"BASE={BASE}", "--build-arg", f"TORCH_INDEX={torch_index}"]
    how = ["--isolation", "chroot", "--layers", "--tag", IMAGE]
    store.call("buildah", "build", *how, *mounts, *arguments, str(ROOT))


def layers(store: Store) -> dict[str, int]:
    """Megabytes of what each step added."""
    steps = store.call("podman", "history", "--no-trunc", "--format", "json", IMAGE)
    return {step["CreatedBy"]: round(step["size"] / 1e6) for step in reversed(json.loads(steps)) if step["size"] > 1e6}


def compared(store: Store, side: int) -> dict[str, Any]:
    """Masks of one scene by SHA-256, with what the doctor of the image says, and the versions that made them."""
    data = store.folder / "data"
    data.mkdir(exist_ok=True)
    make(data, (side, side))
    for user in (OURS, OTHER):
        store.run(data, user, IMAGE, *_RUN, "--output", f"{user}.tif", "--overwrite")
    command = [sys.executable, "-m", "pipeline.cli", *_RUN, "--output", "outside.tif", "--overwrite"]
    subprocess.run(
        command, check=True, cwd=data, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    masks = {name: sha256((data / f"{name}.tif").read_bytes()).hexdigest() for name in (OURS, OTHER, "outside")}
    versions = {
        "inside": store.run(data, OURS, "--entrypoint", "python", IMAGE, "-c", _VERSIONS).strip(),
        "outside": told([sys.executable, "-c", _VERSIONS]).strip(),
    }
    doctor = store.run(data, OURS, IMAGE, "doctor").splitlines()[-1]
    return {
        "doctor": doctor,
        "SHA-256 of masks": masks,
        "equal": len(set(masks.values())) == 1,
        "Python, torch, rasterio": versions,
    }


def seconds(began: float) -> float:
    return round(time.perf_counter() - began, 1)


def main() -> None:
    asked = _parser().parse_args()
    store = Store(asked.folder.absolute())
    store.folder.mkdir(parents=True, exist_ok=True)
    try:
        began = time.perf_counter()
        make_base(store)
        based = seconds(began)
        began = time.perf_counter()
        build(store, asked.lend, asked.torch_index)
        print(
            json.dumps({"base, s": based, "build, s": seconds(began), "layers, MB": layers(store)}, indent=1),
            flush=True,
        )
        print(json.dumps(compared(store, asked.side), indent=1))
    finally:
        if not asked.keep:
            store.remove()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lend", type=Path, nargs="*", default=[])
    parser.add_argument("--torch-index", default="")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--keep", action="store_true")
    return parser


if __name__ == "__main__":
    main()
