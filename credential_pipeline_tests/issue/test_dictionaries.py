"""Documents are kept with dictionaries: small, readable for good, and nothing of a person is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import make_url

from credential_pipeline.errors import Terminal
from credential_pipeline.issue.sentinels import sentinel_dictionary, sentinel_documents
from credential_pipeline.report.leftovers import search
from credential_pipeline.report.reconcile import reconcile
from credential_pipeline.store.document_form import Dictionary, DocumentReader, DocumentWriter, store_document
from credential_pipeline_tests.issue.desk import ACHIEVEMENTS, DAY, Desk, achievement, institution, passed, user

NewDesk = Callable[..., Desk]
ADA = user("ADA-4711", full_name="Adelheid Quengelbert", email="adelheid.quengelbert@school.example")
BOB = user("BOB-0815", full_name="Bartholomew Zwicky", email="bz@school.example")
TEXTS = (
    "ADA-4711",
    "Adelheid",
    "Quengelbert",
    "adelheid.quengelbert",
    "BOB-0815",
    "Bartholomew",
    "Zwicky",
    "bz@school",
)
EVIDENCE = [passed("ADA-4711"), passed("BOB-0815", "safety")]


def dictionaries(desk: Desk) -> dict[str, bytes]:
    rows = desk.rows("select achievement, content from ledger.document_dictionary order by dictionary_id")
    return {name: bytes(content) for name, content in rows}


def test_a_dictionary_is_made_of_the_catalogue_alone_whoever_the_persons_are(new_desk: NewDesk) -> None:
    ada, bob = new_desk(), new_desk()
    ada.offer([passed("ADA-4711")], [ADA])
    bob.offer([passed("BOB-0815")], [BOB])
    assert ada.issue() == bob.issue() == 1
    [made] = dictionaries(ada).values()
    assert dictionaries(bob) == {"knots": made}
    knots = ada.institution.catalogue.achievements["knots"]
    assert made == sentinel_dictionary(ada.institution, knots)


def test_nothing_of_a_person_is_in_a_dictionary(desk: Desk) -> None:
    desk.offer(EVIDENCE, [ADA, BOB])
    desk.issue()
    documents = b"".join(desk.documents().values()).decode()
    theirs = {*TEXTS, *re.findall(r"[0-9a-f]{32,64}|z[1-9A-HJ-NP-Za-km-z]{80,}|[a-z2-7]{26}", documents)}
    assert len(theirs) > len(TEXTS) + 10  # hashes, salts, public ids and proofs as well
    for content in dictionaries(desk).values():
        assert len(content) > 1000
        assert not [one for one in theirs if one.lower().encode() in content.lower()]


def test_each_document_is_kept_with_the_dictionary_of_its_achievement(desk: Desk) -> None:
    desk.offer(EVIDENCE, [ADA, BOB])
    desk.issue()
    forms = dict(
        desk.rows(
            "select c.achievement, d.achievement from ledger.credential c join ledger.document_dictionary d"
            " on c.document_form = 'zstd:' || d.dictionary_id"
        )
    )
    assert forms == {"knots": "knots", "safety": "safety"}
    assert all(len(data) < 500 for (data,) in desk.rows("select document from ledger.credential"))
    assert all(len(store_document(data)[1]) > 2 * 500 for data in desk.documents().values())


def test_an_achievement_that_changes_gets_another_and_what_was_kept_stays_readable(desk: Desk) -> None:
    desk.offer([passed("ADA-4711")], [ADA])
    desk.issue()
    before = desk.documents()
    desk.institution = institution(achievement("knots", name="Renamed"), *ACHIEVEMENTS[1:])
    desk.offer([passed("BOB-0815")], [BOB], DAY)
    desk.issue()
    after = desk.documents()
    assert len(after) == 2
    assert before.items() <= after.items()
    assert desk.rows(
        "select achievement, count(*), count(distinct content) from ledger.document_dictionary group by 1"
    ) == [("knots", 2, 2)]


def test_a_plan_that_follows_finds_the_dictionary(desk: Desk) -> None:
    desk.offer([passed("ADA-4711")], [ADA])
    desk.issue()
    desk.offer([passed("BOB-0815")], [BOB])
    desk.issue()
    assert desk.rows("select distinct document_form from ledger.credential") == [("zstd:1",)]


def test_documents_of_the_old_form_are_read_and_searched_beside_the_new(desk: Desk) -> None:
    desk.offer(EVIDENCE, [ADA, BOB])
    desk.issue()
    before = desk.documents()
    [credential] = [one for one, data in before.items() if b"Adelheid" in data]
    desk.write(
        "update ledger.credential set document = :data, document_form = 'zstd' where credential_id = :id",
        data=store_document(before[credential])[1],
        id=credential,
    )
    assert desk.documents() == before
    terms = {difference.term for difference in reconcile(desk.engine, sample=None).differences}
    assert not terms & {"documents = their SHA-256", "dictionaries of documents"}
    for name in ("Adelheid Quengelbert", "Bartholomew Zwicky"):
        assert "ledger.credential.document" in {found.place for found in search(desk.engine, [name]).leftovers}


def test_a_lost_dictionary_is_a_difference_and_its_documents_say_which(desk: Desk, server_url: str) -> None:
    desk.offer([passed("ADA-4711")], [ADA])
    desk.issue()
    superuser = make_url(server_url).set(database=desk.engine.url.database).render_as_string(hide_password=False)
    with psycopg.connect(superuser) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute("delete from ledger.document_dictionary")
    [found] = [d for d in reconcile(desk.engine).differences if d.term == "dictionaries of documents"]
    assert "dictionary 1" in found.where
    with pytest.raises(Terminal, match=r"dictionary 1 of ledger\.document_dictionary is missing"):
        desk.documents()
    assert "ledger.credential.document" in {found.place for found in search(desk.engine, ["Anybody Else"]).leftovers}


def test_sentinels_are_documents_of_the_achievement_about_nobody() -> None:
    school = institution()
    documents = [json.loads(one) for one in sentinel_documents(school, school.catalogue.achievements["knots"])]
    assert len({document["id"] for document in documents}) == len(documents)
    names = [
        i["identityHash"]
        for d in documents
        for i in d["credentialSubject"]["identifier"]
        if i["identityType"] == "name"
    ]
    assert len(set(names)) > len(documents) // 2
    assert all(document["name"] == "Knots" and len(document["proof"]) == 2 for document in documents)


def test_packing_is_deterministic_and_damage_is_told() -> None:
    school = institution()
    knots = school.catalogue.achievements["knots"]
    content = sentinel_dictionary(school, knots)
    assert content is not None
    data = sentinel_documents(school, knots)[0]
    writers = [DocumentWriter({"knots": Dictionary(7, content)}) for _ in range(2)]
    form, kept = writers[0].store("knots", data)
    assert (form, kept) == writers[1].store("knots", data)
    assert form == "zstd:7"
    assert len(kept) < len(data) / 6
    reader = DocumentReader({7: content}.get)
    assert reader.read(form, kept) == data
    assert DocumentWriter({}).store("knots", data) == store_document(data)
    with pytest.raises(Terminal, match="damaged"):
        reader.read(form, kept[:-5])
    for unknown in ("zstd:", "zstd:x", "zstd:-1", "brotli:7"):
        with pytest.raises(Terminal, match="not known"):
            reader.read(unknown, kept)
