"""Approvals: who let a plan through, checked when it is given and again when the plan is applied.

A four-eyes plan is let through by the SSH signature of a listed approver over the plan's hash. Belongs here: who may
sign, and whether what is signed still holds. Does not belong here: the format of signatures (sshsig.py) and what makes
a line stale (stale.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution, Person
from credential_pipeline.issue.actions import record_action
from credential_pipeline.issue.plans import PIPELINE, Refused, Stale, apply_lock, hash_of
from credential_pipeline.issue.sshsig import (
    BadSignature,
    armored,
    fingerprint,
    parse_public_key,
    parse_signature,
    verify,
)
from credential_pipeline.issue.stale import refuse_stale
from credential_pipeline.store.postgres import transaction_lock

NAMESPACE = "plan@credential-pipeline"
"""What a signature is for (`ssh-keygen -Y sign -n`): one over the same words for another purpose approves nothing."""

SKEW = timedelta(minutes=10)
"""How far ahead an approver's clock may be; later than that, the time was not taken from a clock."""

ISSUE, RENEW, REISSUE = "issue", "renew", "reissue"
"""Kinds of plans that follow a policy of their own; every other one is a change that somebody asked for."""

Role = Literal["preparer", "approver"]
KINDS: dict[Role, str] = {"approver": "signature", "preparer": "preparation"}


@dataclass(frozen=True)
class Signed:
    """A signature that was accepted. `expires_at`: None for a preparer's, which lets nothing through."""

    plan_id: UUID
    hash: bytes
    person: str
    fingerprint: str
    expires_at: datetime | None


def approve(
    engine: Engine, institution: Institution, plan_id: UUID, person_id: str, signature: str, now: datetime, run_id: str
) -> Signed:
    """Accept an approver's signature over the plan's hash; the plan may then be applied until it expires.

    Raises:
        Terminal: the person may not approve, or the signature is not theirs over this plan.
        Refused: the plan is not what it was: nothing is left to approve.
    """
    return _sign(
        engine, institution, plan_id, _person(institution, person_id, "approver"), "approver", signature, now, run_id
    )


def prepare(
    engine: Engine, institution: Institution, plan_id: UUID, person_id: str, signature: str, now: datetime, run_id: str
) -> Signed:
    """Accept a preparer's signature: it says whose plan it is, and that they cannot approve it.

    Raises:
        Terminal: the person may not prepare, or the signature is not theirs over this plan.
        Refused: the plan is not what it was.
    """
    return _sign(
        engine, institution, plan_id, _person(institution, person_id, "preparer"), "preparer", signature, now, run_id
    )


def _sign(
    engine: Engine,
    institution: Institution,
    plan_id: UUID,
    person: Person,
    role: Role,
    signature: str,
    now: datetime,
    run_id: str,
) -> Signed:
    kind = KINDS[role]
    with engine.begin() as connection:
        transaction_lock(connection, apply_lock(plan_id))
        plan = _plan(connection, plan_id)
        _refuse_closed(plan)
        digest = hash_of(connection, institution.id, plan_id)
        if digest != plan.hash:
            raise Stale(_changed(plan_id))
        given = _verified(person, signature, digest)
        signers = _signers(connection, plan_id)
        if role == "approver" and (why := _own(plan, person.id, signers["preparation"])):
            raise Terminal(f"{person.id} cannot approve plan {plan_id}: {why}; another approver has to")
        if role == "preparer" and person.id in signers["signature"]:
            raise Terminal(f"{person.id} has approved plan {plan_id} and cannot be its preparer as well")
        refuse_stale(connection, plan_id, institution.catalogue)
        expires = now + timedelta(hours=institution.policies.approval_valid_hours) if role == "approver" else None
        connection.execute(
            text(
                "insert into ledger.approval (plan_id, plan_hash, kind, approver, signature, approved_at, expires_at)"
                " values (:plan, :hash, :kind, :person, :signature, :now, :expires)"
                " on conflict (plan_id, kind, approver) do update set plan_hash = excluded.plan_hash,"
                " signature = excluded.signature, approved_at = excluded.approved_at, expires_at = excluded.expires_at"
            ),
            {
                "plan": plan_id, "hash": digest, "kind": kind, "person": person.id, "signature": given,
                "now": now, "expires": expires,
            },
        )  # fmt: skip
        if role == "approver":
            connection.execute(
                text("update ledger.plan set state = 'approved' where plan_id = :plan"), {"plan": plan_id}
            )
        key = fingerprint(parse_public_key(person.ssh_public_key))
        detail = {"hash": digest.hex(), "key": key, "expires_at": expires.isoformat() if expires else None}
        told = "plan_approved" if role == "approver" else "plan_prepared"
        record_action(connection, told, f"plan:{plan_id}", person.id, run_id, detail=detail)
    return Signed(plan_id, digest, person.id, key, expires)


