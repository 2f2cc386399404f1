"""The secrets directory: signing keys and the id, salt, status, capability and erasure secrets, encrypted at rest.

Belongs here: making, reading and rotating them. Does not belong here: what they are used for, and how a file is sealed
(sealed.py).

Files, all of mode 0600 in a directory of mode 0700; a copy of the directory is a complete backup:

    directory.json       salt and cost of scrypt, and a sealed word by which a passphrase is checked
    KIND-VERSION.json    one secret of 32 bytes, sealed
    key-N.pem            a private key, PKCS #8 encrypted with the passphrase itself, so that openssl reads it
    key-N.json           what is public of that key, with a seal against changes; written last. Of a key in a KMS it
                         names the key there, and no key-N.pem exists
    key-N.compromised.json   since when the key counts as compromised, sealed: nothing is signed with it any more
    jwt-N.*              the same for the keys of JWTs
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from credential_pipeline.credential.keys import (
    PrivateKey,
    any_from_encrypted_pem,
    generate,
    public_text,
    to_encrypted_pem,
)
from credential_pipeline.credential.multikey import Algorithm, algorithm_of
from credential_pipeline.errors import Terminal
from credential_pipeline.store.private_files import write_private
from credential_pipeline.store.sealed import SealedDirectory

Kind = Literal["id", "salt", "status", "capability", "erasure"]

Use = Literal["key", "jwt"]
"""What a signing key is for, and how its id begins: `key` signs documents, `jwt` signs JWTs."""

USES: dict[Algorithm, Use] = {"Ed25519": "key", "ES256": "jwt", "RS256": "jwt"}


@dataclass(frozen=True)
class Secret:
    """One version of a secret; `value` has 32 bytes and is not shown by repr()."""

    kind: Kind
    version: int
    value: bytes = field(repr=False)


@dataclass(frozen=True)
class SigningKey:
    """An issuer key; the private half is decrypted when it is asked for, or never here.

    Attributes:
        key_id: the fragment of the verification method, `key-1`, `key-2`, ... or `jwt-1`, ...
        created: the instant (UTC) from which it signs.
        public_key_multibase: the public half as text (multikey.py), which also tells the algorithm.
        compromised_at: since when somebody else may have it; None for a good key.
        kms_key: the ARN of the key in AWS KMS; None for one whose private half lies in the directory.
    """

    key_id: str
    created: datetime
    public_key_multibase: str
    directory: SecretsDirectory = field(repr=False, compare=False)
    compromised_at: datetime | None = None
    kms_key: str | None = None

    @property
    def algorithm(self) -> Algorithm:
        """How it signs."""
        return algorithm_of(self.public_key_multibase)

    @property
    def use(self) -> Use:
        """What it signs."""
        return USES[self.algorithm]

    @property
    def number(self) -> int:
        """N of key-N: which of two keys is the younger when they start in the same second."""
        return int(self.key_id.partition("-")[2])

    @property
    def private_key(self) -> PrivateKey:
        """The private half.

        Raises:
            Terminal: it is in a KMS; its file is missing, does not open, or is not the half of this public key.
        """
        return self.directory.private_key(self)


class SecretsDirectory(SealedDirectory):
    """The secrets of one institution's home; made on first use, and nothing is read or written before.

    Any number of processes may use one directory, also while it is new: they all get the same secrets.

    Raises, from every method:
        Terminal: the passphrase is wrong, a file was changed or is missing, or the directory is not accessible.
    """

    def __init__(self, path: Path, passphrase: bytes, **options: Any) -> None:
        """`options`: those of SealedDirectory."""
        super().__init__(path, passphrase, **options)
        self._known: dict[tuple[str, int], Secret] = {}

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

    def signing_keys(self, use: Use = "key") -> tuple[SigningKey, ...]:
        """All keys of one use, the oldest number first."""
        with self._readable_errors():
            return tuple(self._read_signing_key(use, number) for number in self._numbers(use))

    def all_keys(self) -> tuple[SigningKey, ...]:
        """The keys of documents, then those of JWTs."""
        return self.signing_keys("key") + self.signing_keys("jwt")

    def create_signing_key(self, created: datetime, algorithm: Algorithm = "Ed25519") -> SigningKey:
        """Make another key that signs from `created` (an aware instant) on."""
        self._cipher()
        with self._locked():
            return self._create_signing_key(created, algorithm)

    def adopt_kms_key(self, created: datetime, kms_key: str, public_key_multibase: str) -> SigningKey:
        """Write down a key that is in a KMS, with its public half, as the next one from `created` on."""
        self._cipher()
        with self._locked():
            return self._write_key(created, public_key_multibase, kms_key=kms_key)

    def ensure_signing_key(self, created: datetime, algorithm: Algorithm = "Ed25519") -> SigningKey:
        """The key of the highest number of its use; if there is none the first is made, one for all who call."""
        self._cipher()
        use = USES[algorithm]
        with self._locked():
            numbers = self._numbers(use)
            return self._read_signing_key(use, numbers[-1]) if numbers else self._create_signing_key(created, algorithm)

    def mark_compromised(self, key_id: str, since: datetime) -> SigningKey:
        """Let nothing be signed with a key any more; of two instants, the earlier one stays."""
        self._cipher()
        use, _, number = key_id.partition("-")
        with self._locked():
            key = self._read_signing_key("jwt" if use == "jwt" else "key", int(number))
            if key.compromised_at is None or since < key.compromised_at:
                head = {"key_id": key_id, "compromised_at": _instant(since)}
                self._write_json(f"{key_id}.compromised.json", {**head, **self._seal(b"", head)})
            return self._read_signing_key(key.use, key.number)

    def private_key(self, key: SigningKey) -> PrivateKey:
        """The private half of a key of this directory."""
        if key.kms_key is not None:
            raise Terminal(f"the private half of {key.key_id} is in a KMS ({key.kms_key}) and never leaves it")
        path = self.path / f"{key.key_id}.pem"
        with self._readable_errors():
            pem = path.read_bytes()
        try:
            private = any_from_encrypted_pem(pem, self._passphrase)
            public = public_text(private)
        except ValueError as error:  # whoever has the key has opened the directory: the passphrase is right
            raise self._changed(path) from error
        if public != key.public_key_multibase:
            raise self._changed(path)
        return private

    def _create_signing_key(self, created: datetime, algorithm: Algorithm = "Ed25519") -> SigningKey:
        return self._write_key(created, generate(algorithm))

    def _write_key(self, created: datetime, key: PrivateKey | str, *, kms_key: str | None = None) -> SigningKey:
        """Of a private key both files; of a public key in a KMS, as text, the one that there is."""
        if created.tzinfo is None:
            raise ValueError("the start of a signing key needs a time zone")
        text = key if isinstance(key, str) else public_text(key)
        use = USES[algorithm_of(text)]
        number = max(self._numbers(use), default=0) + 1
        public = {
            "key_id": f"{use}-{number}",
            "algorithm": algorithm_of(text),
            "created": _instant(created),
            "publicKeyMultibase": text,
            **({} if kms_key is None else {"kms": kms_key}),
        }
        if not isinstance(key, str):
            write_private(self.path / f"{use}-{number}.pem", to_encrypted_pem(key, self._passphrase))
        self._write_json(f"{use}-{number}.json", {**public, **self._seal(b"", public)})
        return self._read_signing_key(use, number)

    def _read_signing_key(self, use: Use, number: int) -> SigningKey:
        path = self.path / f"{use}-{number}.json"
        others = ("algorithm", "created", "publicKeyMultibase")
        content = self._read_json(path, {"key_id": f"{use}-{number}"}, others, optional=("kms",))
        self._open_seal(path, content, {name: v for name, v in content.items() if name not in ("nonce", "sealed")})
        return SigningKey(
            content["key_id"],
            datetime.fromisoformat(content["created"]),
            content["publicKeyMultibase"],
            self,
            self._read_compromised(content["key_id"]),
            content.get("kms"),
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


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
