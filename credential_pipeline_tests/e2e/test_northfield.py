"""Northfield from its files to published credentials in a Dagster run, against truth.json and the files themselves."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import create_engine, make_url, text

from credential_pipeline.run import Outcome
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline_tests.e2e.conftest import AS_OF, DAY, REPOSITORY, House
from credential_pipeline_tests.e2e.lasting import lasting_houses
from samples.northfield.generator import EVIDENCE, PEOPLE
from samples.northfield.generator.identity import folded

NORTHFIELD = REPOSITORY / "samples" / "northfield"
LATER = timedelta(days=1)
VALID_FIVE_YEARS = {"CYBER-150", "SAFE-101", "GDPR-101", "LAB-201"}
CREDITS = {"DATA-101": 3, "DATA-201": 4.5, "WEB-110": 3, "STAT-210": 3, "HIST-120": 2, "ART-100": 1.5,
           "LANG-ES1": 2, "CYBER-150": 2.5}  # fmt: skip
FOUR_EYES = "MD"
IDENTITY_TYPES = {"sis": "sisSourcedId", "lms": "ltiUserId", "hr": "systemId"}
LONDON = ZoneInfo("Europe/London")

Row = dict[str, str]


class Listener(logging.Handler):
    """Every log line of the process, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass(frozen=True)
class Told:
    """The truth and the files that it is about."""

    truth: dict[str, Any]

    @property
    def expected(self) -> dict[str, Any]:
        return dict(self.truth["expected"])

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """The rows without dirt, by file."""
        dirty = {(dirt["file"], dirt["row"]) for dirt in self.truth["dirt"]}
        return {
            name: [row for number, row in enumerate(read(name), 1) if (name, number) not in dirty]
            for name in (*PEOPLE.values(), *EVIDENCE.values())
        }

    @cached_property
    def people(self) -> dict[str, Row]:
        """The people rows by source key."""
        return {
            f"{system}:{next(iter(row.values()))}": row for system, name in PEOPLE.items() for row in self.rows[name]
        }

    @cached_property
    def persons(self) -> dict[str, tuple[str, ...]]:
        """All records of the same person, by source key: what the true links connect."""
        group = {key: frozenset({key}) for human in self.truth["humans"] for key in human}
        for one, other in self.truth["links"]:
            joined = group[one] | group[other]
            group |= dict.fromkeys(joined, joined)
        return {key: tuple(sorted(members)) for key, members in group.items()}


