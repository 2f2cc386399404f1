from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credential_pipeline.identify.names import (
    NICKNAMES,
    Name,
    compatible_names,
    conflicting_names,
    fold,
    parse_name,
    same_given_name,
    same_name,
    split_sort_name,
)


def full(text: str) -> Name:
    return parse_name(full=text)


def parts(given: str, family: str) -> Name:
    return parse_name(given=given, family=family)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José Núñez", unicodedata.normalize("NFD", "José Núñez")),
        ("Aoife D’Arcy", "AOIFE  D'ARCY"),
        ("Jürgen Groß", "JÜRGEN GROSS"),
        ("Νίκος Παπαδόπουλος", "ΝΊΚΟΣ ΠΑΠΑΔΌΠΟΥΛΟΣ"),
        ("Jean-Luc Ortega", "jean‑luc\N{NO-BREAK SPACE}Ortega"),
        ("Kaʻiulani Smith", "Kaiulani Smith"),
        ("بن دَاوُد", "بن داود"),
        ("محمد", "محـمد"),
        ("בן־דוד", "בןדוד"),
        ("\N{RIGHT-TO-LEFT MARK}יוסף כהן", "יוסף כהן"),
        ("ｋａｎａ", "kana"),
        ("O'Brien Pat", "O\N{MODIFIER LETTER APOSTROPHE}Brien Pat"),
        ("Zoë\N{COMBINING GRAPHEME JOINER} Lund", "Zoe Lund"),
    ],
)
def test_the_same_name_typed_otherwise(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("राम", "रमा"),  # vowel signs are combining marks, and letters
        ("सिंह", "सेह"),
        ("かとう", "がとう"),
        ("กิน", "กัน"),
        ("Sara Lund", "Sarah Lund"),
        ("Müller", "Mueller"),
        ("Иван", "Ивана"),
    ],
)
def test_other_names_stay_other_names(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@given(st.text(max_size=30))
def test_folding_twice_changes_nothing(text: str) -> None:
    folded = fold(text)
    assert fold(" ".join(folded)) == folded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fitzgerald-Jones, Mary Ann", ("Mary Ann", "Fitzgerald-Jones")),
        ("  García y Vega ,José ", ("José", "García y Vega")),
        ("Hughes, Robert, Jr.", ("Robert, Jr.", "Hughes")),
        ("Suharto", None),
        ("Hughes,", None),
        (", Robert", None),
    ],
)
def test_sort_names(text: str, expected: tuple[str, str] | None) -> None:
    assert split_sort_name(text) == expected


CASES = [
    # a, b, same, compatible, same given, conflicting
    (parts("Robert", "Hughes"), full("Robert Hughes"), True, True, True, False),
    (parts("Robert", "Hughes"), parts("Bob", "Hughes"), False, True, False, False),
    (parts("Robert", "Hughes"), full("Bob Hughes"), False, True, False, False),
    (parts("Bob", "Hughes"), parts("Rob", "Hughes"), False, True, False, False),
    (parts("Bert", "Hughes"), parts("Rob", "Hughes"), False, True, False, False),
    (parts("Albert", "Hughes"), parts("Robert", "Hughes"), False, False, False, True),
    (parts("R.", "Hughes"), full("Robert Hughes"), False, True, False, False),
    (parts("R.", "Hughes"), full("Paul Hughes"), False, False, False, True),
    (parts("Robert", "Hughes"), full("Robert J. Hughes"), False, True, False, False),
    (full("Robert James Hughes"), full("Robert J Hughes"), False, True, False, False),
    (parts("Robert", "Hughes"), parts("Robert", "Novak"), False, False, True, False),
    (parts("Robert", "Hughes"), full("Robert Novak"), False, False, True, False),
    (full("Ana María Hughes"), full("Ana Maria Novak"), False, False, True, False),
    (full("Ana Hughes"), full("Ana María Novak"), False, False, False, False),
    (parts("Robert", "Hughes"), full("Bob Novak"), False, False, False, False),
    (parts("Maria", "Walsh"), full("Maria Ana Walsh"), False, True, False, False),
    (parts("Maria Ana", "Walsh"), full("Maria Sofia Walsh"), False, False, False, True),
    (parts("Robert", "Hughes"), full("Roberta Hughes"), False, False, False, True),
    (full("Anna Walsh"), full("Peter Walsh"), False, False, False, True),
    (parts("Catherine", "Rossi"), parts("Katharine", "Rossi"), False, False, False, True),
    (parts("María José", "García y Vega"), full("maria jose garcia vega"), False, True, True, False),
    (parts("Ana", "de la Cruz"), full("Ana Cruz"), False, True, True, False),
    (parts("小明", "王"), full("王小明"), True, True, True, False),
    (parts("民", "王"), parts("民雄", "王"), False, False, False, True),
    (parts("민준", "김"), full("김민준"), True, True, True, False),
    (parts("Văn An", "Nguyễn"), full("Nguyen Van An"), True, True, True, False),
    (parts("Mary-Ann", "Lund"), parts("Mary Ann", "Lund"), True, True, True, False),
    (parts("", "Suharto"), full("SUHARTO"), True, True, False, False),
    (full("Suharto"), full("Sukarno"), False, False, False, True),
    (full("Suharto"), parts("Ahmad", "Suharto"), False, False, False, False),
    (full("Suharto"), parts("Ahmad", "Wibowo"), False, False, False, True),
    (parts("Ahmad", ""), parts("Ahmad", "Wibowo"), False, False, True, False),
    (full(""), full("Robert Hughes"), False, False, False, False),
    (full(" . "), full("…"), False, False, False, False),
]


@pytest.mark.parametrize(("a", "b", "same", "compatible", "same_given", "conflicting"), CASES)
def test_comparisons(a: Name, b: Name, same: bool, compatible: bool, same_given: bool, conflicting: bool) -> None:
    for one, other in ((a, b), (b, a)):
        assert same_name(one, other) is same
        assert compatible_names(one, other) is compatible
        assert same_given_name(one, other) is same_given
        assert conflicting_names(one, other) is conflicting


def test_equal_names_have_equal_letters() -> None:
    for a, b, same, *_ in CASES:
        if same:
            assert a.letters == b.letters


def test_nicknames_are_folded_already() -> None:
    words = NICKNAMES.split()
    assert [word for word in words if fold(word) != (word,)] == []
