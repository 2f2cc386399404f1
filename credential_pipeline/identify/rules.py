"""When two source records are one person: strict rules, what forbids it, and what only looks like it.

Belongs here: judgements about two records, from equality alone. Does not belong here: groups of more than two
(clusters.py) and the database (persons.py). A wrong link gives somebody another's credential; a missing one
costs a look by a person: so only what is proved is linked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from credential_pipeline.identify.names import (
    Name,
    compatible_names,
    conflicting_names,
    same_given_name,
    same_name,
)

FIRST_SIGHT = "first_sight"
CROSS_REFERENCE = "cross_reference"
SHARED_IDENTIFIER = "shared_identifier"
EMAIL_NAME_BIRTH_DATE = "email_name_birth_date"
CHANGED_SURNAME = "given_name_birth_date"

STRENGTH = {CROSS_REFERENCE: 0, SHARED_IDENTIFIER: 1, EMAIL_NAME_BIRTH_DATE: 2, CHANGED_SURNAME: 3}
"""The strict rules, strongest first: where two links exclude each other, the stronger one is made."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the rules see of a source record.

    Attributes:
        source_key: `SOURCE:KEY`.
        name: in comparable words; empty when not known.
        email: case-folded.
        birth_date: None when not known, and when it is a placeholder.
        identifiers: comparable value by type; a person has at most one of a type.
        refers_to: source keys that this record says are the same person.
    """

    source_key: str
    name: Name = field(default_factory=Name)
    email: str | None = None
    birth_date: date | None = None
    identifiers: tuple[tuple[str, str], ...] = ()
    refers_to: frozenset[str] = frozenset()

    @property
    def bare(self) -> bool:
        """Known by its key alone: from evidence of a source that has no people dataset."""
        return not (self.name or self.email or self.birth_date or self.identifiers)


def known_birth_date(value: date | None) -> date | None:
    """A birth date, but None for 1 January: written for an unknown birthday, it neither proves nor forbids."""
    return None if value is None or (value.month, value.day) == (1, 1) else value


def comparable_identifier(value: str) -> str:
    """An identifier without case, spaces and punctuation; empty when nothing is left."""
    return "".join(c for c in value.casefold() if c.isalnum())


def strict_rule(a: Record, b: Record) -> str | None:
    """The strongest strict rule that finds two records to be one person, or None. Vetoes are not looked at.

    (a) `cross_reference` or `shared_identifier`, with compatible names; a bare record that is referred to has
    no name that could disagree. (b) `email_name_birth_date`: all three equal. (c) `given_name_birth_date`: both
    equal, and an identifier, a reference or the e-mail: the surname changed.
    """
    shared = _shared(a, b)
    if shared and compatible_names(a.name, b.name):
        return shared
    if shared == CROSS_REFERENCE and (a.bare or b.bare):
        return shared
    if a.birth_date is None or a.birth_date != b.birth_date:
        return None
    mail = a.email is not None and a.email == b.email
    if mail and same_name(a.name, b.name):
        return EMAIL_NAME_BIRTH_DATE
    if (mail or shared) and same_given_name(a.name, b.name):
        return CHANGED_SURNAME
    return None


def _shared(a: Record, b: Record) -> str | None:
    if a.source_key in b.refers_to or b.source_key in a.refers_to or a.refers_to & b.refers_to:
        return CROSS_REFERENCE
    return SHARED_IDENTIFIER if set(a.identifiers) & set(b.identifiers) else None


def veto(a: Record, b: Record) -> str | None:
    """Why two records cannot be one person: `TYPE_differs`, `birth_date_differs`, `given_name_differs`; else None."""
    theirs = dict(b.identifiers)
    for kind, value in a.identifiers:
        if theirs.get(kind, value) != value:
            return f"{kind}_differs"
    if a.birth_date and b.birth_date and a.birth_date != b.birth_date:
        return "birth_date_differs"
    return "given_name_differs" if conflicting_names(a.name, b.name) else None


def likeness(a: Record, b: Record) -> str | None:
    """Why a person should look at two records that no rule has linked; None when there is no reason.

    An identifier or a reference in common is one whatever else differs: one of the two records is wrong. The
    weaker reasons need a pair that nothing forbids.
    """
    if shared := _shared(a, b):
        return f"{shared}:{veto(a, b) or 'name_unproven'}"
    if veto(a, b):
        return None
    if a.email is not None and a.email == b.email:
        alike = compatible_names(a.name, b.name) or same_given_name(a.name, b.name)
        return "same_email_and_name" if alike else None
    if a.birth_date and a.birth_date == b.birth_date and same_name(a.name, b.name):
        return "same_name_and_birth_date"
    return None
