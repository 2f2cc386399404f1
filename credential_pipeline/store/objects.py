"""Objects that anybody can fetch: a local folder or a bucket with the S3 API, behind one small interface.

Belongs here: putting, getting and listing bytes by path, and turning what goes wrong into Terminal or Transient.
Does not belong here: which objects there are, their headers and the manifest (publish/).
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from obstore.store import LocalStore, S3Store

from credential_pipeline.errors import Terminal, Transient
from credential_pipeline.store.versions import DeleteVersions, bucket_versions

PATH = re.compile(r"(?:\.?[A-Za-z0-9_-][A-Za-z0-9._-]*/)*\.?[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")
"""A path in a store: segments of harmless characters, none of them `.`, `..` or empty."""

# Back-off with jitter over about a minute: S3 answers 503 while it splits a busy prefix.
RETRY: Any = {
    "max_retries": 8,
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=10), "base": 2},
    "retry_timeout": timedelta(seconds=60),
}

_NEEDS_A_PERSON = {
    errno.ENOSPC: "the disk is full: free some space and run again",
    errno.EDQUOT: "the disk quota is used up: raise it and run again",
    errno.EFBIG: "the limit on the size of files is too low: raise it (ulimit -f) and run again",
    errno.EROFS: "the folder is on a read-only file system: choose another target",
    errno.EACCES: "permission denied: let the account that runs the pipeline write there",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
    errno.EISDIR: "a folder stands where the object belongs: move it away",
}
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_S3_REFUSAL = re.compile(
    r"NoSuchBucket|InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|status 40[13]", re.IGNORECASE
)


class ObjectConflict(Terminal):
    """Another object stands at the path of a create-only one."""


class ObjectStore:
    """The objects of one target. Paths are relative, without a leading slash."""

    def __init__(
        self, store: Any, name: str, *, parallel: int, attributes: bool, versions: DeleteVersions | None = None
    ) -> None:
        """`store`: an obstore store; `parallel`: how many puts at once pay; `attributes`: whether it keeps any.

        `versions`: deletes all versions of a path, where a store may keep some.
        """
        self._store = store
        self._attributes = attributes
        self._versions = versions
        self.name = name
        self.parallel = parallel

    def put_new(
        self, path: str, data: bytes, attributes: Mapping[str, str] | None = None
    ) -> Literal["created", "same"]:
        """Create an object that never changes; `same` if exactly these bytes stand there already.

        Raises:
            ObjectConflict: other bytes stand there; they are left alone.
            Terminal, Transient: as the store failed.
        """
        try:
            self._put(path, data, "create", attributes)
        except AlreadyExistsError:
            present = self.get(path)
            if present is None:  # deleted in between: the next run creates it
                raise Transient(f"{self.name}: {path} came and went while it was written; run again") from None
            if hashlib.sha256(present).digest() == hashlib.sha256(data).digest():
                return "same"
            raise ObjectConflict(
                f"{self.name}: {path} holds other bytes than the ledger recorded, and is left as it is; find out who"
                " wrote it (another pipeline with the same target?), remove it and run again"
            ) from None
        return "created"

    def put(self, path: str, data: bytes, attributes: Mapping[str, str] | None = None) -> None:
        """Write an object that may change. Readers see the old bytes or the new ones, never a part."""
        self._put(path, data, "overwrite", attributes)

    def get(self, path: str) -> bytes | None:
        """The object's bytes, or None if there is none."""
        _check(path)
        try:
            with self._told(path):
                return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise Terminal(f"{self.name}: there is no such bucket; create it or correct the target") from error
            return None

    def list(self, prefix: str = "") -> Iterator[str]:
        """The paths below `prefix` (a folder, without the trailing slash), in no particular order."""
        if prefix:
            _check(prefix)
        with self._told(prefix):
            for batch in obstore.list(self._store, prefix or None):
                for meta in batch:
                    yield meta["path"]

    def delete(self, path: str) -> None:
        """Remove the object; that there is none is no error."""
        _check(path)
        try:
            with self._told(path):
                obstore.delete(self._store, path)
        except FileNotFoundError:
            return

    def delete_every_version(self, path: str) -> None:
        """Remove the object, and what a bucket with versions has kept of it."""
        self.delete(path)
        if self._versions is not None:
            self._versions(path)

    def _put(self, path: str, data: bytes, mode: Literal["create", "overwrite"], attributes: Any) -> None:
        _check(path)
        # obstore's local store refuses attributes; there the server derives headers from the path.
        kept = dict(attributes) if attributes and self._attributes else None
        try:
            with self._told(path):
                obstore.put(self._store, path, data, mode=mode, attributes=kept, use_multipart=False)
        except FileNotFoundError as error:
            raise Terminal(
                f"{self.name}: there is no such bucket or folder; create it or correct the target"
            ) from error

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        where = f"{self.name}: {path}" if path else self.name
        try:
            yield
        except (AlreadyExistsError, FileNotFoundError):
            raise
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise Terminal(f"{where}: access denied; check the credentials and what they may do there") from error
        except (BaseError, OSError) as error:
            message = str(error)
            number = int(found.group(1)) if (found := _OS_ERROR.search(message)) else None
            if number in _NEEDS_A_PERSON:
                raise Terminal(f"{where}: {_NEEDS_A_PERSON[number]}") from error
            if _S3_REFUSAL.search(message):
                raise Terminal(
                    f"{where}: the server refused ({_first_line(message)}); check the bucket's name and the credentials"
                ) from error
            raise Transient(f"{where}: the store does not answer as it should ({_first_line(message)})") from error


