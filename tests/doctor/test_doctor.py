"""What the doctor finds where something is wrong, and that it says nothing that is secret."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.doctor import examine as examining
from pipeline.doctor import hardware, machine, rasters, versions, weights
from pipeline.doctor.examine import Examination, examine
from pipeline.doctor.finding import broken, ok, remark
from pipeline.doctor.server import check_server
from pipeline.doctor.terminal import check_terminal, hidden, home_hidden
from pipeline.doctor.versions import FOR, WHY, about, check_extras, check_requirements
from pipeline.files.digest import sha256_of
from pipeline.models import catalogue
from pipeline.models.inference.speed import hardware as real

BAD = {
    "fastapi": ("0.165.0", "does not start"),
    "SQLAlchemy": ("2.1.9", "no runs"),
    "torch": ("2.14.0+cpu", "bfloat16"),
}


def with_versions(monkeypatch, said: dict[str, str | None]) -> None:
    real = metadata.version

    def found(package: str) -> str:
        known = {name.lower(): version for name, version in said.items()}
        if package.lower() not in known:
            return real(package)
        if (version := known[package.lower()]) is None:
            raise metadata.PackageNotFoundError(package)
        return version

    monkeypatch.setattr(versions, "version", found)


def test_what_is_installed_here_is_well():
    (found,) = check_requirements()
    assert found.state == "ok"
    assert found.facts["versions"]["torch"] == metadata.version("torch")


@pytest.mark.parametrize("package", BAD)
def test_a_pair_that_is_known_to_fail_is_broken_and_says_why(package, monkeypatch):
    version, why = BAD[package]
    with_versions(monkeypatch, {package: version})
    shown, found = check_requirements()
    assert (shown.state, "all" in shown.text) == ("ok", False)
    assert found.state == "broken"
    assert version in found.text
    assert why in found.text
    assert "install '" in found.advice
    assert package.lower() in WHY


def test_a_package_that_is_not_there_is_broken(monkeypatch):
    with_versions(monkeypatch, {"zarr": None})
    _, found = check_requirements()
    assert (found.state, found.text.split("<")[0].split(">")[0]) == ("broken", "no zarr")


def test_every_extra_for_users_is_told():
    told = " ".join(one.text for one in check_extras())
    stated = metadata.metadata("pipeline").get_all("Provides-Extra")
    assert {extra for extra in stated if extra in told} == set(stated) - {"dev", "docs"}
    assert set(FOR) <= set(stated)


def test_an_extra_that_is_whole_missing_or_in_part_there(monkeypatch):
    with_versions(monkeypatch, {"pynrrd": None, "pylibjpeg": None})
    found = list(check_extras())
    partly = next(one for one in found if one.state == "remark")
    assert partly.text.startswith("dicom: no pylibjpeg")
    assert any("nrrd (for NRRD volumes)" in one.text for one in found)


@pytest.mark.parametrize("constant", ["LITTLE_MEMORY", "LITTLE_DISK"])
def test_little_memory_or_disk_is_a_remark(constant, monkeypatch):
    check = machine.check_memory if constant == "LITTLE_MEMORY" else machine.check_disk
    assert {one.state for one in check()} == {"ok"}
    monkeypatch.setattr(machine, constant, 1 << 60)
    assert all(one.state == "remark" and one.advice for one in check())


def test_the_limit_of_a_container_is_told(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text(f"{3 << 30}\n")
    monkeypatch.setattr(machine, "_LIMITS", (str(tmp_path / "memory.max"),))
    (found,) = machine.check_memory()
    assert "of 3 GiB, which this container is limited to" in found.text
    assert found.facts["limit"] == 3 << 30


def test_a_driver_that_gdal_lacks_is_told_with_its_use(monkeypatch):
    assert [one.state for one in rasters.check_drivers()] == ["ok"]
    monkeypatch.setitem(rasters.NEEDED, "Nothing", "masks of nothing")
    monkeypatch.setitem(rasters.WANTED, "Little", "small files (.sml)")
    assert [(one.state, one.text) for one in rasters.check_drivers() if one.state != "ok"] == [
        ("broken", "has no Nothing, for masks of nothing"),
        ("remark", "has no Little for small files (.sml)"),
    ]


def test_damaged_weights_are_broken(tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/card.json").write_bytes((catalogue.WEIGHTS / "landcover/card.json").read_bytes())
    (tmp_path / "m/model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    monkeypatch.setattr(catalogue, "WEIGHTS", tmp_path)
    damaged, rest = weights.check_models()
    assert (damaged.state, damaged.text) == ("broken", "m: its weights are not those of its card")
    assert rest.text == "none whole"
    assert sha256_of(tmp_path / "m/model.safetensors")


@contextmanager
def prefect_server(version: str) -> Iterator[str]:
    """The address of a server that answers as Prefect's does."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(version if self.path.endswith("version") else True).encode())

        def log_message(self, *words):
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://user:secret@127.0.0.1:{server.server_port}/api"
        server.shutdown()


