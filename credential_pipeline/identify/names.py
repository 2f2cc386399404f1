"""Names as they are compared: the same however they were typed, and no more alike than that.

Belongs here: normalisation, and when two names are the same, can be one person's, or cannot. Does not belong
here: what follows from it (rules.py). Nothing is guessed by distance: Sara and Sarah are two names.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

# Left out of a family name when an identifier vouches for the person: "de la Cruz" and "Cruz".
PARTICLES = frozenset({
    "af", "al", "av", "bar", "ben", "bin", "bint", "da", "das", "de", "del", "della", "den", "der", "di", "do", "dos",
    "du", "e", "el", "het", "ibn", "la", "las", "le", "les", "lo", "los", "of", "op", "t", "te", "ten", "ter", "van",
    "vom", "von", "y", "zu", "zum", "zur",
})  # fmt: skip

# A line is one name and what its bearers are called. Lines are not joined: Bert is Robert or Albert, and those
# two stay different. Short on purpose: a form that is missing costs a look by a person, a wrong one a merge.
NICKNAMES = """
abigail abby gail
albert al bert
alexander alex sandy sasha
alexandra alex sandra sasha
andrew andy drew
anthony tony
antonio toni tonio
barbara barb barbie
benjamin ben benny
catherine cathy cate
charles charlie chuck
christine chris chrissy tina
christopher chris kit
daniel dan danny
david dave davy
deborah deb debbie
dmitry dima
edward ed eddie ned ted
elizabeth liz lizzie beth betty eliza
francisco paco pancho
frederick fred freddie
gregory greg
guadalupe lupe
henry harry hank
ignacio nacho
jacob jake
james jim jimmy jamie
jennifer jen jenny
jessica jess jessie
johannes hans
john jack johnny
jonathan jon
jose pepe
joseph joe joey
katherine kate kathy katie kit
kenneth ken kenny
lawrence larry
margaret maggie meg peggy
matthew matt
michael mike mick mickey
nicholas nick nicky
patricia pat patty trish
patrick pat paddy
peter pete
philip phil
rebecca becky becca
richard dick rick rich
robert bob bobby rob bert
samantha sam
samuel sam sammy
sergey seryozha
stephen steve
steven steve
susan sue susie
theodore ted teddy theo
thomas tom tommy
timothy tim
victoria vicky tori
vladimir volodya vova
william bill billy will liam
yekaterina katya
"""


@lru_cache(maxsize=1)
def _nicknames() -> dict[str, frozenset[str]]:
    called: dict[str, set[str]] = {}
    for line in NICKNAMES.split("\n"):
        full, *shorts = line.split() or [""]
        for short in shorts:
            called.setdefault(short, set()).add(full)
            called.setdefault(full, set()).add(full)
    return {word: frozenset(names) for word, names in called.items()}


Words = tuple[str, ...]


@dataclass(frozen=True)
class Name:
    """A name in comparable words. `ordered`: given and family names are known apart; else all words are in `family`."""

    given: Words = ()
    family: Words = ()
    ordered: bool = False

    def __bool__(self) -> bool:
        return bool(self.words)

    @property
    def words(self) -> Words:
        """All words, given names first."""
        return self.given + self.family

    @cached_property
    def whole(self) -> str:
        """The name as one word."""
        return "".join(self.words)

    @cached_property
    def letters(self) -> str:
        """The sorted letters: equal for equal names, whatever their order and wherever the spaces are."""
        return "".join(sorted(self.whole))


def parse_name(*, given: str | None = None, family: str | None = None, full: str | None = None) -> Name:
    """The name of a record; given and family names when it has them, else the full name."""
    if given or family:
        return Name(fold(given or ""), fold(family or ""), ordered=True)
    return Name(family=fold(full or ""))


def split_sort_name(text: str) -> tuple[str, str] | None:
    """(given, family) of a "Family, Given" name; None without a comma, since then nobody said which is which."""
    family, comma, given = (part.strip() for part in text.partition(","))
    return (given, family) if comma and given and family else None


@lru_cache(maxsize=65_536)
def fold(text: str) -> Words:
    """The words of a name without case, accents, points, punctuation and invisible characters."""
    return tuple(word for part in text.split() if (word := _fold_word(part)))


def _fold_word(word: str) -> str:
    if word.isascii():
        return "".join(c for c in word.lower() if c.isalnum())
    # Twice: case folding can yield what is not decomposed yet (UAX 15, UAX 44 "toNFKC_Casefold").
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", word).casefold())
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if _counts(c)))


def _counts(char: str) -> bool:
    category = unicodedata.category(char)
    if category[0] == "M":
        # Accents, Hebrew and Arabic points and the nukta are often left out. Vowel signs and viramas of Indic
        # scripts, Thai vowels and kana voicing marks are letters: without them, Rama and Ram are one name.
        accent = unicodedata.combining(char)
        return (accent in {0, 8, 9} or 36 < accent < 200) and not _is_selector(char)
    # U+02B0-02FF holds letters used as apostrophes, U+0640 only stretches a word.
    return category[0] in "LN" and not ("\u02b0" <= char <= "\u02ff" or char == "\u0640")


def _is_selector(char: str) -> bool:
    """Marks that choose a glyph, join or separate: nobody sees them (U+034F, variation selectors)."""
    return char == "\u034f" or "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def same_name(a: Name, b: Name) -> bool:
    """Whether two names are equal; where a system does not say which name is which, in either order."""
    if not a or not b:
        return False
    if a.whole == b.whole:
        return True
    if a.ordered == b.ordered:
        return False
    ordered, other = (a, b) if a.ordered else (b, a)
    return "".join(ordered.family + ordered.given) == other.whole


def compatible_names(a: Name, b: Name) -> bool:
    """Whether two names can be one person's who kept the family name: equal, or nicknames, initials, middle names."""
    if same_name(a, b):
        return True
    return any(
        _same_family(family_a, family_b) and _compatible_given(given_a, given_b)
        for given_a, family_a in _readings(a, b)
        for given_b, family_b in _readings(b, a)
    )


