"""Objects in a folder and in a real S3 server: the same promises."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from credential_pipeline.errors import Terminal, Transient
from credential_pipeline.store import objects
from credential_pipeline.store.document_form import read_document, store_document
from credential_pipeline.store.objects import ObjectConflict, ObjectStore, open_store
from credential_pipeline_tests.store.seaweed import Bucket, S3Server, bucket, s3_server

__all__ = ["bucket", "s3_server"]


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return open_store("site", tmp_path)
    made: Bucket = request.getfixturevalue("bucket")
    return open_store(f"s3://{made.name}/some/prefix", tmp_path, options=made.server.options)


def test_created_once_then_the_same(store: ObjectStore) -> None:
    assert store.put_new("credentials/a.json", b"one") == "created"
    assert store.put_new("credentials/a.json", b"one") == "same"
    assert store.get("credentials/a.json") == b"one"


def test_other_bytes_at_a_fixed_path_are_a_conflict_and_stay(store: ObjectStore) -> None:
    store.put_new("credentials/a.json", b"one")
    with pytest.raises(ObjectConflict, match=r"credentials/a\.json holds other bytes"):
        store.put_new("credentials/a.json", b"two")
    assert store.get("credentials/a.json") == b"one"


def test_a_stable_object_is_replaced_and_removed(store: ObjectStore) -> None:
    assert store.get("status/1.json") is None
    store.put("status/1.json", b"one")
    store.put("status/1.json", b"two")
    assert store.get("status/1.json") == b"two"
    store.delete("status/1.json")
    store.delete("status/1.json")
    assert store.get("status/1.json") is None


def test_list_tells_paths_below_a_folder(store: ObjectStore) -> None:
    for path in (".well-known/did.json", "state/a.json", "state/b.json", "status/1.json"):
        store.put(path, b"x")
    assert sorted(store.list("state")) == ["state/a.json", "state/b.json"]
    assert sorted(store.list()) == [".well-known/did.json", "state/a.json", "state/b.json", "status/1.json"]


def test_of_many_writers_at_once_one_creates(store: ObjectStore) -> None:
    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(lambda _: store.put_new("credentials/race.json", b"same"), range(24)))
    assert outcomes.count("created") == 1
    assert outcomes.count("same") == 23


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a b", "a#1", "é", "a\\b", "a\n", "..", "a/.."]
)
def test_a_path_that_leaves_the_store_is_refused(tmp_path: Path, path: str) -> None:
    store = open_store("site", tmp_path)
    for call in (lambda: store.put(path, b""), lambda: store.put_new(path, b""), lambda: store.get(path)):
        with pytest.raises(Terminal, match="not a path of an object"):
            call()


def test_where_targets_lead(tmp_path: Path) -> None:
    open_store("site", tmp_path).put("a.json", b"1")
    assert (tmp_path / "site" / "a.json").read_bytes() == b"1"
    open_store(f"file://{tmp_path}/elsewhere", tmp_path).put("a.json", b"2")
    assert (tmp_path / "elsewhere" / "a.json").read_bytes() == b"2"
    with pytest.raises(Terminal, match="neither a folder nor s3://"):
        open_store("ftp://host/x", tmp_path)


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    store = open_store("site", tmp_path)
    (tmp_path / "site" / "state").write_text("a file")
    with pytest.raises(Terminal, match="a file stands where a folder is needed"):
        store.put("state/a.json", b"x")


def test_no_room_is_terminal_and_leaves_no_part(tmp_path: Path) -> None:
    # A limit on file size stands for a full disk: the kernel refuses the same write halfway. Its own process, since
    # the limit cannot be lifted again.
    program = """
import resource, signal, sys
from pathlib import Path
from credential_pipeline.errors import Terminal
from credential_pipeline.store.objects import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
store = open_store("site", Path(sys.argv[1]))
store.put("status/1.json", b"old")
for put in (store.put, store.put_new):
    for path in ("status/1.json", "status/2.json"):
        try:
            put(path, b"x" * 100_000)
        except Terminal as error:
            assert "raise it" in str(error), error
        else:
            raise AssertionError("written")
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    store = open_store("site", tmp_path)
    assert list(store.list()) == ["status/1.json"]
    assert store.get("status/1.json") == b"old"
    assert [f.name for f in (tmp_path / "site" / "status").iterdir()] == ["1.json"]


def test_a_bucket_keeps_content_type_and_cache_control(bucket: Bucket, tmp_path: Path) -> None:
    store = open_store(f"s3://{bucket.name}/p", tmp_path, options=bucket.server.options)
    headers = {"Content-Type": "application/vc", "Cache-Control": "public, max-age=300"}
    store.put_new("credentials/a.json", b"x", headers)
    store.put("status/1.json", b"x", headers)
    for key in ("p/credentials/a.json", "p/status/1.json"):
        head = bucket.server.client().head_object(Bucket=bucket.name, Key=key)
        assert (head["ContentType"], head["CacheControl"]) == ("application/vc", "public, max-age=300")


def test_a_missing_bucket_is_terminal(s3_server: S3Server, tmp_path: Path) -> None:
    store = open_store("s3://no-such-bucket/p", tmp_path, options=s3_server.options)
    with pytest.raises(Terminal, match="no such bucket"):
        store.get("credentials/a.json")


def test_a_wrong_secret_is_terminal_and_not_repeated(bucket: Bucket, tmp_path: Path) -> None:
    options = bucket.server.options | {"secret_access_key": "wrong-and-secret"}
    store = open_store(f"s3://{bucket.name}/p", tmp_path, options=options)
    with pytest.raises(Terminal, match="credentials") as raised:
        store.put_new("credentials/a.json", b"x")
    assert "wrong-and-secret" not in str(raised.value)


def test_a_server_that_is_away_is_transient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "RETRY", {"max_retries": 0})
    options = {"endpoint": "http://127.0.0.1:9", "region": "x", "access_key_id": "a", "secret_access_key": "b"}
    store = open_store("s3://bucket/p", tmp_path, options=options)
    with pytest.raises(Transient, match="does not answer"):
        store.put("a.json", b"x")


def test_documents_come_back_as_they_were_kept() -> None:
    data = b'{"id":"https://badges.college.example/credentials/x.json"}' * 40
    form, kept = store_document(data)
    assert form == "zstd"
    assert len(kept) < len(data) / 5
    assert read_document(form, kept) == data
    assert store_document(data) == (form, kept)
    with pytest.raises(Terminal, match="damaged"):
        read_document(form, kept[:-5])
    with pytest.raises(Terminal, match="not known"):
        read_document("gzip", kept)
