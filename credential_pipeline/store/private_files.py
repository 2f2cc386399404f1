"""Files that only their owner may read: an atomic write, and a lock between processes.

Belongs here: the two primitives that the secrets directory and the embedded server share. Does not belong
here: what is in the files.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from credential_pipeline.errors import Transient

POLL_SECONDS = 0.05

Owner = tuple[int, int]
"""The uid and gid that a file is given to; None leaves it to the account of this process."""


def write_private(path: Path, content: bytes, *, owner: Owner | None = None) -> None:
    """Write a file of mode 0600 that, whenever this process is killed, is there whole or not at all.

    The caller holds the lock of the directory: the temporary name is always the same, so that a killed
    writer leaves one file behind, which the next write takes over.

    Raises:
        OSError: the directory is not writable, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if owner is not None:
            os.fchown(descriptor, *owner)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: a rename is lost with the power when only the file is synced."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def try_lock(path: Path, *, owner: Owner | None = None) -> int | None:
    """The descriptor of a lock file that is now ours, or None when another process holds it.

    The lock ends when the last copy of the descriptor is closed: a child that inherits it holds it as well,
    and the kernel ends it for a killed process.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if owner is not None:
            os.fchown(descriptor, *owner)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def file_lock(path: Path, *, timeout_s: float = 60, owner: Owner | None = None) -> Iterator[None]:
    """Hold a lock file while the block runs; threads of one process exclude each other as well.

    Raises:
        Transient: another process has held it for `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while (descriptor := try_lock(path, owner=owner)) is None:
        if time.monotonic() > deadline:
            raise Transient(f"another process has held {path} for {timeout_s:.0f} s; wait for it to end, or end it")
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)
