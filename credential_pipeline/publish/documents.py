"""The few stable documents of a site: who issues, with which keys, what can be earned, and a front page.

Belongs here: their bytes, from the institution and the ledger. The same input gives the same bytes, whenever it is
published, so that a digest tells whether anything changed. Does not belong here: sending them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential.document import (
    KeyPeriod,
    did_document,
    keys_document,
    published_achievement,
    published_issuer,
    serialize,
)
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.proof import JCS, sign
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Achievement
from credential_pipeline.institution.describe import achievement_of, achievement_path, issuer_of, translations_of
from credential_pipeline.publish.manifest import Item
from credential_pipeline.publish.page import STYLE, STYLE_PATH, front_page

KIND = "document"
DID_PATH = ".well-known/did.json"


def recorded_keys(engine: Engine, institution: Institution) -> tuple[KeyPeriod, ...]:
    """The issuer's keys and their periods, as the ledger has them, oldest first."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                # Documents say instants in whole seconds; who records a compromise by hand may write now().
                "select key_id, public_key_multibase, date_trunc('second', valid_from),"
                " date_trunc('second', valid_until), date_trunc('second', compromised_at)"
                " from ledger.signing_key order by valid_from, key_id"
            )
        )
        return tuple(KeyPeriod(f"{institution.issuer_did}#{key}", *rest) for key, *rest in rows)


def site_documents(
    institution: Institution,
    keys: Sequence[KeyPeriod],
    signer: Signer,
    as_of: datetime,
    former: Iterable[Achievement] = (),
) -> tuple[Item, ...]:
    """All stable documents; `former` are achievements that were issued and left the catalogue.

    Raises:
        Terminal: `signer` is none of `keys`: nobody could verify what it signs.
    """
    refuse_unrecorded(signer, keys)
    did = serialize(
        did_document(
            institution.issuer_did,
            # A compromised key leaves assertionMethod at once; a retired one stays, its old credentials hold.
            [(k.id.partition("#")[2], k.public_key_multibase, k.compromised_at is None) for k in keys],
        )
    )
    issuer = issuer_of(institution)
    current = institution.catalogue.achievements
    achievements = [*current.values(), *(a for a in former if a.id not in current)]
    documents = {
        DID_PATH: did,
        "keys.json": _keys(institution, keys, signer, as_of),
        "issuer.json": serialize(published_issuer(issuer)),
        "index.html": front_page(institution),
    }
    if institution.issuer_did.count(":") > 2:  # did:web 3.2: with a path, did.json stands directly below it
        documents["did.json"] = did
    for achievement in achievements:
        described = achievement_of(institution, achievement)
        documents[achievement_path(achievement.id)] = serialize(published_achievement(described, issuer))
        for path, translated in translations_of(institution, achievement):
            documents[path] = serialize(published_achievement(translated, issuer))
    return (
        Item(STYLE_PATH, KIND, STYLE, fixed=True),
        *(Item(path, KIND, data) for path, data in documents.items()),
    )


def refuse_unrecorded(signer: Signer, keys: Sequence[KeyPeriod]) -> None:
    """Refuse to publish what did.json would not vouch for; raises Terminal."""
    if signer.verification_method not in {key.id for key in keys}:
        raise Terminal(
            f"the signing key {signer.verification_method} is not recorded in the ledger; record it before publishing"
        )


def _keys(institution: Institution, keys: Sequence[KeyPeriod], signer: Signer, as_of: datetime) -> bytes:
    # asOf is the last change that keys.json tells and not the time of this run: nothing new, no new bytes.
    changes = [t for key in keys for t in (key.valid_from, key.valid_until, key.compromised_at) if t and t <= as_of]
    if not changes:
        raise Terminal(f"no key of the issuer had started at {as_of.isoformat()}; give a later instant")
    changed = max(changes)
    document = keys_document(f"{institution.base_url}/keys.json", institution.issuer_did, keys, changed)
    return serialize(sign(document, signer, changed, suites=(JCS,)))


def former_achievements(connection: Connection, institution: Institution, target: str) -> tuple[Achievement, ...]:
    """Achievements that were issued, left the catalogue and are not published at `target`: as last planned with."""
    missing = connection.scalars(
        text(
            "select distinct c.achievement from ledger.credential c"
            " where c.achievement <> all(:current) and not exists (select from ledger.publication p"
            "   where p.target = :target and p.path = 'achievements/' || c.achievement || '.json') order by 1"
        ),
        {"current": list(institution.catalogue.achievements), "target": target},
    ).all()
    found = []
    for achievement in missing:
        described = connection.scalar(
            text(
                "select a from ledger.catalogue_version v,"
                " jsonb_array_elements(v.catalogue->'programmes') p, jsonb_array_elements(p->'achievements') a"
                " where a->>'id' = :id order by v.recorded_at desc limit 1"
            ),
            {"id": achievement},
        )
        if described is None:
            raise Terminal(
                f"credentials of {achievement} are recorded, but no catalogue of the ledger knows it; restore the"
                " ledger from its backup"
            )
        found.append(Achievement.model_validate(described))
    return tuple(found)
