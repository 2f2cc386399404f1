"""A real S3 server on loopback: SeaweedFS from its wheel. Import the fixtures `s3_server` and `bucket` from here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS, SECRET, REGION = "test-access", "test-secret-key", "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """Where it answers."""

    endpoint: str

    @property
    def options(self) -> dict[str, Any]:
        """What open_store takes."""
        return {
            "endpoint": self.endpoint, "region": REGION, "access_key_id": ACCESS, "secret_access_key": SECRET,
        }  # fmt: skip

    def client(self) -> Any:
        """Another S3 client, for buckets and for looking from outside."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, connect_timeout=2),
        )


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket."""

    server: S3Server
    name: str


@contextmanager
def running_s3_server() -> Iterator[S3Server]:
    """A server until the block ends."""
    # Short: the filer's socket lies in it, and a socket's path has at most 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="cp-s3-"))
    config = home / "s3.json"
    config.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": "test",
                        "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
                        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
                    }
                ]
            }
        )
    )
    names = ("master", "volume", "filer", "s3")
    ports = _free_ports(2 * len(names))
    flags = [f"-{name}.port{suffix}={ports.pop()}" for name in names for suffix in ("", ".grpc")]
    endpoint = next(flag.partition("=")[2] for flag in flags if flag.startswith("-s3.port="))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                Path(sys.executable).parent / "weed", "-logtostderr=true", "server", "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1", f"-dir={home}", "-s3", f"-s3.config={config}", "-master.telemetry=false",
                "-s3.port.iceberg=0", "-s3.port.lance=0", f"-filer.localSocket={home}/f.sock",
                "-volume.minFreeSpace=1MiB", "-master.volumeSizeLimitMB=64", *flags,
            ],
            stdout=log,
            stderr=log,
            cwd=home,
            env={**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "HOME": str(home)},
            start_new_session=True,
        )  # fmt: skip
    server = S3Server(f"http://127.0.0.1:{endpoint}")
    try:
        _wait(server, process, home / "log")
        yield server
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it answers SIGTERM after a minute
        process.wait()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with running_s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server) -> Bucket:
    return new_bucket(s3_server)


def new_bucket(server: S3Server) -> Bucket:
    """An empty bucket of a name that no other has."""
    name = f"b-{uuid.uuid4().hex}"
    server.client().create_bucket(Bucket=name)
    return Bucket(server, name)


def _wait(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    client = server.client()
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            # The first volume takes a while after the port answers.
            client.create_bucket(Bucket="warm-up")
        except (BotoCoreError, ClientError) as error:
            if "BucketAlready" not in str(error):
                time.sleep(0.2)
                continue
        try:
            client.put_object(Bucket="warm-up", Key="x", Body=b"x")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
    raise AssertionError("SeaweedFS did not start: " + log.read_text()[-3000:])


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
