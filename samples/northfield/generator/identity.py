"""A person as a system knows them, and the strict rules that link two records.

Belongs here: the generator's own reading of the rules, by which it knows what the pipeline must find. Never import the
pipeline here: what it computes cannot be checked with itself.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache


@dataclass(slots=True)
class Record:
    """A person as one system knows them; `family_first` writes 王小明, the family name first and no space."""

    system: str
    id: str
    given: str
    family: str
    email: str
    birth: str
    national_id: str = ""
    lms_user: str = ""
    family_first: bool = False

    @property
    def key(self) -> str:
        """SYSTEM:ID, the source key."""
        return f"{self.system}:{self.id}"

    @property
    def identifiers(self) -> dict[str, str]:
        """Identifiers by type, those that are known."""
        lms = self.id if self.system == "lms" else self.lms_user
        return {name: value for name, value in (("national_id", self.national_id), ("lms", lms)) if value}


@lru_cache(maxsize=8192)
def folded(name: str) -> str:
    """A name without case, marks, punctuation and spaces: what the strict rules compare."""
    decomposed = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in decomposed if unicodedata.category(c)[0] not in "MPZ")


def strictly_same(a: Record, b: Record, nicknames: frozenset[frozenset[str]]) -> bool:
    """Whether the strict rules find two records to be one person: the generator's own reading of them.

    (a) an identifier shared, and compatible names; (b) e-mail, name and birth date; (c) identifier or e-mail, given
    name and birth date. Vetoes: different identifiers of a type, different birth dates, given names that do not go
    together. A birth date of 1 January says nothing.
    """
    ids = [(a.identifiers[kind], b.identifiers[kind]) for kind in a.identifiers.keys() & b.identifiers.keys()]
    births = [r.birth for r in (a, b) if r.birth and not r.birth.endswith("-01-01")]
    givens = sorted((folded(a.given), folded(b.given)), key=len)
    same_given, same_family = givens[0] == givens[1], folded(a.family) == folded(b.family)
    initial = len(givens[0]) == 1 and givens[1].startswith(givens[0])
    if not (same_given or initial or frozenset(givens) in nicknames):
        return False
    if len(set(births)) > 1 or any(x != y for x, y in ids):
        return False
    if ids and same_family:
        return True
    named = same_family or givens[0] != ""  # without a given name, an equal one proves nothing
    return len(births) == 2 and same_given and named and (a.email == b.email or bool(ids))
