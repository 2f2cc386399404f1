"""The endorsement: one issuer says of an achievement, an issuer or a credential what it thinks (Open Badges 3.0, B.1).

Belongs here: facts in, an unsigned EndorsementCredential out. Does not belong here: signing (proof.py), and putting an
endorsement into what it endorses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from credential_pipeline.credential.achievement import Issuer, issuer_profile
from credential_pipeline.credential.document import CONTEXTS, StatusEntry, refresh_service, schema, status_entry
from credential_pipeline.credential.text import BuildError, instant, iri, text, url, validity

ENDORSEMENT_SCHEMA = "https://purl.imsglobal.org/spec/ob/v3p0/schema/json/ob_v3p0_endorsementcredential_schema.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsementFacts:
    """All that one endorsement says. `endorsed` is the id of an achievement, an issuer or a credential: an IRI.

    `as_of` becomes validFrom: aware, in whole seconds.
    """

    url: str
    as_of: datetime
    issuer: Issuer
    endorsed: str
    name: str
    comment: str | None = None
    description: str | None = None
    valid_until: datetime | None = None
    status: StatusEntry | None = None
    refresh_url: str | None = None


def endorsement_credential(facts: EndorsementFacts) -> dict[str, Any]:
    """The unsigned EndorsementCredential of `facts` (Open Badges 3.0, B.1 EndorsementCredential); raises BuildError."""
    if facts.endorsed == facts.issuer.id:
        raise BuildError(f"{facts.endorsed} would endorse itself: an endorsement is somebody else's word (B.1)")
    credential: dict[str, Any] = {
        "@context": list(CONTEXTS),
        "id": url(facts.url, "credential.id"),
        "type": ["VerifiableCredential", "EndorsementCredential"],
        "name": text(facts.name, "credential.name"),
    }
    if facts.description is not None:
        credential["description"] = text(facts.description, "credential.description", multiline=True)
    credential["issuer"] = issuer_profile(facts.issuer)
    credential["validFrom"] = instant(facts.as_of, "as_of")
    if facts.valid_until is not None:
        credential["validUntil"] = validity(facts.as_of, facts.valid_until)
    subject = {"id": iri(facts.endorsed, "credentialSubject.id"), "type": ["EndorsementSubject"]}
    if facts.comment is not None:
        subject["endorsementComment"] = text(facts.comment, "endorsementComment", multiline=True)
    credential["credentialSubject"] = subject
    if facts.status is not None:
        credential["credentialStatus"] = status_entry(facts.status)
    credential["credentialSchema"] = schema(ENDORSEMENT_SCHEMA)
    if facts.refresh_url is not None:
        credential["refreshService"] = refresh_service(facts.refresh_url)
    return credential
