"""The secrets directory: the same secrets for everybody with the passphrase, nothing for anybody else."""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from credential_pipeline.credential.multikey import decode_ed25519_public
from credential_pipeline.errors import Terminal
from credential_pipeline.store.sealed import PASSPHRASE_VARIABLE
from credential_pipeline.store.secrets import SecretsDirectory

PASSPHRASE = b"correct horse battery staple"
START = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def opened(tmp_path: Path) -> SecretsDirectory:
    return SecretsDirectory(tmp_path / "secrets", PASSPHRASE)


def counting() -> Callable[[int], bytes]:
    numbers = count(1)
    return lambda size: bytes([next(numbers)]) * size


def test_nothing_is_written_before_first_use(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    assert directory.signing_keys() == ()
    assert not directory.path.exists()


def test_secrets_differ_by_kind_and_stay(tmp_path: Path) -> None:
    first = [opened(tmp_path).secret(kind) for kind in ("id", "salt", "status", "capability")]
    assert [secret.version for secret in first] == [1, 1, 1, 1]
    assert {len(secret.value) for secret in first} == {32}
    assert len({secret.value for secret in first}) == 4
    assert [opened(tmp_path).secret(secret.kind) for secret in first] == first


def test_randomness_is_a_parameter(tmp_path: Path) -> None:
    directory = SecretsDirectory(tmp_path / "secrets", PASSPHRASE, random_bytes=counting())
    value = directory.secret("id").value
    assert value == value[:1] * 32
    assert opened(tmp_path).secret("id").value == value


def test_rotation_keeps_earlier_versions(tmp_path: Path) -> None:
    directory, beside = opened(tmp_path), opened(tmp_path)
    first = directory.secret("id")
    assert beside.secret("id") == first
    second = directory.rotate("id")
    assert second.version == 2
    assert second.value != first.value
    assert beside.secret("id") == second  # a process that runs sees the rotation
    assert beside.secret("id", 1) == first
    assert directory.secret("salt").version == 1
    assert directory.rotate("status").version == 1
    with pytest.raises(Terminal, match=r"id-3\.json is missing"):
        directory.secret("id", 3)


def test_signing_keys(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    first = directory.create_signing_key(START)
    second = directory.create_signing_key(datetime(2026, 6, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert [first.key_id, second.key_id] == ["key-1", "key-2"]
    assert [first.created, second.created] == [START, datetime(2026, 6, 1, tzinfo=UTC)]
    assert second.created.tzinfo == UTC
    again = opened(tmp_path).signing_keys()
    assert again == (first, second)
    for key in again:
        raw = key.private_key.public_key().public_bytes_raw()
        assert decode_ed25519_public(key.public_key_multibase) == raw
    pem = (directory.path / "key-1.pem").read_bytes()
    assert load_pem_private_key(pem, PASSPHRASE)
    public = json.loads((directory.path / "key-1.json").read_bytes())
    assert public["created"] == "2026-01-02T03:04:05.000678Z"
    assert public["algorithm"] == "Ed25519"
    with pytest.raises(ValueError, match="time zone"):
        directory.create_signing_key(START.replace(tzinfo=None))


def test_ensured_key_is_made_once(tmp_path: Path) -> None:
    first = opened(tmp_path).ensure_signing_key(START)
    assert opened(tmp_path).ensure_signing_key(START + timedelta(days=1)) == first
    assert opened(tmp_path).signing_keys() == (first,)


def test_key_half_written_by_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    directory.secret("id")
    (directory.path / "key-1.pem").write_text("half")
    (directory.path / ".key-1.json.tmp").write_text("half")
    assert directory.signing_keys() == ()
    assert directory.create_signing_key(START).private_key
    assert [path.name for path in directory.path.glob(".*")] == [".lock"]


def test_modes(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    before = os.umask(0)
    try:
        directory.rotate("id")
        directory.create_signing_key(START)
    finally:
        os.umask(before)
    assert directory.path.stat().st_mode & 0o777 == 0o700
    files = {path.name: path.stat().st_mode & 0o777 for path in directory.path.iterdir()}
    assert files == dict.fromkeys(["directory.json", "id-1.json", "key-1.json", "key-1.pem", ".lock"], 0o600)


def test_nothing_readable_is_stored_or_shown(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    secret, key = directory.secret("id"), directory.create_signing_key(START)
    stored = b"".join(path.read_bytes() for path in directory.path.iterdir())
    private = key.private_key.private_bytes_raw()
    for value in (secret.value, private, PASSPHRASE):
        for form in (value, value.hex().encode(), base64.urlsafe_b64encode(value), base64.b64encode(value)):
            assert form.rstrip(b"=") not in stored
    shown = repr(secret) + repr(key) + repr(directory)
    assert PASSPHRASE.decode() not in shown
    assert repr(secret.value)[2:-1] not in shown
    assert "version=1" in shown


def test_copy_and_pickle_hold_the_same_secrets(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    secret, key = directory.secret("status"), directory.create_signing_key(START)
    shutil.copytree(directory.path, tmp_path / "elsewhere")
    copy = SecretsDirectory(tmp_path / "elsewhere", PASSPHRASE)
    for other in (copy, pickle.loads(pickle.dumps(directory))):
        assert other.secret("status") == secret
        assert other.signing_keys()[0].private_key.private_bytes_raw() == key.private_key.private_bytes_raw()


def test_wrong_passphrase(tmp_path: Path) -> None:
    opened(tmp_path).secret("id")
    opened(tmp_path).create_signing_key(START)
    before = sorted(path.name for path in (tmp_path / "secrets").iterdir())
    wrong = SecretsDirectory(tmp_path / "secrets", b"hunter2hunter2")
    for use in (
        lambda: wrong.secret("id"),
        lambda: wrong.secret("salt"),
        lambda: wrong.rotate("id"),
        wrong.signing_keys,
        lambda: wrong.create_signing_key(START),
    ):
        with pytest.raises(Terminal, match=PASSPHRASE_VARIABLE) as caught:
            use()
        assert str(wrong.path) in str(caught.value)
        assert "hunter2" not in str(caught.value)
    assert sorted(path.name for path in wrong.path.iterdir()) == before


@pytest.mark.parametrize("passphrase", [b"", b"x" * 1024])
def test_unusable_passphrase(tmp_path: Path, passphrase: bytes) -> None:
    with pytest.raises(Terminal, match=PASSPHRASE_VARIABLE):
        SecretsDirectory(tmp_path, passphrase)


def use_all(directory: SecretsDirectory) -> None:
    directory.secret("id", 1)
    directory.secret("id", 2)
    for key in directory.signing_keys():
        assert key.private_key


@pytest.mark.parametrize("name", ["directory.json", "id-1.json", "key-1.json", "key-1.pem"])
def test_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    directory = opened(tmp_path)
    directory.secret("id")
    directory.rotate("id")
    directory.create_signing_key(START)
    use_all(opened(tmp_path))
    path = directory.path / name
    good = path.read_bytes()
    for position in range(0, len(good) - 1, 7):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        if name.endswith(".pem") and pem_body(path.read_bytes()) == pem_body(good):
            continue
        with pytest.raises(Terminal, match=r"backup"):
            use_all(opened(tmp_path))
    path.write_bytes(b"")
    with pytest.raises(Terminal, match=r"backup"):
        use_all(opened(tmp_path))
    path.write_bytes(good)
    use_all(opened(tmp_path))


def pem_body(pem: bytes) -> bytes:
    return b"".join(pem.split())


def test_files_cannot_change_places(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    directory.secret("id")
    directory.rotate("id")
    for start in (START, START + timedelta(days=1)):
        directory.create_signing_key(start)
    for source, target in (("id-1.json", "id-2.json"), ("key-1.json", "key-2.json"), ("key-1.pem", "key-2.pem")):
        good = (directory.path / target).read_bytes()
        shutil.copyfile(directory.path / source, directory.path / target)
        with pytest.raises(Terminal, match="changed or damaged"):
            use_all(opened(tmp_path))
        (directory.path / target).write_bytes(good)
    use_all(opened(tmp_path))


def test_missing_files(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    directory.secret("id")
    directory.create_signing_key(START)
    (directory.path / "key-1.pem").unlink()
    with pytest.raises(Terminal, match=r"key-1\.pem is missing"):
        _ = opened(tmp_path).signing_keys()[0].private_key
    (directory.path / "directory.json").unlink()
    with pytest.raises(Terminal, match="restore it from a backup"):
        opened(tmp_path).secret("id")


def test_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("")
    with pytest.raises(Terminal, match="cannot be used"):
        opened(tmp_path).secret("id")


CREATE = "\n".join(
    [
        "import sys; from datetime import datetime, UTC; from pathlib import Path",
        "from credential_pipeline.store.secrets import SecretsDirectory",
        "directory = SecretsDirectory(Path(sys.argv[1]), b'two at once')",
        "print('ready', flush=True); sys.stdin.readline()",
        "print([directory.secret(kind).value.hex() for kind in ('id', 'salt', 'status', 'capability')])",
        "print(directory.ensure_signing_key(datetime.now(UTC)).public_key_multibase)",
    ]
)


def test_processes_that_create_at_once_get_the_same(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, str(tmp_path / "new" / "secrets")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(set(outputs)) == 1
    directory = SecretsDirectory(tmp_path / "new" / "secrets", b"two at once")
    assert directory.secret("id").value.hex() in outputs[0]
    assert [key.public_key_multibase in outputs[0] for key in directory.signing_keys()] == [True]
