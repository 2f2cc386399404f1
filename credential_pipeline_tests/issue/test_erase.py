"""Erasure in the issuing room: what goes, what stays, who may not come back, and what an erasure refuses to keep."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from credential_pipeline.credential import identifiers
from credential_pipeline.errors import Terminal
from credential_pipeline.extract.files import extract_dataset
from credential_pipeline.gate.gate import gate_dataset
from credential_pipeline.identify.persons import identify_batch
from credential_pipeline.issue.erase import Erased, erase_person
from credential_pipeline.issue.plans import open_plans
from credential_pipeline.report.leftovers import search
from credential_pipeline.store.postgres import transaction_lock
from credential_pipeline_tests.issue.desk import AS_OF, DAY, Desk, passed, user

ADA = user("ADA-4711", full_name="Ada Lovelace-Byron", email="Ada.Byron@school.example", birth_date="1990-12-10")
BOB = user("BOB-0815")
TEXTS = ("Ada Lovelace-Byron", "ada.byron@school.example", "lms:ADA-4711", "ADA-4711")


def erase(desk: Desk, name: str = "lms:ADA-4711", **options: object) -> Erased:
    given = {"reason": "request 17", "actor": "registrar", "run_id": "erase-1", **options}
    return erase_person(desk.engine, desk.institution, desk.secrets, name, **given)


@pytest.fixture
def issued(desk: Desk) -> Desk:
    """Ada and Bob hold a credential each; Ada has a diploma that waits for signatures, and failed once."""
    rows = [passed("ADA-4711"), passed("BOB-0815"), passed("ADA-4711", "diploma"), passed("ADA-4711", outcome="failed")]
    desk.offer(rows, [ADA, BOB])
    assert desk.issue() == 2
    return desk


def test_nothing_of_the_person_is_left_and_everything_of_the_other(issued: Desk) -> None:
    before = search(issued.engine, TEXTS)
    assert {found.place for found in before.leftovers} >= {
        "landed.row.cells", "accepted.row.fields", "accepted.row.source_key", "identity.source_record.email",
        "identity.source_record.source_key", "identity.person.first_source_key", "ledger.plan_line.facts",
        "ledger.credential.document",
    }  # fmt: skip
    done = erase(issued)
    assert {sought.text for sought in done.sought} >= {*TEXTS[:1], ADA["email"], *TEXTS[2:]}
    after = search(issued.engine, [*TEXTS, *(sought.text for sought in done.sought)])
    assert after.leftovers == ()
    assert after.clean
    assert search(issued.engine, ["BOB-0815"]).leftovers
    [left] = issued.documents().values()
    assert BOB["full_name"] in left.decode()


def test_the_books_keep_ids_hashes_states_and_events(issued: Desk) -> None:
    before = dict(issued.rows("select credential_id, document_sha256 from ledger.credential"))
    done = erase(issued)
    assert dict(issued.rows("select credential_id, document_sha256 from ledger.credential")) == before
    [(credential,)] = issued.rows("select credential_id from ledger.credential where document is null")
    assert issued.rows("select state, version, reason from ledger.credential_state where credential_id = :c",
                       c=credential) == [("withdrawn", 2, "erased")]  # fmt: skip
    assert issued.rows("select seq, kind, actor from ledger.event where credential_id = :c order by seq",
                       c=credential) == [(1, "issued", "pipeline"), (2, "withdrawn", "registrar")]  # fmt: skip
    assert issued.rows("select person_id, actor, reason, counts from ledger.erasure") == [
        (done.person_id, "registrar", "request 17", done.counts)
    ]
    assert issued.rows("select kind, subject, actor, reason, detail from ledger.action where kind = 'erased'") == [
        ("erased", f"person:{done.person_id}", "registrar", "request 17", done.counts)
    ]
    assert done.counts["landed.row"] == 4
    assert done.counts["accepted.row"] == 4
    assert done.counts["ledger.credential"] == 1
    assert issued.count("landed.row") == 6
    assert issued.value("select count(*) from outbox.message") == 1


def test_what_waits_for_signatures_is_void_and_what_waited_is_not_issued(issued: Desk) -> None:
    [(plan,)] = issued.rows("select plan_id from ledger.plan where approval = 'four_eyes' and state = 'planned'")
    erase(issued)
    assert issued.value("select state from ledger.plan where plan_id = :p", p=plan) == "stale"
    assert {state for _, state, _ in issued.holds()} == {"rejected"}
    assert issued.issue(as_of=AS_OF + timedelta(hours=1)) == 0


def test_an_approved_plan_that_is_not_applied_yet_issues_to_the_others_only(desk: Desk) -> None:
    desk.offer([passed("ADA-4711"), passed("BOB-0815")], [ADA, BOB])
    desk.planned()
    erase(desk)
    assert sum(desk.apply(plan).issued for plan in open_plans(desk.engine)) == 1
    assert desk.rows("select state, reasons from ledger.plan_line where state = 'held'") == [
        ("held", ["earned", "erased"])
    ]
    assert search(desk.engine, TEXTS).clean


def test_a_dry_run_counts_and_changes_nothing(issued: Desk) -> None:
    tables = ("landed.row", "accepted.row", "identity.source_record", "ledger.plan_line", "ledger.credential",
              "ledger.erasure", "ledger.tombstone", "ledger.action", "ledger.event")  # fmt: skip

    def rows() -> list[object]:
        return [issued.rows(f"select t::text, xmin::text from {table} t order by 1") for table in tables]

    before = rows()
    planned = erase(issued, dry_run=True)
    assert rows() == before
    assert erase(issued).counts == planned.counts


def test_a_second_erasure_finds_nothing_and_records_nothing(issued: Desk) -> None:
    first = erase(issued)
    for name in (str(first.person_id), "lms:ADA-4711"):  # the key is known by its tombstone alone
        again = erase(issued, name, actor="another")
        assert (again.person_id, again.before, again.counts) == (first.person_id, True, {})
    assert issued.count("ledger.erasure") == 1
    assert issued.value("select count(*) from ledger.action where kind = 'erased'") == 1


@pytest.mark.parametrize("name", ["credential", "public", "url"])
def test_a_person_is_found_by_a_credential(issued: Desk, name: str) -> None:
    [(person, credential, public)] = issued.rows(
        "select person_id, credential_id, public_id from ledger.credential join identity.source_record"
        " using (person_id) where source_key = 'lms:ADA-4711'"
    )
    url = f"https://badges.school.example/credentials/{public}.json"
    given = {"credential": str(credential), "public": public, "url": url}[name]
    assert erase(issued, given).person_id == person


@pytest.mark.parametrize("name", ["lms:NOBODY", "sis:ADA-4711", str(UUID(int=1)), "ADA-4711", ""])
def test_nobody_is_refused(issued: Desk, name: str) -> None:
    with pytest.raises(Terminal, match="nobody is known by that name"):
        erase(issued, name)
    assert issued.count("ledger.erasure") == 0


@pytest.mark.parametrize("said", [{"reason": "ada lovelace-byron asked"}, {"actor": "ADA.BYRON@school.example"}])
def test_a_reason_that_repeats_the_name_is_refused(issued: Desk, said: dict[str, str]) -> None:
    with pytest.raises(Terminal, match=r"repeats the person's (name|e-mail address)") as refused:
        erase(issued, **said)
    assert "Lovelace" not in str(refused.value)
    assert issued.count("ledger.erasure") == 0


def test_a_key_that_is_a_mere_number_may_be_the_number_of_the_request(desk: Desk) -> None:
    desk.offer([passed("17")], [user("17")])
    assert erase(desk, "lms:17", reason="request 17").counts["landed.row"] == 2


@pytest.mark.parametrize("lock", ["land lms.completions", "gate lms.users", "identity", "issuing", "apply"])
def test_an_erasure_waits_for_whoever_is_at_work(desk: Desk, lock: str) -> None:
    """Else a gate that has read the rows before would accept them after, and a publisher's plan would issue."""
    desk.offer([passed("ADA-4711")], [ADA])
    plan = desk.planned()
    with ThreadPoolExecutor(1) as pool, desk.engine.connect() as worker:
        transaction_lock(worker, f"apply {plan}" if lock == "apply" else lock)
        erasing = pool.submit(erase, desk)
        ends = time.monotonic() + 30
        while not desk.value(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted"
            " and database = (select oid from pg_database where datname = current_database())"
        ):
            assert time.monotonic() < ends
            assert not erasing.done()
        assert desk.count("ledger.erasure") == 0
        worker.rollback()
        assert erasing.result(timeout=30).counts["landed.row"] == 2


