"""SSH signatures: those of the real ssh-keygen are read and verified, and nothing else is."""

from __future__ import annotations

import base64
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from credential_pipeline.issue.approve import NAMESPACE
from credential_pipeline.issue.sshsig import (
    BEGIN,
    END,
    MAX_CHARACTERS,
    BadSignature,
    SshSignature,
    armored,
    fingerprint,
    parse_public_key,
    parse_signature,
    verify,
)
from credential_pipeline_tests.issue.signers import OMAR, RITA, wire

HASH = "0123456789abcdef" * 4
MESSAGE = HASH.encode()


def keygen(*arguments: str, given: bytes = b"") -> bytes:
    """The real thing; .ci/run installs it (openssh-client)."""
    return subprocess.run(["ssh-keygen", *arguments], input=given, capture_output=True, check=True, timeout=30).stdout


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Rita's private key as ssh-keygen wants it."""
    path = tmp_path / "id_rita"
    path.write_bytes(RITA.private_file)
    path.chmod(0o600)
    return path


def test_what_ssh_keygen_signs_is_verified_and_is_what_the_tests_sign_themselves(key_file: Path) -> None:
    made = keygen("-Y", "sign", "-n", NAMESPACE, "-f", str(key_file), given=MESSAGE).decode()
    verify(parse_signature(made), MESSAGE, NAMESPACE, RITA.public)
    assert armored(parse_signature(made)) == made
    assert made == RITA.sign(MESSAGE), "Ed25519 is deterministic: signers.py makes the same bytes"


def test_a_key_that_ssh_keygen_makes_is_read_and_signs(tmp_path: Path) -> None:
    path = tmp_path / "id_new"
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "a comment of some words", "-f", str(path))
    public = parse_public_key(path.with_suffix(".pub").read_text())
    made = keygen("-Y", "sign", "-n", NAMESPACE, "-O", "hashalg=sha256", "-f", str(path), given=MESSAGE).decode()
    assert parse_signature(made).hash_name == "sha256"
    verify(parse_signature(made), MESSAGE, NAMESPACE, public)
    printed = keygen("-l", "-f", str(path)).decode()
    assert printed.split()[1] == fingerprint(public)


