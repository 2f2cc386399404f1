"""A directory of small files that are sealed with a passphrase: encrypted, and bound to their names.

Belongs here: making, opening, sealing, reading and locking them. Does not belong here: what is in them (secrets.py),
and where directory and passphrase come from (settings).

Sealed: AES-256-GCM under the one key that scrypt (RFC 7914) makes of the passphrase; the associated data name the file,
so that one cannot be put in the place of another.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from credential_pipeline.credential.base64url import decode, encode
from credential_pipeline.errors import Terminal
from credential_pipeline.store.private_files import file_lock, write_private

# 16 MiB and 50 ms for each guess at the passphrase, and for each opening by us.
SCRYPT_COST = {"n": 2**14, "r": 8, "p": 1}
# A changed file must not make us allocate more than 1 GiB (128 * n * r bytes) before it is found out.
MAX_SCRYPT_N = 2**20

PASSPHRASE_VARIABLE = "CREDENTIAL_PIPELINE_PASSPHRASE"  # noqa: S105 - the name of a variable
MAX_PASSPHRASE_BYTES = 1023  # OpenSSL's limit for a PEM


class SealedDirectory:
    """Sealed files of one directory; made on first use, and nothing is read or written before.

    Raises, from every method:
        Terminal: the passphrase is wrong, a file was changed or is missing, or the directory is not accessible.
    """

    def __init__(self, path: Path, passphrase: bytes, *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """`random_bytes(n)` makes salts, nonces and secrets; signing keys come from the system's own source."""
        self.path = path.absolute()
        if not 0 < len(passphrase) <= MAX_PASSPHRASE_BYTES:
            raise Terminal(
                f"the passphrase of the secrets directory {path} has {len(passphrase)} bytes; set "
                f"{PASSPHRASE_VARIABLE} to 1 to {MAX_PASSPHRASE_BYTES} bytes"
            )
        self._passphrase = passphrase
        self._random_bytes = random_bytes
        self._opened: AESGCM | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        """A worker process opens the directory itself: the cipher object cannot be pickled."""
        return {**self.__dict__, "_opened": None}

    def _numbers(self, stem: str) -> list[int]:
        if not self.path.exists():
            return []
        names = (re.fullmatch(rf"{stem}-([1-9]\d*)\.json", path.name) for path in self.path.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def _cipher(self) -> AESGCM:
        if self._opened is None:
            with self._readable_errors():
                path = self.path / "directory.json"
                if not path.exists():
                    self._make_directory(path)
                self._opened = self._open_directory(path)
        return self._opened

    def _make_directory(self, path: Path) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            if path.exists():
                return
            if any(re.fullmatch(r"[a-z]+-\d+\.json", other.name) for other in self.path.iterdir()):
                raise Terminal(f"{path} is missing beside secrets that need it; restore it from a backup")
            head = {"kdf": "scrypt", **SCRYPT_COST, "salt": encode(self._random_bytes(16))}
            seal = self._seal(b"credential_pipeline", head, self._derive(head))
            self._write_json(path.name, {**head, **seal})

    def _open_directory(self, path: Path) -> AESGCM:
        content = self._read_json(path, {"kdf": "scrypt"}, ("n", "r", "p", "salt"))
        head = {name: content[name] for name in ("kdf", "n", "r", "p", "salt")}
        try:
            cipher = self._derive(head)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._changed(path) from error
        try:
            cipher.decrypt(decode(content["nonce"]), decode(content["sealed"]), _canonical(head))
        except InvalidTag as error:
            raise Terminal(
                f"the passphrase does not open the secrets directory {self.path}; set {PASSPHRASE_VARIABLE} to the one "
                f"it was made with (or, if it is that one, restore {path.name} from a backup)"
            ) from error
        except (TypeError, ValueError) as error:
            raise self._changed(path) from error
        return cipher

    def _derive(self, head: dict[str, Any]) -> AESGCM:
        if head["n"] > MAX_SCRYPT_N or head["r"] > 8 or head["p"] > 16:
            raise ValueError("scrypt cost out of range")
        scrypt = Scrypt(salt=decode(head["salt"]), length=32, n=head["n"], r=head["r"], p=head["p"])
        return AESGCM(scrypt.derive(self._passphrase))

    def _seal(self, value: bytes, head: dict[str, Any], cipher: AESGCM | None = None) -> dict[str, str]:
        nonce = self._random_bytes(12)
        sealed = (cipher or self._cipher()).encrypt(nonce, value, _canonical(head))
        return {"nonce": encode(nonce), "sealed": encode(sealed)}

    def _open_seal(self, path: Path, content: dict[str, Any], head: dict[str, Any]) -> bytes:
        try:
            return self._cipher().decrypt(decode(content["nonce"]), decode(content["sealed"]), _canonical(head))
        except (InvalidTag, TypeError, ValueError) as error:
            raise self._changed(path) from error

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        write_private(self.path / name, json.dumps(content, indent=2).encode() + b"\n")

    def _read_json(
        self, path: Path, head: dict[str, Any], others: tuple[str, ...] = (), *, optional: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """The members of a file: those of `head` with their values, `others`, some of `optional`, and the seal."""
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise self._changed(path) from error
        if not isinstance(content, dict) or set(content) - {*optional} != {*head, *others, "nonce", "sealed"}:
            raise self._changed(path)
        if any(content[name] != value for name, value in head.items()):
            raise self._changed(path)
        return content

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._readable_errors(), file_lock(self.path / ".lock"):
            yield

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise Terminal(
                f"{error.filename} is missing from the secrets directory {self.path}; restore the directory that "
                "these credentials were issued with, or set CREDENTIAL_PIPELINE_SECRETS to it"
            ) from error
        except OSError as error:
            raise Terminal(
                f"the secrets directory {self.path} cannot be used: {error}; give this account access to it, or set "
                "CREDENTIAL_PIPELINE_SECRETS to another"
            ) from error

    def _changed(self, path: Path) -> Terminal:
        return Terminal(f"{path} was changed or damaged since it was written; restore it from a backup")


def _canonical(head: dict[str, Any]) -> bytes:
    return json.dumps({"of": "credential_pipeline secrets 1", **head}, sort_keys=True, separators=(",", ":")).encode()
