"""Facts -> the slots of a shape, without a document in between: what the builder does 60 us a credential for.

Belongs here: which facts go where, and the checks of document.py that concern one credential. Does not belong here:
what issuer and achievement share; a document was built of them once. What is not plainly right goes to the builder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from credential_pipeline.credential.achievement import Achievement, Issuer, ResultDescription, honors_description
from credential_pipeline.credential.compiled import OtherShape, Shape, TakesReference, Values, is_plain
from credential_pipeline.credential.document import (
    CredentialFacts,
    Result,
    identity_hash,
    refuse_outside,
)
from credential_pipeline.credential.text import credit_number, instant, midnight, text

_MOST = 4096

# Less than text.url takes: nothing here needs a second look.
_URL = re.compile(r"https?://[A-Za-z0-9._~:@\[\]-]+(/[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*)?\Z")


class UnknownFacts(TakesReference):
    """No document was built of facts like these."""


@dataclass(slots=True)
class _Variant:
    """Credentials of one issuer and one achievement with the same members."""

    issuer: Issuer
    achievement: Achievement
    shape: Shape
    described: dict[str, ResultDescription]
    honors: str
    fine: set[tuple[str | None, str]] = field(default_factory=set)
    """Results that their descriptions take."""


class KnownFacts:
    """Variants that were met, and texts of instants: one batch, one thread."""

    def __init__(self, limit: int = 2000) -> None:
        self._limit = limit
        self._variants: dict[Any, _Variant] = {}
        self._instants: dict[datetime, str] = {}
        self._days: dict[date, str] = {}
        self._credits: dict[tuple[type, Any], float] = {}

    def values(self, facts: CredentialFacts) -> tuple[Shape, Values]:
        """The slots of `open_badge_credential(facts)`. Raises TakesReference: build the document."""
        try:
            variant = self._variants.get(_look(facts))
            # The identity of frozen objects stands for all that they hold.
            if variant is None or variant.issuer is not facts.issuer or variant.achievement is not facts.achievement:
                raise UnknownFacts("facts of an unknown kind")
            strings = self._strings(facts, variant)
            numbers = [] if facts.credits_earned is None else [self._credit(facts.credits_earned)]
            return variant.shape, variant.shape.filled(strings, numbers)
        except (ValueError, TypeError, AttributeError, OverflowError) as cause:
            raise TakesReference(f"the builder will say: {cause}") from cause

    def learn(self, facts: CredentialFacts, document: dict[str, Any], shape: Shape) -> None:
        """Remembers that facts like these make documents of `shape`."""
        try:
            expected = shape.strings(document)
            variant = _Variant(
                facts.issuer,
                facts.achievement,
                shape,
                {x.id: x for x in facts.achievement.result_descriptions},
                honors_description(facts.achievement.id).id,
            )
            if self._strings(facts, variant) != expected:
                return
            key = _look(facts)
            hash(key)
        except (OtherShape, TakesReference, ValueError, TypeError, AttributeError, OverflowError):
            return
        if len(self._variants) >= self._limit:
            del self._variants[next(iter(self._variants))]
        self._variants[key] = variant

    def _strings(self, facts: CredentialFacts, variant: _Variant) -> list[str]:
        """In the order in which a walk from the top of the document meets them."""
        status = facts.status
        if not (_URL.match(facts.url) and _URL.match(status.list_url) and _URL.match(facts.refresh_url)):
            raise TakesReference("a URL that is none, or has characters beyond ASCII")
        free: list[str] = []
        strings = [facts.url, self._instant(facts.as_of), self._day(facts.awarded_on)]
        if strings[2] > strings[1]:
            raise TakesReference("awarded after as_of")
        if facts.valid_until is not None:
            strings.append(self._instant(facts.valid_until))
            if facts.valid_until <= facts.as_of:
                raise TakesReference("valid until before as_of")
        if facts.term is not None:
            free.append(_text(facts.term))
            strings.append(facts.term)
        _identify(strings, free, facts)
        self._results(strings, facts, variant)
        if not is_plain("".join(free)):
            raise TakesReference("text that needs escapes")
        if type(status.index) is not int or status.index < 0:
            raise TakesReference("an index that is no natural number")
        index = str(status.index)
        strings += (f"{status.list_url}#{index}", status.purpose, index, status.list_url, facts.refresh_url)
        return strings

    def _results(self, strings: list[str], facts: CredentialFacts, variant: _Variant) -> None:
        results = (*facts.results, *[Result(honor, variant.honors) for honor in facts.honors])
        seen = set()
        for result in results:
            key = (result.result_description, result.value)
            if key not in variant.fine:
                self._judge(result, variant)
            seen.add((*key, result.status, result.achieved_level))
            strings.append(result.value)
            if result.result_description is not None:
                strings.append(result.result_description)
            if result.status is not None:
                strings.append(result.status)
            if result.achieved_level is not None:
                if not _URL.match(result.achieved_level):
                    raise TakesReference("a level that is no plain URL")
                strings.append(result.achieved_level)
        if len(seen) < len(results):
            raise TakesReference("a result stands twice")

    def _judge(self, result: Result, variant: _Variant) -> None:
        if not is_plain(_text(result.value)):
            raise TakesReference("a result that needs escapes")
        if result.result_description is not None:
            description = variant.described.get(result.result_description)
            if description is None:
                raise TakesReference("a result that the achievement does not list")
            refuse_outside(result.value, description)
        if len(variant.fine) >= _MOST:
            variant.fine.clear()
        variant.fine.add((result.result_description, result.value))

    def _instant(self, value: datetime) -> str:
        found = self._instants.get(value)
        if found is None:
            found = self._instants[value] = instant(value, "as_of")
            if len(self._instants) > _MOST:
                self._instants.clear()
        return found

    def _day(self, value: date) -> str:
        if type(value) is not date:
            raise TakesReference("a day that is none")
        found = self._days.get(value)
        if found is None:
            found = self._days[value] = instant(midnight(value, "awarded_on"), "awarded_on")
            if len(self._days) > _MOST:
                self._days.clear()
        return found

    def _credit(self, value: Decimal | float) -> float:
        key = (type(value), value)
        found = self._credits.get(key)
        if found is None:
            found = self._credits[key] = credit_number(value, "credentialSubject.creditsEarned")
            if len(self._credits) > _MOST:
                self._credits.clear()
        return found


def _identify(strings: list[str], free: list[str], facts: CredentialFacts) -> None:
    hashes = set()
    for identifier in facts.identifiers:
        digest = identity_hash(_text(identifier.value), _text(identifier.salt))
        hashes.add(digest)
        free += (identifier.value, identifier.salt)
        strings += (digest, identifier.identity_type, identifier.salt)
    if len(hashes) < len(facts.identifiers):
        raise TakesReference("an identifier stands twice")
    if facts.name is not None:
        free.append(_text(facts.name))
        strings += (facts.name, "name")


def _text(value: str) -> str:
    # Controls and noncharacters are left to is_plain, once for all texts.
    return value if type(value) is str and value.strip() else text(value, "a text")


def _look(facts: CredentialFacts) -> Any:
    """All that decides which members the document has, in 1 us."""
    credit = facts.credits_earned
    return (
        id(facts.issuer),
        id(facts.achievement),
        facts.name is None,
        facts.valid_until is None,
        facts.term is None,
        None if credit is None else credit == int(credit),
        len(facts.honors),
        facts.status.purpose,
        *[x.identity_type for x in facts.identifiers],
        0,
        *[(x.result_description is None, x.status, x.achieved_level is None) for x in facts.results],
    )
