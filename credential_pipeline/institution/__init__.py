"""An institution: the directory that configures everything, as types.

Belongs here: what an adopter may write and what it means, with the errors they get. Does not belong here: the
environment (settings.py), secrets (never in the directory), and acting on any of it (the stages).
"""

from __future__ import annotations

import re
from datetime import date
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator, model_validator

from credential_pipeline.institution.base import HttpsUrl, Model, Slug, Text
from credential_pipeline.institution.catalogue import Catalogue, Occurrence
from credential_pipeline.institution.sources import DatasetOfSource, Source

HashedIdentifierType = Literal[
    "sourcedId", "systemId", "productId", "userName", "accountId", "emailAddress", "nationalIdentityNumber", "lisSourcedId",
    "oneRosterSourcedId", "sisSourcedId", "ltiUserId", "identifier",
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
    status_ttl_minutes: int = Field(default=60, gt=0)
    status_valid_days: int = Field(default=7, gt=0)
    state_valid_days: int = Field(default=30, gt=0)


class Person(Model):
    """Somebody who prepares or approves plans, with the SSH Ed25519 public key their signature is checked with."""

    id: Slug
    name: Text
    roles: tuple[Literal["preparer", "approver"], ...] = Field(min_length=1)
    ssh_public_key: Annotated[str, Field(pattern=r"^ssh-ed25519 [A-Za-z0-9+/=]+( .*)?$")]


class Mail(Model):
    """The sender of notifications."""

    sender: Text


class Targets(Model):
    """Where objects are published: a folder below the home (`site`), or `s3://BUCKET/PREFIX`."""

    site: Annotated[str, Field(pattern=r"^(s3://[a-z0-9.-]+(/[A-Za-z0-9._-]+)*|[A-Za-z0-9._-]+)$")] = "site"


class Institution(Model):
    """institution.yaml and catalogue/*.yaml, typed and checked with each other."""

    id: Slug
    sample: bool = False
    issuer: Issuer
    base_url: HttpsUrl
    did: Annotated[str, Field(pattern=r"^did:web:[A-Za-z0-9._:%-]+$")] | None = None
    time_zone: Text
    history_from: date
    data: Text = "data"
    recipient: Recipient
    policies: Policies = Policies()
    people: tuple[Person, ...] = ()
    mail: Mail | None = None
    targets: Targets = Targets()
    sources: tuple[Source, ...] = Field(min_length=1)
    catalogue: Catalogue

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"no such time zone: {value}; write a name of the IANA database, such as Europe/London")
        return value

    @model_validator(mode="after")
    def _parts_fit(self) -> Institution:
        self._check_did()
        self._check_datasets()
        self._check_rules()
        sources = {source.id for source in self.sources}
        for identifier in self.recipient.identifiers:
            if identifier.source != "email" and identifier.source not in sources:
                raise ValueError(f"recipient identifier from: {identifier.source} is neither email nor a source")
        return self

    def _check_did(self) -> None:
        if self.did and self.did != did_web(self.base_url):
            raise ValueError(f"did must be {did_web(self.base_url)}: the did document is published below base_url")

    def _check_datasets(self) -> None:
        if len({s.id for s in self.sources}) != len(self.sources):
            raise ValueError("two sources have the same id")
        named = {d.name: d for s in self.sources for d in _datasets(s)}
        for dataset in named.values():
            for needed in dataset.needs:
                if needed not in named:
                    raise ValueError(f"dataset {dataset.name} needs {needed}, which no source has")
        try:
            tuple(TopologicalSorter({name: d.needs for name, d in named.items()}).static_order())
        except CycleError as error:
            raise ValueError(f"datasets need each other in a circle: {' -> '.join(error.args[1])}") from error

    def _check_rules(self) -> None:
        named = {d.name: d.dataset for s in self.sources for d in _datasets(s)}
        for achievement in self.catalogue.achievements.values():
            for rule in achievement.earned_by:
                dataset = named.get(rule.dataset)
                if dataset is None or dataset.role != "evidence":
                    raise ValueError(f"achievement {achievement.id}: {rule.dataset} is not a dataset of evidence")
                per = {achievement.occurrence.per} if isinstance(achievement.occurrence, Occurrence) else set()
                used = {*rule.where, rule.awarded_on, *(r.field for r in achievement.results), *per}
                if unknown := used - set(dataset.fields):
                    raise ValueError(
                        f"achievement {achievement.id}: {rule.dataset} has no field {', '.join(sorted(unknown))}"
                    )

    @property
    def issuer_did(self) -> str:
        """did:web of the issuer, derived from base_url."""
        return did_web(self.base_url)

    @property
    def zone(self) -> ZoneInfo:
        """The institution's time zone."""
        return ZoneInfo(self.time_zone)

    @cached_property
    def datasets(self) -> tuple[DatasetOfSource, ...]:
        """All datasets, each after those it needs; otherwise in the order of the file."""
        named = {d.name: d for s in self.sources for d in _datasets(s)}
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


def _datasets(source: Source) -> tuple[DatasetOfSource, ...]:
    return tuple(DatasetOfSource(source=source, dataset=dataset) for dataset in source.datasets)


def did_web(base_url: str) -> str:
    """The did:web whose document is published below a base URL (did:web method, 3.1 Create)."""
    parts = urlsplit(base_url)
    host = quote(parts.netloc, safe="")
    path = [quote(segment, safe="") for segment in parts.path.split("/") if segment]
    return ":".join(["did:web", host, *path])


def is_slug(value: str) -> bool:
    """Whether a text may be an id."""
    return re.fullmatch(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", value) is not None
