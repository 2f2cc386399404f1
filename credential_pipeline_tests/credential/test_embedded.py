"""Credentials inside a credential: a learner record is as good as its members, an endorsement takes nothing away."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credential_pipeline.credential import embedded
from credential_pipeline.credential.clr import ClrFacts, clr_credential
from credential_pipeline.credential.contexts import CLR2, OB3, VC2
from credential_pipeline.credential.document import StatusEntry, issuer_profile, open_badge_credential, serialize
from credential_pipeline.credential.endorsement import EndorsementFacts, endorsement_credential
from credential_pipeline.credential.keys import Ed25519FileSigner
from credential_pipeline.credential.proof import sign
from credential_pipeline.credential.report import Report
from credential_pipeline.credential.verify import Verifier
from credential_pipeline_tests.credential.forms import (
    AS_OF,
    BASE,
    DID,
    FORMS,
    ISSUER,
    NOW,
    SIGNER,
    Site,
    facts,
    public_id,
    signed,
    site,
    state,
    status_list,
)

OTHER = Ed25519FileSigner(Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x01"), f"{DID}#key-1")
Document = dict[str, Any]


def record(*members: Document, n: int = 90, **changes: Any) -> Document:
    document = {
        "@context": [VC2, CLR2, OB3],
        "id": f"{BASE}/credentials/{public_id(n)}.json",
        "type": ["VerifiableCredential", "ClrCredential"],
        "name": "Transcript",
        "issuer": issuer_profile(ISSUER),
        "validFrom": "2025-07-31T22:00:00Z",
        "credentialSubject": {
            "type": ["ClrSubject"],
            "verifiableCredential": list(members),
            "association": [
                {
                    "type": "Association",
                    "associationType": "isPartOf",
                    "sourceId": f"{BASE}/achievements/data-101.json",
                    "targetId": f"{BASE}/achievements/msc-data.json",
                }
            ],
        },
    }
    return sign(document | changes, SIGNER, AS_OF)


def endorsement(signer: Ed25519FileSigner = SIGNER) -> Document:
    document = {
        "@context": [VC2, OB3],
        "id": "urn:uuid:5f3f3f3f-0000-4000-8000-000000000001",
        "type": ["VerifiableCredential", "EndorsementCredential"],
        "name": "Endorsement",
        "issuer": issuer_profile(ISSUER),
        "validFrom": "2025-07-31T22:00:00Z",
        "credentialSubject": {
            "id": f"{BASE}/achievements/data-101.json",
            "type": ["EndorsementSubject"],
            "endorsementComment": "Worth its credits.",
        },
    }
    return sign(document, signer, AS_OF)


LEAST, NAMED = signed(FORMS["least"]), signed(FORMS["name"])


def verify(document: Document, world: Site | None = None) -> Report:
    return Verifier(world or site(), NOW).verify(serialize(document))


def checks(report: Report) -> dict[str, str]:
    return {check.name: check.outcome for check in report.checks}


def test_a_record_reports_on_each_member_by_itself() -> None:
    report = verify(record(LEAST, NAMED))
    assert report.verdict == "valid", report.reason
    assert checks(report)["members"] == "pass"
    assert [(member.where, member.id, member.report.verdict) for member in report.members] == [
        ("credentialSubject.verifiableCredential[0]", LEAST["id"], "valid"),
        ("credentialSubject.verifiableCredential[1]", NAMED["id"], "valid"),
    ]
    alone = verify(NAMED).checks
    assert report.members[1].report.checks == alone[2:]  # all but `kind` and `parse`
    told = report.as_dict()
    assert [member["verdict"] for member in told["members"]] == ["valid", "valid"]
    assert "members" not in told["members"][0]


def test_a_record_without_a_status_list_is_valid_and_says_so() -> None:
    report = verify(record(LEAST))
    assert checks(report)["status"] == "warn"
    assert "state" not in checks(report)


def forged(document: Document) -> Document:
    return sign({key: value for key, value in document.items() if key != "proof"}, OTHER, AS_OF)


def _revoked() -> Site:
    built = site()
    built.put("/status/1.json", status_list(1, "revocation", (1,)))
    return built


def _superseded() -> Site:
    built = site()
    built.put(f"/state/{public_id(1)}.json", state(1, "superseded", by=f"{BASE}/credentials/9.json"))
    return built


def _no_list() -> Site:
    built = site()
    del built.objects[f"{BASE}/status/1.json"]
    return built


EXPIRED = signed(facts(0, valid_until=AS_OF.replace(hour=23)))


@pytest.mark.parametrize(
    ("member", "world", "verdict", "outcome"),
    [
        (forged(NAMED), site, "invalid", "fail"),
        (NAMED | {"name": "Another"}, site, "invalid", "fail"),
        (NAMED, _revoked, "revoked", "fail"),
        (NAMED, _superseded, "superseded", "fail"),
        (NAMED, _no_list, "unknown", "unknown"),
        (EXPIRED, site, "valid", "warn"),
        ({"type": ["VerifiableCredential"]}, site, "invalid", "fail"),
        ({}, site, "invalid", "fail"),
        (
            {"@context": VC2, "id": "data:application/vc+jwt,eyJ.e30.c2ln", "type": "EnvelopedVerifiableCredential"},
            site,
            "invalid",
            "fail",
        ),
    ],
    ids=["forged", "changed", "revoked", "superseded", "no list", "expired", "not known", "empty", "a broken JWT"],
)
def test_the_gravest_verdict_among_the_members_is_the_records(
    member: Document, world: Any, verdict: str, outcome: str
) -> None:
    report = verify(record(LEAST, member), world())
    assert (report.verdict, checks(report)["members"]) == (verdict, outcome), report.reason
    if verdict != "valid":
        assert "verifiableCredential[" in report.reason


def test_a_member_that_was_taken_out_or_put_in_breaks_the_record() -> None:
    document = record(LEAST, NAMED)
    for members in ([LEAST], [LEAST, NAMED, NAMED], [NAMED, LEAST]):
        changed = document | {"credentialSubject": document["credentialSubject"] | {"verifiableCredential": members}}
        report = verify(changed)
        assert report.verdict == "invalid"
        assert "does not match" in report.reason
        assert report.members == ()  # nothing embedded is verified unless the issuer has signed it


def test_a_record_in_a_record() -> None:
    report = verify(record(record(LEAST, n=91), NAMED))
    assert report.verdict == "valid"
    (inner,) = report.members[0].report.members
    assert inner.report.verdict == "valid"
    changed = record(record(forged(LEAST), n=91))
    assert verify(changed).verdict == "invalid"


def test_what_is_too_deep_or_too_much_is_not_read_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = LEAST
    for n in range(91, 91 + embedded.MAX_DEPTH + 1):
        deep = record(deep, n=n)
    report = verify(deep)
    assert report.verdict == "unknown"
    assert "too many or too deep" in report.reason
    monkeypatch.setattr(embedded, "MAX_MEMBERS", 2)
    report = verify(record(LEAST, LEAST, NAMED))
    assert report.verdict == "unknown"
    assert len(report.members) == 2


def endorsed(by: Document) -> Document:
    return sign(open_badge_credential(FORMS["least"]) | {"endorsement": [by]}, SIGNER, AS_OF)


def test_an_endorsement_is_verified_and_decides_nothing() -> None:
    report = verify(endorsed(endorsement()))
    assert (report.verdict, checks(report)["endorsements"]) == ("valid", "pass")
    report = verify(endorsed(endorsement(OTHER)))
    assert (report.verdict, checks(report)["endorsements"]) == ("valid", "warn")
    assert report.members[0].report.verdict == "invalid"


def test_an_endorsement_by_itself() -> None:
    report = verify(endorsement())
    assert report.verdict == "valid", report.reason
    assert verify(endorsement(OTHER)).verdict == "invalid"


def test_a_large_record_is_read_and_a_large_credential_is_not() -> None:
    wide = record(LEAST, name="x" * 300_000)
    assert verify(wide).verdict == "valid"
    large = sign(open_badge_credential(FORMS["least"]) | {"name": "x" * 300_000}, SIGNER, AS_OF)
    report = verify(large)
    assert report.verdict == "invalid"
    assert "more than" in report.reason


def test_what_our_builders_make_verifies_with_its_status_and_state() -> None:
    endorsed_url = f"{BASE}/credentials/{public_id(92)}.json"
    common: dict[str, Any] = {
        "as_of": AS_OF,
        "issuer": ISSUER,
        "status": StatusEntry(f"{BASE}/status/1.json", 92, "revocation"),
        "refresh_url": f"{BASE}/state/{public_id(92)}.json",
    }
    learner_record = ClrFacts(
        url=endorsed_url, name="Transcript", members=[LEAST, NAMED], holder="did:key:z6Mk", **common
    )
    opinion = EndorsementFacts(
        url=endorsed_url, endorsed="did:web:college.example.org", name="Endorsement", comment="They teach.", **common
    )
    for document in (clr_credential(learner_record), endorsement_credential(opinion)):
        built = site()
        built.put(f"/state/{public_id(92)}.json", state(92))
        report = verify(sign(document, SIGNER, AS_OF), built)
        assert (report.verdict, set(checks(report).values())) == ("valid", {"pass"}), report
        assert {"status", "state"} <= set(checks(report))
