"""An institution: the directory that configures everything, as types.

Belongs here: what an adopter may write and what it means, with the errors they get. Does not belong here: the
environment (settings.py), secrets (never in the directory), and acting on any of it (the stages).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import date
from functools import cached_property
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator, model_validator

from credential_pipeline.institution.base import HttpsUrl, Misfit, Model, Slug, Text, refuse, suggest
from credential_pipeline.institution.catalogue import Catalogue
from credential_pipeline.institution.fit import misfits_of_rules, misfits_of_sources, named_datasets, repeated
from credential_pipeline.institution.sources import DatasetOfSource, Source

HashedIdentifierType = Literal[
    "sourcedId", "systemId", "productId", "userName", "accountId", "emailAddress", "nationalIdentityNumber",
    "lisSourcedId", "oneRosterSourcedId", "sisSourcedId", "ltiUserId", "identifier",
]  # fmt: skip


class Issuer(Model):
    """Who issues, as the credential's Profile says it (Open Badges 3.0 B.1.18)."""

    name: Text
    url: HttpsUrl
    email: Text | None = None
    description: Text | None = None


class RecipientIdentifier(Model):
    """A hashed identifier in the credential: `from: email`, or the id of the source whose key it is."""

    type: HashedIdentifierType
    source: Text = Field(alias="from")


class Recipient(Model):
    """How a credential says whom it is for. At least one identifier has to exist, else the award is held."""

    name: Literal["shown", "omitted"] = "shown"
    identifiers: tuple[RecipientIdentifier, ...] = Field(min_length=1)


class Policies(Model):
    """Choices with a default; docs/operating.md says what each costs."""

    verify: Literal["sample", "all"] = "sample"
    forms: Literal["json", "json_and_jwt"] = "json"
    status_ttl_minutes: int = Field(default=60, gt=0)
    status_valid_days: int = Field(default=7, gt=0)
    state_valid_days: int = Field(default=30, gt=0)
    renewal_approval: Literal["achievement", "window"] = "achievement"
    campaign_approval: Literal["four_eyes", "actor"] = "four_eyes"
    direct_change_limit: int = Field(default=100, ge=0)
    approval_valid_hours: int = Field(default=72, gt=0)
    preparation: Literal["optional", "required"] = "optional"
    hold_first_use: bool = False
    hold_contradicting_rows: bool = False
    hold_awards_above: int | None = Field(default=None, gt=0)
    hold_score_beyond: float | None = Field(default=None, gt=0)
    hold_volume_above: float | None = Field(default=None, gt=0)


ED25519_WIRE = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
"""How an Ed25519 public key begins on the wire (RFC 8709, 4)."""


def _wire(line: str) -> bytes:
    try:
        return base64.b64decode(line.split()[1], validate=True)
    except (binascii.Error, IndexError):
        return b""


class Person(Model):
    """Somebody who prepares or approves plans, with the SSH Ed25519 public key their signature is checked with."""

    id: Slug
    name: Text
    roles: tuple[Literal["preparer", "approver"], ...] = Field(min_length=1)
    ssh_public_key: Annotated[
        str,
        Field(
            pattern=r"^ssh-ed25519 [A-Za-z0-9+/=]+( .*)?$",
            description="the public key (id_ed25519.pub) in one line: ssh-ed25519 AAAA... COMMENT",
        ),
    ]

    @field_validator("ssh_public_key")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        if len(_wire(value)) != len(ED25519_WIRE) + 32 or not _wire(value).startswith(ED25519_WIRE):
            raise ValueError("is no Ed25519 public key; copy the one line of the .pub file whole")
        return value


class Mail(Model):
    """The sender of notifications."""

    sender: Text


class Targets(Model):
    """Where objects are published: a folder below the home (`site`), `file:///FOLDER` or `s3://BUCKET/PREFIX`."""

    site: Annotated[
        str,
        Field(
            pattern=r"^(s3://[a-z0-9.-]+(/[A-Za-z0-9._-]+)*|file:///[^?#]+|[A-Za-z0-9._-]+)$",
            description="the name of a folder, file:///FOLDER or s3://BUCKET/PREFIX",
        ),
    ] = "site"


