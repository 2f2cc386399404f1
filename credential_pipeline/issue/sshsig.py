"""SSH signatures over a short text, as `ssh-keygen -Y sign` makes them (OpenSSH, PROTOCOL.sshsig): read and verified.

Belongs here: the format, for Ed25519 keys only, as pure functions. Does not belong here: who may sign (approve.py).
Exactly one spelling of a signature is accepted: what can be written in two ways could be shown as two approvals.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from credential_pipeline.errors import Terminal

ALGORITHM = b"ssh-ed25519"
MAGIC = b"SSHSIG"
VERSION = 1
HASHES = ("sha256", "sha512")
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
WIDTH = 70
MAX_CHARACTERS = 4096
"""An Ed25519 signature with a namespace of our length has 320; more is not read at all."""


class BadSignature(Terminal):
    """A text is not an SSH signature of the form accepted here, or it does not match. The text says which."""


@dataclass(frozen=True)
class SshSignature:
    """What a signature says of itself; nothing of it is true before `verify`."""

    public_key: bytes
    namespace: bytes
    hash_name: str
    signature: bytes


def parse_signature(armored: str) -> SshSignature:
    """Read an armored signature.

    Raises:
        BadSignature: anything but one canonical signature of an Ed25519 key.
    """
    blob = _unarmored(armored)
    if not blob.startswith(MAGIC):
        raise BadSignature("the signature does not begin with SSHSIG: it is no signature of `ssh-keygen -Y sign`")
    rest = blob[len(MAGIC) :]
    if rest[:4] != VERSION.to_bytes(4, "big"):
        raise BadSignature("the signature is of another version of SSHSIG than 1")
    key, rest = _string(rest[4:])
    namespace, rest = _string(rest)
    reserved, rest = _string(rest)
    hash_name, rest = _string(rest)
    signature, rest = _string(rest)
    if rest or reserved:
        raise BadSignature("the signature holds more than a signature: sign the plan again")
    if hash_name.decode("latin-1") not in HASHES:
        raise BadSignature("the signature uses another hash than sha256 or sha512")
    return SshSignature(_of_ed25519(key, 32), namespace, hash_name.decode(), _of_ed25519(signature, 64))


def parse_public_key(line: str) -> bytes:
    """The 32 bytes of a public key in one line, `ssh-ed25519 AAAA... COMMENT`.

    Raises:
        BadSignature: it is not one.
    """
    words = line.split()
    if len(words) < 2 or words[0] != ALGORITHM.decode():
        raise BadSignature(
            "not an SSH public key of Ed25519: it begins with ssh-ed25519 (make one: ssh-keygen -t ed25519)"
        )
    return _of_ed25519(_base64(words[1]), 32)


def verify(signature: SshSignature, message: bytes, namespace: str, public_key: bytes) -> None:
    """Verify a signature over `message` by the key we know, not by the one it names.

    Raises:
        BadSignature: another key, another namespace, or other words.
    """
    if signature.public_key != public_key:
        raise BadSignature(f"it was made with another key ({fingerprint(signature.public_key)})")
    if signature.namespace != namespace.encode():
        raise BadSignature(f"it was made for another purpose: give ssh-keygen the namespace -n {namespace}")
    signed = MAGIC + b"".join(
        _as_string(part)
        for part in (
            signature.namespace,
            b"",
            signature.hash_name.encode(),
            hashlib.new(signature.hash_name, message).digest(),
        )
    )
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature.signature, signed)
    except InvalidSignature:
        raise BadSignature("it is a signature over something else, or it was changed") from None
    except ValueError as error:
        raise BadSignature(f"the listed key is no Ed25519 key: {error}") from error


def fingerprint(public_key: bytes) -> str:
    """The key's name as `ssh-keygen -l` prints it."""
    wire = _as_string(ALGORITHM) + _as_string(public_key)
    return "SHA256:" + base64.b64encode(hashlib.sha256(wire).digest()).decode().rstrip("=")


def armored(signature: SshSignature) -> str:
    """The signature as `ssh-keygen` writes it: the one spelling that `parse_signature` reads."""
    blob = (
        MAGIC
        + VERSION.to_bytes(4, "big")
        + _as_string(_as_string(ALGORITHM) + _as_string(signature.public_key))
        + _as_string(signature.namespace)
        + _as_string(b"")
        + _as_string(signature.hash_name.encode())
        + _as_string(_as_string(ALGORITHM) + _as_string(signature.signature))
    )
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + WIDTH] for at in range(0, len(text), WIDTH)]
    return "\n".join((BEGIN, *lines, END)) + "\n"


def _unarmored(armored_text: str) -> bytes:
    if len(armored_text) > MAX_CHARACTERS:
        raise BadSignature(f"a signature has at most {MAX_CHARACTERS} characters; is this another file?")
    # Only the ends of lines may differ: mail and Windows change those.
    lines = armored_text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if len(lines) < 3 or lines[0] != BEGIN or lines[-1] != END:
        raise BadSignature(f"not an SSH signature: it begins with `{BEGIN}` and ends with `{END}`")
    body = lines[1:-1]
    if any(len(line) != WIDTH for line in body[:-1]) or not 0 < len(body[-1]) <= WIDTH:
        raise BadSignature(f"not as ssh-keygen writes a signature: lines of {WIDTH} characters")
    return _base64("".join(body))


def _base64(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text):
        raise BadSignature("not base64: a character was lost or added on the way")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadSignature("not base64: a character was lost or added on the way") from None
    if base64.b64encode(data).decode() != text:
        raise BadSignature("not canonical base64: bits are set behind the end")
    return data


def _string(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 or length > len(data) - 4:
        raise BadSignature("the signature ends too early: part of it is missing")
    return data[4 : 4 + length], data[4 + length :]


def _as_string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _of_ed25519(data: bytes, size: int) -> bytes:
    algorithm, rest = _string(data)
    if algorithm != ALGORITHM:
        named = algorithm[:32].decode("latin-1")
        raise BadSignature(f"a key of another kind ({named!r}): only ssh-ed25519 is accepted")
    value, rest = _string(rest)
    if rest or len(value) != size:
        raise BadSignature(f"not {size} bytes of Ed25519")
    return value
