from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from credential_pipeline.identify.clusters import EVIDENCE_BLOCK, REVIEW_BLOCK, Clusters, cluster
from credential_pipeline.identify.names import parse_name
from credential_pipeline.identify.rules import Record
from credential_pipeline_tests.identify.test_rules import BORN, mail, nid, record, refers

OTHER_DAY = date(1960, 3, 2)


def grouped(
    records: Iterable[Record],
    *,
    touched: Iterable[str] | None = None,
    persons: Mapping[str, str] | None = None,
    apart: Iterable[tuple[str, str]] = (),
) -> Clusters[str]:
    records = list(records)
    keys = frozenset(r.source_key for r in records) if touched is None else frozenset(touched)
    return cluster(records, touched=keys, persons=persons, apart=apart)


def keys(found: Clusters[str]) -> list[str]:
    return [" ".join(group.keys) for group in found.groups]


def test_links_are_transitive() -> None:
    found = grouped([mail("l:1", "Ann Lee"), mail("s:1", "Ann|Lee", identifiers=(("n", "1"),)),
                     record("h:1", "A.|Lee", identifiers=(("n", "1"),))])  # fmt: skip
    assert keys(found) == ["h:1 l:1 s:1"]
    assert [link.rule for link in found.groups[0].links] == ["shared_identifier", "email_name_birth_date"]


def test_a_record_without_birth_date_never_joins_father_and_son() -> None:
    """The trap: each is compatible with the one in the middle, who has no birth date."""
    father = nid("l:1", "Edward|Lee", birth_date=OTHER_DAY)
    son = refers("s:1", "Edward|Lee", "h:1", birth_date=BORN)
    middle = nid("h:1", "Edward|Lee")
    found = grouped([father, son, middle])
    assert keys(found) == ["h:1 s:1", "l:1"]  # the reference is the stronger rule
    assert found.doubts == {("h:1", "l:1"): "shared_identifier:birth_date_differs"}


def test_initials_never_join_two_given_names() -> None:
    found = grouped([nid("h:1", "A.|Lee"), nid("l:1", "Anna|Lee"), nid("s:1", "Alice|Lee")])
    assert keys(found) == ["h:1 l:1", "s:1"]
    assert found.doubts == {
        ("h:1", "s:1"): "shared_identifier:given_name_differs",
        ("l:1", "s:1"): "shared_identifier:given_name_differs",
    }


def test_a_source_may_hold_one_person_twice() -> None:
    assert keys(grouped([mail("l:1", "Ann Lee"), mail("l:2", "Ann Lee")])) == ["l:1 l:2"]


def test_two_references_to_a_bare_record_need_one_person() -> None:
    found = grouped([refers("s:1", "Ann|Lee", "l:1"), refers("s:2", "Paul|Novak", "l:1"), record("l:1")])
    assert keys(found) == ["l:1 s:1", "s:2"]
    assert found.doubts[("l:1", "s:2")] == "cross_reference:given_name_differs"


def test_a_decision_of_a_person_is_a_veto_for_the_whole_group() -> None:
    records = [mail("l:1", "Ann Lee"), mail("s:1", "Ann|Lee"), mail("h:1", "Ann|Lee")]
    found = grouped(records, apart=[("h:1", "s:1")])
    assert keys(found) == ["h:1 l:1", "s:1"]
    assert found.doubts == {("h:1", "s:1"): "email_name_birth_date:decided_different",
                            ("l:1", "s:1"): "email_name_birth_date:decided_different"}  # fmt: skip


def test_known_records_stay_together_and_are_not_judged_again() -> None:
    records = [mail("l:1", "Ann Lee"), mail("s:1", "Ann|Lee"), record("h:1", "Paul|Novak"), record("x:1", "New One")]
    found = grouped(records, touched=["x:1"], persons={"l:1": "P", "h:1": "P", "s:1": "Q"})
    assert keys(found) == ["x:1"]
    assert not found.doubts


def test_a_new_record_joins_two_persons() -> None:
    records = [
        mail("l:1", "Ann Lee"),
        nid("s:1", "Ann|Lee"),
        mail("h:1", "Ann|Lee", identifiers=(("national_id", "1"),)),
    ]
    found = grouped(records, touched=["h:1"], persons={"l:1": "P", "s:1": "Q"})
    assert keys(found) == ["h:1 l:1 s:1"]
    assert found.groups[0].persons == {"P", "Q"}


def test_a_changed_record_that_contradicts_its_person_stays_and_is_reported() -> None:
    records = [mail("l:1", "Ann Lee"), mail("s:1", "Ann|Lee", OTHER_DAY)]
    found = grouped(records, touched=["s:1"], persons={"l:1": "P", "s:1": "P"})
    assert keys(found) == ["l:1 s:1"]
    assert found.doubts == {("l:1", "s:1"): "changed_record:birth_date_differs"}


def test_shared_placeholders_prove_nothing() -> None:
    many = [nid(f"s:{n}", "Ann|Lee", "000000") for n in range(EVIDENCE_BLOCK + 1)]
    found = grouped(many)
    assert len(found.groups) == len(many)
    assert not found.doubts
    assert found.placeholders == 1
    assert len(grouped(many[1:]).groups) == 1


def test_review_is_not_flooded() -> None:
    crowd = [record(f"s:{n}", "Ann|Lee", email="info@mail.example") for n in range(REVIEW_BLOCK + 1)]
    assert not grouped(crowd).doubts
    assert len(grouped(crowd[1:]).doubts) == REVIEW_BLOCK * (REVIEW_BLOCK - 1) // 2


births = st.sampled_from([None, BORN, OTHER_DAY])
identifiers = st.sampled_from([(), (("n", "1"),), (("n", "2"),), (("n", "1"), ("t", "1"))])
names = st.sampled_from(["Ann|Lee", "A.|Lee", "Eve|Lee", "Ann|Novak", "Robert|Lee", "Bob|Lee", "|Lee", ""])


@st.composite
def populations(draw: st.DrawFn) -> list[Record]:
    known = [f"{source}:{n}" for source in "hls" for n in range(4)]
    chosen = draw(st.lists(st.sampled_from(known), unique=True, max_size=10))
    population = []
    for key in chosen:
        given_name, _, family = draw(names).partition("|")
        others = draw(st.sets(st.sampled_from(known), max_size=1)) - {key}
        population.append(
            Record(key, parse_name(given=given_name, family=family), draw(st.sampled_from([None, "a@x", "b@x"])),
                   draw(births), draw(identifiers), frozenset(others))
        )  # fmt: skip
    return population


@settings(deadline=None, max_examples=200)
@given(populations(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(population: list[Record], random: object) -> None:
    shuffled = list(population)
    random.shuffle(shuffled)
    one, other = grouped(population), grouped(shuffled)
    assert one.groups == other.groups
    assert one.doubts == other.doubts


@settings(deadline=None, max_examples=200)
@given(populations())
def test_no_group_holds_a_forbidden_pair(population: list[Record]) -> None:
    from credential_pipeline.identify.rules import veto

    found = grouped(population)
    by_key = {r.source_key: r for r in population}
    assert sorted(key for group in found.groups for key in group.keys) == sorted(by_key)
    for group in found.groups:
        members = [by_key[key] for key in group.keys]
        assert not [(a, b) for a in members for b in members if veto(a, b)]
    together = {key: n for n, group in enumerate(found.groups) for key in group.keys}
    assert all(together[left] != together[right] for left, right in found.doubts)
