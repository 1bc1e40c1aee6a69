"""Inputs at addresses: read by ranges, tried again, never logged with what gives access to them."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil

import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.env import getenv
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError
from pipeline.io import http as remote_room
from pipeline.io.address import name_of, redact, redact_url
from pipeline.io.opening import input_version
from pipeline.io.raster import RasterSource
from pipeline.io.raster import source as source_room
from pipeline.io.raster.gdal import reading
from pipeline.io.suffixes import stem_of, suffix_of
from tests.support.inputs import labels_of, pixels, put_scene
from tests.support.remote import served

pytestmark = pytest.mark.slow

NAMES = itertools.count()
"""GDAL remembers what lay at an address, so no test asks for a name that another did."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A scene in tiles, larger than what is read of it at once."""
    folder = tmp_path_factory.mktemp("files")
    put_scene(folder / "scene.tif", pixels((2, 1300, 300)), tiled=True, nodata=0)
    return folder


@pytest.fixture
def server(files, tmp_path, monkeypatch):
    """A server with the scene under a new name; tries follow soon."""
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "3")
    monkeypatch.setattr(remote_room, "_DELAYS", (0.01, 0.01))
    monkeypatch.setattr(source_room, "_DELAYS", (0.01, 0.01))
    (tmp_path / "served").mkdir()
    shutil.copy(files / "scene.tif", tmp_path / "served" / f"scene{next(NAMES)}.tif")
    with served(tmp_path / "served") as server:
        yield server


def address_of(server) -> str:
    (file,) = server.folder.glob("*.tif")
    return f"{server.address}/{file.name}"


@pytest.fixture
def run(models, tmp_path):
    """The command line on an address; its exit code, what it told and the mask."""

    def call(address, *more):
        output = tmp_path / "mask.tif"
        words = ["run", "--input", address, "--output", output, "--model", models / "scene", "--precision", "float32"]
        ended = CliRunner().invoke(app, [*map(str, (*words, *more)), "--no-prefect", "--json"])
        return ended, output

    return call


@pytest.fixture(scope="module")
def expected(files, models, tmp_path_factory):
    """The labels of the file."""
    output = tmp_path_factory.mktemp("expected") / "mask.tif"
    words = ["run", "--input", files / "scene.tif", "--output", output, "--model", models / "scene"]
    ended = CliRunner().invoke(app, [*map(str, words), "--precision", "float32", "--no-prefect"])
    assert ended.exit_code == 0, ended.output
    return labels_of(output)


def test_a_scene_at_an_address_is_read_by_ranges_and_once(server, run, expected):
    ended, mask = run(address_of(server))
    assert ended.exit_code == 0, ended.output
    assert (labels_of(mask) == expected).all()
    (file,) = server.folder.glob("*.tif")
    assert all(asked is not None for _, asked, _ in server.asked), "never the whole file"
    assert server.sent() < 1.3 * file.stat().st_size + 2**17
    with rasterio.open(mask) as made:
        said = json.loads(made.tags()["PIPELINE"])["input"]
    assert said == {"name": address_of(server), "bytes": file.stat().st_size, "etag": f'"{file.stat().st_mtime_ns}"'}


def test_a_plan_reads_headers_only(server, models):
    ended = CliRunner().invoke(app, ["plan", "--input", address_of(server), "--model", str(models / "scene"), "--json"])
    assert ended.exit_code == 0, ended.output
    (file,) = server.folder.glob("*.tif")
    assert server.sent() < 40_000 < file.stat().st_size


@pytest.mark.parametrize("fault", ["fail", "broken", "slow"])
def test_what_passes_is_tried_again_and_gives_the_same_mask(server, run, expected, fault):
    server.fault = lambda number: fault if number % 11 == 5 else None
    ended, mask = run(address_of(server))
    assert ended.exit_code == 0, ended.output
    assert (labels_of(mask) == expected).all()


def test_what_does_not_pass_is_told_with_the_address_and_gone_on_with(server, run, expected):
    server.fault = lambda number: "fail" if number > 4 else None
    ended, mask = run(address_of(server))
    assert ended.exit_code == 1
    (item,) = json.loads(ended.stdout)["items"]
    assert item["reason"].startswith(f"{address_of(server)}, rows ")
    assert "503" in item["reason"]
    assert "check the address, your access and the network" in item["reason"]
    assert item["code"] == "unreachable"
    assert not mask.exists()
    server.fault = lambda number: None
    (file,) = server.folder.glob("*.tif")
    again = file.rename(file.with_name("again.tif"))
    assert run(address_of(server))[0].exit_code == 0
    assert (labels_of(mask) == expected).all()
    assert again.exists()


def test_an_address_without_anything_says_so(server, run):
    ended, _ = run(f"{server.address}/nothing.tif")
    (item,) = json.loads(ended.stdout)["items"]
    assert (ended.exit_code, "404" in item["reason"], item["code"]) == (1, True, "unreadable")
    assert len(server.asked) < 6, "nobody asks again for what is not there"
    ended, _ = run(f"{server.address}/scan.nii.gz")
    assert "scan.nii.gz: there is no such file on the server" in json.loads(ended.stdout)["items"][0]["reason"]


def test_a_server_that_never_answers_is_an_error(server):
    server.fault = lambda number: "fail"
    with pytest.raises(InputError, match=r"its server does not answer \(HTTP Error 503"):
        input_version(address_of(server))
    server.fault = lambda number: "gone"
    assert input_version(address_of(server)) == {"name": address_of(server)}


