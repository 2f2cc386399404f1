"""Endorsements and learner records: what is built, refused, signed, and taken out again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from credential_pipeline.credential.canonical import CanonicalizationError, jcs, rdfc, rdfc_second_opinion
from credential_pipeline.credential.clr import ASSOCIATION_TYPES, CLR_SCHEMA, Association, members_of
from credential_pipeline.credential.contexts import CLR2, OB3, OB3_EXTENSIONS, VC2
from credential_pipeline.credential.document import CONTEXTS, BuildError, issuer_profile
from credential_pipeline.credential.endorsement import ENDORSEMENT_SCHEMA
from credential_pipeline.credential.many import signer_of_many, verifier_of_many
from credential_pipeline.credential.proof import ProofError, sign, verify_proof
from credential_pipeline.credential.text import serialize
from credential_pipeline_tests.credential.forms import AS_OF, COURSE, DID, ISSUER, NOW, PUBLIC, RICH, SIGNER, SKILL
from credential_pipeline_tests.credential.record_forms import (
    BOARD,
    endorsement,
    record,
    record_forms,
    signed_endorsement,
    signed_members,
)

FORMS = record_forms()


def test_the_least_endorsement_in_full() -> None:
    assert FORMS["endorsement"] == {
        "@context": list(CONTEXTS),
        "id": "https://board.example.org/endorsements/1.json",
        "type": ["VerifiableCredential", "EndorsementCredential"],
        "name": "Endorsement of Patient Care",
        "issuer": issuer_profile(BOARD),
        "validFrom": "2025-07-31T22:00:00Z",
        "credentialSubject": {"id": SKILL.id, "type": ["EndorsementSubject"]},
        "credentialSchema": [{"id": ENDORSEMENT_SCHEMA, "type": "1EdTechJsonSchemaValidator2019"}],
    }


def test_the_least_record_in_full() -> None:
    document = FORMS["record"]
    (identifier,) = document["credentialSubject"].pop("identifier")
    assert (identifier["identityType"], identifier["hashed"]) == ("sourcedId", True)
    assert document == {
        "@context": [VC2, CLR2, OB3, OB3_EXTENSIONS],
        "id": "https://badges.example.org/records/1.json",
        "type": ["VerifiableCredential", "ClrCredential"],
        "name": "Transcript",
        "issuer": issuer_profile(ISSUER),
        "validFrom": "2025-08-01T09:30:00Z",
        "credentialSubject": {"type": ["ClrSubject"], "verifiableCredential": [signed_members()[0]]},
        "credentialSchema": [{"id": CLR_SCHEMA, "type": "1EdTechJsonSchemaValidator2019"}],
    }


def test_a_transcript_says_how_its_achievements_stand_to_each_other() -> None:
    document = FORMS["transcript"]
    subject = document["credentialSubject"]
    assert document["partial"] is True
    assert subject["id"] == "did:example:ada"
    assert subject["identifier"][-1]["identityHash"] == "Ada Lovelace"
    assert [x["id"] for x in subject["achievement"]] == [SKILL.id]
    assert subject["association"][0] == {
        "type": "Association",
        "associationType": "isPartOf",
        "sourceId": COURSE.id,
        "targetId": RICH.id,
    }
    assert [len(x["proof"]) for x in members_of(document)] == [2] * 5


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by", ["reference", "compiled"])
def test_both_suites_sign_and_verify_by_both_implementations(form: str, by: Any) -> None:
    signer = signer_of_many(SIGNER, NOW, by=by)
    assert signer.serialized(FORMS[form]) == serialize(sign(FORMS[form], SIGNER, NOW))
    document = json.loads(signer.serialized(FORMS[form]))
    for verifier in (signer.verifier(), verifier_of_many(by=by)):
        for proof in document["proof"]:
            verifier.verify_proof(document, proof, PUBLIC)
    changed = copy.deepcopy(document)
    changed["name"] += "!"
    for proof in changed["proof"]:
        with pytest.raises(ProofError, match="does not match"):
            signer.verifier().verify_proof(changed, proof, PUBLIC)


@pytest.mark.parametrize("form", FORMS)
def test_two_libraries_agree_on_the_dataset(form: str) -> None:
    document = sign(FORMS[form], SIGNER, NOW)
    assert rdfc(document) == rdfc_second_opinion(document)


def test_nothing_of_a_member_stays_unsigned() -> None:
    """A changed character anywhere in a member changes the canonical form of the record."""
    document = FORMS["transcript"]
    before = rdfc(document)
    for path in (("credentialSubject", "achievement", "name"), ("proof", 1, "proofValue"), ("awardedDate",)):
        changed = copy.deepcopy(document)
        at: Any = members_of(changed)[0]
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] += "x"
        assert rdfc(changed) != before, path


def test_a_member_verifies_alone_after_it_was_taken_out() -> None:
    document = json.loads(serialize(sign(FORMS["transcript"], SIGNER, NOW)))
    taken = members_of(document)
    assert [jcs(x) for x in taken] == [jcs(x) for x in (*signed_members(), signed_endorsement())]
    assert [serialize(x) for x in taken] == [serialize(x) for x in (*signed_members(), signed_endorsement())]
    for member in taken:
        for proof in member["proof"]:
            verify_proof(member, proof, PUBLIC)


def test_a_record_does_not_change_with_the_members_it_was_made_of() -> None:
    members = copy.deepcopy(list(signed_members()))
    document = record(members=members)
    members[0]["credentialSubject"]["achievement"]["name"] = "Other"
    assert members_of(document)[0] == signed_members()[0]


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ([VC2, {"name": "https://x.example/name"}], "inline contexts"),
        ([VC2, "https://x.example/context"], "never fetched"),
    ],
    ids=["inline", "unknown"],
)
def test_a_context_inside_is_held_to_what_one_outside_is(context: list[Any], reason: str) -> None:
    document = copy.deepcopy(FORMS["record"])
    members_of(document)[0]["@context"] = context
    with pytest.raises(CanonicalizationError, match=reason):
        rdfc(document)


def test_a_context_stands_nowhere_else() -> None:
    document = copy.deepcopy(FORMS["record"])
    document["issuer"]["@context"] = [VC2]
    with pytest.raises(CanonicalizationError, match="keyword '@context'"):
        rdfc(document)


def test_members_in_other_contexts_are_not_of_one_shape() -> None:
    """The compiled path knows documents by shape: the contexts of a member are part of it."""
    signer = signer_of_many(SIGNER, NOW)
    contexts = (list(CONTEXTS), list(CONTEXTS[:2]), list(CONTEXTS))
    for number, inside in enumerate(contexts):
        document = copy.deepcopy(FORMS["record"])
        document["id"] += str(number)
        members_of(document)[0]["@context"] = inside
        assert signer.serialized(document) == serialize(sign(document, SIGNER, NOW))


def with_member(**changes: Any) -> Callable[[], Any]:
    return lambda: record(members=(signed_members()[0] | changes,))


def associated(*association: str) -> Callable[[], Any]:
    return lambda: record(associations=(Association(*association),))


def about(holder: str) -> dict[str, Any]:
    member = copy.deepcopy(signed_members()[0])
    member["credentialSubject"]["id"] = holder
    return member


REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "endorses itself": (lambda: endorsement(endorsed=BOARD.id), "endorse itself"),
    "endorses no IRI": (lambda: endorsement(endorsed="care"), "credentialSubject.id"),
    "endorsement without a name": (lambda: endorsement(name=""), "credential.name is empty"),
    "empty comment": (lambda: endorsement(comment=" "), "endorsementComment is empty"),
    "endorsement that is over": (lambda: endorsement(valid_until=AS_OF), "not after validFrom"),
    "endorsement at no URL": (lambda: endorsement(url="urn:uuid:1"), r"http\(s\) URL"),
    "no members": (lambda: record(members=()), "no members"),
    "nobody's record": (lambda: record(identifiers=()), "whose record"),
    "record that is over": (lambda: record(valid_until=NOW), "not after validFrom"),
    "member not signed": (with_member(proof=[]), r"verifiableCredential\[0\] is not signed"),
    "member of another kind": (with_member(type=["VerifiableCredential"]), "type is none of"),
    "record in a record": (with_member(type=["VerifiableCredential", "ClrCredential"]), "type is none of"),
    "member without context": (with_member(**{"@context": None}), "verified alone"),
    "member with an inline context": (with_member(**{"@context": [VC2, {}]}), "verified alone"),
    "member without id": (with_member(id=None), r"verifiableCredential\[0\].id"),
    "member without subject": (with_member(credentialSubject=[]), "credentialSubject is not an object"),
    "member from the future": (lambda: record(as_of=AS_OF - timedelta(seconds=1)), "after that of the record"),
    "member without a start": (with_member(validFrom="then"), "validFrom"),
    "member twice": (lambda: record(members=(signed_members()[0],) * 2), "twice"),
    "member with the record's id": (lambda: record(url=signed_members()[0]["id"]), "twice"),
    "somebody else's": (lambda: record(holder="did:example:a", members=(about("did:example:b"),)), "somebody else"),
    "association of no kind": (associated("isNear", COURSE.id, RICH.id), "CLR 2.0 AssociationType"),
    "association to nowhere": (associated("isPartOf", COURSE.id, f"{DID}#x"), "not in the record"),
    "association to itself": (associated("isPartOf", COURSE.id, COURSE.id), "to itself"),
    "association twice": (lambda: record(associations=(Association("isPartOf", COURSE.id, RICH.id),) * 2), "twice"),
    "achievement twice": (lambda: record(achievements=(RICH, RICH)), "twice"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_standard_refuses_is_refused(case: str) -> None:
    build, reason = REFUSALS[case]
    with pytest.raises(BuildError, match=reason):
        build()


def test_every_kind_of_association_is_taken() -> None:
    for kind in ASSOCIATION_TYPES:
        document = record(associations=(Association(kind, COURSE.id, RICH.id),))
        assert document["credentialSubject"]["association"][0]["associationType"] == kind