@dataclass(frozen=True)
class Run:
    """Two runs of Northfield, the second a day later, and all that was said and published."""

    house: House
    first: Outcome
    second: Outcome
    after_first: Mapping[str, bytes]
    logged: Sequence[str]

    def query(self, sql: str) -> list[Any]:
        engine = create_engine(make_url(str(self.house.settings.database_url)).set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            found = list(connection.execute(text(sql)))
        engine.dispose()
        return found


@pytest.fixture(scope="module")
def told() -> Told:
    return Told(json.loads((NORTHFIELD / "truth.json").read_text("utf-8")))


@pytest.fixture(scope="module")
def run(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    listener, loggers = Listener(), [logging.getLogger(name) for name in ("", "dagster", "credential_pipeline")]
    with lasting_houses(server_url, template, tmp_path_factory.mktemp("northfield")) as new_house:
        house = new_house("northfield")
        for logger in loggers:
            logger.addHandler(listener)
        first = house.run()
        published = house.credentials()
        second = house.run(day=DAY + LATER, as_of=AS_OF + LATER)
        for logger in loggers:
            logger.removeHandler(listener)
        yield Run(house, first, second, published, [*listener.lines, *house.told])


def read(name: str) -> list[Row]:
    with (NORTHFIELD / "data" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_count_is_that_of_the_truth(run: Run, told: Told) -> None:
    counts, expected = run.first.counts, told.expected
    assert run.first.failures == ()
    assert run.first.differences == ()
    assert run.first.reconciled
    for name in ("landed", "accepted", "quarantined", "persons", "holders"):
        assert getattr(counts, name) == expected[name], name
    assert dict(run.first.reasons.skipped) == expected["skipped"]
    assert counts.skipped == sum(expected["skipped"].values())
    assert counts.earned == sum(expected["earning"].values()) == counts.issued + counts.held
    assert counts.already_issued == 0
    assert counts.published == counts.issued == len(run.after_first)
    assert dict(run.query("select achievement, count(*) from ledger.award group by 1")) == expected["earning"]


def test_every_bad_row_is_in_quarantine_with_its_code(run: Run, told: Told) -> None:
    found = run.query(
        "select f.name, fr.row_number, q.code from quarantine.reason q join landed.file_row fr using (row_id)"
        " join landed.file f using (file_id) where q.resolved_at is null"
    )
    expected = {(dirt["file"], dirt["row"], dirt["code"]) for dirt in told.truth["dirt"]}
    assert {(name, number, code) for name, number, code in found} == expected


def test_what_waits_is_a_licence_or_one_of_two_that_look_alike(run: Run, told: Told) -> None:
    held = run.query(
        "select r.source_key, h.reasons, w.achievement from ledger.hold h join ledger.award w using (award_id)"
        " join identity.source_record r using (person_id) order by 1"
    )
    alike = {key for pair in [*told.truth["uncertain"], *told.truth["impostors"]] for key in pair}
    uncertain = {key for key, reasons, _ in held if "identity_uncertain" in reasons}
    assert {key for key in uncertain if not alike & set(told.persons[key])} == set()
    assert run.first.reasons.held["approval_required"] == told.expected["earning"]["doctor-of-medicine"]
    assert {achievement for _, reasons, achievement in held if "approval_required" in reasons} == {"doctor-of-medicine"}
    assert sum(run.first.reasons.held.values()) >= run.first.counts.held


def test_source_records_are_linked_as_the_truth_says_and_no_others(run: Run, told: Told) -> None:
    persons = defaultdict[Any, set[str]](set)
    for key, person in run.query("select source_key, person_id from identity.source_record"):
        persons[person].add(key)
    assert {frozenset(keys) for keys in persons.values()} == {frozenset(keys) for keys in told.persons.values()}
    assert len(persons) == told.expected["persons"]


def test_nobody_has_an_award_twice(run: Run) -> None:
    """One row of evidence, one credential: also where two systems know the person."""
    assert (
        run.query("select person_id, achievement, occurrence from ledger.award group by 1, 2, 3 having count(*) > 1")
        == []
    )
    assert run.query("select award_id from ledger.credential group by 1 having count(*) > 1") == []
    urls = [json.loads(data)["id"] for data in run.after_first.values()]
    assert len(set(urls)) == len(urls)


def test_a_run_a_day_later_issues_nothing(run: Run) -> None:
    first, second = run.first.counts, run.second.counts
    assert second == replace(first, issued=0, already_issued=first.issued)
    assert run.second.reconciled
    assert run.second.failures == ()
    assert run.house.credentials() == run.after_first


@dataclass(frozen=True)
class Expected:
    """What the credential of a row of evidence must say."""

    key: str
    code: str
    term: str | None
    awarded_on: str
    results: tuple[tuple[str, str], ...]


def expected_credentials(told: Told) -> Iterator[Expected]:
    """Of every row without dirt that earns something nobody else has to approve, in the files' own words."""
    once = set[str]()
    for row in sorted(told.rows[EVIDENCE["lms"]], key=lambda row: row["completed_on"]):  # the earliest earns it
        key, code = f"lms:{row['user_id']}", row["course_code"]
        if row["outcome"] != "completed" or (code == "LANG-ES1" and key in once):
            continue
        if code == "LANG-ES1":
            once.add(key)
        term = None if code == "LANG-ES1" else row["term"]
        yield Expected(key, code, term, row["completed_on"], present(score=row["score"]))
    for row in told.rows[EVIDENCE["sis"]]:
        if row["degree_code"] != FOUR_EYES:
            honours = "" if row["honours"] == "none" else row["honours"]
            results = present(gpa=row["gpa"], honours=honours)
            yield Expected(f"sis:{row['student_id']}", row["degree_code"], None, row["conferred_on"], results)
    for row in told.rows[EVIDENCE["hr"]]:
        if row["outcome"] == "passed":
            yield Expected(f"hr:{row['employee_id']}", row["course_code"], row["period"], row["completed_on"], ())


def present(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, plain(value)) for name, value in values.items() if value)


def plain(value: str) -> str:
    """A number as credentials state it: 3.90 is 3.9; any other text as it is."""
    return re.sub(r"\.?0+$", "", value) if re.fullmatch(r"\d+\.\d+", value) else value


def identifiers_of(told: Told, key: str) -> dict[str, str]:
    """Of each kind the first that the person has; the e-mail of the register before the payroll before the account."""
    records = sorted(told.persons[key], key=lambda k: ("sis", "hr", "lms").index(k.partition(":")[0]))
    emails = [told.people[k].get("email") or told.people[k].get("work_email") or "" for k in records]
    found = {"emailAddress": next(filter(None, emails), "")}
    for system, kind in IDENTITY_TYPES.items():
        found[kind] = next((k.partition(":")[2] for k in records if k.startswith(f"{system}:")), "")
    return {kind: value for kind, value in found.items() if value}


def holds(subject: Mapping[str, Any], identifiers: Mapping[str, str]) -> bool:
    """Whether the salted hashes of a credential are those of exactly these identifiers."""
    entries = {i["identityType"]: i for i in subject["identifier"] if i["hashed"]}
    return entries.keys() == identifiers.keys() and all(
        entry["identityHash"] == "sha256$" + hashlib.sha256((identifiers[kind] + entry["salt"]).encode()).hexdigest()
        for kind, entry in entries.items()
    )


@pytest.fixture(scope="module")
def credentials(run: Run, told: Told) -> list[tuple[Expected, dict[str, Any]]]:
    """Every published credential with the row that it is for, found by what both say and by its salted hashes."""
    rows = defaultdict[tuple[object, ...], list[Expected]](list)
    for row in expected_credentials(told):
        rows[row.code, row.term, row.awarded_on, row.results].append(row)
    found = []
    for data in run.after_first.values():
        document = json.loads(data)
        subject = document["credentialSubject"]
        results = tuple((r["resultDescription"].partition("#")[2], r["value"]) for r in subject.get("result", ()))
        code, term, awarded = subject["achievement"]["humanCode"], subject.get("term"), document["awardedDate"][:10]
        candidates = rows[code, term, awarded, results]
        row = next((row for row in candidates if holds(subject, identifiers_of(told, row.key))), None)
        assert row is not None, document["id"]
        candidates.remove(row)
        found.append((row, document))
    missing = [row for candidates in rows.values() for row in candidates]
    # who has none is one of those that wait because two look alike
    assert len(missing) == run.first.counts.held - told.expected["earning"]["doctor-of-medicine"]
    return found


def test_each_credential_says_what_its_row_says(
    run: Run, told: Told, credentials: list[tuple[Expected, dict[str, Any]]]
) -> None:
    """Scores, honours, terms, dates and holders are matched by the fixture; here is what follows from them."""
    assert len(credentials) == run.first.counts.issued
    kinds = {name for row, _ in credentials for name, _ in row.results}
    assert kinds == {"score", "gpa", "honours"}
    for row, document in credentials:
        subject = document["credentialSubject"]
        ends = date.fromisoformat(row.awarded_on)
        if row.code in VALID_FIVE_YEARS:
            # 29 February ends with February
            day = ends.replace(year=ends.year + 5) if (ends.month, ends.day) != (2, 29) else date(ends.year + 5, 2, 28)
            until = datetime.fromisoformat(document["validUntil"])
            assert until == datetime(day.year, day.month, day.day, tzinfo=LONDON), document["id"]
        else:
            assert "validUntil" not in document
        assert subject.get("creditsEarned") == CREDITS.get(row.code)
        assert subject["achievement"].get("creditsAvailable") == CREDITS.get(row.code)
        assert document["validFrom"] == AS_OF.isoformat().replace("+00:00", "Z")
        purpose = "suspension" if row.code == "LAB-201" else "revocation"
        assert document["credentialStatus"]["statusPurpose"] == purpose


def test_each_credential_names_its_holder_as_the_register_does(
    told: Told, credentials: list[tuple[Expected, dict[str, Any]]]
) -> None:
    plain = 0
    for row, document in credentials:
        (name,) = (i["identityHash"] for i in document["credentialSubject"]["identifier"] if not i["hashed"])
        records = sorted(told.persons[row.key], key=lambda k: ("sis", "hr", "lms").index(k.partition(":")[0]))
        register = told.people[records[0]]
        written = name_in(register)
        assert folded(name) == folded(written), document["id"]
        if records[0].startswith("sis:") and written.isascii() and "  " not in written:
            assert name == written
            plain += 1
    assert plain > 100


def name_in(row: Row) -> str:
    """The name as the system has it, given name first."""
    if "full_name" in row:
        return row["full_name"]
    if "name" in row:
        family, comma, given = row["name"].partition(",")
        return f"{given.strip()} {family}" if comma else family
    return f"{row['given_name']} {row['family_name']}".strip()


def unescaped(written: str) -> str:
    r"""Text without the escapes of JSON, also where JSON is inside JSON: `\\u00e9` is é."""
    plain = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), written)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def personal_data() -> set[str]:
    """Names and e-mails as the files have them, dirt included; too short ones could be a word of anything."""
    found = set[str]()
    for name in PEOPLE.values():
        for row in read(name):
            found |= {row.get("email", ""), row.get("work_email", ""), row.get("national_id", "")}
            found |= {row.get("full_name", ""), row.get("name", ""), name_in(row)}
    return {value for value in found if len(value) >= 6}


