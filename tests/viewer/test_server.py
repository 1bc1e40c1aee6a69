"""The server answers whoever has its address, with what is shown and nothing else."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest

from pipeline.errors import RequestError
from pipeline.viewer.server import listen


def answer_to(address, path, method="GET", body=None, **headers):
    """Status, headers and body of a request with a path as it is; `{token}` stands for the word of the address."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.putrequest(method, path.format(token=parts.path.strip("/")), skip_host="host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    try:
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


PAGES = ["", "info.json", "state.json", "view.css", "common.js", "scene.js", "ol.js", "ol.css", "tiles/1/0/0/0.png"]


@pytest.mark.parametrize("page", PAGES)
def test_what_is_shown_is_there_with_the_token_and_not_without(address, page):
    assert answer_to(address, f"/{{token}}/{page}")[0] == 200
    for other in (
        f"/{page}",
        f"/{'x' * 32}/{page}",
        f"/{page}?token={{token}}",
        f"//{{token}}x/{page}",
        f"/%00/{page}",
    ):
        assert answer_to(address, other)[0] == 403, other


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_the_token_is_asked_for_by_any_method(address, method):
    assert answer_to(address, "/info.json", method)[0] == 403
    assert answer_to(address, "/{token}/info.json", method)[0] == 405


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]:{port}",
        "",
        "127.0.0.1:{port}.evil.example",
    ],
)
def test_another_host_is_refused(address, host):
    """A page elsewhere whose name was made to mean this machine."""
    port = urlsplit(address).port
    assert answer_to(address, "/{token}/info.json", host=host.format(port=port))[0] == 403
    for right in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert answer_to(address, "/{token}/info.json", host=right)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/{token}/../../../../etc/passwd",
        "/{token}/..%2f..%2f..%2fetc%2fpasswd",
        "/{token}/%2e%2e/%2e%2e/etc/passwd",
        "/{token}//etc/passwd",
        "/{token}/browser/",
        "/{token}/scene.html",
        "/{token}/server.py",
        "/{token}/scene.tif",
        "/{token}/tiles/",
        "/{token}/tiles/0/0/0/..%2f..%2f0.png",
        "/{token}/volumes/0.nii",
        "/{token}/ol.js/",
        "/{token}/niivue.js%00.css",
    ],
)
def test_nothing_else_can_be_reached(address, path):
    status, _, body = answer_to(address, path)
    assert status == 404
    assert body == b"Not Found\n"


@pytest.mark.parametrize("path", ["/{token}/", "/", "/{token}/tiles/0/0/0/0.png", "/{token}/nothing"])
def test_a_page_may_load_nothing_from_elsewhere(address, path):
    _, headers, _ = answer_to(address, path)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("at.json", "row and column must be given"),
        ("at.json?row=1&column=-1", "must be whole numbers"),
        ("at.json?row=1&column=5000", "is outside of the scene"),
        ("at.json?row=9999999999999&column=1", "must be whole numbers"),
        ("tiles/0/99/0/0.png", "there is no level 99"),
        ("tiles/7/0/0/0.png", "there is no layer 7"),
        ("tiles/1/0/0/0.png?hidden=1,x", "must be whole numbers"),
    ],
)
def test_a_wrong_request_is_told_why(address, path, said):
    status, _, body = answer_to(address, f"/{{token}}/{path}")
    assert status == 400
    assert said in json.loads(body)["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[[0, 0], [1, 1]]", "3 to 10,000 pairs"),
        (b"[[0, 0], [1, 1], [2, NaN]]", "3 to 10,000 pairs"),
        (b'{"a": 1}', "3 to 10,000 pairs"),
        (b'[["a", 0], [1, 1], [2, 2]]', "3 to 10,000 pairs"),
        (b"[[0, 0", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b" " * (1 << 21), "longer than"),
    ],
)
def test_a_wrong_outline_is_told_why(address, body, said):
    status, _, answer = answer_to(address, "/{token}/areas.json", "POST", body)
    assert status == 400
    assert said in json.loads(answer)["error"]


def test_a_port_that_is_taken_is_refused():
    with listen(0) as first, pytest.raises(RequestError, match="leave it out to get a free one"):
        listen(first.getsockname()[1])
    with pytest.raises(RequestError, match="--port 70000"):
        listen(70000)
