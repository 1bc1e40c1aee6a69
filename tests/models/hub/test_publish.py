"""Models are listed and published on a hub, and no other model is lost there."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.models.catalogue import CARD, MODEL, find_model
from pipeline.models.store import load_card, load_model, record_evaluation, save_model
from tests.models.hub.conftest import SPEC
from tests.reports.test_model import RECORD
from tests.support.hub import TOKEN, Repository
from tests.support.model_cases import CARD_2D, network_of

NAME = "us/fields"
REF = f"hf:{NAME}"


@pytest.fixture(autouse=True)
def token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def call(*words, code=0):
    ended = CliRunner().invoke(app, [*map(str, words)])
    assert ended.exit_code == code, ended.output
    assert TOKEN not in ended.output
    return ended


def publish(*words):
    (made,) = json.loads(call("publish", *words, "--json").stdout)["items"]
    return made


def files_in(hub, name=NAME):
    repository = hub.repositories[name]
    return repository.commits[repository.revisions["main"]]


def test_a_published_model_is_the_same_for_whoever_names_it(hub, folders):
    made = publish(folders[0], REF)
    commit = hub.repositories[NAME].revisions["main"]
    assert made == {
        "model": f"{REF}@{commit}",
        "page": f"{hub.address}/{NAME}",
        "commit": commit,
        "private": True,
        "status": "published",
    }
    assert hub.repositories[NAME].private
    assert set(files_in(hub)) == {CARD, MODEL, "README.md"}
    assert load_card(made["model"]) == load_card(folders[0])
    assert find_model(REF).weights.read_bytes() == (folders[0] / MODEL).read_bytes()
    assert {**publish(folders[0], REF), "status": "published"} == made
    assert len(hub.repositories[NAME].commits) == 1


def test_the_page_has_what_the_hub_sorts_by_and_keeps_what_others_wrote(hub, folders, tmp_path):
    folder, pictures = tmp_path / "model", tmp_path / "drawn"
    save_model(folder, replace(load_card(folders[0]), credits="fields: of us\n# 2026"), network_of(SPEC))
    record_evaluation(folder, "test", {**RECORD, "classes": {"a": {"iou": [0.8, 0.7, 0.9]}}})
    pictures.mkdir()
    (pictures / "best_a.png").write_bytes(b"a picture")
    publish(folder, REF, "--pictures", pictures, "--public")
    assert not hub.repositories[NAME].private
    page = files_in(hub)["README.md"].decode()
    matter = page.split("---\n")[1]
    for line in ("license: cc0-1.0", "- pipeline-model-card", "- scene", "pipeline_tag: image-segmentation"):
        assert line in matter
    assert "fields: of us" in matter
    assert f"--model {REF}" in page
    assert "(charts/test-reliability.svg)" in page
    assert {"charts/test-reliability.svg", "pictures/best_a.png"} <= set(files_in(hub))
    assert str(tmp_path) not in page
    edited = page.replace("---\n", "---\nlanguage: en\n", 1).replace("<!-- made", "Mine.\n\n<!-- made", 1)
    hub.repositories[NAME].commit({"README.md": edited.encode()})
    record_evaluation(folder, "validation", RECORD)
    publish(folder, REF)
    after = files_in(hub)["README.md"].decode()
    assert "language: en" in after.split("---\n")[1]
    assert "Mine." in after
    assert "Figures: validation" in after


@pytest.mark.parametrize(("license_", "told"), [("MIT", "license: mit"), ("ours", "license_name: ours")])
def test_a_license_that_the_hub_does_not_know_is_told_by_name(hub, folders, tmp_path, license_, told):
    save_model(tmp_path / "model", replace(CARD_2D, network=SPEC, license=license_), network_of(SPEC))
    publish(tmp_path / "model", REF)
    assert told in files_in(hub)["README.md"].decode()


def test_another_model_is_replaced_only_if_told_and_leaves_nothing_behind(hub, folders):
    hub.put(NAME, folders[0], **{"int8.xml": b"x", "int8.bin": b"b", "notes.txt": b"n"})
    before = dict(files_in(hub))
    told = call("publish", folders[1], REF, code=1).stderr
    assert "has another model, small scene with the weights" in told
    assert "use --overwrite" in told
    assert files_in(hub) == before
    publish(folders[1], REF, "--overwrite")
    assert set(files_in(hub)) == {CARD, MODEL, "README.md", "notes.txt"}
    assert files_in(hub)[MODEL] == (folders[1] / MODEL).read_bytes()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({MODEL: b"x"}, "files of something else"),
        ({"README.md": b"# By hand"}, "README.md that was not generated"),
        ({CARD: b"{}"}, "that this version does not read"),
    ],
)
def test_files_of_another_hand_are_not_lost(hub, folders, files, said):
    hub.repositories[NAME] = Repository()
    hub.repositories[NAME].commit(files)
    assert said in call("publish", folders[0], REF, code=1).stderr
    assert files_in(hub) == files
    publish(folders[0], REF, "--overwrite")
    assert files_in(hub)[CARD] == (folders[0] / CARD).read_bytes()


def test_a_model_with_damaged_weights_is_not_published(hub, folders, tmp_path):
    (tmp_path / CARD).write_bytes((folders[0] / CARD).read_bytes())
    (tmp_path / MODEL).write_bytes((folders[1] / MODEL).read_bytes())
    assert "SHA-256 is" in call("publish", tmp_path, REF, code=2).stderr
    assert hub.repositories == {}
    assert hub.asked == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fields"], "write hf:owner/name"),
        ([f"{REF}@v1"], "leave out @v1"),
        ([REF, "--pictures", "nowhere"], "no such folder"),
        (["hf:others/fields"], "refused it (403 Forbidden)"),
    ],
)
def test_where_nothing_can_be_published_it_is_said(hub, folders, words, said):
    assert said in call("publish", folders[0], *words, code=2).stderr
    assert hub.repositories == {}


def test_a_private_repository_does_not_become_public_unnoticed(hub, folders):
    publish(folders[0], REF)
    assert "its settings on the hub" in call("publish", folders[0], REF, "--public", code=2).stderr


def test_who_is_not_logged_in_is_told_so(hub, folders, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert "you are not logged in: log in with" in call("publish", folders[0], REF, code=2).stderr


def test_a_commit_of_somebody_else_meanwhile_is_not_overwritten(hub, folders, monkeypatch):
    from pipeline.models.hub import repository

    publish(folders[0], REF)
    look = repository.look_at

    def look_and_wait(address):
        held = look(address)
        hub.put(NAME, folders[1])
        return held

    monkeypatch.setattr("pipeline.reports.hub_page.look_at", look_and_wait)
    assert "somebody else has written" in call("publish", folders[0], REF, "--overwrite", code=2).stderr
    assert files_in(hub)[MODEL] == (folders[1] / MODEL).read_bytes()


def test_models_of_this_program_are_listed(hub, folders):
    commit = publish(folders[0], REF)["commit"]
    publish(folders[1], "hf:us/roads", "--public")
    hub.put("us/fields-of-others", folders[0])
    (one,) = json.loads(call("models", "--hub", "FIELDS", "--json").stdout)["items"]
    assert one == {
        "model": REF,
        "commit": commit,
        "kind": "scene",
        "license": "cc0-1.0",
        "private": True,
        "downloads": 1234,
        "changed": "2026-11-30",
    }
    shown = call("models", "--hub", "").stdout
    assert f"{REF} (private)" in shown
    assert "hf:us/roads" in shown
    assert "others" not in shown
    assert json.loads(call("models", "--hub", "lakes", "--json").stdout) == {"items": []}


def test_a_list_is_of_words_and_needs_a_hub(hub, folders):
    assert "leave out MODEL" in call("models", "landcover", "--hub", "x", code=2).stderr
    hub.status = 403
    assert "error: --hub: http://127.0.0.1" in (told := call("models", "--hub", "x", code=2).stderr)
    assert "refused it (403 Forbidden)" in told


def test_a_model_of_the_hub_has_its_card_and_page(hub, folders, tmp_path):
    hub.put(NAME, folders[0])
    assert "small scene" in call("models", REF).stdout
    call("models", REF, "--page", tmp_path / "page.md")
    assert f"--model {REF}" in (tmp_path / "page.md").read_text()
    assert load_model(REF).card == load_card(folders[0])
