"""What a raster refers to: no file causes a request, and none opens files elsewhere, unless the user allows it."""

from __future__ import annotations

import subprocess
import sys
from html import escape
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from pipeline.engine import Pixels
from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.raster import RasterSource
from pipeline.io.raster.mosaic import MosaicSource
from pipeline.io.raster.stack import StackSource
from tests.support.rasters import put
from tests.support.remote import served

SIDE = 16


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="module")
def other_process(tmp_path_factory):
    """A folder and its address at a server in another process: GDAL may hold this one's interpreter while it asks."""
    folder = tmp_path_factory.mktemp("other")
    code = (
        "import sys; from pathlib import Path; from tests.support.remote import served\n"
        "with served(Path(sys.argv[1])) as server: print(server.address, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield folder, process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture
def folder(tmp_path):
    """A folder with a raster, beside another one."""
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
        put(tmp_path / name / "a.tif", np.full((1, SIDE, SIDE), 7, np.uint8))
    (tmp_path / "here/notes.txt").write_text("x y z\n1 1 5\n2 1 6\n1 2 3\n2 2 4\n")
    return tmp_path / "here"


def source(name: str | Path, relative: int = 0, tag: str = "SourceFilename") -> str:
    return (
        f'<SimpleSource><{tag} relativeToVRT="{relative}">{escape(str(name))}</{tag}>'
        "<SourceBand>1</SourceBand></SimpleSource>"
    )


def vrt(inside: str, more: str = "", kind: str = "") -> str:
    band = f'<VRTRasterBand dataType="Byte" band="1"{kind}>{inside}</VRTRasterBand>'
    return f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}">{more}{band}</VRTDataset>'


def pam(overviews: str | Path) -> str:
    words = f'<MDI key="OVERVIEW_FILE">{escape(str(overviews))}</MDI>'
    return f'<PAMDataset><Metadata domain="OVERVIEWS">{words}</Metadata></PAMDataset>'


def tms(address: str) -> str:
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{address}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow>'
        f"<UpperLeftX>0</UpperLeftX><UpperLeftY>{SIDE}</UpperLeftY><LowerRightX>{SIDE}</LowerRightX><LowerRightY>0"
        f"</LowerRightY><SizeX>{SIDE}</SizeX><SizeY>{SIDE}</SizeY><TileLevel>0</TileLevel></DataWindow>"
        "<BandsCount>1</BandsCount></GDAL_WMS>"
    )


def read(path: str | Path, allow: tuple[str, ...] = ()) -> Pixels:
    opened = RasterSource(path, allow=allow)
    try:
        opened.overview(1)
        return opened.read(Box.whole(opened.grid.shape))
    finally:
        opened.close()


DESCRIPTIONS = {
    "a VRT of an address": ("a.vrt", lambda at: vrt(source(f"/vsicurl/{at}/1.tif"))),
    "a VRT of an address without prefix": ("a.vrt", lambda at: vrt(source(f"{at}/1.tif"))),
    "a VRT of a service": ("a.vrt", lambda at: vrt(source(tms(at)))),
    "a VRT of a VRT in words": ("a.vrt", lambda at: vrt(source(vrt(source(f"/vsicurl/{at}/1.tif"))))),
    "a VRT with its words in attributes": ("a.vrt", lambda at: vrt(f'<SimpleSource SourceFilename="{at}/1.tif"/>')),
    "a VRT in other letters": ("a.vrt", lambda at: vrt(source(f"{at}/1.tif", tag="sourcefilename"))),
    "a VRT with overviews": (
        "a.vrt",
        lambda at: vrt(f"{source('a.tif', 1)}<Overview><SourceFilename>{at}/1.tif</SourceFilename></Overview>"),
    ),
    "a VRT with overviews in its metadata": (
        "a.vrt",
        lambda at: vrt(
            source("a.tif", 1), f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{at}/1.tif</MDI></Metadata>'
        ),
    ),
    "a VRT named .tif": ("a_vrt.tif", lambda at: vrt(source(f"/vsicurl/{at}/1.tif"))),
    "a VRT named .TIFF": ("a_vrt.TIFF", lambda at: vrt(source(f"/vsicurl/{at}/1.tif"))),
    "a VRT without a suffix": ("a_vrt", lambda at: vrt(source(f"/vsicurl/{at}/1.tif"))),
    "a WMS named .tif": ("wms.tif", tms),
    "a WMS named .xml": ("wms.xml", tms),
    "a WMS named .vrt": ("wms.vrt", tms),
    "a WCS named .tif": (
        "wcs.tif",
        lambda at: f"<WCS_GDAL><ServiceURL>{at}/wcs?</ServiceURL><CoverageName>x</CoverageName></WCS_GDAL>",
    ),
    "overviews that are a VRT": ("a.tif.ovr", lambda at: vrt(source(f"/vsicurl/{at}/1.tif"))),
    "a mask that is a VRT": ("a.tif.msk", lambda at: vrt(source(f"/vsicurl/{at}/1.tif"))),
    "overviews in a sidecar": (
        "a.tif.aux.xml",
        lambda at: pam(f"{at}/1.tif"),
    ),
    "a service as overviews": (
        "a.tif.aux.xml",
        lambda at: pam(tms(at)),
    ),
}