class KmsOptions(Model):
    """How AWS KMS is called, where a signing key is there; which one, `key rotate --kms` says."""

    requests_per_second: int = Field(default=250, gt=0, le=100_000)
    calls_in_flight: int = Field(default=16, gt=0, le=64)
    endpoint_url: (
        Annotated[
            str,
            Field(
                pattern=r"^(https://[^\s/@]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?)/?$",
                description="an https:// address without a path; http:// for this machine only",
            ),
        ]
        | None
    ) = None


class InstitutionFile(Model):
    """institution.yaml: everything but the catalogue."""

    id: Slug
    sample: bool = False
    issuer: Issuer
    base_url: HttpsUrl
    did: Annotated[str, Field(pattern=r"^did:web:[A-Za-z0-9._:%-]+$", description="did:web:HOST")] | None = None
    time_zone: Text
    history_from: date
    data: Text = "data"
    recipient: Recipient
    policies: Policies = Policies()
    people: tuple[Person, ...] = ()
    mail: Mail | None = None
    targets: Targets = Targets()
    kms: KmsOptions = KmsOptions()
    sources: tuple[Source, ...] = Field(min_length=1)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("no such time zone; write a name of the IANA database, such as Europe/London")
        return value

    @model_validator(mode="after")
    def _parts_fit(self) -> InstitutionFile:
        refuse((*self._misfits(), *misfits_of_sources(self.sources)))
        return self

    def _misfits(self) -> Iterator[Misfit]:
        parts = urlsplit(self.base_url)
        if parts.query or parts.fragment:
            yield Misfit(
                ("base_url",), "base_url has a query or a fragment", "everything is published below it: cut them"
            )
        elif self.did and self.did != did_web(self.base_url):
            what = "did is not the one that is published below base_url"
            yield Misfit(("did",), what, f"write {did_web(self.base_url)}, or take it out")
        known = {"email", *(source.id for source in self.sources)}
        for i, identifier in enumerate(self.recipient.identifiers):
            if identifier.source not in known:
                what = f"recipient identifier from: {identifier.source} is neither email nor a source"
                remedy = suggest(identifier.source, known, otherwise="write one of")
                yield Misfit(("recipient", "identifiers", i, "from"), what, remedy)
        yield from repeated([person.id for person in self.people], ("people",), "person")
        keys = [_wire(person.ssh_public_key) for person in self.people]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                what = f"the key of {self.people[keys.index(key)].id}: whoever has it could sign as two people"
                yield Misfit(("people", i, "ssh_public_key"), what, "give everybody a key of their own")

    @property
    def issuer_did(self) -> str:
        """did:web of the issuer, derived from base_url."""
        return did_web(self.base_url)

    @property
    def zone(self) -> ZoneInfo:
        """The institution's time zone."""
        return ZoneInfo(self.time_zone)


class Institution(InstitutionFile):
    """institution.yaml and catalogue/*.yaml, typed and checked with each other."""

    catalogue: Catalogue

    @model_validator(mode="after")
    def _rules_fit(self) -> Institution:
        refuse(misfits_of_rules(self.sources, self.catalogue))
        return self

    @cached_property
    def datasets(self) -> tuple[DatasetOfSource, ...]:
        """All datasets, each after those it needs; otherwise in the order of the file."""
        named = named_datasets(self.sources)
        ordered: dict[str, DatasetOfSource] = {}

        def add(name: str) -> None:
            if name not in ordered:
                for needed in named[name].needs:
                    add(needed)
                ordered[name] = named[name]

        for name in named:
            add(name)
        return tuple(ordered.values())

    def datasets_of(self, role: Literal["people", "evidence", "reference"]) -> tuple[DatasetOfSource, ...]:
        """The datasets of one role."""
        return tuple(d for d in self.datasets if d.dataset.role == role)


def did_web(base_url: str) -> str:
    """The did:web whose document is published below a base URL (did:web method, 3.1 Create)."""
    parts = urlsplit(base_url)
    host = quote(parts.netloc, safe="")
    path = [quote(segment, safe="") for segment in parts.path.split("/") if segment]
    return ":".join(["did:web", host, *path])


def is_slug(value: str) -> bool:
    """Whether a text may be an id."""
    return re.fullmatch(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", value) is not None
