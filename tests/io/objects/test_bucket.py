"""Objects are put, got, listed and deleted, whatever the network does; what cannot be is told with a way out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import DamagedError, OutputError
from pipeline.files.object_path import ObjectPath
from pipeline.io.objects import Mirror, Taken, bucket_of
from pipeline.io.objects import bucket as room
from pipeline.io.objects.answers import why
from tests.support import azure, google
from tests.support.objects import SECRET
from tests.support.stores import environment_of, on_each, on_others, words_for

NAMES = ["a b.tif", "ü/Ω.tif", "100%20.tif", "a+b&c=d?e#f.tif", "~'\"<>[]{}^`|\\.tif", "A.tif", "a.tif"]


@pytest.fixture
def impatient(monkeypatch):
    """Two tries instead of eleven."""
    monkeypatch.setattr(room, "_RETRIES", 1)
    room._bucket.cache_clear()
    yield
    room._bucket.cache_clear()


@on_each
@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_back_as_it_was(store, name, tmp_path):
    bucket = bucket_of(store.place)
    if store.place.scheme == "az" and "\\" in name:
        with pytest.raises(OutputError, match="Azure takes the backslash for a slash; rename it"):
            bucket.put(f"in/{name}", b"")
        return
    bucket.put(f"in/{name}", name.encode())
    assert [entry.key for entry in bucket.list("in")] == [f"in/{name}"]
    assert store.all() == {f"in/{name}": name.encode()}
    mirror = Mirror(tmp_path, store.place / "in")
    mirror.pull_below(tmp_path)
    assert (tmp_path / name).read_bytes() == name.encode()
    bucket.delete([f"in/{name}"])
    assert store.all() == {}


@on_each
def test_a_prefix_ends_where_a_name_does(store):
    bucket = bucket_of(store.place)
    for key in ("a/b/c", "a/bb", "a/b.tif"):
        bucket.put(key, b"")
    assert [entry.key for entry in bucket.list("a/b")] == ["a/b/c"]


@on_each
@pytest.mark.parametrize("fault", [500, 503, 429, "drop", "late", "slow", "cut"])
def test_faults_that_pass_are_survived(store, fault, tmp_path):
    """Every first try of each request fails."""
    tried = set()

    def fail(request):
        known = (request.method, request.path) in tried
        tried.add((request.method, request.path))
        return None if known else fault

    bucket, file = bucket_of(store.place), tmp_path / "a"
    file.write_bytes(b"content" * 999)
    store.proxy.inject(fail)
    tag = bucket.put("a", file)
    assert bucket.head("a").tag == tag
    assert bucket.get("a")[0] == b"content" * 999
    assert [entry.key for entry in bucket.list("")] == ["a"]
    bucket.delete(["a"])
    assert bucket.get("b") is None
    assert len(store.proxy.seen) > 5
    assert store.all() == {}


@pytest.mark.parametrize(
    ("fault", "way"),
    [
        (403, "these credentials may not do this; they need to get, put, list and delete"),
        ("ExpiredToken", "the credentials have expired; renew them"),
        ("InvalidAccessKeyId", "are not those of this store; see AWS_ACCESS_KEY_ID"),
        (503, "the store is overloaded"),
        ("RequestTimeTooSkewed", "the clock of this machine is wrong; set it"),
        (500, "InternalError"),
        ("drop", "does not answer"),
    ],
)
def test_what_is_wrong_is_told_with_the_place_and_a_way_out(store, impatient, fault, way):
    store.proxy.inject(lambda request: fault)
    bucket = bucket_of(store.place)
    calls = (lambda: bucket.put("x/y", b""), lambda: bucket.get("x/y"), lambda: list(bucket.list("x/y")))
    for call in calls:
        with pytest.raises(OutputError, match=way) as error:
            call()
        assert str(error.value).startswith(f"{store.place}x/y: cannot be ")
        assert SECRET not in str(error.value)
        assert "\n" not in str(error.value)


def test_numbers_in_names_and_ports_are_no_status():
    down = (
        "Generic S3 error: Error performing PUT http://127.0.0.1:40343/b-503/401.tif in 2s - HTTP error: error sending"
    )
    assert why(down, "s3").startswith("the store does not answer")


def test_missing_credentials_are_told():
    """Without any, the library asks the machine for its account, and whatever answers there."""
    asked = "Error performing PUT http://169.254.169.254/latest/api/token - Server returned non-2xx status code: 403"
    assert why(asked, "s3").startswith("no credentials were found; set them, e.g. AWS_ACCESS_KEY_ID")


@on_each
def test_a_server_that_is_down_is_told(store, impatient, monkeypatch):
    for name, value in environment_of(store.place.scheme, "http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OutputError, match="does not answer; see that it runs and the network is up"):
        bucket_of(store.place).put("a", b"")


@on_each
def test_no_such_bucket_is_told_whatever_is_asked(store):
    bucket = bucket_of(replace(store.place, bucket="no-such-bucket"))
    for call in (lambda: bucket.put("a", b""), lambda: bucket.get("a"), lambda: list(bucket.list("a"))):
        with pytest.raises(OutputError, match=r"//no-such-bucket/a: cannot be .*: there is no such (bucket|container)"):
            call()


@on_each
def test_a_large_file_is_sent_in_parts_of_which_none_stays_if_it_fails(store, impatient, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_PART", 5 << 20)
    file = tmp_path / "large"
    file.write_bytes(bytes(range(256)) * (11 << 12))
    bucket = bucket_of(store.place)
    bucket.put("large", file)
    assert store.all()["large"] == file.read_bytes()
    parts = [request for request in store.proxy.seen if "partNumber=" in request.path or "comp=block&" in request.path]
    assert len(parts) == 3
    copy = tmp_path / "copy"
    bucket.fetch(bucket.head("large"), copy)
    assert copy.read_bytes() == file.read_bytes()
    store.proxy.inject(lambda request: 403 if request.number == 2 else None)
    with pytest.raises(OutputError, match="may not do this"):
        bucket.put("other", file)
    assert set(store.all()) == {"large"}
    assert store.uploads() == []


@on_each
def test_a_file_is_there_once_it_is_whole(store, tmp_path, monkeypatch):
    """Another thread that looks for it finds all of it, or nothing; so does the next run, after a fault."""
    bucket, copy = bucket_of(store.place), tmp_path / "copy"
    bucket.put("a", b"whole")
    get, seen = room.obstore.get, []

    def slow(*words):
        answer = get(*words)
        seen.append(copy.exists())
        return answer

    monkeypatch.setattr(room.obstore, "get", slow)
    bucket.fetch(bucket.head("a"), copy)
    assert (seen, copy.read_bytes(), list(tmp_path.iterdir())) == ([False], b"whole", [copy])
    copy.unlink()
    monkeypatch.setattr(room.obstore, "get", lambda *_: 1 / 0)
    with suppress(ZeroDivisionError):
        bucket.fetch(bucket.head("a"), copy)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_a_mirror_is_there_once_it_is_whole(store, tmp_path, monkeypatch):
    bucket_of(store.place).put("a", b"whole")
    write, seen = Path.write_bytes, []

    def slow(path, content):
        written = write(path, content[:1])
        seen.append((tmp_path / "a").exists())
        with path.open("ab") as more:
            return written + more.write(content[1:])

    monkeypatch.setattr(Path, "write_bytes", slow)
    Mirror(tmp_path, store.place).fetch([tmp_path / "a"])
    assert (seen, (tmp_path / "a").read_bytes()) == ([False], b"whole")


@on_each
def test_an_object_that_changes_while_it_is_read_is_refused(store, tmp_path):
    bucket = bucket_of(store.place)
    bucket.put("a", bytes(9 << 20))
    entry = bucket.head("a")
    store.put("a", bytes([1]) * (9 << 20))
    with pytest.raises(OutputError, match="changed while it was read"):
        bucket.fetch(entry, tmp_path / "a")


@on_each
def test_an_object_is_put_once_or_over_a_known_one(store):
    bucket = bucket_of(store.place)
    first = bucket.create("a", b"1")
    with pytest.raises(Taken):
        bucket.create("a", b"2")
    second = bucket.update("a", b"3", first)
    for other in (first, "17" if store.place.scheme == "gs" else '"none"'):
        with pytest.raises(Taken):
            bucket.update("a", b"4", other)
    third = bucket.update("a", b"4", bucket.get("a")[1].edition)
    assert third == bucket.head("a").edition != second
    bucket.delete(["a"])
    with pytest.raises(Taken):
        bucket.update("a", b"5", second)
    assert store.all() == {}


@on_each
def test_a_listing_tells_the_same_of_an_object_as_a_question_for_it(store):
    bucket = bucket_of(store.place)
    tag = bucket.put("a", b"1")
    (listed,) = bucket.list("")
    assert (listed.tag, listed.stamp) == (tag, bucket.head("a").stamp)
    assert bucket.part("a", listed.tag, 0, 1) == b"1"
    bucket.put("a", b"2")
    with pytest.raises(Taken):
        bucket.part("a", listed.tag, 0, 1)


@on_each
def test_all_is_deleted_though_some_of_it_is_gone(store):
    """Azure takes 256 at a time, Google one, and both refuse what is not there."""
    count = 300 if store.place.scheme == "az" else 30
    bucket, keys = bucket_of(store.place), [f"a/{number:03}" for number in range(count)]
    there = [key for key in keys if int(key[2:]) not in (0, 1, 14, count - 1)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: bucket.put(key, b""), there))
    bucket.delete(keys)
    assert store.all() == {}
    bucket.delete(keys[:2])


@on_others
@pytest.mark.parametrize("kind", ["wrong", "reader"])
def test_credentials_of_others_are_told(store, kind, monkeypatch):
    said = {
        ("gs", "wrong"): (google.environment(store.proxy.address, "WRONG-SECRET"), "are not those of this store"),
        ("gs", "reader"): (google.environment(store.proxy.address, google.READER), "may not do this; they need to get"),
        ("az", "wrong"): (
            azure.environment(store.proxy.address, "c2VjcmV0"),
            "are not those of this store; see AZURE_",
        ),
        ("az", "reader"): (azure.reader(store.proxy.address), "may not do this; they need to get, put"),
    }
    environment, told = said[store.place.scheme, kind]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    bucket = bucket_of(store.place)
    if kind == "wrong":
        with pytest.raises(OutputError, match=told):
            bucket.head("a")
    with pytest.raises(OutputError, match=told) as error:
        bucket.put("a", b"")
    assert "SECRET" not in str(error.value)
    assert "\n" not in str(error.value)
    assert not any(value in str(error.value) for value in environment.values())


@on_others
def test_missing_credentials_name_what_to_set(store, impatient, monkeypatch):
    for name in environment_of(store.place.scheme, ""):
        monkeypatch.delenv(name)
    with pytest.raises(OutputError, match=r"no credentials were found; set them, e\.g\. (AZURE|GOOGLE)_"):
        bucket_of(store.place).put("a", b"")


def test_what_is_set_and_cannot_be_used_is_told(monkeypatch, tmp_path):
    key = tmp_path / "key.json"
    key.write_text('{"type": "service_account", "private_key": "SECRET", "private_key_id": "k", "client_email": "a"}')
    cases = [
        (
            "az",
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": "no-SECRET"},
            "are not valid; see AZURE_",
        ),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": f"{tmp_path}/none"}, f"{tmp_path}/none, cannot be read; see GOOGLE_"),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": str(key)}, "are not valid; see GOOGLE_"),
    ]
    for scheme, environment, told in cases:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(OutputError, match=told) as error:
                bucket_of(ObjectPath(scheme, "b", ""))
        assert "SECRET" not in str(error.value)


@on_others
@pytest.mark.parametrize("number", range(4))
def test_an_account_is_known_by_the_words_of_several_programs(store, number, monkeypatch):
    for name in environment_of(store.place.scheme, ""):
        monkeypatch.delenv(name)
    for name, value in words_for(store.place.scheme, store.proxy.address)[number].items():
        monkeypatch.setenv(name, value)
    bucket_of(store.place).put("a", b"1")
    assert store.all() == {"a": b"1"}


@pytest.mark.parametrize("section", ["default", "work", "profile work"])
def test_settings_are_found_in_the_files_of_aws(store, section, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    keys = f"aws_access_key_id = a\naws_secret_access_key = b%c\nendpoint_url = {store.proxy.address}\nregion = eu-1\n"
    file.write_text(f"[{section}]\n{keys}")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    if section != "default":
        monkeypatch.setenv("AWS_PROFILE", "work")
    bucket_of(store.place).put("a", b"1")
    assert store.all() == {"a": b"1"}


def test_the_endpoint_of_gdal_is_that_of_outputs_too(store, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_S3_ENDPOINT", store.proxy.address.removeprefix("http://"))
    monkeypatch.setenv("AWS_HTTPS", "NO")
    bucket_of(store.place).put("a", b"1")
    assert store.all() == {"a": b"1"}


@on_each
def test_only_what_is_new_or_changed_is_sent_and_fetched(store, tmp_path):
    here, there = Mirror(tmp_path / "a", store.place / "x"), Mirror(tmp_path / "b", store.place / "x")
    files = [tmp_path / "a" / name for name in ("1", "2/3")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(file.name.encode())

    def asked(call, method):
        store.proxy.inject()
        call()
        return sorted(r.path.partition("/x/")[2] for r in store.proxy.seen if r.method == method and "?" not in r.path)

    assert asked(lambda: here.push(files), "PUT") == ["1", "2/3"]
    assert asked(lambda: here.push(files), "PUT") == []
    assert asked(lambda: there.pull_below(tmp_path / "b"), "GET") == ["1", "2/3"]
    assert asked(lambda: there.pull_below(tmp_path / "b"), "GET") == []
    store.put("x/1", b"other")
    assert asked(lambda: there.pull_below(tmp_path / "b"), "GET") == ["1"]
    assert (tmp_path / "b" / "1").read_bytes() == b"other"
    assert asked(lambda: there.pull(tmp_path / "b" / "1"), "GET") == []
    store.put("x/1", b"another")
    assert asked(lambda: there.pull(tmp_path / "b" / "1"), "GET") == ["1"]
    assert asked(lambda: there.pull(tmp_path / "b" / "none"), "GET") == []
    assert here.stamp(files[0]) is not None
    assert here.stamp(tmp_path / "a" / "none") is None
    with pytest.raises(DamagedError, match="none: is gone"):
        here.push([tmp_path / "a" / "none"])
    assert asked(lambda: here.push([tmp_path / "a" / "none"], may_go=True), "PUT") == []
