"""A kind of facts as one Python function without loops: facts -> the slots of their document that are strings.

Belongs here: which facts go where, and the checks of document.py that concern one credential. Does not belong here:
what issuer and achievement share. The source holds names and numbers of ours and nothing else: what facts say are
values of constants, never code.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import date, datetime
from typing import Any, Protocol

from credential_pipeline.credential.document import CredentialFacts, Evidence, HashedIdentifier, Result, StatusEntry
from credential_pipeline.credential.lexical import TakesReference, is_plain
from credential_pipeline.credential.straight import written_out

# Less than text.url takes: nothing here needs a second look. One after the other, each ended by a NUL.
URL_SITE = re.compile(r"https?://[A-Za-z0-9._~:@\[\]-]+/")
_PLAIN = r"[A-Za-z0-9._~:/@!$&'()*+,;=-]*"
_PART = rf"{_PLAIN}(?:%[0-9A-Fa-f]{{2}}{_PLAIN})*"
URL = re.compile(rf"(?:https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/{_PART}(?:\?{_PART})?(?:#{_PART})?)?\0)+\Z")
IN_PATH = (string.ascii_letters + string.digits + "._~:/?#[]@!$&'()*+,;=%-").encode()

_KNOWN: dict[type, frozenset[str]] = {
    CredentialFacts: frozenset(
        [
            *("url", "as_of", "awarded_on", "issuer", "achievement", "identifiers", "status", "refresh_url"),
            *("valid_until", "name", "results", "credits_earned", "term", "honors", "evidence"),
        ]
    ),
    Evidence: frozenset(["url", "name", "narrative", "description", "genre", "audience"]),
    HashedIdentifier: frozenset(["identity_type", "value", "salt"]),
    Result: frozenset(["value", "result_description", "status", "achieved_level"]),
    StatusEntry: frozenset(["list_url", "index", "purpose"]),
}
"""What the function looks at; of any other field it takes the default only."""


class Checks(Protocol):
    """What is known of values that many credentials have."""

    honors: str
    fine: set[tuple[str | None, ...]]
    fine_lists: set[str]

    def instant(self, value: datetime) -> str:
        """Its text; raises ValueError."""
        ...

    def day(self, value: date) -> str:
        """The text of the instant it starts at; raises ValueError."""
        ...

    def judge(self, result: tuple[str | None, ...]) -> None:
        """Adds it to `fine`, or raises."""
        ...

    def judge_list(self, url: str) -> None:
        """Adds it to `fine_lists`, or raises."""
        ...


def strings_of(facts: CredentialFacts, checks: Checks) -> Callable[[CredentialFacts], list[str] | None]:
    """The function for facts like these.

    It returns None for facts with other members, and raises TakesReference, ValueError or TypeError for values that
    are not plainly right.
    """
    writer = _Writer(facts, checks)
    made: Callable[[CredentialFacts], list[str] | None] = written_out("facts", writer.body(), writer.constants)
    return made


def odd(why: str) -> TakesReference:
    """For `raise` in the source, which holds no text."""
    return TakesReference(_ODD[why])


_ODD = {
    "dates": "dates in the wrong order",
    "url": "a URL that is none, or has characters beyond ASCII",
    "empty": "a text that is empty",
    "text": "text that needs escapes",
    "index": "an index that is no natural number",
    "twice": "something that stands twice",
}


class _Writer:
    def __init__(self, facts: CredentialFacts, checks: Checks) -> None:
        self._facts = facts
        self.constants: dict[str, Any] = {
            "issuer": facts.issuer,
            "achievement": facts.achievement,
            "purpose": facts.status.purpose,
            "honors_description": checks.honors,
            "instant": checks.instant,
            "day": checks.day,
            "fine": checks.fine,
            "judge": checks.judge,
            "fine_lists": checks.fine_lists,
            "judge_list": checks.judge_list,
            "sha256": hashlib.sha256,
            "urls_are_fine": URL.match,
            "in_path": IN_PATH,
            "is_plain": is_plain,
            "odd": odd,
        }
        self._free: list[str] = []
        self._urls = ["url", "refresh"]

    def body(self) -> list[str]:
        """The lines of the function."""
        return [*self._same_members(), *self._strings()]

    def _same_members(self) -> list[str]:
        """Return None unless these facts make a document with the same members."""
        facts = self._facts
        lines = ["if facts.issuer is not issuer or facts.achievement is not achievement: return None"]
        for member in ("name", "term", "valid_until", "credits_earned"):
            given = getattr(facts, member)
            lines += [f"{member} = facts.{member}", f"if {member} is {'not ' * (given is None)}None: return None"]
        lines += self._unknown("facts", facts)
        for several, one in (("identifiers", "i"), ("results", "r"), ("honors", "h"), ("evidence", "e")):
            members = getattr(facts, several)
            lines += [f"{several} = facts.{several}", f"if len({several}) != {len(members)}: return None"]
            if members:
                names = "".join(f"{one}{n}, " for n in range(len(members)))
                lines.append(f"({names}) = {several}")
        for n, identifier in enumerate(facts.identifiers):
            self.constants[f"t{n}"] = identifier.identity_type
            lines += [f"if i{n}.identity_type != t{n}: return None", *self._unknown(f"i{n}", identifier)]
        for n, result in enumerate(facts.results):
            lines += [
                f"d{n} = r{n}.result_description",
                f"if d{n} is {'not ' * (result.result_description is None)}None: return None",
                f"if r{n}.achieved_level is {'not ' * (result.achieved_level is None)}None: return None",
                f"if r{n}.status != status_of_{n}: return None",
                *self._unknown(f"r{n}", result),
            ]
            self.constants[f"status_of_{n}"] = result.status
        for n, evidence in enumerate(facts.evidence):
            for field in fields(Evidence):
                given = getattr(evidence, field.name)
                lines += [
                    f"e{n}_{field.name} = e{n}.{field.name}",
                    f"if e{n}_{field.name} is {'not ' * (given is None)}None: return None",
                ]
        lines += ["status = facts.status", "if status.purpose != purpose: return None"]
        return [f" {line}" for line in (*lines, *self._unknown("status", facts.status))]

    def _unknown(self, name: str, given: Any) -> list[str]:
        lines = []
        for field in fields(given):
            if field.name in _KNOWN[type(given)]:
                continue
            default = field.default if field.default_factory is MISSING else field.default_factory()
            key = f"default_of_{type(given).__name__}_{field.name}"
            # MISSING equals nothing: facts with such a field are the builder's.
            self.constants[key] = default
            lines.append(f"if {name}.{field.name} != {key}: return None")
        return lines

    def _strings(self) -> list[str]:
        """In the order in which a walk from the top of the document meets them."""
        facts = self._facts
        lines = [
            "url = facts.url",
            "refresh = facts.refresh_url",
            "starts = instant(facts.as_of)",
            "awarded = day(facts.awarded_on)",
            "if awarded > starts: raise odd('dates')",
        ]
        slots = ["url", "starts", "awarded"]
        if facts.valid_until is not None:
            lines += [
                "ends = instant(valid_until)",
                "if valid_until <= facts.as_of: raise odd('dates')",
            ]
            slots.append("ends")
        if facts.term is not None:
            self._free.append("term")
            slots.append("term")
        lines += self._identifiers(slots)
        lines += self._results(slots)
        lines += self._evidence(slots)
        urls = "".join(f"{{{url}}}\\0" for url in self._urls)
        lines += [
            "list_url = status.list_url",
            "if list_url not in fine_lists: judge_list(list_url)",
            "number = status.index",
            "if type(number) is not int or number < 0: raise odd('index')",
            "index = str(number)",
            f"if {self._odd_paths()} and not urls_are_fine(f'{urls}'): raise odd('url')",
        ]
        if self._free:
            filled = " and ".join(f"{x}.strip()" for x in self._free)
            lines += [
                f"if not ({filled}): raise odd('empty')",
                f"if not is_plain(''.join(({', '.join(self._free)},))): raise odd('text')",
            ]
        slots += ["f'{list_url}#{index}'", "purpose", "index", "list_url", "refresh"]
        return [f" {line}" for line in (*lines, f"return [{', '.join(slots)}]")]

    def _odd_paths(self) -> str:
        """Whether a URL is on another site than the first one, or its path has other characters than a path of URL.

        Half the time of the expression.
        """
        given = {"url": self._facts.url, "refresh": self._facts.refresh_url}
        elsewhere = []
        for name in self._urls:
            value = given.get(name)
            if value is None:
                place, _, member = name.partition("_") if "_" in name else (name, "", "achieved_level")
                several = self._facts.evidence if place.startswith("e") else self._facts.results
                value = getattr(several[int(place.lstrip("elv"))], member)
            site = URL_SITE.match(value)
            self.constants[f"site_of_{name}"] = site[0] if site else "\0"
            elsewhere.append(f"not {name}.startswith(site_of_{name})")
        return f"({' or '.join(elsewhere)} or ({' + '.join(self._urls)}).encode().translate(None, in_path))"

    def _identifiers(self, slots: list[str]) -> list[str]:
        lines = []
        for n in range(count := len(self._facts.identifiers)):
            # identity_hash, written out.
            lines += [
                f"value{n} = i{n}.value",
                f"salt{n} = i{n}.salt",
                f"hash{n} = 'sha256$' + sha256((value{n} + salt{n}).encode()).hexdigest()",
            ]
            self._free += [f"value{n}", f"salt{n}"]
            slots += [f"hash{n}", f"t{n}", f"salt{n}"]
        if count > 1:
            hashes = ", ".join(f"hash{n}" for n in range(count))
            lines.append(f"if len({{{hashes}}}) < {count}: raise odd('twice')")
        if self._facts.name is not None:
            self._free.append("name")
            slots += ["name", "name_type"]
            self.constants["name_type"] = "name"
        return lines

    def _evidence(self, slots: list[str]) -> list[str]:
        several = []
        for n, evidence in enumerate(self._facts.evidence):
            given = [f"e{n}_{field.name}" for field in fields(evidence) if getattr(evidence, field.name) is not None]
            for name in given:
                (self._urls if name.endswith("url") else self._free).append(name)
            slots += given
            several.append(f"({', '.join(given)},)")
        if len(several) < 2:
            return []
        return [f"if len({{{', '.join(several)}}}) < {len(several)}: raise odd('twice')"]

    def _results(self, slots: list[str]) -> list[str]:
        lines, keys = [], []
        for n, result in enumerate(self._facts.results):
            level = "" if result.achieved_level is None else f", level{n}"
            if level:
                lines.append(f"level{n} = r{n}.achieved_level")
            lines += [f"w{n} = r{n}.value", f"k{n} = (d{n}, w{n}{level})", f"if k{n} not in fine: judge(k{n})"]
            keys.append(f"k{n}")
            slots.append(f"w{n}")
            if result.result_description is not None:
                slots.append(f"d{n}")
            if result.status is not None:
                slots.append(f"status_of_{n}")
            if result.achieved_level is not None:
                self._urls.append(f"level{n}")
                slots.append(f"level{n}")
        for n in range(len(self._facts.honors)):
            lines += [f"k_h{n} = (honors_description, h{n})", f"if k_h{n} not in fine: judge(k_h{n})"]
            keys.append(f"k_h{n}")
            slots += [f"h{n}", "honors_description"]
        if len(keys) > 1:
            # Two that differ in status or level only are told apart by the builder.
            lines.append(f"if len({{{', '.join(keys)}}}) < {len(keys)}: raise odd('twice')")
        return lines
