"""Facts -> the slots of a shape, without a document in between: what the builder does 70 us a credential for.

Belongs here: which kinds of facts are known, and the values they share. Does not belong here: what happens once a
credential (straight_facts.py), and what issuer and achievement share; a document was built of them once. What is not
plainly right goes to the builder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from credential_pipeline.credential.achievement import Achievement, ResultDescription, honors_description
from credential_pipeline.credential.compiled import OtherShape, Shape, Template
from credential_pipeline.credential.document import CredentialFacts
from credential_pipeline.credential.lexical import TakesReference, is_plain, json_number, nquads_number
from credential_pipeline.credential.results import refuse_other_level, refuse_outside
from credential_pipeline.credential.straight_facts import URL, strings_of
from credential_pipeline.credential.text import credit_number, instant, midnight

_MOST = 4096
_ALIKE = 16
"""Kinds of facts, and attempts to learn one, of one achievement."""

Strings = Callable[[CredentialFacts], list[str] | None]


class UnknownFacts(TakesReference):
    """No document was built of facts like these."""


@dataclass(slots=True)
class Variant:
    """Credentials of one issuer and one achievement with the same members."""

    achievement: Achievement
    shape: Shape
    strings: Strings
    """Slots that are strings, None if these facts have other members; raises TakesReference for odd values."""
    number: type | None
    """Of creditsEarned."""
    slots: int
    whole: Template | None = None
    """The signed document, once its signer has made it: proof values come after the slots."""


@dataclass(slots=True)
class _Known:
    achievement: Achievement
    variants: list[Variant] = field(default_factory=list)
    attempts: int = 0


class KnownFacts:
    """Variants that were met, and texts of instants: one batch, one thread."""

    def __init__(self, limit: int = 2000) -> None:
        self._limit = limit
        self._known: dict[int, _Known] = {}
        """By the identity of an achievement, which is held, and stands for all that a frozen object holds."""
        self._instants: dict[datetime, str] = {}
        self._days: dict[date, str] = {}
        self._credits: dict[tuple[type, Any], tuple[type, bytes, bytes]] = {}

    def values(self, facts: CredentialFacts) -> tuple[Variant, list[bytes], list[bytes]]:
        """The slots of `open_badge_credential(facts)` as JSON and as N-Quads have them. Raises TakesReference."""
        known = self._known.get(id(facts.achievement))
        if known is None:
            raise UnknownFacts("an achievement that no document was built of")
        variants = known.variants
        try:
            for number, variant in enumerate(variants):
                strings = variant.strings(facts)
                if strings is None:
                    continue
                if variant.number is None:
                    pass
                elif (found := self._credit(facts.credits_earned))[0] is not variant.number:
                    continue
                if number:
                    variants.insert(0, variants.pop(number))
                values = "\0".join(strings).encode().split(b"\0")
                if variant.number is None:
                    return variant, values, values
                return variant, [*values, found[1]], [*values, found[2]]
        except (ValueError, TypeError, AttributeError, OverflowError) as cause:
            raise TakesReference(f"the builder will say: {cause}") from cause
        raise UnknownFacts("facts of an unknown kind")

    def learn(self, facts: CredentialFacts, document: dict[str, Any], shape: Shape) -> None:
        """Remembers that facts like these make documents of `shape`."""
        key = id(facts.achievement)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self._limit:
                del self._known[next(iter(self._known))]
            known = self._known[key] = _Known(facts.achievement)
        if known.attempts >= _ALIKE:
            return
        known.attempts += 1
        try:
            strings = strings_of(facts, _Checks(self, facts.achievement))
            expected = shape.strings(document)
            if strings(facts) == expected:
                number = None if facts.credits_earned is None else self._credit(facts.credits_earned)[0]
                slots = len(expected) + (number is not None)
                known.variants.insert(0, Variant(facts.achievement, shape, strings, number, slots))
        except (OtherShape, TakesReference, ValueError, TypeError, AttributeError, OverflowError):
            return

    def instant(self, value: datetime) -> str:
        """Its text; raises ValueError."""
        found = self._instants.get(value)
        if found is None:
            if len(self._instants) > _MOST:
                self._instants.clear()
            found = self._instants[value] = instant(value, "as_of")
        return found

    def day(self, value: date) -> str:
        """The text of the instant it starts at; raises ValueError."""
        found = self._days.get(value)
        # An instant is no day, and equals none.
        if found is None:
            if len(self._days) > _MOST:
                self._days.clear()
            found = self._days[value] = instant(midnight(value, "awarded_on"), "awarded_on")
        return found

    def _credit(self, value: Decimal | float | None) -> tuple[type, bytes, bytes]:
        # 0.1 equals a Decimal that has more decimals than credits may have.
        key = type(value), value
        found = self._credits.get(key)
        if found is None:
            if len(self._credits) > _MOST:
                self._credits.clear()
            number = credit_number(value, "credentialSubject.creditsEarned")  # type: ignore[arg-type]  # what is no number is refused there
            found = self._credits[key] = type(number), json_number(number), nquads_number(number)
        return found


class _Checks:
    """What is asked once a value, not once a credential."""

    def __init__(self, shared: KnownFacts, achievement: Achievement) -> None:
        self.instant = shared.instant
        self.day = shared.day
        self.described: dict[str, ResultDescription] = {x.id: x for x in achievement.result_descriptions}
        self.honors: str = honors_description(achievement.id).id
        self.fine: set[tuple[str | None, ...]] = set()
        """Results that their descriptions take."""
        self.fine_lists: set[str] = set()
        """URLs of status lists."""

    def judge(self, result: tuple[str | None, ...]) -> None:
        """Adds a description's id, a value and perhaps a level to `fine`; raises TakesReference or ValueError."""
        described, value, *levels = result
        if value is None or not value.strip() or not is_plain(value):
            raise TakesReference("a result that needs escapes")
        if described is not None:
            description = self.described.get(described)
            if description is None or not URL.match(described + "\0"):
                raise TakesReference("a result that the achievement does not list, or by an odd URL")
            refuse_outside(value, description)
        for level in levels:
            refuse_other_level(str(level), self.described.get(described or ""))
        if len(self.fine) >= _MOST:
            self.fine.clear()
        self.fine.add(result)

    def judge_list(self, url: str) -> None:
        """Adds it to `fine_lists`; raises TakesReference."""
        if "#" in url or not URL.match(url + "\0"):
            raise TakesReference("a URL that is none, or has characters beyond ASCII")
        if len(self.fine_lists) >= _MOST:
            self.fine_lists.clear()
        self.fine_lists.add(url)
