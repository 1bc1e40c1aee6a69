"""Models by their address on a hub: what is fetched, what a name stands for, and what is said if it cannot be had."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.engine.ledger import Ledger
from pipeline.errors import ModelError, OutputError, RequestError, UnreachableError
from pipeline.io.mask_files import mask_info
from pipeline.jobs.inputs import jobs_of
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.job_file import read_request
from pipeline.jobs.request import Request
from pipeline.models.catalogue import CARD, MODEL, digests_of, find_model, load_card, pin_model
from pipeline.models.hub.address import parse_address
from pipeline.models.store import load_model, record_evaluation
from pipeline.runs.begun import differs
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.runs.shared_paths import needed_paths, with_absolute_paths
from pipeline.training.initialize import initialize_from
from tests.models.hub.conftest import SPEC
from tests.support.hub import TOKEN, Repository
from tests.support.inputs import put_scene
from tests.support.model_cases import network_of

NAME = "us/fields"
REF = f"hf:{NAME}"
WORDS = st.text("abcXYZ019_.-", min_size=1, max_size=12)


@pytest.fixture
def scene(tmp_path):
    values = np.random.default_rng(0).integers(0, 200, (2, 40, 40)).astype(np.uint8)
    (tmp_path / "scenes").mkdir()
    return put_scene(tmp_path / "scenes/scene.tif", values)


@settings(max_examples=60)
@given(WORDS, WORDS, st.none() | st.text("abc019/._-@ \\\n", max_size=12))
def test_an_address_is_a_repository_and_a_revision_and_never_leaves_the_cache(owner, name, revision):
    ref = f"hf:{owner}/{name}" + ("" if revision is None else f"@{revision}")
    address = None
    with suppress(ModelError):
        address = parse_address(ref)
    if address is None:
        return
    assert str(address) == ref
    for part in (*address.repo.split("/"), *(address.revision or "").split("/")):
        assert part not in (".", "..")
        assert "--" not in address.repo
    assert not set(address.revision or "") & set(" \\\n@")


@pytest.mark.parametrize(
    "ref", ["hf:", "hf:fields", "hf://us/fields", "hf:us/fields@", "hf:us/fields/sub", "hf:us/fields@../x", "hf:../.."]
)
def test_what_is_no_address_says_how_one_is_written(ref):
    with pytest.raises(ModelError, match="write hf:owner/name"):
        find_model(ref)


def test_the_files_of_the_card_are_fetched_and_nothing_that_may_hold_code(hub, folders):
    commit = hub.put(NAME, folders[0], **{"pytorch_model.bin": pickle.dumps(1), "modeling.py": b"1/0", "x.pkl": b""})
    files = find_model(REF)
    assert files.card.read_bytes() == (folders[0] / CARD).read_bytes()
    assert files.weights.read_bytes() == (folders[0] / MODEL).read_bytes()
    assert files.card.parent.name == commit
    assert {path.name for path in files.card.parent.iterdir()} == {CARD, MODEL}
    assert {line.rsplit("/", 1)[1] for line in hub.asked if "/resolve/" in line} == {CARD, MODEL}


def test_a_card_alone_needs_no_weights(hub, folders):
    hub.put(NAME, folders[0])
    assert load_card(REF) == load_card(folders[0])
    assert not any(MODEL in line for line in hub.asked)


def test_an_int8_form_and_the_data_of_an_onnx_network_are_fetched_too(hub, folders, tmp_path):
    words = json.loads((folders[0] / CARD).read_text())
    form = {"xml_sha256": "a" * 64, "bin_sha256": "b" * 64, "patch": [64, 48], "rest": "float32", "agreement": 1.0}
    files = {"int8.xml": b"x", "int8.bin": b"b", "network.onnx": b"o", "data/w.bin": b"w", "other.data": b"o"}
    network = {"family": "onnx", "data": [{"name": "data/w.bin", "sha256": "c" * 64}]}
    hub.repositories[NAME] = Repository()
    hub.repositories[NAME].commit(
        {**files, CARD: json.dumps({**words, "network": network, "int8": {**form, "patches": 2}}).encode()}
    )
    found = find_model(REF)
    assert found.weights.name == "network.onnx"
    folder = found.card.parent
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {*files, CARD} - {
        "other.data"
    }


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "run.py", "w.pkl", "c:x", "", "card.json"])
def test_a_card_that_names_a_file_that_is_none_of_a_model_is_refused(folders, tmp_path, name):
    words = json.loads((folders[0] / CARD).read_text())
    words["network"] = {"family": "onnx", "data": [{"name": name, "sha256": "c" * 64}]}
    (tmp_path / CARD).write_text(json.dumps(words))
    with pytest.raises(ModelError, match="none of a model"):
        digests_of(tmp_path / CARD)


def test_a_name_follows_the_hub_and_a_commit_does_not(hub, folders):
    old = hub.put(NAME, folders[0])
    hub.repositories[NAME].revisions["v1"] = old
    pinned = pin_model(REF)
    assert pinned == f"{REF}@{old}"
    new = hub.put(NAME, folders[1])
    assert pin_model(REF) == f"{REF}@{new}"
    assert pin_model(f"{REF}@v1") == pin_model(pinned) == pinned
    assert find_model(pinned).weights.read_bytes() == (folders[0] / MODEL).read_bytes()
    hub.asked.clear()
    assert load_model(pinned).card == load_card(folders[0])
    assert hub.asked == []


def test_jobs_and_workers_have_the_commit_whatever_the_name_becomes(hub, folders, scene, tmp_path):
    old = hub.put(NAME, folders[0])
    (job,) = jobs_of(Request(input=(str(scene),), model=REF))
    prepared = prepare(replace(job, model=REF), Resources())
    hub.put(NAME, folders[1])
    assert job.model == prepared.members[0].model == prepared.job.model == f"{REF}@{old}"
    away = pickle.loads(pickle.dumps(with_absolute_paths(prepared)))
    assert away.members[0].model == f"{REF}@{old}"
    assert all(scene.parent in (path, *path.parents) for path in needed_paths(away))
    assert away.fingerprint()["hub"] == f"{REF}@{old}"


def test_training_begins_from_a_model_on_a_hub(hub, folders, tmp_path):
    hub.put(NAME, folders[0])
    network, known = network_of(SPEC, 5), load_model(folders[0]).network.state_dict()
    initialize_from(network, REF, tmp_path)
    assert all(torch.equal(value, known[name]) for name, value in network.state_dict().items() if "num_b" not in name)


def test_a_name_in_a_job_file_is_no_path(tmp_path):
    (tmp_path / "job.toml").write_text(f'input = "a.tif"\nmodel = ["{REF}@main", "models/own"]\n')
    assert read_request(tmp_path / "job.toml").model == (f"{REF}@main", str(tmp_path / "models/own"))


def test_a_mask_records_the_commit_and_a_moved_name_tells_both_and_the_way_back(hub, folders, scene, tmp_path):
    old = hub.put(NAME, folders[0])
    job = Job(str(scene), tmp_path / "out.tif", REF)
    assert segment(job).status == "done"
    assert mask_info(job.output).provenance["hub"] == f"{REF}@{old}"
    hub.put(NAME, folders[0], **{"README.md": b"new words"})
    assert segment(job).status == "skipped"
    new = hub.put(NAME, folders[1])
    with pytest.raises(OutputError, match="weights_sha256") as caught:
        segment(job)
    assert f"hub '{REF}@{old}' (now '{REF}@{new}')" in str(caught.value)
    assert f"(--model {REF}@{old})" in str(caught.value)
    assert segment(replace(job, model=f"{REF}@{old}")).status == "skipped"
    assert segment(replace(job, model=str(folders[0]))).status == "skipped"


def test_an_unfinished_run_is_not_continued_with_other_weights(hub, folders, scene, tmp_path):
    old = hub.put(NAME, folders[0])
    job = Job(str(scene), tmp_path / "out.tif", REF)
    prepared = prepare(job, Resources())
    Ledger(prepared.work).begin(prepared.fingerprint())
    new = hub.put(NAME, folders[1])
    with pytest.raises(OutputError, match="unfinished run here used other settings") as caught:
        segment(job)
    assert f"hub '{REF}@{old}' (now '{REF}@{new}')" in str(caught.value)
    assert f"same settings (--model {REF}@{old}) to resume" in str(caught.value)
    assert not differs(prepare(replace(job, model=f"{REF}@{old}"), Resources()), Ledger(prepared.work))


def test_an_archive_tells_both_commits(hub, folders, scene, tmp_path):
    old = hub.put(NAME, folders[0])
    shutil.copy(scene, scene.with_name("other.tif"))
    words = ["run", "--input", str(scene.parent), "--output", f"{tmp_path / 'masks'}/", "--model", REF, "--quiet"]
    for page in (b"words", b"new words"):
        ended = CliRunner().invoke(app, words)
        assert ended.exit_code == 0, ended.output
        hub.put(NAME, folders[0], **{"README.md": page})
    new = hub.put(NAME, folders[1])
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert f"hub '{REF}@{old}' (now '{REF}@{new}')" in again.stderr
    assert f"--model {REF}@{old}" in again.stderr


def test_without_a_network_a_name_is_the_commit_last_seen_and_else_it_is_said(hub, folders, monkeypatch):
    from huggingface_hub import constants

    old = hub.put(NAME, folders[0])
    find_model(REF)
    hub.put(NAME, folders[1])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pin_model(REF) == f"{REF}@{old}"
    assert find_model(REF).weights.is_file()
    for ref in ("hf:us/other", f"{REF}@v2", f"{REF}@{'0' * 40}"):
        with pytest.raises(UnreachableError, match=r"HF_HUB_OFFLINE is set, and it is not in the cache .*hub home"):
            find_model(ref)


def test_a_hub_that_does_not_answer_is_told_from_a_wrong_request(hub, folders, monkeypatch):
    from huggingface_hub import constants

    hub.put(NAME, folders[0])
    hub.status = 503
    with pytest.raises(UnreachableError, match=r"answered 503 Service Unavailable.*try again later"):
        find_model(REF)
    hub.status = None
    find_model(REF)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    assert find_model(REF).weights.is_file()
    with pytest.raises(UnreachableError, match=r"cannot be reached \(\w+\), and it is not in the cache"):
        find_model("hf:us/other")


@pytest.mark.parametrize(
    ("case", "ref", "said"),
    [
        ("missing", "hf:us/nothing", r"no such repository on http://127.*, or it is private and you are not logged in"),
        ("private", REF, r"or it is private and you are not logged in: log in with `hf auth login`, or set HF_TOKEN"),
        ("gated", REF, r"is gated; ask for access at http://127.*/us/fields, then log in"),
        ("revision", f"{REF}@v9", r"there is no revision 'v9'; http://127.*/us/fields/tree/main shows"),
        ("no card", REF, r"has no card.json.*`hf download us/fields pytorch_model.bin .*`pipeline import-weights`"),
        ("no model", REF, "has neither a card.json nor a file of weights"),
        ("no weights", REF, "its card needs model.safetensors, which is not in the repository"),
        ("no hub", REF, "did not answer as a hub does|is not an address"),
    ],
)
def test_what_cannot_be_had_says_why_and_what_to_do(hub, folders, case, ref, said):
    hub.put(NAME, folders[0])
    repository = hub.repositories[NAME]
    repository.private, repository.gated = case == "private", case == "gated"
    if case == "no card":
        repository.commit({CARD: None, MODEL: None, "pytorch_model.bin": b"x"})
    if case == "no model":
        repository.commit({CARD: None, MODEL: None, "README.md": b"x"})
    if case == "no weights":
        repository.commit({MODEL: None})
    if case == "no hub":
        hub.repositories[NAME].commits[repository.revisions["main"]][CARD] = b"<html>"
        said = "is not the card of a model"
    with pytest.raises(ModelError, match=said):
        find_model(ref)


def test_a_private_model_is_for_whoever_has_the_token_which_is_never_shown(hub, folders, monkeypatch):
    hub.put(NAME, folders[0])
    hub.repositories[NAME].private = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert find_model(REF).weights.is_file()
    for ref, said in (("hf:us/nothing", "your token has no access"), (f"{REF}@x", "no revision 'x'")):
        ended = CliRunner().invoke(app, ["--debug", "models", ref])
        trace = "".join(traceback.format_exception(ended.exception))
        assert said in trace
        assert TOKEN not in trace + ended.output


def test_damaged_weights_in_the_cache_say_which_folder_to_remove(hub, folders):
    commit = hub.put(NAME, folders[0])
    weights = find_model(REF).weights
    data = weights.read_bytes()
    weights.resolve().write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"SHA-256 is .*remove .*models--us--fields to have both fetched") as caught:
        load_model(f"{REF}@{commit}")
    assert "choose another revision" in str(caught.value)


def test_a_card_in_the_cache_is_not_written(hub, folders):
    hub.put(NAME, folders[0])
    with pytest.raises(ModelError, match="hf download us/fields --local-dir FOLDER"):
        record_evaluation(REF, "test", {})
    assert find_model(REF).card.read_bytes() == (folders[0] / CARD).read_bytes()


def test_without_the_client_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setattr("pipeline.optional.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"hf:us/fields: requires huggingface_hub.*pip install 'pipeline\[hub\]'"):
        find_model(REF)


def test_the_client_takes_its_settings_from_the_environment(hub, folders, tmp_path):
    hub.put(NAME, folders[0])
    known = find_model(REF)
    hub.put(NAME, folders[1])
    code = f"from pipeline.models.catalogue import find_model; print(find_model({REF!r}).card)"
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub home/hub"), "HF_ENDPOINT": hub.address}
    found = subprocess.run(
        [sys.executable, "-c", code], env={**env, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(known.card)
