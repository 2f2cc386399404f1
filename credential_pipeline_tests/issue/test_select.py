"""Which credentials an order is about: their names, files of names, queries; what is refused before anything is done.

Nothing is changed here, so all tests look at one school.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from credential_pipeline.errors import Terminal
from credential_pipeline.issue.change import change
from credential_pipeline.issue.select import Query, names_of
from credential_pipeline_tests.issue.desk import passed
from credential_pipeline_tests.issue.office import Registrar, lasting_registrar


@pytest.fixture(scope="module")
def standing(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registrar]:
    """Of a school that has issued knots to U1, U2, U3 and safety to U1."""
    with lasting_registrar(server_url, template, tmp_path_factory.mktemp("standing")) as registrar:
        desk = registrar.desk
        desk.offer([passed("U1"), passed("U2", done="2026-02-11"), passed("U3"), passed("U1", "safety")])
        assert desk.issue() == 4
        yield registrar


@pytest.mark.parametrize("form", ["{id}", "{public}", "https://badges.school.example/credentials/{public}.json"])
def test_a_credential_has_three_names(standing: Registrar, form: str) -> None:
    one = standing.credential()
    changed = standing.change("revoke", form.format(id=one, public=standing.public_id(one)), dry_run=True)
    assert changed.draft.scope == f"credential:{one}"


def test_names_that_no_credential_has_are_told_and_nothing_is_done(standing: Registrar) -> None:
    one, unknown = standing.credential(), uuid4()
    with pytest.raises(Terminal, match=rf"'{unknown}' \(argument 2\), 'nonsense' \(argument 3\); give credential_ids"):
        standing.change("revoke", one, unknown, "nonsense")
    assert standing.state(one) == "current"


def test_a_name_given_twice_counts_once(standing: Registrar) -> None:
    one = standing.credential()
    assert standing.change("revoke", one, standing.public_id(one), one, dry_run=True).draft.doing == 1


def test_the_order_of_the_names_does_not_matter_to_the_scope(standing: Registrar) -> None:
    ids = [standing.credential(person=f"U{n}") for n in (1, 2, 3)]
    scopes = {standing.change("revoke", *order, dry_run=True).draft.scope for order in (ids, ids[::-1])}
    [scope] = scopes
    assert scope.startswith("credentials:3:")


QUERIES = [
    (Query(("knots",)), {"U1", "U2", "U3"}, "achievement=knots"),
    (Query(("safety", "knots"), awarded_to=date(2026, 2, 1)), {"U1", "U3", "U1 safety"},
     "achievement=knots|safety,awarded_to=2026-02-01"),
    (Query(awarded_from=date(2026, 2, 11), awarded_to=date(2026, 2, 11)), {"U2"},
     "awarded_from=2026-02-11,awarded_to=2026-02-11"),
    (Query(key="key-1"), {"U1", "U2", "U3", "U1 safety"}, "key=key-1"),
    (Query(source_key="lms:U1"), {"U1", "U1 safety"}, "person="),
    (Query(("knots",), source_key="lms:U1"), {"U1"}, "achievement=knots,person="),
]  # fmt: skip


@pytest.mark.parametrize(("query", "people", "scope"), QUERIES)
def test_a_query_finds_what_all_its_members_say(
    standing: Registrar, query: Query, people: set[str], scope: str
) -> None:
    changed = standing.change("revoke", query=query, dry_run=True)
    wanted = {standing.credential(*(("safety", "U1") if one.endswith("safety") else ("knots", one))) for one in people}
    assert {line.credential_id for line in changed.draft.shown} == wanted
    assert changed.draft.scope.startswith(f"query:{scope}")
    assert "lms:U1" not in changed.draft.scope


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (Query(("knots'; drop table ledger.event; --",)), "nobody ever earned knots'; drop table"),
        (Query(key="key-1' or '1'='1"), "no key key-1' or '1'='1 in this ledger"),
        (Query(source_key="lms:U1' or 'a'='a"), "no person has this source key"),
        (Query(plan=UUID(int=7)), f"no plan {UUID(int=7)} in this ledger"),
        (Query(), "say which credentials"),
    ],
)
def test_a_query_for_what_is_not_there_is_refused(standing: Registrar, query: Query, told: str) -> None:
    with pytest.raises(Terminal, match="^" + told.replace("(", r"\(")):
        standing.change("revoke", query=query)
    assert standing.desk.value("select count(*) from ledger.credential_state where state = 'current'") == 4


def test_names_and_a_query_do_not_go_together(standing: Registrar) -> None:
    with pytest.raises(Terminal, match="one way"):
        standing.change("revoke", standing.credential(), query=Query(("knots",)))


FILES = [
    ("{a}\n{b}\n", None), ("\ufeffcredential\n{a}\n\n{b}\n", None), ("nr,Public_ID\n1,{a}\n2,{b}\n3,\n", None),
    ('who,"which one"\n"x, y",{a}\n,{b}\n', "which one"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "column"), FILES)
def test_a_file_names_one_a_line_or_in_a_column(
    standing: Registrar, tmp_path: Path, content: str, column: str | None
) -> None:
    ids = [standing.credential(person=p) for p in ("U1", "U2")]
    path = tmp_path / "revoked.csv"
    path.write_text(content.format(a=ids[0], b=standing.public_id(ids[1])), encoding="utf-8")
    names = [one.name for one in names_of(path, column)]
    shown = standing.change("revoke", *names, dry_run=True).draft.shown
    assert [line.credential_id for line in shown] == ids


@pytest.mark.parametrize(
    ("content", "column", "told"),
    [
        (b"", None, "names no credential"),
        (b"credential\n", None, "names no credential"),
        (b"a,b\n1,2\n", None, r"revoked\.csv:1: none of the columns is called credential"),
        (b"a,b\n1,2\n", "c", r"revoked\.csv:1: no column 'c'; there are a, b"),
        (b"\xff\xfe\n", None, "is not a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes, column: str | None, told: str) -> None:
    path = tmp_path / "revoked.csv"
    path.write_bytes(content)
    with pytest.raises(Terminal, match=told):
        names_of(path, column)


def test_a_name_of_a_file_is_told_with_its_line(standing: Registrar, tmp_path: Path) -> None:
    path = tmp_path / "revoked.csv"
    path.write_text(f"credential\n{standing.credential()}\n\nabc\n")
    with pytest.raises(Terminal, match=r"'abc' \(revoked\.csv:4\)"):
        change(standing.office(), standing.order("revoke"), names_of(path))