@pytest.mark.parametrize(
    ("version", "state"), [("3.8.9", "ok"), ("4.0.0", "ok"), ("3.4.1", "remark"), ("2.20", "remark")]
)
def test_a_prefect_server_that_answers_has_a_version(version, state, monkeypatch):
    with prefect_server(version) as address:
        monkeypatch.setenv("PREFECT_API_URL", address)
        (found,) = check_server()
    assert found.state == state
    assert version in found.text
    assert "secret" not in f"{found}"


def test_a_prefect_server_that_does_not_answer_is_broken(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://user:secret@127.0.0.1:9/api")
    (found,) = check_server()
    assert found.state == "broken"
    assert "http://127.0.0.1:9/api (PREFECT_API_URL) does not answer" in found.text
    assert "--no-prefect" in found.advice
    assert "secret" not in f"{found}"


def test_no_prefect_server_is_well(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    (found,) = check_server()
    assert found.state == "ok"


def test_the_home_folder_is_not_shown(monkeypatch):
    monkeypatch.setenv("HOME", "/home/jane.doe")
    said = home_hidden(
        ok("disk", "in /home/jane.doe/work", folder="/home/jane.doe/work", other=["/home/jane.doe"], n=1)
    )
    assert "jane" not in f"{said}"
    assert said.facts["folder"] == "~/work"
    monkeypatch.setenv("HOME", "/")
    assert hidden("/tmp/x") == "/tmp/x"


def test_an_encoding_that_is_not_utf_8_is_a_remark(monkeypatch):
    assert [one.state for one in check_terminal()] == ["ok"]
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    (found,) = check_terminal()
    assert (found.state, "LC_ALL" in found.advice) == ("remark", True)


def failing():
    yield remark("one", "so so " * 30, "do this or that " * 10)
    raise OSError("no such thing")


WELL = {"well": lambda: iter([ok("well", "as it should be")])}
ILL = {"one": failing, "two": lambda: iter([broken("two", "in pieces", "mend it")]), **WELL}


def test_what_cannot_be_looked_at_is_broken_and_the_rest_is_looked_at():
    found = Examination(about(), tuple(examine(ILL)))
    assert [(one.topic, one.state) for one in found.findings] == [
        ("one", "remark"),
        ("one", "broken"),
        ("two", "broken"),
        ("well", "ok"),
    ]
    assert "OSError: no such thing" in found.findings[1].text
    assert found.state == "broken"
    assert Examination(about(), tuple(examine(WELL))).state == "ok"


def test_a_library_that_cannot_be_imported_is_a_finding():
    """Its check is imported when it is done, and not before."""
    (found,) = examine({"device": examining.check_in("nowhere", "check_device")})
    assert (found.topic, found.state) == ("device", "broken")
    assert "No module named 'pipeline.doctor.nowhere'" in found.text


def test_what_is_listed_is_there():
    for topic, check in examining.CHECKS.items():
        assert topic in ("device", "speed", "Prefect") or next(check()).topic == topic


@pytest.mark.parametrize(("checks", "code"), [(WELL, 0), (ILL, 1)])
def test_the_verb_ends_with_1_only_if_something_is_broken(checks, code, monkeypatch):
    monkeypatch.setattr(examining, "CHECKS", checks)
    lines = CliRunner().invoke(app, ["doctor"])
    document = CliRunner().invoke(app, ["doctor", "--json"])
    assert (lines.exit_code, document.exit_code) == (code, code)
    assert max(map(len, lines.stdout.splitlines())) <= 80
    assert lines.stdout.splitlines()[-1] == ("2 broken, 1 remark" if code else "all is well")
    assert json.loads(document.stdout)["state"] == ("broken" if code else "ok")
    assert json.loads(document.stdout)["pipeline"] == metadata.version("pipeline")


def test_requirements_of_extras_are_read_by_their_markers():
    names = {one.requirement.name for one in versions.required("nrrd")}
    assert names == {"pynrrd"}
    assert "pynrrd" not in {one.requirement.name for one in versions.required()}
    assert str(versions.Required(Requirement("a<2"), "3")) == "a 3, and a<2 is accepted"


def test_a_gpu_that_torch_cannot_use_is_told(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(hardware, "hardware", lambda: replace(real(), gpus=()))
    assert any("this torch cannot use one" in one.text for one in hardware.check_device())


@pytest.mark.slow
def test_the_doctor_finds_this_machine_well_enough():
    """The device, and the time of a patch, are real."""
    device = [*hardware.check_device(), *hardware.check_speed()]
    assert {one.state for one in device} <= {"ok", "remark"}
    assert min(device[-1].facts.values()) > 0