def same_given_name(a: Name, b: Name) -> bool:
    """Whether the given names are equal and there is one: what remains of a name when the family name changes."""
    if a.ordered and b.ordered:
        return bool(a.given) and "".join(a.given) == "".join(b.given)
    if a.ordered or b.ordered:
        ordered, other = (a, b) if a.ordered else (b, a)
        readings = list(_readings(other, ordered))
        # With the family name in it, the rest is the given name: Maria Ana Walsh is not Maria Walsh.
        kept = [given for given, family in readings if _same_family(family, ordered.family)]
        givens = kept or [other.family[:n] for n in range(1, len(other.family))]
        return bool(ordered.given) and any("".join(given) == "".join(ordered.given) for given in givens)
    first_a, first_b = (_without_particles(name.family)[:-1] for name in (a, b))
    return bool(first_a) and "".join(first_a) == "".join(first_b)


def conflicting_names(a: Name, b: Name) -> bool:
    """Whether the given names rule out one person. A name that is missing rules out nothing."""
    if not a or not b or compatible_names(a, b):
        return False
    if any(
        given_a and given_b and _same_family(family_a, family_b)
        for given_a, family_a in _readings(a, b)
        for given_b, family_b in _readings(b, a)
    ):
        return True  # one family name, and given names that compatible_names refused: Maria Ana and Maria Sofia Walsh
    givens_a, givens_b = _possible_givens(a), _possible_givens(b)
    if not givens_a or not givens_b:  # a single name: it may be any of the other's
        return not set(a.words) & set(b.words)
    return not any(_compatible_given(one, other) for one in givens_a for other in givens_b)


def _possible_givens(name: Name) -> list[Words]:
    if name.ordered:
        return [name.given] if name.given else []
    return [given for given, _ in _given_first(name.family)] or [given for given, _ in _unspaced(name.family)]


def _readings(name: Name, other: Name) -> Iterator[tuple[Words, Words]]:
    """The ways to read a name as (given, family), one when it says so itself."""
    if name.ordered:
        yield name.given, name.family
        return
    yield from _given_first(name.family)
    yield from _unspaced(name.family)
    if other.ordered:  # family name first, as in Hungarian or Vietnamese: only a known family name can tell
        yield from ((name.family[n:], name.family[:n]) for n in range(1, len(name.family)))


def _given_first(words: Words) -> Iterator[tuple[Words, Words]]:
    return ((words[:n], words[n:]) for n in range(1, len(words)))


def _unspaced(words: Words) -> Iterator[tuple[Words, Words]]:
    """Chinese, Japanese and Korean names in one word: the family name first, of one or two characters."""
    if len(words) == 1 and all(_is_cjk(c) for c in words[0]):
        word = words[0]
        yield from (((word[n:],), (word[:n],)) for n in (1, 2) if len(word) > n)


def _is_cjk(char: str) -> bool:
    return "\u3005" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7a3" or "\U00020000" <= char <= "\U0003ffff"


def _without_particles(words: Words) -> Words:
    return tuple(word for word in words if word not in PARTICLES) or words


def _same_family(a: Words, b: Words) -> bool:
    return "".join(a) == "".join(b) or "".join(_without_particles(a)) == "".join(_without_particles(b))


def _compatible_given(a: Words, b: Words) -> bool:
    if not a or not b:
        return False
    # zip stops at the shorter: middle names are often left out.
    return "".join(a) == "".join(b) or all(map(_same_or_short, a, b))


def _same_or_short(a: str, b: str) -> bool:
    if a == b:
        return True
    short, long = sorted((a, b), key=len)
    if len(short) == 1 and short.lower() != short.upper():  # only in scripts with case: 明 is a name, not an initial
        return long.startswith(short)
    called = _nicknames()
    return bool(called.get(a, frozenset()) & called.get(b, frozenset()))