def test_s3_is_read_by_ranges_and_signed(server, run, expected, monkeypatch):
    host = server.address.removeprefix("http://")
    for name, value in {
        "AWS_S3_ENDPOINT": host,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "S3SECRETS3SECRET",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    (file,) = server.folder.glob("*.tif")
    (server.folder / "bucket").mkdir()
    file.rename(server.folder / "bucket" / file.name)
    ended, mask = run(f"s3://bucket/{file.name}")
    assert ended.exit_code == 0, ended.output
    assert (labels_of(mask) == expected).all()
    assert all(asked is not None for _, asked, _ in server.asked)
    assert any("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE" in said.get("Authorization", "") for said in server.headers)
    assert "S3SECRET" not in ended.output


SECRETS = ("Sesam-open", "W0nderful", "S1gnature")


@pytest.mark.parametrize("fault", [None, "fail"])
def test_what_gives_access_is_never_told(server, run, models, tmp_path, caplog, fault):
    """Neither on the screen, with tracebacks, nor in logs, masks, ledgers, reports or work folders."""
    caplog.set_level(logging.DEBUG, "pipeline")
    caplog.set_level(logging.WARNING, "rasterio")
    user, password, signature = SECRETS
    address = address_of(server).replace("http://", f"http://{user}:{password}@") + f"?v=1&sig={signature}&se=2030"
    server.fault = lambda number: fault if number > 4 else None
    words = ["run", "--input", address, "--output", f"{tmp_path}/out/", "--model", models / "scene"]
    archive = ["--ledger", tmp_path / "out" / "archive.sqlite", "--no-prefect"]
    told = [CliRunner().invoke(app, [*debug, *map(str, (*words, *archive))]) for debug in ([], ["--debug"])]
    assert {ended.exit_code for ended in told} == {0 if fault is None else 1}
    assert any(said.get("Authorization", "").startswith("Basic") for said in server.headers), "it was used"
    assert all(signature in path for path, _, _ in server.asked), "and so was that"
    kept = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(kept) > 1
    everything = b"".join([caplog.text.encode(), *(ended.output.encode() for ended in told), *kept])
    assert not [secret for secret in SECRETS if secret.encode() in everything]
    assert address_of(server).encode() + b"?v=1" in everything


def test_names_come_without_parameters():
    address = "https://host/a%20b/scene.v1.tif?sig=x.nii.gz"
    assert (stem_of(address), suffix_of(address), name_of(address)) == ("scene.v1", ".tif", "scene.v1.tif")
    assert stem_of("/vsicurl/https://host/scene.tif?sig=a/b.tif") == "scene"
    assert (stem_of("odd?name.tif"), suffix_of("odd?name.tif")) == ("odd?name", ".tif")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("scene.tif", "scene.tif"),
        ("/vsis3/bucket/key.tif", "/vsis3/bucket/key.tif"),
        ("https://h/a.tif?scene=1&design=2", "https://h/a.tif?scene=1&design=2"),
        ("https://h/image?sr=4326&st=x", "https://h/image?sr=4326&st=x"),
        ("https://u:p@h:80/a.tif", "https://h:80/a.tif"),
        ("/vsicurl/https://h/a.tif?sv=1&se=2&sig=3", "/vsicurl/https://h/a.tif"),
        ("https://h/a.tif?X-Amz-Signature=1&X-Amz-Date=2&versionId=3", "https://h/a.tif?versionId=3"),
        ("https://h/a.tif?access_token=1&api_key=2&apikey=3&x=", "https://h/a.tif?x="),
        ("https://h/a.tif?Key-Pair-Id=1&Policy=2&Expires=3&AWSAccessKeyId=4", "https://h/a.tif"),
    ],
)
def test_an_address_is_shown_without_what_gives_access(address, told):
    assert redact_url(address) == told
    assert redact_url(told) == told


@given(st.text("abcXYZ0189-._~", min_size=4, max_size=12), st.sampled_from(["sig", "token", "X-Amz-Signature"]))
def test_messages_are_told_without_secrets(secret, parameter):
    address = f"https://user:{secret}@host/scene.tif?{parameter}={secret}"
    for message in (f"{address}: 403", f"'/vsicurl/{address}' not recognised", f"HTTP 403 for {parameter}={secret}"):
        assert secret not in redact(message, address).replace("https://host/scene.tif", "").replace("vsicurl", "")


def test_an_option_of_the_environment_goes_before_our_own(server, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    server.fault = lambda number: "fail"
    with pytest.raises(InputError, match="check the address"):
        RasterSource(address_of(server))
    assert len(server.asked) == 3, "each of our own tries once"
    assert os.environ["GDAL_HTTP_MAX_RETRY"] == "0"


@pytest.mark.parametrize(("auth", "sent"), [(None, True), ("BEARER", True), ("BASIC", False)])
def test_a_bearer_token_is_sent_by_itself(server, monkeypatch, auth, sent):
    monkeypatch.setenv("GDAL_HTTP_BEARER", "abc.def")
    if auth is not None:
        monkeypatch.setenv("GDAL_HTTP_AUTH", auth)
    RasterSource(address_of(server)).close()
    told = {headers.get("Authorization") for headers in server.headers}
    assert (told == {"Bearer abc.def"}) == sent


def test_a_bearer_token_is_for_http_alone(monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_BEARER", "abc.def")
    monkeypatch.delenv("GDAL_HTTP_AUTH", raising=False)
    with reading("s3://bucket/scene.tif"):
        assert "GDAL_HTTP_AUTH" not in getenv()
    with reading("/vsicurl/https://host/scene.tif"):
        assert getenv()["GDAL_HTTP_AUTH"] == "BEARER"