def test_a_merged_person_is_erased_whole(issued: Desk) -> None:
    [(alias,), (survivor,)] = issued.rows(
        "select person_id from identity.source_record where source = 'lms' order by source_key desc"
    )
    issued.write(
        "insert into identity.person_alias (alias_id, person_id, reason, run_id)"
        " values (:alias, :survivor, 'cross_reference: lms:ADA-4711 = lms:BOB-0815', 'x')",
        alias=alias, survivor=survivor,
    )  # fmt: skip
    issued.write("update identity.source_record set person_id = :s where person_id = :a", s=survivor, a=alias)
    done = erase(issued, str(alias))
    assert done.person_id == survivor
    assert search(issued.engine, [*TEXTS, "BOB-0815", BOB["full_name"]]).clean
    assert issued.value("select count(*) from ledger.credential where document is not null") == 0


def test_no_plain_hash_is_left_that_a_guess_could_be_held_against(issued: Desk) -> None:
    """Whoever has a dump and knows how a row is made up could try all names; keyed hashes need the secret too."""
    plain = identifiers.row_hash("lms.users", dict(ADA))
    assert issued.value("select count(*) from landed.row where row_hash = :h", h=plain) == 1
    hashes = {h for (h,) in issued.rows("select encode(fields_hash, 'hex') from accepted.row"
                                        " where source_key = 'lms:ADA-4711'")} | {plain.hex()}  # fmt: skip
    erase(issued)
    for schema, table in issued.rows(
        "select schemaname, tablename from pg_tables where schemaname in ('landed', 'accepted', 'quarantine',"
        " 'identity', 'ledger', 'outbox')"
    ):
        told = " ".join(row for (row,) in issued.rows(f"select t::text from {schema}.{table} t"))
        assert [h for h in hashes if h in told] == [], table


