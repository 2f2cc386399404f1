"""A house whose keys are in a KMS from its first day: another process has the private keys, and it throttles."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from credential_pipeline.credential.multikey import decode_ed25519_public
from credential_pipeline.credential.proof import hash_data, verify_proof
from credential_pipeline.issue.key_periods import KeyInKms, rotate_key
from credential_pipeline.runtime import open_runtime
from credential_pipeline_tests.e2e.college import HEADER, write_college
from credential_pipeline_tests.e2e.conftest import AS_OF, REPOSITORY, House
from credential_pipeline_tests.kms_server import ENVIRONMENT, REGION

PEOPLE = 40
SAID = {"actor": "registrar", "reason": "first key", "run_id": "run-1"}


@dataclass
class Elsewhere:
    """The KMS of another process."""

    url: str

    def key(self, spec: str) -> str:
        """The ARN of a new key, made there."""
        client = boto3.client("kms", region_name=REGION, endpoint_url=self.url)
        return str(client.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"])

    def told(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    """80 signatures a second, and one call in twenty fails or loses its answer."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    options = json.dumps({"quota": 80, "failing": 0.05, "seed": 7})
    command = [sys.executable, "-m", "credential_pipeline_tests.kms_server", options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        assert process.stdout is not None
        yield Elsewhere(process.stdout.readline().strip())
    finally:
        process.communicate()
        assert process.returncode == 0


@pytest.fixture
def house(kms: Elsewhere, new_house: Callable[..., House], tmp_path: Path) -> House:
    """A college that calls far faster than the quota allows, so that it is throttled."""
    directory = tmp_path / "college"
    data = write_college(directory)
    rows = [f"U{n},C1,2025FA,2025-12-01,70,passed" for n in range(1, PEOPLE + 1)]
    (data / "completions.csv").write_text(HEADER + "\n".join(rows) + "\n")
    names = [f"U{n},Person {chr(65 + n % 26)}{chr(97 + n // 26)}son,p{n}@college.example" for n in range(1, PEOPLE + 1)]
    (data / "users.csv").write_text("id,name,email\n" + "\n".join(names) + "\n")
    settings = directory / "institution.yaml"
    options = f"kms: {{requests_per_second: 2000, calls_in_flight: 8, endpoint_url: '{kms.url}'}}\n"
    settings.write_text(settings.read_text() + options)
    return new_house(directory)


def take(house: House, arn: str) -> None:
    with open_runtime(house.settings, as_of=AS_OF) as runtime:
        new = KeyInKms.asked(runtime.kms, arn)
        rotate_key(runtime.engine, runtime.secrets_directory, AS_OF - timedelta(days=1), new, **SAID)


def test_a_house_with_its_key_in_kms_issues_all_once_and_holds_no_private_key(house: House, kms: Elsewhere) -> None:
    arn = kms.key("ECC_NIST_EDWARDS25519")
    take(house, arn)
    house.stages()
    credentials = house.credentials()
    assert len(credentials) == PEOPLE
    secrets = house.settings.secrets
    assert [path.name for path in sorted(secrets.glob("key-*"))] == ["key-1.json"]
    assert json.loads((secrets / "key-1.json").read_bytes())["kms"] == arn

    did = json.loads((house.site / ".well-known" / "did.json").read_bytes())
    (method,) = did["verificationMethod"]
    public = decode_ed25519_public(method["publicKeyMultibase"])
    assert did["assertionMethod"] == [method["id"]]
    for data in credentials.values():
        document = json.loads(data)
        for proof in document["proof"]:
            verify_proof(document, proof, public)

    told = kms.told()
    assert told["throttled"] > 0
    assert told["failed"] > 0
    signed = Counter(told["signed"])
    for data in credentials.values():
        for message in hashes(data):
            assert signed[message] >= 1  # a lost answer is asked for again, before anything is recorded

    # Again, also a whole run: what is recorded is never signed again.
    before = house.credentials()
    flow = house.stages(run_id="again", as_of=AS_OF + timedelta(hours=1))
    assert house.credentials() == before
    assert flow.reconciliation.balanced
    again = Counter(kms.told()["signed"])
    assert {m: again[m] for data in before.values() for m in hashes(data)} == {
        m: signed[m] for data in before.values() for m in hashes(data)
    }


def hashes(data: bytes) -> list[str]:
    """The SHA-256 of what each proof of a credential signs."""
    document = json.loads(data)
    unsecured = {name: value for name, value in document.items() if name != "proof"}
    return [
        hashlib.sha256(
            hash_data(unsecured, {name: value for name, value in proof.items() if name != "proofValue"})
        ).hexdigest()
        for proof in document["proof"]
    ]
