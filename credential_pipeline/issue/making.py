"""Lines of a plan -> credentials: composed, signed, checked and encoded as rows; whole chunks, here or in a worker.

Sign, then check, then record. Belongs here: what is done with the lines of a chunk that needs no database, and what a
worker has to be told for it. Does not belong here: recording (issuing.py), what a document says (compose.py).
"""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from operator import itemgetter
from typing import Any
from uuid import UUID

import orjson

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.canonical import rdfc, rdfc_second_opinion
from credential_pipeline.credential.document import CredentialFacts
from credential_pipeline.credential.in_flight import in_flight, together
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.many import ManySigner, signer_of_many
from credential_pipeline.credential.multikey import decode_ed25519_public
from credential_pipeline.credential.proof import ProofError, verify_proof
from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Catalogue
from credential_pipeline.issue.compose import CheckError, Composer, CreateLine, Versioned, compare
from credential_pipeline.issue.status_places import StatusBlock
from credential_pipeline.store import binary_copy as encode
from credential_pipeline.store.document_form import Dictionary, DocumentWriter

FULLY_VERIFIED_SHARE = 0.001
FULLY_VERIFIED_LEAST = 4

LINE = (
    "ordinal", "award_id", "credential_id", "cause", "person_id", "achievement", "facts", "status_ordinal", "prior_id",
)  # fmt: skip
"""What a line is, as a JSON array: a chunk is an array of these."""
_ACHIEVEMENT = itemgetter(LINE.index("achievement"))

CREDENTIAL = (
    "credential_id", "award_id", "cause", "public_id", "id_secret_version", "salt_secret_version", "person_id",
    "achievement", "plan_id", "ordinal", "key_id", "list_number", "status_index", "as_of", "awarded_on",
    "valid_until", "document", "document_form", "document_sha256", "run_id",
)  # fmt: skip
STATE = ("credential_id", "state")
EVENT = ("credential_id", "seq", "kind", "actor", "run_id")
MESSAGE = ("message_id", "kind", "credential_id", "person_id")


@dataclass
class Signing:
    """A key at an instant, and what it remembers of the credentials it signed: kept from chunk to chunk.

    `seen`: the kinds of credentials of which one was verified in full.
    """

    signer: Signer
    many: ManySigner
    seen: set[tuple[object, ...]] = field(default_factory=set)

    @classmethod
    def at(cls, signer: Signer, as_of: datetime) -> Signing:
        """A signing that has seen nothing yet."""
        signer = in_flight(signer)
        return cls(signer, signer_of_many(signer, as_of))


@dataclass(frozen=True)
class Making:
    """What making the credentials of a plan takes beside its lines; equal ones make equal bytes.

    Attributes:
        institution: the issuer, and how it shows its persons.
        catalogue: as it was when the plan was made.
        ids, salts: the current secrets, with their versions.
        status: the secrets of status lists, by version.
        blocks: where its lines stand in status lists, by purpose.
        key_id, public_key_multibase: the key that signs.
        dictionaries: of achievements, for the form in which documents are kept.
        policy: `sample`, or `all` credentials are verified in full.
    """

    institution: Institution
    catalogue: Catalogue
    plan_id: UUID
    plan_hash: bytes
    as_of: datetime
    run_id: str
    ids: Versioned = field(repr=False)
    salts: Versioned = field(repr=False)
    status: Mapping[int, bytes] = field(repr=False)
    blocks: Mapping[str, StatusBlock]
    key_id: str
    public_key_multibase: str
    dictionaries: Mapping[str, Dictionary]
    policy: str


@dataclass(frozen=True)
class MakingElsewhere:
    """The same for a worker; `signer` opens there what signs here. Holds secrets: through a pipe, no further."""

    making: Making = field(repr=False)
    signer: Callable[[], Signer] = field(repr=False)

    def open(self) -> Callable[[bytes], Made]:
        """What makes a chunk of it."""
        maker = Maker(self.making, Signing.at(self.signer(), self.making.as_of))
        return maker.make


def opener_of(signer: Signer) -> Callable[[], Signer] | None:
    """What opens a signer in a worker; None where only this process can sign with it.

    A signer that can be opened elsewhere has a method `opener()` that returns a picklable callable.
    """
    opener = getattr(signer, "opener", None)
    found: Callable[[], Signer] | None = opener() if opener is not None else None
    return found


