"""A college that publishes JWTs too: signed once, erased with the document, signed again when their key is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from credential_pipeline.credential.jwt import key_of, read_jwt, verify_jwt
from credential_pipeline.errors import Terminal
from credential_pipeline.issue.erase import erase_person
from credential_pipeline.issue.key_periods import declare_compromised
from credential_pipeline.publish.documents import recorded_keys
from credential_pipeline.publish.publish import PublishResult, publish
from credential_pipeline.report.reconcile import reconcile
from credential_pipeline.runtime import Runtime, open_runtime
from credential_pipeline_tests.e2e.college import write_college
from credential_pipeline_tests.e2e.conftest import AS_OF, House
from credential_pipeline_tests.report.books import by_hand

LATER = AS_OF + timedelta(days=1)
SAID: dict[str, Any] = {"actor": "registrar", "reason": "laptop stolen", "run_id": "run-2"}


@pytest.fixture
def house(new_house: Callable[..., House], tmp_path: Path) -> House:
    """Ten credentials, issued while the college published no JWTs."""
    write_college(tmp_path / "college")
    made = new_house(tmp_path / "college")
    made.stages()
    return made


def turn_on(house: House, tmp_path: Path) -> House:
    """From now on JWTs are published too."""
    path = tmp_path / "college" / "institution.yaml"
    path.write_text(path.read_text() + "policies: {forms: json_and_jwt}\n")
    institution = house.settings.institution
    policies = institution.policies.model_copy(update={"forms": "json_and_jwt"})
    object.__setattr__(house.settings, "institution", institution.model_copy(update={"policies": policies}))
    return house


def published(runtime: Runtime, as_of: datetime) -> PublishResult:
    institution, engine = runtime.institution, runtime.engine
    signer = runtime.signer(as_of)
    keys = recorded_keys(engine, institution)
    return publish(
        engine, institution, runtime.store, "site", signer, keys, as_of, "run-2",
        jwt_signer=runtime.jwt_signer(as_of), chunk=4,
    )  # fmt: skip


def jwts(house: House) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (house.site / "credentials").glob("*.jwt")}


def keys_in(house: House) -> dict[str, dict[str, Any]]:
    """What did.json lets a verifier of JWTs believe."""
    did = json.loads((house.site / ".well-known" / "did.json").read_bytes())
    return {
        method["id"]: method["publicKeyJwk"]
        for method in did["verificationMethod"]
        if "publicKeyJwk" in method and method["id"] in did["assertionMethod"]
    }


def test_jwts_follow_their_credentials_and_are_signed_once(house: House, tmp_path: Path) -> None:
    assert jwts(house) == {}
    turn_on(house, tmp_path)
    with open_runtime(house.settings, as_of=LATER) as runtime:
        assert published(runtime, LATER).jwts == 10
        first = jwts(house)
        known = keys_in(house)
        assert list(known) == [f"{house.settings.institution.issuer_did}#jwt-1"]
        for name, data in first.items():
            read = read_jwt(data)
            verify_jwt(read, known[key_of(read, known)])
            document = json.loads((house.site / "credentials" / name.replace(".jwt", ".json")).read_bytes())
            assert read.credential == {member: value for member, value in document.items() if member != "proof"}
            assert read.signed_at == LATER  # the key is younger than the credential, and so says the JWT
        assert published(runtime, LATER + timedelta(hours=1)).jwts == 0

        # Lost at the target, or killed before the manifest was written: the recorded signature, not another one.
        with runtime.engine.begin() as connection:
            connection.execute(text("delete from ledger.publication where kind = 'jwt'"))
        for path in (house.site / "credentials").glob("*.jwt"):
            path.unlink()
        assert published(runtime, LATER + timedelta(hours=2)).jwts == 10
        assert jwts(house) == first
        assert reconcile(runtime.engine, read_object=runtime.store.get, target="site").balanced

        # Lost to somebody else: signed again by the next key, and the old ones are replaced where they stand.
        declare_compromised(runtime.engine, runtime.secrets, "jwt-1", LATER, LATER + timedelta(hours=3), **SAID)
        assert published(runtime, LATER + timedelta(hours=3)).jwts == 10
        second, known = jwts(house), keys_in(house)
        assert [key_of(read_jwt(data), known) for data in second.values()] == [
            f"{house.settings.institution.issuer_did}#jwt-2"
        ] * 10
        with pytest.raises(Exception, match="unknown or withdrawn"):
            key_of(read_jwt(next(iter(first.values()))), known)
        assert reconcile(runtime.engine, read_object=runtime.store.get, target="site").balanced


def test_before_its_first_key_of_jwts_a_run_publishes_none(house: House, tmp_path: Path) -> None:
    turn_on(house, tmp_path)
    with open_runtime(house.settings, as_of=LATER) as runtime:
        assert runtime.jwt_signer(LATER) is not None
        assert runtime.jwt_signer(AS_OF) is None
        assert published(runtime, AS_OF).jwts == 0


def test_an_erased_credential_leaves_no_jwt(house: House, tmp_path: Path) -> None:
    turn_on(house, tmp_path)
    with open_runtime(house.settings, as_of=LATER) as runtime:
        published(runtime, LATER)
        name = next(name for name, data in jwts(house).items() if "Person Ason" in json.dumps(read_jwt(data).claims))
        erase_person(runtime.engine, runtime.institution, runtime.secrets, "lms:U1", **SAID)
        published(runtime, LATER + timedelta(hours=1))
        assert len(jwts(house)) == 9
        assert name not in jwts(house)
        assert len(house.credentials()) == 9


def test_a_signature_that_was_changed_in_the_database_is_found(house: House, tmp_path: Path, server_url: str) -> None:
    turn_on(house, tmp_path)
    with open_runtime(house.settings, as_of=LATER) as runtime:
        published(runtime, LATER)
        with runtime.engine.begin() as connection:
            connection.execute(text("delete from ledger.publication where kind = 'jwt'"))
        assert house.settings.database_url is not None
        by_hand(server_url, house.settings.database_url, "update ledger.credential_jwt set signature = sha256('x')")
        with pytest.raises(Terminal, match=r"is not what was signed \(its SHA-256 differs\)"):
            published(runtime, LATER)
