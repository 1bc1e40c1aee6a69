"""Show files in the browser of this machine until the user stops it."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from urllib.parse import urlsplit

from pipeline.errors import RequestError
from pipeline.io.band_names import BandName
from pipeline.viewer.layers import Layers, open_layers
from pipeline.viewer.scene import SceneView
from pipeline.viewer.server import View, address_of, listen, new_token, server_of
from pipeline.viewer.volume import VolumeView


def view(
    files: Sequence[str],
    say: Callable[[str], None],
    *,
    port: int = 0,
    browser: bool = True,
    basemap: str | None = None,
    bands: Sequence[BandName] | None = None,
    volume: int | None = None,
) -> None:
    """Serve a viewer of files on one grid until Ctrl-C.

    Args:
        files: Images, masks and layers of one scene, or of one volume.
        say: Called with the address, when it can be opened.
        port: Port of 127.0.0.1; 0: a free one.
        browser: Whether the address is opened in the browser.
        basemap: Address of a map under a scene, with `{x}`, `{y}` and `{z}`.
        bands: Bands of images of scenes, shown as red, green and blue or as gray.
        volume: Number, from 0, of the volume in a 4-D image.

    Raises:
        PipelineError: If a file cannot be shown, or the port cannot be used.

    """
    _check_basemap(basemap)
    listening, shown = listen(port), None
    try:
        shown = open_view(files, basemap=basemap, bands=bands, volume=volume)
        token = new_token()
        address = address_of(listening, token)
        say(address)
        if browser:
            Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with suppress(KeyboardInterrupt):
            server_of(shown, listening, token, basemap).run(sockets=[listening])
    finally:
        listening.close()
        if shown is not None:
            shown.close()


def open_view(
    files: Sequence[str],
    *,
    basemap: str | None = None,
    bands: Sequence[BandName] | None = None,
    volume: int | None = None,
) -> View:
    """Open files for a viewer; as `view`."""
    if bands is not None and len(bands) not in (1, 3):
        raise RequestError(f"--bands: {len(bands)} bands; give three, for red, green and blue, or one, for gray")
    layers = open_layers(files, volume)
    try:
        return SceneView(layers, bands, basemap) if layers.is_scene else _volume_view(layers, basemap, bands)
    except BaseException:
        layers.close()
        raise


def _volume_view(layers: Layers, basemap: str | None, bands: Sequence[BandName] | None) -> VolumeView:
    if basemap is not None or bands is not None:
        raise RequestError("--basemap and --bands are for scenes, not for volumes")
    return VolumeView(layers)


def _check_basemap(address: str | None) -> None:
    if address is None:
        return
    parts = urlsplit(address)
    fits = parts.scheme in ("http", "https") and parts.netloc and all(part in address for part in ("{x}", "{y}", "{z}"))
    if not fits or not address.isprintable() or set(" ;,'\"") & set(parts.netloc):
        raise RequestError(
            f"--basemap {address}: must be an http or https address with {{z}}, {{x}} and {{y}}, such as "
            "https://tile.openstreetmap.org/{z}/{x}/{y}.png"
        )