@dataclass(frozen=True)
class Rows:
    """Encoded rows of a table, back to back, and the length of each."""

    data: bytes
    lengths: array[int]

    @classmethod
    def of(cls, rows: Sequence[bytes]) -> Rows:
        """These rows."""
        return cls(b"".join(rows), array("I", map(len, rows)))

    def without(self, positions: frozenset[int]) -> Rows:
        """All rows but some."""
        kept, start = [], 0
        for position, length in enumerate(self.lengths):
            if position not in positions:
                kept.append(self.data[start : start + length])
            start += length
        return Rows.of(kept)


@dataclass(frozen=True)
class Made:
    """A chunk ready to be recorded: of each line, in order, a row of each table, and the version it replaces."""

    ordinals: Sequence[int]
    credentials: Rows
    states: Rows
    events: Rows
    messages: Rows
    supersedes: Mapping[int, tuple[UUID, UUID]]
    """Position -> (the credential before, this one)."""

    def without(self, ordinals: frozenset[int]) -> Made:
        """What is left when some lines are not to be carried out."""
        gone = frozenset(n for n, ordinal in enumerate(self.ordinals) if ordinal in ordinals)
        if not gone:
            return self
        return Made(
            [ordinal for ordinal in self.ordinals if ordinal not in ordinals],
            self.credentials.without(gone),
            self.states.without(gone),
            self.events.without(gone),
            self.messages.without(gone),
            {n: pair for n, pair in self.supersedes.items() if n not in gone},
        )


class Maker:
    """Makes the credentials of one plan; what they share is worked out once. One thread."""

    def __init__(self, making: Making, signing: Signing) -> None:
        self.making = making
        self.signing = signing
        self.composer = Composer(
            making.institution, making.catalogue.achievements, making.as_of, making.ids, making.salts
        )
        self._purposes = {name: one.status_purpose for name, one in making.catalogue.achievements.items()}
        self._encoder = Encoder(making, DocumentWriter(making.dictionaries))

    def make(self, chunk: bytes, without: frozenset[int] = frozenset()) -> Made:
        """Sign and check the credentials of a chunk (a JSON array of LINE), and encode their rows.

        `without`: ordinals of lines that are passed over; not all of them.

        Raises:
            CheckError: a signed document is not what was planned; nothing may be recorded.
        """
        planned = [values for values in orjson.loads(chunk) if values[0] not in without]
        # One achievement after the other: its shape and dictionary stay in the processor's cache (20 of them do not).
        planned.sort(key=_ACHIEVEMENT)
        lines = [self._line(*values) for values in planned]
        names = [self.composer.public_id(line.credential_id) for line in lines]
        facts = [self.composer.facts(line, name) for line, name in zip(lines, names, strict=True)]
        signed = together(self.signing.signer, lambda: self.signing.many.credentials(facts))
        check(self, lines, facts, signed)
        return self._encoder.made(lines, names, facts, signed)

    def _line(
        self,
        ordinal: int,
        award: str,
        credential: str,
        cause: str,
        person: str,
        achievement: str,
        facts: Mapping[str, Any],
        status_ordinal: int,
        prior: str | None,
    ) -> CreateLine:
        place = self.making.blocks[self._purposes[achievement]].place
        number, index = place(status_ordinal, self.making.status.__getitem__)
        return CreateLine(
            ordinal, UUID(award), UUID(credential), cause, UUID(person), achievement, facts, number, index,
            UUID(prior) if prior else None,
        )  # fmt: skip


def check(maker: Maker, lines: Sequence[CreateLine], facts: Sequence[CredentialFacts], signed: Sequence[bytes]) -> None:
    """Read every document back and compare it with its line; verify in full the first of each kind, and a sample.

    In full: both proofs by the reference, and the canonical form by two implementations of RDFC-1.0.
    """
    signing, making = maker.signing, maker.making
    public_key = decode_ed25519_public(signing.signer.public_key_multibase)
    full = set(range(len(lines))) if making.policy == "all" else _sample(making.plan_hash, lines)
    for position, (line, planned, data) in enumerate(zip(lines, facts, signed, strict=True)):
        document = orjson.loads(data)
        compare(document, line, planned)
        kind = _kind(line)
        if position in full or kind not in signing.seen:
            _verify(document, line, public_key)
            signing.seen.add(kind)


def _verify(document: Mapping[str, Any], line: CreateLine, public_key: bytes) -> None:
    unsecured = {member: value for member, value in document.items() if member != "proof"}
    try:
        # By the reference: a second look by the same eyes would be none.
        for proof in document["proof"]:
            verify_proof(dict(document), proof, public_key)
    except ProofError as error:
        raise CheckError(f"credential {line.credential_id}: {error}; nothing of this chunk was recorded") from error
    if rdfc(unsecured) != rdfc_second_opinion(unsecured):
        raise CheckError(
            f"credential {line.credential_id}: two implementations of RDFC-1.0 disagree about it; nothing of this "
            "chunk was recorded. Look for unusual characters in its achievement or its results"
        )