def test_what_the_tests_sign_is_accepted_by_ssh_keygen(tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text(f"rita {RITA.public_line}\n")
    (tmp_path / "plan.sig").write_text(RITA.sign(MESSAGE))
    arguments = ("-Y", "verify", "-n", NAMESPACE, "-I", "rita", "-f", str(tmp_path / "allowed"))
    said = keygen(*arguments, "-s", str(tmp_path / "plan.sig"), given=MESSAGE).decode()
    assert "Good" in said


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_keys_of_other_kinds_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "id_other"
    keygen("-q", "-t", kind, "-N", "", "-f", str(path))
    with pytest.raises(BadSignature, match="begins with ssh-ed25519"):
        parse_public_key(path.with_suffix(".pub").read_text())
    made = keygen("-Y", "sign", "-n", NAMESPACE, "-f", str(path), given=MESSAGE).decode()
    with pytest.raises(BadSignature, match="another kind"):
        parse_signature(made)


SIGNED = parse_signature(RITA.sign(MESSAGE))
WRONG = {
    "other words": (SIGNED, MESSAGE + b"\n", NAMESPACE, RITA.public, "over something else"),
    "another purpose": (SIGNED, MESSAGE, "file", RITA.public, "another purpose.*-n file"),
    "another key": (SIGNED, MESSAGE, NAMESPACE, OMAR.public, "another key .SHA256:"),
    "a key it only names": (
        replace(SIGNED, public_key=OMAR.public), MESSAGE, NAMESPACE, OMAR.public, "over something else"
    ),
    "another hash": (replace(SIGNED, hash_name="sha256"), MESSAGE, NAMESPACE, RITA.public, "over something else"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_signature_holds_for_one_key_one_purpose_and_one_text(case: str) -> None:
    signature, message, namespace, key, why = WRONG[case]
    with pytest.raises(BadSignature, match=why):
        verify(signature, message, namespace, key)


def blob(
    *,
    magic: bytes = b"SSHSIG",
    version: int = 1,
    key: bytes | None = None,
    reserved: bytes = b"",
    hash_name: bytes = b"sha512",
    signature: bytes | None = None,
    more: bytes = b"",
) -> bytes:
    public = wire(b"ssh-ed25519") + wire(RITA.public) if key is None else key
    signed = wire(b"ssh-ed25519") + wire(SIGNED.signature) if signature is None else signature
    parts = (public, NAMESPACE.encode(), reserved, hash_name, signed)
    return magic + version.to_bytes(4, "big") + b"".join(wire(part) for part in parts) + more


def armor(data: bytes, width: int = 70, end: str = "\n") -> str:
    text = base64.b64encode(data).decode()
    return end.join((BEGIN, *(text[n : n + width] for n in range(0, len(text), width)), END)) + end


def test_the_blob_of_these_tests_is_a_signature() -> None:
    assert parse_signature(armor(blob())) == SIGNED
    assert parse_signature(armor(blob(), end="\r\n")) == SIGNED, "a file that went through Windows"
    assert parse_signature(armor(blob()).rstrip("\n")) == SIGNED


ED = wire(b"ssh-ed25519")
MALFORMED = {
    "nothing": ("", "begins with"),
    "no armor": (base64.b64encode(blob()).decode(), "begins with"),
    "another armor": (armor(blob()).replace("SSH SIGNATURE", "PGP SIGNATURE"), "begins with"),
    "words before it": ("hello\n" + armor(blob()), "begins with"),
    "words behind it": (armor(blob()) + "hello\n", "ends with"),
    "two signatures": (armor(blob()) * 2, "lines of 70|base64"),
    "nothing inside": (f"{BEGIN}\n{END}\n", "begins with"),
    "an empty line inside": (f"{BEGIN}\n\n{END}\n", "lines of 70"),
    "longer lines": (armor(blob(), 76), "lines of 70"),
    "shorter lines": (armor(blob(), 64), "lines of 70"),
    "no base64": (armor(blob()).replace("U1NI", "U1N*"), "not base64"),
    "spaces": (armor(blob()).replace("U1NI", "U1N "), "not base64"),
    "bits behind the end": (f"{BEGIN}\nU1NIU1I=\n{END}\n".replace("U1I=", "U1J="), "not canonical"),
    "other magic": (armor(blob(magic=b"SSHSIX")), "does not begin with SSHSIG"),
    "another version": (armor(blob(version=2)), "another version"),
    "something reserved": (armor(blob(reserved=b"x")), "more than a signature"),
    "something behind it": (armor(blob(more=b"x")), "more than a signature"),
    "sha1": (armor(blob(hash_name=b"sha1")), "another hash"),
    "a hash that is no text": (armor(blob(hash_name=b"\xff\xfe")), "another hash"),
    "an rsa key": (armor(blob(key=wire(b"ssh-rsa") + wire(b"x" * 32))), "another kind"),
    "a security key": (armor(blob(key=wire(b"sk-ssh-ed25519@openssh.com") + wire(RITA.public))), "another kind"),
    "a short key": (armor(blob(key=ED + wire(b"x" * 31))), "not 32 bytes"),
    "a long key": (armor(blob(key=ED + wire(RITA.public) + b"x")), "not 32 bytes"),
    "a short signature": (armor(blob(signature=ED + wire(b"x" * 63))), "not 64 bytes"),
    "another signature's kind": (armor(blob(signature=wire(b"rsa-sha2-512") + wire(b"x" * 64))), "another kind"),
    "a length beyond the end": (armor(b"SSHSIG\0\0\0\1" + b"\xff" * 4 + b"x" * 40), "ends too early"),
    "cut short": (armor(blob()[:90]), "ends too early"),
    "a whole file": ("x" * (MAX_CHARACTERS + 1), "at most"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_anything_but_one_canonical_signature_is_refused(case: str) -> None:
    text, why = MALFORMED[case]
    with pytest.raises(BadSignature, match=why):
        parse_signature(text)


def test_every_changed_byte_is_noticed() -> None:
    """2,000 signatures with one bit flipped: refused when read or when verified, and never by another error."""
    whole, draw = blob(), random.Random(7)
    for _ in range(2000):
        at, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)
        changed = whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
        with pytest.raises(BadSignature):
            verify(parse_signature(armor(changed)), MESSAGE, NAMESPACE, RITA.public)


@pytest.mark.parametrize(
    "line",
    ["", "ssh-ed25519", "ssh-rsa AAAA", "ssh-ed25519 AAAA", "ssh-ed25519 ****", f"{RITA.public_line.split()[1]}"],
)
def test_a_line_that_is_no_public_key_is_refused(line: str) -> None:
    with pytest.raises(BadSignature):
        parse_public_key(line)


def test_a_signature_that_was_not_made_is_not_verified() -> None:
    for signature in (bytes(64), bytes([1]) + bytes(63), b"\xff" * 64):
        with pytest.raises(BadSignature, match="over something else"):
            verify(SshSignature(RITA.public, NAMESPACE.encode(), "sha512", signature), MESSAGE, NAMESPACE, RITA.public)