# Landing for real: files of the desk's institution, whose columns are called as its fields.


def land(desk: Desk, data: Path, run: str, *, name: str = "users", secrets: bool = True) -> None:
    for dataset in desk.institution.datasets:
        if dataset.dataset.id in ("users", "completions"):
            given = (lambda: desk.secrets) if secrets else None
            extract_dataset(desk.engine, dataset, data, DAY, run, given)
            gate_dataset(desk.engine, desk.institution, dataset, DAY, run)
    identify_batch(desk.engine, desk.institution, DAY, run)


USERS = "person,full_name,email,birth_date\nADA-4711,Ada Lovelace-Byron,ada.byron@school.example,1990-12-10\n"
COMPLETIONS = "person,course,term,done,score,outcome\n"
BOBS = [
    f"BOB-0815,knots,{year}SP,{year}-02-01,80,passed\n" for year in range(2000, 2026)
]  # bad rows are below the limit


@pytest.fixture
def files(desk: Desk, tmp_path: Path) -> Path:
    """Ada and Bob; a bad row of Ada's, and one without a key that only her address gives away."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "users.csv").write_text(USERS + "BOB-0815,Bob Learner,bob@school.example,\n")
    (data / "completions.csv").write_text(
        COMPLETIONS
        + "ADA-4711,knots,2026SP,2026-02-01,70,passed\n"
        + "".join(BOBS)
        + " ADA-4711 ,safety,2026SP,yesterday,70,passed\n,knots,2026SP,never,ADA.byron@school.example,passed\n"
    )
    land(desk, data, "land-1")
    return data


def verdicts(desk: Desk) -> dict[str, tuple[int, int]]:
    """(accepted, quarantined as erased) of each dataset; every landed row has a verdict."""
    assert desk.value(
        "select count(*) from landed.row r where not exists (select from accepted.row a where a.row_id = r.row_id)"
        " and not exists (select from quarantine.reason q where q.row_id = r.row_id and q.resolved_at is null)"
    ) == 0  # fmt: skip
    return {
        dataset: (accepted, erased)
        for dataset, accepted, erased in desk.rows(
            "select r.dataset, count(a.row_id), count(q.row_id) from landed.row r left join accepted.row a using"
            " (row_id) left join quarantine.reason q on q.row_id = r.row_id and q.code = 'erased' group by 1"
        )
    }


def test_bad_rows_go_too_and_the_gate_finds_nothing_to_judge_again(desk: Desk, files: Path) -> None:
    erase(desk)
    assert search(desk.engine, TEXTS).clean
    assert verdicts(desk) == {"lms.users": (1, 1), "lms.completions": (len(BOBS), 3)}
    for dataset in desk.institution.datasets[:2]:
        assert gate_dataset(desk.engine, desk.institution, dataset, DAY, "again").unchanged


def test_the_same_file_and_a_new_one_do_not_bring_the_person_back(desk: Desk, files: Path) -> None:
    before = erase(desk)
    rows = desk.count("landed.row")
    land(desk, files, "land-2")
    assert desk.count("landed.row") == rows
    # The same rows in other bytes: the order changed, and a row of hers is new.
    (files / "users.csv").write_text(USERS.replace("Ada Lovelace-Byron", "Ada King") + "BOB-0815,Bob Learner,,\n")
    lines = (files / "completions.csv").read_text().splitlines(keepends=True)
    (files / "completions.csv").write_text(
        lines[0] + "".join(reversed(lines[1:])) + "ADA-4711,safety,2026SP,2026-02-03,90,passed\n"
    )
    land(desk, files, "land-3")
    assert search(desk.engine, [*TEXTS, "Ada King"]).clean
    assert desk.rows("select source_key from identity.source_record") == [("lms:BOB-0815",)]
    assert verdicts(desk) == {"lms.users": (2, 2), "lms.completions": (len(BOBS), 4)}
    # What was erased before was recognised and is the same landed row; two are new: her changed user, her new course.
    assert desk.count("landed.row") == rows + 3
    assert desk.issue() == len(BOBS)
    assert erase(desk, str(before.person_id)).counts == {}


def test_without_the_secrets_nothing_lands_rather_than_the_person(desk: Desk, files: Path) -> None:
    erase(desk)
    (files / "users.csv").write_text(USERS)
    with pytest.raises(Terminal, match="nothing can be landed without the secrets directory"):
        land(desk, files, "land-2", secrets=False)


def test_an_erased_row_is_no_bad_row_of_its_batch(desk: Desk, files: Path) -> None:
    """A limit on bad rows is about the source's care; a file of one erased person would break any limit."""
    erase(desk)
    (files / "users.csv").write_text(USERS)
    for dataset in desk.institution.datasets[:1]:
        extract_dataset(desk.engine, dataset, files, DAY, "land-2", lambda: desk.secrets)
        judged = gate_dataset(desk.engine, desk.institution, dataset, DAY, "land-2")
    assert (judged.landed, judged.accepted, judged.breach) == (1, 0, None)
    assert judged.by_code == {"erased": 1}


def test_somebody_with_nothing_but_bad_rows_can_be_erased(desk: Desk, files: Path) -> None:
    (files / "completions.csv").write_text(COMPLETIONS + "".join(BOBS) + "EVE-1234,knots,2026SP,someday,70,passed\n")
    land(desk, files, "land-2")
    assert desk.value("select count(*) from identity.source_record where source_key = 'lms:EVE-1234'") == 0
    done = erase(desk, "lms:EVE-1234")
    assert done.counts["landed.row"] == 1
    assert search(desk.engine, ["lms:EVE-1234", "EVE-1234"]).clean
    assert isinstance(done.person_id, UUID)


def test_every_column_with_personal_data_is_searched(desk: Desk) -> None:
    found = search(desk.engine, ["nothing that is there"])
    with desk.engine.connect() as connection:
        tables = connection.scalar(text("select count(*) from pg_tables where schemaname in ('landed', 'ledger')"))
    assert found.columns > int(tables or 0)
    assert found.clean
    assert not search(desk.engine, ["17"]).clean  # too short to be sought: that proves nothing