def _kind(line: CreateLine) -> tuple[object, ...]:
    """What gives a credential its shape: its achievement, and which members it has."""
    facts = line.facts
    once, results = facts["occurrence"] == "once", facts.get("results")
    return (line.achievement, once, *facts, len(facts["identifiers"]), results and len(results))


def _sample(plan_hash: bytes, lines: Sequence[CreateLine]) -> set[int]:
    size = min(len(lines), max(FULLY_VERIFIED_LEAST, round(len(lines) * FULLY_VERIFIED_SHARE)))
    # Seeded by the plan: a repeated run checks the same ones, and nobody can choose which.
    seed = plan_hash + lines[0].credential_id.bytes
    return set(random.Random(seed).sample(range(len(lines)), size))  # noqa: S311 - not a secret


class Encoder:
    """Rows of the four tables that a new credential is in; all that the credentials of a plan share is encoded once."""

    def __init__(self, making: Making, documents: DocumentWriter) -> None:
        self._store = documents.store
        self._start = encode.row(len(CREDENTIAL)) + encode.UUID_LENGTH
        self._secrets = encode.integer(making.ids.version) + encode.integer(making.salts.version) + encode.UUID_LENGTH
        self._plan = encode.raw(making.plan_id.bytes)
        self._key = encode.text(making.key_id)
        self._as_of = encode.instant(making.as_of)
        run = encode.text(making.run_id)
        self._end = run
        self._state = (encode.row(len(STATE)) + encode.UUID_LENGTH, encode.text("current"))
        self._event = (
            encode.row(len(EVENT)) + encode.UUID_LENGTH,
            encode.integer(1) + encode.text("issued") + encode.text("pipeline") + run,
        )
        self._message = (encode.row(len(MESSAGE)) + encode.UUID_LENGTH, encode.text("issued") + encode.UUID_LENGTH)
        self._texts: dict[str, bytes] = {}
        self._days: dict[date, bytes] = {}
        self._ends: dict[datetime | None, bytes] = {None: encode.NULL}

    def made(
        self,
        lines: Sequence[CreateLine],
        names: Sequence[str],
        facts: Sequence[CredentialFacts],
        signed: Sequence[bytes],
    ) -> Made:
        """The rows of these lines, whose public ids are `names` and whose documents say `facts`."""
        ids = [line.credential_id.bytes for line in lines]
        states, events, messages = self._state, self._event, self._message
        told = [identifiers.message_id(line.credential_id, "issued").bytes for line in lines]
        persons = [line.person_id.bytes for line in lines]
        return Made(
            [line.ordinal for line in lines],
            Rows.of([self._credential(*each) for each in zip(lines, names, facts, signed, strict=True)]),
            Rows.of([states[0] + one + states[1] for one in ids]),
            Rows.of([events[0] + one + events[1] for one in ids]),
            Rows.of(
                [
                    messages[0] + message + messages[1] + one + encode.UUID_LENGTH + person
                    for message, one, person in zip(told, ids, persons, strict=True)
                ]
            ),
            {n: (line.prior_id, line.credential_id) for n, line in enumerate(lines) if line.prior_id is not None},
        )

    def _credential(self, line: CreateLine, name: str, facts: CredentialFacts, data: bytes) -> bytes:
        form, stored = self._store(line.achievement, data)
        return b"".join(
            (
                self._start,
                line.credential_id.bytes,
                encode.UUID_LENGTH,
                line.award_id.bytes,
                self._text(line.cause),
                encode.text(name),
                self._secrets,
                line.person_id.bytes,
                self._text(line.achievement),
                self._plan,
                encode.integer(line.ordinal),
                self._key,
                encode.integer(line.list_number),
                encode.integer(line.status_index),
                self._as_of,
                self._day(facts.awarded_on),
                self._instant(facts.valid_until),
                encode.raw(stored),
                self._text(form),
                encode.SHA256_LENGTH,
                hashlib.sha256(data).digest(),
                self._end,
            )
        )

    def _text(self, value: str) -> bytes:
        found = self._texts.get(value)
        if found is None:
            found = self._texts[value] = encode.text(value)
        return found

    def _day(self, value: date) -> bytes:
        found = self._days.get(value)
        if found is None:
            found = self._days[value] = encode.day(value)
        return found

    def _instant(self, value: datetime | None) -> bytes:
        found = self._ends.get(value)
        if found is None and value is not None:
            found = self._ends[value] = encode.instant(value)
        return found or encode.NULL
