"""Which members have to be there: every required one missing, and every one of a wrong type, is named."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from credential_pipeline.credential import contexts as carried
from credential_pipeline.credential.contexts import OB3, VC2
from credential_pipeline.credential.document import open_badge_credential, serialize
from credential_pipeline.credential.schema_rules import check_schema, credential_class
from credential_pipeline.credential.text import FormError
from credential_pipeline.credential.verify import Verifier
from credential_pipeline_tests.credential.forms import FORMS, NOW, signed, site
from credential_pipeline_tests.credential.test_embedded import LEAST, endorsement, record

DOCUMENTS = {f"form {name}": open_badge_credential(facts) for name, facts in FORMS.items()} | {
    "endorsement": endorsement(),
    "record": record(LEAST),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_of_ours_has_its_members(name: str) -> None:
    document = DOCUMENTS[name]
    check_schema(document, credential_class(document))


REQUIRED = {
    "form results": [
        "id",
        "issuer",
        "issuer.id",
        "issuer.type",
        "validFrom",
        "credentialSubject",
        "credentialSubject.type",
        "credentialSubject.achievement",
        "credentialSubject.achievement.id",
        "credentialSubject.achievement.type",
        "credentialSubject.achievement.name",
        "credentialSubject.achievement.description",
        "credentialSubject.achievement.criteria",
        "credentialSubject.achievement.alignment.0.targetName",
        "credentialSubject.achievement.alignment.1.targetUrl",
        "credentialSubject.achievement.resultDescription.0.resultType",
        "credentialSubject.identifier.0.hashed",
        "credentialSubject.identifier.0.identityHash",
        "credentialSubject.identifier.0.type",
        "credentialSubject.result.0.type",
        "credentialSchema.0.type",
        "credentialStatus.id",
        "refreshService.type",
    ],
    "endorsement": ["credentialSubject.id", "credentialSubject.type"],
    "record": ["credentialSubject.verifiableCredential", "credentialSubject.association.0.targetId"],
}


def at(document: Any, path: str) -> tuple[Any, str | int]:
    """The holder of the member at `path`, and its key there."""
    *before, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in before:
        document = document[step]
    return document, last


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, paths in REQUIRED.items() for path in paths])
def test_a_missing_member_is_named(name: str, path: str) -> None:
    document = copy.deepcopy(DOCUMENTS[name])
    holder, key = at(document, path)
    del holder[key]
    with pytest.raises(FormError, match=str(key)):
        check_schema(document, credential_class(document))


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of all strings, numbers and flags that the rules know."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("@context", "type", "proof", "verifiableCredential"):
                yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    else:
        yield path


UNKNOWN_TO_THE_RULES = {"statusPurpose", "statusListIndex", "statusListCredential"}  # reading.py reads those


@pytest.mark.parametrize("name", ["form results", "form credits", "endorsement", "record"])
@pytest.mark.parametrize("wrong", [None, [], {}], ids=["null", "empty array", "empty object"])
def test_no_known_member_may_be_null_or_empty(name: str, wrong: Any) -> None:
    places = [place for place in leaves(DOCUMENTS[name]) if place[-1] not in UNKNOWN_TO_THE_RULES]
    assert len(places) > 8
    for place in places:
        document = copy.deepcopy(DOCUMENTS[name])
        holder, key = at(document, ".".join(map(str, place)))
        holder[key] = wrong
        with pytest.raises(FormError, match=str(place[0])):
            check_schema(document, credential_class(document))


@pytest.mark.parametrize("iri", ["achievements/1", "", "https://x.example/a b", "//x.example/1", "#1"])
def test_a_relative_or_malformed_iri_is_refused(iri: str) -> None:
    document = copy.deepcopy(DOCUMENTS["form results"])
    document["credentialSubject"]["achievement"]["id"] = iri
    with pytest.raises(FormError, match="absolute IRI"):
        check_schema(document, "OpenBadgeCredential")


def test_who_holds_it_has_to_be_said() -> None:
    document = copy.deepcopy(DOCUMENTS["form least"])
    del document["credentialSubject"]["identifier"]
    with pytest.raises(FormError, match="nobody holds it"):
        check_schema(document, "OpenBadgeCredential")
    check_schema(
        document | {"credentialSubject": document["credentialSubject"] | {"id": "did:key:z6Mk"}}, "OpenBadgeCredential"
    )


def test_an_array_without_end_is_refused() -> None:
    document = copy.deepcopy(DOCUMENTS["form results"])
    subject = document["credentialSubject"]
    subject["result"] = subject["result"][:1] * 1001
    with pytest.raises(FormError, match="1 to 1000"):
        check_schema(document, "OpenBadgeCredential")


def test_names_in_several_languages_are_words() -> None:
    document = copy.deepcopy(DOCUMENTS["form least"])
    document["name"] = [{"@value": "Daten", "@language": "de"}, {"@value": "Data", "@language": "en"}]
    check_schema(document, "OpenBadgeCredential")


def test_a_schema_that_is_not_read_is_told() -> None:
    document = signed(FORMS["least"])
    document["credentialSchema"].append({"id": "https://x.example/schema.json", "type": "JsonSchema"})
    (check,) = [c for c in Verifier(site(), NOW).verify(serialize(document)).checks if c.name == "schema"]
    assert check.outcome == "warn"
    assert "https://x.example/schema.json" in check.detail


def test_a_context_that_is_not_carried_makes_it_unknown() -> None:
    document = signed(FORMS["least"])
    document["@context"].append("https://x.example/context.json")
    report = Verifier(site(), NOW).verify(serialize(document))
    assert report.verdict == "unknown"
    assert "https://x.example/context.json" in report.reason


def test_an_altered_context_makes_it_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    index = {url: dict(entry) for url, entry in carried._index().items()}
    index[OB3] |= {"sha256": "0" * 64}
    carried.context_bytes.cache_clear()
    with monkeypatch.context() as altered:
        altered.setattr(carried, "_index", lambda: index)
        report = Verifier(site(), NOW).verify(serialize(signed_before))
    assert report.verdict == "unknown"
    assert "differs from its pinned SHA-256" in report.reason
    carried.context_bytes.cache_clear()
    assert Verifier(site(), NOW).verify(serialize(signed_before)).verdict == "valid"


signed_before = signed(FORMS["least"])


def test_the_digests_of_the_contexts_are_evidence() -> None:
    (check,) = [c for c in Verifier(site(), NOW).verify(serialize(signed_before)).checks if c.name == "contexts"]
    assert check.evidence[VC2] == "59955ced6697d61e03f2b2556febe5308ab16842846f5b586d7f1f7adec92734"