def _person(institution: Institution, person_id: str, role: Role) -> Person:
    person = next((one for one in institution.people if one.id == person_id), None)
    if person is None:
        listed = ", ".join(one.id for one in institution.people if role in one.roles) or "nobody yet"
        raise Terminal(f"{person_id} is none of the people of institution.yaml; listed as {role}: {listed}")
    if role not in person.roles:
        raise Terminal(f"{person_id} is not listed as {role} in institution.yaml (people, roles)")
    return person


def _verified(person: Person, signature: str, digest: bytes) -> str:
    """The signature in its one spelling, if it is the person's over this hash."""
    try:
        found = parse_signature(signature)
        _verify(person, signature, digest)
    except BadSignature as error:
        raise Terminal(f"the signature is not {person.id}'s over {digest.hex()}: {error}") from error
    return armored(found)


def _verify(person: Person, signature: str, digest: bytes) -> None:
    found, key = parse_signature(signature), parse_public_key(person.ssh_public_key)
    words = digest.hex().encode()
    try:
        verify(found, words, NAMESPACE, key)
    except BadSignature:
        verify(found, words + b"\n", NAMESPACE, key)  # `echo HASH | ssh-keygen -Y sign` ends the line


def _plan(connection: Connection, plan_id: UUID) -> Row[Any]:
    plan = connection.execute(
        text(
            "select plan_id, hash, state, approval, created_by, catalogue_version from ledger.plan where plan_id = :p"
        ),
        {"p": plan_id},
    ).first()
    if plan is None:
        raise Terminal(f"no plan {plan_id} in this ledger; `credential-pipeline plan list` shows them")
    return plan


def _refuse_closed(plan: Row[Any]) -> None:
    if plan.approval != "four_eyes":
        raise Terminal(f"plan {plan.plan_id} needs no signature: the catalogue or the actor lets it through")
    if plan.state == "applied":
        raise Terminal(f"plan {plan.plan_id} is applied: there is nothing left to sign")
    if plan.state == "stale":
        raise Stale(f"plan {plan.plan_id} is stale: what it cites has changed, or another plan took its place")


def _signers(connection: Connection, plan_id: UUID) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"signature": set(), "preparation": set()}
    rows = connection.execute(
        text("select kind, approver from ledger.approval where plan_id = :p and kind in ('signature', 'preparation')"),
        {"p": plan_id},
    )
    for kind, person in rows:
        found[kind].add(person)
    return found


def _own(plan: Row[Any], person_id: str, preparers: set[str]) -> str | None:
    if person_id == plan.created_by:
        return "they made it themselves"
    if person_id in preparers:
        return "they prepared it themselves"
    return None


def _changed(plan_id: UUID) -> str:
    return (
        f"the lines of plan {plan_id} are not those its hash was made of: somebody changed them in the database. "
        "Find out who; the plan has to be made again"
    )


def refuse_unapproved(connection: Connection, institution: Institution, plan_id: UUID, now: datetime) -> None:
    """Raises Refused unless the plan is approved, with the hash it has now, by somebody who may today."""
    plan = _plan(connection, plan_id)
    if plan.approval != "four_eyes":
        approved = connection.scalar(
            text(
                "select exists (select from ledger.approval a where a.plan_id = :plan and a.plan_hash = :hash"
                " and (a.kind = 'actor' or a.kind = 'catalogue' and a.approver = :version))"
            ),
            {"plan": plan_id, "hash": plan.hash, "version": f"catalogue {plan.catalogue_version.hex()}"},
        )
        if plan.state != "approved" or not approved:
            raise Refused(f"plan {plan_id} is {plan.state} and not approved with the hash it has now; nothing was done")
        return
    if why := why_unapproved(connection, institution, plan_id, now):
        raise Refused(f"plan {plan_id} is not approved as it is now: {why}; nothing was done")