def occurring(values: Iterable[str], written: str) -> list[str]:
    return sorted(value for value in values if value in written)


def everything_said(run: Run) -> str:
    """Dagster's own tables, its files below the home, and the log lines of the process."""
    tables = [name for (name,) in run.query("select tablename from pg_tables where schemaname = 'public'")]
    assert {"event_logs", "runs", "asset_keys"} <= set(tables)
    said = [str(row) for name in tables for (row,) in run.query(f'select t::text from public."{name}" t')]
    dagster = run.house.settings.home / "dagster"
    said += [path.read_text("utf-8", "replace") for path in sorted(dagster.rglob("*")) if path.is_file()]
    return unescaped("\n".join([*said, *run.logged]))


@pytest.fixture(scope="module")
def said(run: Run) -> str:
    return everything_said(run)


def test_no_personal_data_in_dagsters_event_log_or_the_log_lines(said: str) -> None:
    assert "completions" in said
    assert "rows judged" in said
    assert occurring(personal_data(), said) == []


def test_the_search_for_personal_data_finds_what_is_escaped_twice() -> None:
    names = sorted(personal_data(), key=str.isascii)
    assert not names[0].isascii()
    for name in (names[0], names[-1]):
        written = json.dumps({"event": json.dumps({"value": name})})
        assert occurring([name], unescaped(written)) == [name]


def test_no_secret_in_dagsters_event_log_the_log_lines_or_the_site(run: Run, said: str) -> None:
    settings = run.house.settings
    directory = SecretsDirectory(settings.secrets, settings.passphrase.reveal())
    raw = [directory.secret(kind).value for kind in ("id", "salt", "status")]
    raw += [key.private_key.private_bytes_raw() for key in directory.signing_keys()]
    secrets = [*map(bytes.hex, raw), *(base64.b64encode(value).decode().rstrip("=") for value in raw)]
    secrets += [base64.urlsafe_b64encode(value).decode().rstrip("=") for value in raw]
    secrets += [
        settings.passphrase.reveal().decode(),
        str(make_url(str(settings.database_url)).password),
        "PRIVATE KEY",
    ]
    published = "\n".join(path.read_text("utf-8") for path in sorted(run.house.site.rglob("*")) if is_text(path))
    assert occurring(secrets, said) == []
    assert occurring(secrets, published) == []


def is_text(path: Path) -> bool:
    return path.is_file() and path.suffix in {".json", ".html", ".css"}
