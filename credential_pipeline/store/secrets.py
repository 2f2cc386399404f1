"""The secrets directory: signing keys and the id, salt, status, capability and erasure secrets, encrypted at rest.

Belongs here: making, sealing, opening and rotating them. Does not belong here: what they are used for, and where
directory and passphrase come from (settings).

Files, all of mode 0600 in a directory of mode 0700; a copy of the directory is a complete backup:

    directory.json       salt and cost of scrypt (RFC 7914), and a sealed word by which a passphrase is checked
    KIND-VERSION.json    one secret of 32 bytes, sealed
    key-N.pem            a private key, PKCS #8 encrypted with the passphrase itself, so that openssl reads it
    key-N.json           what is public of that key, with a seal against changes; written last
    key-N.compromised.json   since when the key counts as compromised, sealed: nothing is signed with it any more

Sealed: AES-256-GCM under the one key that scrypt makes of the passphrase; the associated data name the file, so
that one cannot be put in the place of another.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from credential_pipeline.credential.keys import from_encrypted_pem, generate_ed25519, to_encrypted_pem
from credential_pipeline.credential.multikey import encode_ed25519_public
from credential_pipeline.errors import Terminal
from credential_pipeline.store.private_files import file_lock, write_private

Kind = Literal["id", "salt", "status", "capability", "erasure"]

# 16 MiB and 50 ms for each guess at the passphrase, and for each opening by us.
SCRYPT_COST = {"n": 2**14, "r": 8, "p": 1}
# A changed file must not make us allocate more than 1 GiB (128 * n * r bytes) before it is found out.
MAX_SCRYPT_N = 2**20

ALGORITHM = "Ed25519"
PASSPHRASE_VARIABLE = "CREDENTIAL_PIPELINE_PASSPHRASE"  # noqa: S105 - the name of a variable
MAX_PASSPHRASE_BYTES = 1023  # OpenSSL's limit for a PEM


@dataclass(frozen=True)
class Secret:
    """One version of a secret; `value` has 32 bytes and is not shown by repr()."""

    kind: Kind
    version: int
    value: bytes = field(repr=False)


@dataclass(frozen=True)
class SigningKey:
    """An issuer key; the private half is decrypted when it is asked for.

    Attributes:
        key_id: the fragment of the verification method, `key-1`, `key-2`, ...
        created: the instant (UTC) from which it signs.
        public_key_multibase: the Multikey text (`z6Mk...`).
        compromised_at: since when somebody else may have it; None for a good key.
    """

    key_id: str
    created: datetime
    public_key_multibase: str
    directory: SecretsDirectory = field(repr=False, compare=False)
    compromised_at: datetime | None = None

    @property
    def number(self) -> int:
        """N of key-N: which of two keys is the younger when they start in the same second."""
        return int(self.key_id.partition("-")[2])

    @property
    def private_key(self) -> Ed25519PrivateKey:
        """The private half.

        Raises:
            Terminal: its file is missing, does not open, or is not the half of this public key.
        """
        return self.directory.private_key(self)


class SecretsDirectory:
    """The secrets of one institution's home; made on first use, and nothing is read or written before.

    Any number of processes may use one directory, also while it is new: they all get the same secrets.

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
        self._known: dict[tuple[str, int], Secret] = {}

    def __repr__(self) -> str:
        return f"SecretsDirectory({str(self.path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        """A worker process opens the directory itself: the cipher object cannot be pickled."""
        return {**self.__dict__, "_opened": None}

    def secret(self, kind: Kind, version: int | None = None) -> Secret:
        """A version of a secret, else the current one, which is made on first use.

        Raises:
            Terminal: there is no such version.
        """
        with self._readable_errors():
            if version is None:
                version = self._newest(kind) or self._make_first(kind)
            if (kind, version) not in self._known:
                self._known[kind, version] = self._read(kind, version)
            return self._known[kind, version]

    def rotate(self, kind: Kind) -> Secret:
        """Make the next version the current one; earlier ones stay readable."""
        self._cipher()
        with self._locked():
            version = (self._newest(kind) or 0) + 1
            self._make(kind, version)
        return self.secret(kind, version)

    def signing_keys(self) -> tuple[SigningKey, ...]:
        """All keys, the oldest number first."""
        with self._readable_errors():
            return tuple(self._read_signing_key(number) for number in self._numbers("key"))

    def create_signing_key(self, created: datetime) -> SigningKey:
        """Make another Ed25519 key that signs from `created` (an aware instant) on."""
        self._cipher()
        with self._locked():
            return self._create_signing_key(created)

    def ensure_signing_key(self, created: datetime) -> SigningKey:
        """The key of the highest number; the first is made if there is none, one for all who call at once."""
        self._cipher()
        with self._locked():
            numbers = self._numbers("key")
            return self._read_signing_key(numbers[-1]) if numbers else self._create_signing_key(created)

    def mark_compromised(self, key_id: str, since: datetime) -> SigningKey:
        """Let nothing be signed with a key any more; of two instants, the earlier one stays."""
        self._cipher()
        with self._locked():
            key = self._read_signing_key(int(key_id.partition("-")[2]))
            if key.compromised_at is None or since < key.compromised_at:
                head = {"key_id": key_id, "compromised_at": _instant(since)}
                self._write_json(f"{key_id}.compromised.json", {**head, **self._seal(b"", head)})
            return self._read_signing_key(key.number)

    def private_key(self, key: SigningKey) -> Ed25519PrivateKey:
        """The private half of a key of this directory."""
        path = self.path / f"{key.key_id}.pem"
        with self._readable_errors():
            pem = path.read_bytes()
        try:
            private = from_encrypted_pem(pem, self._passphrase)
        except ValueError as error:  # whoever has the key has opened the directory: the passphrase is right
            raise self._changed(path) from error
        if _public_text(private) != key.public_key_multibase:
            raise self._changed(path)
        return private

    def _create_signing_key(self, created: datetime) -> SigningKey:
        if created.tzinfo is None:
            raise ValueError("the start of a signing key needs a time zone")
        private = generate_ed25519()
        number = max(self._numbers("key"), default=0) + 1
        public = {
            "key_id": f"key-{number}",
            "algorithm": ALGORITHM,
            "created": _instant(created),
            "publicKeyMultibase": _public_text(private),
        }
        write_private(self.path / f"key-{number}.pem", to_encrypted_pem(private, self._passphrase))
        self._write_json(f"key-{number}.json", {**public, **self._seal(b"", public)})
        return self._read_signing_key(number)

    def _read_signing_key(self, number: int) -> SigningKey:
        path = self.path / f"key-{number}.json"
        head = {"key_id": f"key-{number}", "algorithm": ALGORITHM}
        content = self._read_json(path, head, ("created", "publicKeyMultibase"))
        self._open_seal(path, content, {name: content[name] for name in (*head, "created", "publicKeyMultibase")})
        return SigningKey(
            content["key_id"],
            datetime.fromisoformat(content["created"]),
            content["publicKeyMultibase"],
            self,
            self._read_compromised(content["key_id"]),
        )

    def _read_compromised(self, key_id: str) -> datetime | None:
        path = self.path / f"{key_id}.compromised.json"
        if not path.exists():
            return None
        content = self._read_json(path, {"key_id": key_id}, ("compromised_at",))
        self._open_seal(path, content, {name: content[name] for name in ("key_id", "compromised_at")})
        return datetime.fromisoformat(content["compromised_at"])

    def _make_first(self, kind: Kind) -> int:
        self._cipher()
        with self._locked():
            return self._newest(kind) or self._make(kind, 1)

    def _make(self, kind: Kind, version: int) -> int:
        head = {"kind": kind, "version": version}
        self._write_json(f"{kind}-{version}.json", {**head, **self._seal(self._random_bytes(32), head)})
        return version

    def _read(self, kind: Kind, version: int) -> Secret:
        path = self.path / f"{kind}-{version}.json"
        head = {"kind": kind, "version": version}
        return Secret(kind, version, self._open_seal(path, self._read_json(path, head), head))

    def _newest(self, kind: Kind) -> int | None:
        return max(self._numbers(kind), default=None)

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
            head = {"kdf": "scrypt", **SCRYPT_COST, "salt": _encode(self._random_bytes(16))}
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
            cipher.decrypt(_decode(content["nonce"]), _decode(content["sealed"]), _canonical(head))
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
        scrypt = Scrypt(salt=_decode(head["salt"]), length=32, n=head["n"], r=head["r"], p=head["p"])
        return AESGCM(scrypt.derive(self._passphrase))

    def _seal(self, value: bytes, head: dict[str, Any], cipher: AESGCM | None = None) -> dict[str, str]:
        nonce = self._random_bytes(12)
        sealed = (cipher or self._cipher()).encrypt(nonce, value, _canonical(head))
        return {"nonce": _encode(nonce), "sealed": _encode(sealed)}

    def _open_seal(self, path: Path, content: dict[str, Any], head: dict[str, Any]) -> bytes:
        try:
            return self._cipher().decrypt(_decode(content["nonce"]), _decode(content["sealed"]), _canonical(head))
        except (InvalidTag, TypeError, ValueError) as error:
            raise self._changed(path) from error

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        write_private(self.path / name, json.dumps(content, indent=2).encode() + b"\n")

    def _read_json(self, path: Path, head: dict[str, Any], others: tuple[str, ...] = ()) -> dict[str, Any]:
        """The members of a file, which are those of `head` with their values, `others`, and the seal."""
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise self._changed(path) from error
        if not isinstance(content, dict) or set(content) != {*head, *others, "nonce", "sealed"}:
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


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _public_text(private: Ed25519PrivateKey) -> str:
    return encode_ed25519_public(private.public_key().public_bytes_raw())


def _canonical(head: dict[str, Any]) -> bytes:
    return json.dumps({"of": "credential_pipeline secrets 1", **head}, sort_keys=True, separators=(",", ":")).encode()


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(value) != text:  # RFC 4648 3.5: the spare bits of the last character are zero
        raise ValueError("not canonical base64url")
    return value
