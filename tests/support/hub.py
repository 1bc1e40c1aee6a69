"""A stand-in of a hub of models on 127.0.0.1, as far as its client asks it: repositories with commits, in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

TOKEN = "hf_ThisIsASecretOfTheTests"


@dataclass
class Repository:
    """Files by commit, and the commits of branches and tags."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, changes: Mapping[str, bytes | None], branch: str = "main") -> str:
        """Write files, or remove those that are None, and return the commit."""
        before = self.commits.get(self.revisions.get(branch, ""), {})
        files = {name: data for name, data in {**before, **changes}.items() if data is not None}
        told = repr((len(self.commits), sorted(files.items())))
        self.revisions[branch] = commit = hashlib.sha1(told.encode()).hexdigest()
        self.commits[commit] = files
        return commit

    def find(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.revisions.get(revision)


@dataclass
class Hub:
    """What the server has, and what it was asked."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int | None = None
    """Of all answers, if it is out of order."""

    def put(self, name: str, folder: Path, branch: str = "main", **more: bytes) -> str:
        """Write all files of a folder, and others, and return the commit."""
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return self.repositories.setdefault(name, Repository()).commit({**files, **more}, branch)


class _RefusedError(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class _Answers(BaseHTTPRequestHandler):
    @property
    def hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    @property
    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_GET(self) -> None:
        self._answer(self._got)

    def do_HEAD(self) -> None:
        self._answer(self._got)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(lambda path: self._posted(path, body))

    def _answer(self, how: Any) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path}")
        try:
            (self._break if self.hub.status else how)(path)
        except _RefusedError as refused:
            self._send(b"{}", refused.status, {"X-Error-Code": refused.code, "X-Error-Message": refused.code})

    def _break(self, path: str) -> None:
        raise _RefusedError(self.hub.status or 500, "Broken")

    def _send(self, data: bytes, status: int = 200, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), headers={"Content-Type": "application/json"})

    def _repository(self, name: str) -> Repository:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self.known):
            raise _RefusedError(404 if self.known else 401, "RepoNotFound")
        return found

    def _commit(self, repository: Repository, revision: str) -> str:
        found = repository.find(unquote(revision))
        if found is None:
            raise _RefusedError(404, "RevisionNotFound")
        return found

    def _got(self, path: str) -> None:
        if path == "/api/models":
            self._json(self._listed(parse_qs(urlsplit(self.path).query)))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            repository = self._repository(found[1])
            if repository.commits or found[2]:
                self._json(_described(found[1], repository, self._commit(repository, found[2] or "main")))
            else:
                self._json({"id": found[1], "sha": "0" * 40, "private": repository.private, "siblings": []})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(self._repository(found[1]), found[2], unquote(found[3]))
        else:
            raise _RefusedError(404, "NotHere")

    def _listed(self, query: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        words = query.get("search", [""])[0].lower().split()
        told = [
            _described(name, repository, repository.revisions["main"])
            for name, repository in self.hub.repositories.items()
            if repository.commits and (self.known or not repository.private)
        ]
        wanted = set(query.get("filter", []))
        return [one for one in told if wanted <= set(one["tags"]) and all(word in one["id"].lower() for word in words)]

    def _resolve(self, repository: Repository, revision: str, name: str) -> None:
        if repository.gated:
            raise _RefusedError(403, "GatedRepo")
        commit = self._commit(repository, revision)
        data = repository.commits[commit].get(name)
        if data is None:
            raise _RefusedError(404, "EntryNotFound")
        self._send(data, headers={"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'})

    def _posted(self, path: str, body: bytes) -> None:
        if not self.known:
            raise _RefusedError(401, "Unauthorized")
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            yaml.safe_load(json.loads(body)["content"].split("---")[1])
            self._json({})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path):
            repository = self._repository(found[1])
            (self._compare if found[2] == "preupload" else self._write)(repository, found[1], body)

    def _create(self, asked: Mapping[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories or asked["organization"] == "others":
            raise _RefusedError(409 if name in self.hub.repositories else 403, "Refused")
        self.hub.repositories[name] = Repository(private=asked.get("visibility") == "private")
        self._json({"url": f"{self.hub.address}/{name}"})

    def _compare(self, repository: Repository, name: str, body: bytes) -> None:
        there = repository.commits.get(repository.revisions.get("main", ""), {})
        files = [
            {
                "path": (path := file["path"]),
                "uploadMode": "regular",
                "shouldIgnore": False,
                "oid": _git_digest(there[path]) if path in there else None,
            }
            for file in json.loads(body)["files"]
        ]
        self._json({"files": files})

    def _write(self, repository: Repository, name: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        parent = next(line["value"] for line in lines if line["key"] == "header").get("parentCommit")
        if parent is not None and parent != repository.revisions.get("main", "0" * 40):
            raise _RefusedError(412, "Moved")
        changes = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) if line["key"] == "file" else None
            for line in lines
            if line["key"] != "header"
        }
        commit = repository.commit(changes)
        self._json({"commitUrl": f"{self.hub.address}/{name}/commit/{commit}", "commitOid": commit})

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def _described(name: str, repository: Repository, commit: str) -> dict[str, Any]:
    files = repository.commits[commit]
    parts = files.get("README.md", b"").decode().split("---\n")
    matter = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
    license_ = [f"license:{matter['license']}"] if "license" in matter else []
    return {
        "id": name,
        "sha": commit,
        "private": repository.private,
        "siblings": [{"rfilename": file} for file in files],
        "tags": [*matter.get("tags", []), *license_],
        "downloads": 1234,
        "lastModified": "2026-11-30T08:00:00.000Z",
    }


def _git_digest(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def served_hub() -> Iterator[Hub]:
    """An empty hub, as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.hub = hub = Hub(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def use_hub(patch: pytest.MonkeyPatch, address: str, home: Path) -> None:
    """Have the client ask this hub and no other, with an empty cache; it reads its environment when it is imported."""
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        patch.delenv(name, raising=False)