def open_store(target: str, home: Path, *, options: Mapping[str, Any] | None = None) -> ObjectStore:
    """The store of a target: a folder name below `home` (`site`), `file:///FOLDER` or `s3://BUCKET/PREFIX`.

    `options` of a bucket are obstore's (`endpoint`, `region`, `access_key_id`, ...); without them the usual AWS_*
    variables, profiles of the instance and so on are asked by the S3 client itself.

    Raises:
        Terminal: the target cannot be understood, or the folder cannot be made.
    """
    if target.startswith("s3://"):
        return _bucket(target, dict(options or {}))
    folder = folder_of(target, home)
    if folder is None:
        raise Terminal(f"the target {target} is neither a folder nor s3://BUCKET/PREFIX; correct targets.site")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        store = LocalStore(folder)
    except (OSError, BaseError) as error:
        raise Terminal(f"the folder {folder} cannot be made: {error}; choose another target") from error
    # 3,100 puts/s from one thread, 2,800 from eight: the file system's journal is the limit.
    return ObjectStore(store, str(folder), parallel=1, attributes=False)


def folder_of(target: str, home: Path) -> Path | None:
    """The folder that a target names, below `home` or anywhere; None for a bucket."""
    if target.startswith("file:///"):
        return Path(target.removeprefix("file://"))
    return None if "://" in target else home / target


def _bucket(target: str, options: dict[str, Any]) -> ObjectStore:
    # Only when needed: client options given here put AWS_ALLOW_HTTP and its kind out of force. The client's own
    # timeouts are 5 s to connect and 30 s a request.
    client: Any = {"allow_http": True} if str(options.get("endpoint", "")).startswith("http://") else None
    try:
        # etag: create-only by If-None-Match, which S3 and all current servers of its API know.
        config: Any = {"conditional_put": "etag"} | options
        store = S3Store.from_url(target, config=config, client_options=client, retry_config=RETRY)
    except (BaseError, UnknownConfigurationKeyError, ValueError) as error:
        raise Terminal(
            f"the target {target} cannot be opened: {_first_line(str(error))}; correct targets.site"
        ) from error
    return ObjectStore(
        store, target.rstrip("/"), parallel=32, attributes=True, versions=bucket_versions(target, options)
    )


def _check(path: str) -> None:
    if not PATH.match(path):
        raise Terminal(f"{path!r} is not a path of an object: relative, of letters, digits, dot, dash and underscore")


def _first_line(message: str) -> str:
    return message.strip().split("\n", 1)[0][:300]