def refuse_against_policy(connection: Connection, institution: Institution, plan_id: UUID) -> None:
    """Raises Stale when a plan without signatures does what the reviewed files, as they are now, want signatures for.

    Who can write to the database can store a plan as `auto`; institution.yaml and the catalogue are out of their reach.
    """
    kind = connection.scalar(text("select kind from ledger.plan where plan_id = :plan"), {"plan": plan_id})
    lines = connection.execute(
        text(
            "select achievement, count(*) as number, bool_or(action in ('create', 'replace', 'renew')) as makes"
            " from ledger.plan_line where plan_id = :plan and action not in ('hold', 'skip') group by 1 order by 1"
        ),
        {"plan": plan_id},
    ).all()
    policies, achievements = institution.policies, institution.catalogue.achievements
    why = None
    if kind == REISSUE:
        why = "a campaign (policies.campaign_approval)" if policies.campaign_approval == "four_eyes" else None
    else:
        reviewed = [
            one.achievement
            for one in lines
            if one.makes and one.achievement in achievements and achievements[one.achievement].approval == "four_eyes"
        ]
        changed = sum(one.number for one in lines)
        if reviewed:
            why = f"what it makes (approval: four_eyes of {', '.join(reviewed)})"
        elif kind == RENEW and policies.renewal_approval == "window":
            why = "renewals (policies.renewal_approval)"
        elif kind not in (ISSUE, RENEW) and changed > policies.direct_change_limit:
            why = f"{changed} changes (policies.direct_change_limit is {policies.direct_change_limit})"
    if why:
        raise Stale(f"plan {plan_id} has no signatures, and {why} needs them: plan again, and have that approved")


def refuse_changed(connection: Connection, institution: Institution, plan_id: UUID) -> None:
    """Raises Stale unless the lines in the database are those that the plan's hash was made of."""
    if hash_of(connection, institution.id, plan_id) != _plan(connection, plan_id).hash:
        raise Stale(_changed(plan_id))


def why_unapproved(connection: Connection, institution: Institution, plan_id: UUID, now: datetime) -> str | None:
    """Why a four-eyes plan may not be applied, or None when it may."""
    plan = _plan(connection, plan_id)
    signed = connection.execute(
        text(
            "select kind, approver, plan_hash, signature, approved_at, expires_at from ledger.approval"
            " where plan_id = :plan and kind in ('signature', 'preparation') order by approval_id"
        ),
        {"plan": plan_id},
    ).all()
    approvals = [one for one in signed if one.kind == KINDS["approver"]]
    preparers = [one for one in signed if one.kind == KINDS["preparer"]]
    why = _best(
        [_why_not_approved(institution, plan, one, preparers, now) for one in approvals], "nobody has approved it"
    )
    if why is None and institution.policies.preparation == "required" and plan.created_by != PIPELINE:
        why = _best([_why_not(institution, plan, one, "preparer") for one in preparers], "no preparer has signed it")
    return why


def _best(reasons: Sequence[str | None], none: str) -> str | None:
    if None in reasons:
        return None
    return "; ".join(reason for reason in reasons if reason) or none


def _why_not_approved(
    institution: Institution, plan: Row[Any], given: Row[Any], preparers: Sequence[Row[Any]], now: datetime
) -> str | None:
    if own := _own(plan, given.approver, {one.approver for one in preparers}):
        return f"{given.approver} may not approve it: {own}"
    if given.approved_at > now + SKEW:
        return f"the approval by {given.approver} is of {given.approved_at.isoformat()}, still to come: see the clocks"
    # A policy that was made stricter holds for what was given before it, too.
    latest = given.approved_at + timedelta(hours=institution.policies.approval_valid_hours)
    expires = min(latest, given.expires_at or latest)
    if expires <= now:
        return f"the approval by {given.approver} expired at {expires.isoformat()}: have it signed again"
    return _why_not(institution, plan, given, "approver")


def _why_not(institution: Institution, plan: Row[Any], given: Row[Any], role: Role) -> str | None:
    try:
        person = _person(institution, given.approver, role)
        if given.plan_hash != plan.hash:
            return f"{given.approver} signed another hash"
        _verify(person, given.signature or "", plan.hash)
    except BadSignature as error:
        return f"the signature of {given.approver} does not hold: {error}"
    except Terminal as error:
        return str(error)
    return None