@pytest.mark.parametrize(("name", "text"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_no_file_causes_a_request(folder, server, name, text):
    (folder / name).write_text(text(server.address))
    path = folder / name.removesuffix(".ovr").removesuffix(".msk").removesuffix(".aux.xml")
    server.headers.clear()
    with pytest.raises(InputError, match=path.name):
        read(path)
    assert not server.headers


def test_a_tag_in_the_file_itself_causes_none_either(folder, server):
    with rasterio.open(folder / "a.tif", "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"{server.address}/1.tif")
    server.headers.clear()
    with pytest.raises(InputError, match=r"a\.tif: refers to http://.*; --allow http allows it to"):
        read(folder / "a.tif")
    assert not server.headers


def elsewhere(folder: Path) -> dict[str, tuple[str, str]]:
    outside = folder.parent / "elsewhere/a.tif"
    return {
        "absolute": ("a.vrt", vrt(source(outside))),
        "relative": ("a.vrt", vrt(source("../elsewhere/a.tif", 1))),
        "raw": (
            "a.vrt",
            vrt(
                f'<SourceFilename relativeToVRT="0">{outside}</SourceFilename>',
                kind=' subClass="VRTRawRasterBand"',
            ),
        ),
        "text": ("a.vrt", vrt(source("notes.txt", 1))),
        "raw text": (
            "a.vrt",
            vrt('<SourceFilename relativeToVRT="1">notes.txt</SourceFilename>', kind=' subClass="VRTRawRasterBand"'),
        ),
        "warped": (
            "a.vrt",
            f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}" subClass="VRTWarpedDataset">'
            '<VRTRasterBand dataType="Byte" band="1" subClass="VRTWarpedRasterBand"/>'
            f'<GDALWarpOptions><SourceDataset relativeToVRT="0">{outside}</SourceDataset></GDALWarpOptions>'
            "</VRTDataset>",
        ),
        "in a list of arguments": (
            "a.vrt",
            vrt(source("a.tif", 1), f'<Argument name="gain_dataset_filename_1">{outside}</Argument>'),
        ),
        "overviews": (
            "a.tif.aux.xml",
            pam(outside),
        ),
    }


@pytest.mark.parametrize("kind", elsewhere(Path("/x/here")))
def test_no_file_opens_others_elsewhere(folder, kind):
    name, text = elsewhere(folder)[kind]
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=r"which is outside of its folder; --allow|is text, not a raster"):
        read(folder / name.removesuffix(".aux.xml"))


def test_what_lies_beside_a_raster_with_an_odd_name_is_read(folder):
    path = folder / 'a\n"<b>.tif'
    (folder / "a.tif").rename(path)
    (folder / f"{path.name}.aux.xml").write_text("<PAMDataset><Metadata><MDI key='K'>v</MDI></Metadata></PAMDataset>")
    assert (read(path).values == 7).all()


def test_a_vrt_in_a_vrt_is_looked_at_too(folder):
    (folder / "inner.vrt").write_text(vrt(source(folder.parent / "elsewhere/a.tif")))
    (folder / "outer.vrt").write_text(vrt(source("inner.vrt", 1)))
    with pytest.raises(InputError, match=r"inner\.vrt: refers to .*, which is outside"):
        read(folder / "outer.vrt")
    (folder / "inner.vrt").write_text(vrt(source("outer.vrt", 1)))
    with pytest.raises(InputError, match="refers to itself"):
        read(folder / "outer.vrt")


def test_what_lies_beside_a_vrt_is_read_and_what_is_allowed(folder):
    (folder / "sub").mkdir()
    put(folder / "sub/b.tif", np.full((1, SIDE, SIDE), 9, np.uint8))
    for name, text, allow, value in (
        ("a.vrt", vrt(source("a.tif", 1)), (), 7),
        ("b.vrt", vrt(source(folder / "sub/b.tif")), (), 9),
        ("c.vrt", vrt(source("b.vrt", 1)), (), 9),
        ("d.vrt", vrt(source("../elsewhere/a.tif", 1)), (str(folder.parent / "elsewhere"),), 7),
        ("e.vrt", vrt(source("../elsewhere/a.tif", 1)), ("file",), 7),
    ):
        (folder / name).write_text(text)
        assert (read(folder / name, allow).values == value).all(), name


def test_an_address_that_is_allowed_is_read(folder, other_process):
    served, address = other_process
    put(served / "allowed.tif", np.full((1, SIDE, SIDE), 5, np.uint8))
    (folder / "a.vrt").write_text(vrt(source(f"/vsicurl/{address}/allowed.tif")))
    assert (read(folder / "a.vrt", ("http",)).values == 5).all()


def test_a_vrt_at_an_address_refers_to_its_server_alone(folder, other_process):
    served, address = other_process
    put(served / "beside.tif", np.full((1, SIDE, SIDE), 5, np.uint8))
    (served / "good.vrt").write_text(vrt(source("beside.tif", 1)))
    (served / "bad.vrt").write_text(vrt(source(folder / "a.tif")))
    (served / "named.tif").write_text(vrt(source("beside.tif", 1)))
    assert (read(f"{address}/good.vrt").values == 5).all()
    with pytest.raises(InputError, match=r"bad\.vrt: refers to .*a\.tif, which is outside"):
        read(f"{address}/bad.vrt")
    with pytest.raises(InputError, match="not recognized"):
        read(f"{address}/named.tif")


def test_mosaics_and_stacks_pass_on_what_is_allowed(folder):
    (folder / "tiles").mkdir()
    (folder / "tiles/a.vrt").write_text(vrt(source("../a.tif", 1), "<GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>"))
    for open_ in (
        lambda **how: MosaicSource(f"mosaic:{folder}/tiles", **how),
        lambda **how: StackSource(f"stack:x={folder}/tiles/a.vrt", **how),
    ):
        with pytest.raises(InputError, match="outside of its folder"):
            open_()
        opened = open_(allow=(str(folder),))
        assert (opened.read(Box.whole(opened.grid.shape)).values == 7).all()
        opened.close()


PYTHON = """
def f(in_ar, out_ar, *others, **more):
    open({!r}, "w").write("x")
    out_ar[:] = 1
"""


@pytest.mark.parametrize("said", ["YES", "TRUSTED_MODULES"])
def test_python_in_a_vrt_is_not_run_whatever_the_environment_says(folder, monkeypatch, said):
    monkeypatch.setenv("GDAL_VRT_ENABLE_PYTHON", said)
    code = PYTHON.format(str(folder / "ran"))
    words = "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
    inside = f"{words}<PixelFunctionCode><![CDATA[{code}]]></PixelFunctionCode>{source('a.tif', 1)}"
    (folder / "a.vrt").write_text(vrt(inside, kind=' subClass="VRTDerivedRasterBand"'))
    with pytest.raises(InputError, match=r"a\.vrt"):
        read(folder / "a.vrt")
    assert not (folder / "ran").exists()


def test_a_picture_with_the_suffix_of_another_is_read(folder):
    rasterio.shutil.copy(folder / "a.tif", folder / "b.tif", driver="PNG")
    assert (read(folder / "b.tif").values == 7).all()
