"""A folder and a bucket of a real S3 server hold the same bytes under the same paths."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from credential_pipeline.store.objects import open_store
from credential_pipeline_tests.publish import ledger
from credential_pipeline_tests.publish.conftest import Publisher
from credential_pipeline_tests.store.seaweed import Bucket, bucket, s3_server

__all__ = ["bucket", "s3_server"]


def test_published_to_a_folder_and_to_a_bucket(
    publisher: Publisher, engine: Engine, bucket: Bucket, tmp_path: Path
) -> None:
    (c, *_) = ledger.issue(engine, publisher.college, 20)
    target = f"s3://{bucket.name}/site"
    store = open_store(target, tmp_path, options=bucket.server.options)
    publisher()
    result = publisher(store=store, target=target, chunk=8)
    assert result.written == len(publisher.files())
    assert {path: store.get(path) for path in store.list()} == publisher.files()
    head = bucket.server.client().head_object(Bucket=bucket.name, Key=f"site/credentials/{c.public_id}.json")
    assert head["ContentType"] == "application/vc"
    assert "s-maxage" in head["CacheControl"]
    assert publisher(store=store, target=target).written == 0

    ledger.move(engine, c.credential_id, "revoked")
    assert publisher(store=store, target=target).written == 2
    assert ledger.as_json(store.get(f"state/{c.public_id}.json"))["state"] == "revoked"
