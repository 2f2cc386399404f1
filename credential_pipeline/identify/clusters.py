"""Records -> groups that are one person each: the strict rules applied to many, the same whatever the order of rows.

Belongs here: which pairs are compared at all (blocks), and joining groups unless any pair across them is
forbidden. Does not belong here: judging one pair (rules.py), ids and tables (persons.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date
from itertools import chain, combinations
from typing import Generic, TypeVar

from credential_pipeline.identify.names import Name, conflicting_names
from credential_pipeline.identify.rules import STRENGTH, Record, likeness, strict_rule, veto

EVIDENCE_BLOCK = 100
"""An identifier, or an e-mail with a birth date, of more records than this is a placeholder: it proves nothing."""
REVIEW_BLOCK = 20
"""An e-mail, or a name with a birth date, of more records than this would only flood the review."""

CHANGED = "changed_record"
"""Begins the reason of a pair inside one person: a record changed and contradicts the other now."""

PersonT = TypeVar("PersonT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Link:
    """Two records that a strict rule joined; `left` is the smaller source key."""

    rule: str
    left: str
    right: str

    @property
    def rank(self) -> tuple[int, str, str]:
        """Orders links: strongest rule first, then smallest keys."""
        return STRENGTH[self.rule], self.left, self.right


@dataclass(frozen=True)
class Group(Generic[PersonT]):
    """Records of one person, with the persons they belonged to before and the links that joined them."""

    keys: tuple[str, ...]
    persons: frozenset[PersonT]
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Clusters(Generic[PersonT]):
    """Groups that hold a touched record, by smallest key; pairs for a person to look at, with the reason.

    `placeholders` counts the blocks that were too large to be evidence.
    """

    groups: tuple[Group[PersonT], ...]
    doubts: Mapping[tuple[str, str], str]
    placeholders: int


@dataclass
class _Draft:
    """A group in the making, with what a veto needs to know of all its records."""

    members: list[Record]
    identifiers: dict[str, set[str]] = field(default_factory=dict)
    birth_dates: set[date] = field(default_factory=set)
    names: set[Name] = field(default_factory=set)
    links: list[Link] = field(default_factory=list)

    @classmethod
    def of(cls, records: Iterable[Record]) -> _Draft:
        draft = cls(list(records))
        for record in draft.members:
            for kind, value in record.identifiers:
                draft.identifiers.setdefault(kind, set()).add(value)
            if record.birth_date:
                draft.birth_dates.add(record.birth_date)
            if record.name:
                draft.names.add(record.name)
        return draft

    def absorb(self, other: _Draft) -> None:
        self.members += other.members
        for kind, values in other.identifiers.items():
            self.identifiers.setdefault(kind, set()).update(values)
        self.birth_dates |= other.birth_dates
        self.names |= other.names
        self.links += other.links

    def veto(self, other: _Draft, apart: Mapping[str, Collection[str]]) -> str | None:
        """Why the two cannot be one person: any forbidden pair across them is enough."""
        for kind in sorted(self.identifiers.keys() & other.identifiers.keys()):
            if len(self.identifiers[kind] | other.identifiers[kind]) > 1:
                return f"{kind}_differs"
        if self.birth_dates and other.birth_dates and len(self.birth_dates | other.birth_dates) > 1:
            return "birth_date_differs"
        if any(conflicting_names(a, b) for a in self.names for b in other.names):
            return "given_name_differs"
        if apart:
            theirs = {record.source_key for record in other.members}
            if any(not theirs.isdisjoint(apart.get(record.source_key, ())) for record in self.members):
                return "decided_different"
        return None


def cluster(
    records: Iterable[Record],
    *,
    touched: Set[str],
    persons: Mapping[str, PersonT] | None = None,
    apart: Iterable[tuple[str, str]] = (),
) -> Clusters[PersonT]:
    """Group records by the strict rules.

    Args:
        records: all that could matter, in any order, each source key once.
        touched: keys of the records that are new or changed: only pairs with one of them are judged.
        persons: whom known records belong to; records of one person stay together, whatever they say now.
        apart: pairs that a person decided to be different.

    Links are tried strongest rule first, then smallest keys; one that would put a forbidden pair into one group
    is refused and becomes a doubt.
    """
    ordered = sorted(records, key=lambda r: r.source_key)
    belongs = persons or {}
    drafts = _drafts_of_persons(ordered, belongs)
    forbidden: dict[str, set[str]] = {}
    for left, right in apart:
        forbidden.setdefault(left, set()).add(right)
        forbidden.setdefault(right, set()).add(left)

    doubts: dict[tuple[str, str], str] = {}
    evidence = _Pairs(ordered, touched)
    for link, a, b in sorted(_links(evidence), key=lambda found: found[0].rank):
        mine = drafts.get(a.source_key) or _Draft.of([a])
        other = drafts.get(b.source_key) or _Draft.of([b])
        if mine is other:
            continue
        if reason := mine.veto(other, forbidden):
            doubts[link.left, link.right] = f"{link.rule}:{reason}"
            continue
        if len(mine.members) < len(other.members):
            mine, other = other, mine
        mine.absorb(other)
        mine.links.append(link)
        drafts.update((record.source_key, mine) for record in (*other.members, a, b))

    _add_likenesses(doubts, evidence, drafts)
    _add_contradictions(doubts, drafts, frozenset(key for key in touched if key in belongs))
    return Clusters(tuple(_groups(ordered, touched, drafts, belongs)), doubts, evidence.oversized)


def _drafts_of_persons(ordered: Sequence[Record], persons: Mapping[str, PersonT]) -> dict[str, _Draft]:
    together: dict[PersonT, list[Record]] = {}
    for record in ordered:
        if (person := persons.get(record.source_key)) is not None:
            together.setdefault(person, []).append(record)
    drafts: dict[str, _Draft] = {}
    for members in together.values():
        draft = _Draft.of(members)
        drafts.update((record.source_key, draft) for record in members)
    return drafts


def _links(evidence: _Pairs) -> Iterator[tuple[Link, Record, Record]]:
    for a, b in evidence.provable():
        if rule := strict_rule(a, b):
            yield Link(rule, a.source_key, b.source_key), a, b


def _add_likenesses(doubts: dict[tuple[str, str], str], pairs: _Pairs, drafts: Mapping[str, _Draft]) -> None:
    for a, b in pairs.alike():
        draft = drafts.get(a.source_key)
        if draft is not None and draft is drafts.get(b.source_key):
            continue
        key = (a.source_key, b.source_key)
        if key not in doubts and (reason := likeness(a, b)):
            doubts[key] = reason


def _add_contradictions(doubts: dict[tuple[str, str], str], drafts: Mapping[str, _Draft], changed: Set[str]) -> None:
    """A changed record is never moved: where it now contradicts its own person, somebody has to look."""
    for draft in {id(drafts[key]): drafts[key] for key in changed}.values():
        members = sorted(draft.members, key=lambda r: r.source_key)
        for a, b in combinations(members[:EVIDENCE_BLOCK], 2):
            if (a.source_key in changed or b.source_key in changed) and (reason := veto(a, b)):
                doubts[a.source_key, b.source_key] = f"{CHANGED}:{reason}"


def _groups(
    ordered: Sequence[Record],
    touched: Set[str],
    drafts: Mapping[str, _Draft],
    persons: Mapping[str, PersonT],
) -> Iterator[Group[PersonT]]:
    done: set[int] = set()
    for record in ordered:
        draft = drafts.get(record.source_key)
        if draft is None:
            yield Group((record.source_key,), frozenset(), ())
        elif id(draft) not in done:
            done.add(id(draft))
            keys = tuple(sorted(r.source_key for r in draft.members))
            if draft.links or not touched.isdisjoint(keys):
                before = frozenset(persons[key] for key in keys if key in persons)
                yield Group(keys, before, tuple(sorted(draft.links, key=lambda link: link.rank)))


class _Pairs:
    """Pairs of records that share something, each once, smaller key first, with a touched one in each."""

    def __init__(self, ordered: Sequence[Record], touched: Set[str]) -> None:
        self._records = ordered
        self._touched = touched
        self._referred = frozenset(chain.from_iterable(r.refers_to for r in ordered))
        self.oversized = 0

    def provable(self) -> Iterator[tuple[Record, Record]]:
        """Pairs that a strict rule may link."""
        return self._distinct(EVIDENCE_BLOCK, self._identifiers, self._references, _email_and_birth_date)

    def alike(self) -> Iterator[tuple[Record, Record]]:
        """Pairs that may be worth a look."""
        return self._distinct(REVIEW_BLOCK, self._identifiers, self._references, _email, _name_and_birth_date)

    def _identifiers(self, record: Record) -> Iterable[Hashable]:
        return record.identifiers

    def _references(self, record: Record) -> Iterable[Hashable]:
        if record.source_key in self._referred:
            return (record.source_key, *record.refers_to)
        return record.refers_to

    def _distinct(
        self, limit: int, *blockings: Callable[[Record], Iterable[Hashable]]
    ) -> Iterator[tuple[Record, Record]]:
        seen: set[tuple[str, str]] = set()
        for blocking in blockings:  # one after another: a million records in one dictionary at a time
            for block in self._blocks(blocking):
                if len(block) > limit:
                    self.oversized += limit == EVIDENCE_BLOCK
                    continue
                for a, b in combinations(block, 2):
                    key = (a.source_key, b.source_key)
                    if key not in seen and (key[0] in self._touched or key[1] in self._touched):
                        seen.add(key)
                        yield a, b

    def _blocks(self, blocking: Callable[[Record], Iterable[Hashable]]) -> Iterator[list[Record]]:
        first: dict[Hashable, Record] = {}
        blocks: dict[Hashable, list[Record]] = {}
        for record in self._records:
            for key in blocking(record):
                if (one := first.setdefault(key, record)) is not record:
                    blocks.setdefault(key, [one]).append(record)
        yield from blocks.values()


def _email(record: Record) -> Iterable[Hashable]:
    return (record.email,) if record.email else ()


def _email_and_birth_date(record: Record) -> Iterable[Hashable]:
    return ((record.email, record.birth_date),) if record.email and record.birth_date else ()


def _name_and_birth_date(record: Record) -> Iterable[Hashable]:
    return ((record.name.letters, record.birth_date),) if record.name and record.birth_date else ()
