"""What renewing many credentials costs: `python -m credential_pipeline_tests.bench_renewals --people 20000`.

Makes that many expiring credentials over 12 windows directly in a ledger of its own, then reminds, plans and renews
them window by window, shard by shard, as the backfill does. Belongs here: seconds by part, and the peak of memory.
Does not belong here: limits to pass. With `--without-signing` a constant stands in for both proofs and nothing is
verified: what is left is the ledger's own share, and a million can be looked at.
"""

from __future__ import annotations

import argparse
import calendar
import hashlib
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.identifiers import STATUS_LIST_LENGTH
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.text import serialize
from credential_pipeline.institution import Institution
from credential_pipeline.institution.calendar import start_of_day
from credential_pipeline.issue import apply as applying
from credential_pipeline.issue import issuing
from credential_pipeline.renew.due import remind, windows
from credential_pipeline.renew.plan import apply_window, plan_window
from credential_pipeline.store import embedded
from credential_pipeline.store.document_form import store_document
from credential_pipeline.store.postgres import copy_rows, migrate, open_engine
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import ensure_signing_key, signer_at
from credential_pipeline_tests.bench import peak_mib
from credential_pipeline_tests.renew.office import school

YEAR = 2027
KEY_START = datetime(2026, 1, 1, tzinfo=UTC)
ISSUED = datetime(2026, 1, 2, tzinfo=UTC)
RUN = "bench"
PLAN = UUID(int=1)
PROOF = {"type": "DataIntegrityProof", "proofValue": "z" + "1" * 88}


def main() -> None:
    """Make, renew, print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--people", type=int, default=20_000, help="expiring credentials, one a person [20000]")
    options.add_argument("--without-signing", action="store_true", help="the ledger's own share only")
    options.add_argument("--chunk", type=int, default=applying.CHUNK, help=f"lines a transaction [{applying.CHUNK}]")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-renewals-") as work:
        server = Path(work) / "postgres"
        try:
            running = embedded.ensure_running(server)
            owner = open_engine(running.url(embedded.DATABASE, embedded.OWNER_ROLE))
            migrate(owner, application_role=embedded.APPLICATION_ROLE)
            owner.dispose()
            engine = open_engine(running.url(embedded.DATABASE, embedded.APPLICATION_ROLE))
            bench(engine, SecretsDirectory(Path(work) / "secrets", b"bench"), given)
            engine.dispose()
        finally:
            embedded.stop(server, mode="immediate")


def bench(engine: Engine, secrets: SecretsDirectory, given: argparse.Namespace) -> None:
    """Everything but the server."""
    institution = school()
    ensure_signing_key(engine, secrets, KEY_START)
    seconds = Counter[str]()
    with timed(seconds, "made the priors (not counted)"):
        make(engine, institution, secrets, given.people)
    measure_parts(seconds, without_signing=given.without_signing)
    started, renewed, slowest = time.monotonic(), 0, 0.0
    for month in range(1, 13):
        begun = time.monotonic()
        as_of = start_of_day(date(YEAR, month, 1), institution.zone) - timedelta(days=20)
        for n, of in enumerate(windows(f"{YEAR}-{month:02d}")):
            with timed(seconds, "remind"):
                remind(engine, institution, of, as_of)
            with timed(seconds, "plan"):
                plan_window(engine, institution, secrets, of, as_of, RUN, four_eyes=n == 0)
            with timed(seconds, "apply"):
                renewed += apply_window(
                    engine, institution, secrets, lambda at: signer_at(secrets, institution.issuer_did, at), of, RUN,
                    now=as_of, chunk=given.chunk,
                ).issued  # fmt: skip
        slowest = time.monotonic() - begun
        print(f"  {YEAR}-{month:02d}  {renewed:>9,} renewed  {slowest:7.1f} s  {own_peak():6.0f} MiB", flush=True)
    took = time.monotonic() - started
    assert renewed == given.people, (renewed, given.people)
    report(seconds, took, renewed)


def report(seconds: Counter[str], took: float, renewed: int) -> None:
    """Parts as a table; parts of apply are indented."""
    signing = seconds["  sign"] + seconds["  check"]
    seconds["  mark, stale, rest"] = seconds["apply"] - sum(v for k, v in seconds.items() if k.startswith("  "))
    print(f"\n{renewed:,} credentials in 12 windows of 4 shards: {took:.1f} s, {renewed / took:,.0f} a second")
    for part, value in seconds.items():
        print(f"  {part:<34} {value:8.1f} s  {1e6 * value / renewed:9.0f} us a credential")
    print(f"  {'building, signing, checking':<34} {signing:8.1f} s  {100 * signing / took:9.0f} %")
    own = took - signing
    print(f"  {'the ledger by itself':<34} {own:8.1f} s  a million: {own * 1e6 / renewed / 60:.1f} minutes")
    print(f"  peak of this process {own_peak():.0f} MiB")


def own_peak() -> float:
    """MiB; the server's memory is not in it."""
    return peak_mib(resource.getrusage(resource.RUSAGE_SELF))


@contextmanager
def timed(seconds: Counter[str], part: str) -> Iterator[None]:
    """Add the block's time to a part."""
    started = time.perf_counter()
    yield
    seconds[part] += time.perf_counter() - started  # type: ignore[assignment]


def measure_parts(seconds: Counter[str], *, without_signing: bool) -> None:
    """Put clocks around the steps of a chunk."""

    def clocked(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with timed(seconds, part):
                return work(*arguments, **options)

        return call

    at = issuing.Signing.at

    def signing(signer: Signer, as_of: datetime) -> issuing.Signing:
        one = at(signer, as_of)
        many: Any = Unsigned() if without_signing else one.many
        return issuing.Signing(signer, Clocked(clocked("  sign", many.credential), many))  # type: ignore[arg-type]

    issuing.Signing.at = signing  # type: ignore[method-assign, assignment]
    if without_signing:
        issuing._check = lambda *_: None
    for part, name in (("  check", "_check"), ("  record", "_record"), ("  supersede", "_supersede")):
        setattr(issuing, name, clocked(part, getattr(issuing, name)))


@dataclass(frozen=True)
class Clocked:
    """A signer of many with a clock around it."""

    credential: Callable[[Any], bytes]
    many: Any

    def verifier(self) -> Any:
        return self.many.verifier()


class Unsigned:
    """Builds and serializes, with a constant for both proofs."""

    def credential(self, facts: Any) -> bytes:
        return serialize({**open_badge_credential(facts), "proof": [PROOF, PROOF]})


def make(engine: Engine, institution: Institution, secrets: SecretsDirectory, people: int) -> None:
    """Persons, the rows that say they are active, and a credential each that ends on some day of the year."""
    lists = -(-people // STATUS_LIST_LENGTH)
    with engine.begin() as connection:
        parents(connection, institution, secrets, people, lists)
        file = connection.scalar(
            text(
                "insert into landed.file (dataset, name, digest, size_bytes, row_count, day, run_id)"
                " values ('lms.users', 'users.csv', sha256('u'), 1, :n, '2026-01-02', 'bench') returning file_id"
            ),
            {"n": people},
        )
        rows = [(n, "lms.users", digest("row", n), "{}", file, n, "2026-01-02", RUN) for n in range(1, people + 1)]
        columns = ("row_id", "dataset", "row_hash", "cells", "file_id", "row_number", "day", "run_id")
        copy_rows(connection, "landed.row", columns, rows)
        copy_rows(
            connection, "landed.file_row", ("file_id", "row_number", "row_id"), ((file, r[0], r[0]) for r in rows)
        )
        connection.execute(
            text("insert into landed.batch_file values ('2026-01-02', 'lms.users', :file, 'bench')"), {"file": file}
        )
        persons(connection, institution, people)
        credentials(connection, institution, secrets, people)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in ("landed.row", "landed.file_row", "accepted.row", "identity.source_record", "ledger.award",
                      "ledger.plan_line", "ledger.credential", "ledger.credential_state", "ledger.event"):  # fmt: skip
            try:
                connection.execute(text(f"analyze {table}"))
            except Exception:
                time.sleep(0)


def parents(
    connection: Connection, institution: Institution, secrets: SecretsDirectory, people: int, lists: int
) -> None:
    """Catalogue, plan, and the status lists whose positions the priors take."""
    connection.execute(
        text("insert into ledger.catalogue_version values (:v, cast(:c as jsonb), 'bench')"),
        {"v": institution.catalogue.version, "c": institution.catalogue.model_dump_json()},
    )
    connection.execute(
        text(
            "insert into ledger.plan (plan_id, hash, kind, scope, as_of, catalogue_version, counts, state, created_by,"
            " run_id) values (:p, sha256('p'), 'issue', 'day:2026-01-02', :as_of, :v, '{}', 'applied', 'bench',"
            " 'bench')"
        ),
        {"p": PLAN, "as_of": ISSUED, "v": institution.catalogue.version},
    )
    for n in range(lists):
        connection.execute(
            text(
                "insert into ledger.status_list (list_number, purpose, ordinal, secret_version)"
                " values (:number, 'revocation', :n, :version)"
            ),
            {"number": n + 1, "n": n, "version": secrets.secret("status").version},
        )
    connection.execute(text("insert into ledger.status_cursor values ('revocation', :n)"), {"n": people})


def digest(kind: str, n: int) -> bytes:
    """32 bytes that stand for a hash."""
    return hashlib.sha256(f"{kind} {n}".encode()).digest()


def person_of(institution: Institution, n: int) -> UUID:
    """The n-th person."""
    return identifiers.person_id(institution.id, f"lms:U{n}")


def persons(connection: Connection, institution: Institution, people: int) -> None:
    """Identities, and accepted rows with a status."""
    each = range(1, people + 1)
    copy_rows(
        connection, "identity.person", ("person_id", "first_source_key", "first_day", "run_id"),
        ((person_of(institution, n), f"lms:U{n}", "2026-01-02", RUN) for n in each),
    )  # fmt: skip
    copy_rows(
        connection, "identity.source_record",
        ("source_key", "source", "person_id", "row_id", "fields_hash", "full_name", "email", "identifiers",
         "link_rule", "day", "run_id"),
        ((f"lms:U{n}", "lms", person_of(institution, n), n, digest("record", n), f"Learner {name_of(n)}",
          f"u{n}@school.example", "{}", "first_sight", "2026-01-02", RUN) for n in each),
    )  # fmt: skip
    copy_rows(
        connection, "accepted.row",
        ("row_id", "dataset", "source_key", "fields", "fields_hash", "gate_version", "day", "run_id"),
        ((n, "lms.users", f"lms:U{n}", json.dumps({"person": f"U{n}", "status": "active"}), digest("fields", n),
          digest("gate", 0), "2026-01-02", RUN) for n in each),
    )  # fmt: skip


def name_of(n: int) -> str:
    """A name without digits."""
    return "".join(chr(ord("a") + int(c)) for c in str(n))


def day_of_year(n: int) -> date:
    """The day that the n-th credential was awarded on; spread over the year before."""
    month = n % 12 + 1
    return date(YEAR - 1, month, n // 12 % (calendar.monthrange(YEAR - 1, month)[1] - 1) + 2)


def credentials(connection: Connection, institution: Institution, secrets: SecretsDirectory, people: int) -> None:
    """An award, a plan line, a credential, its state and its first event each; documents say nothing."""
    each = range(1, people + 1)
    ids, status = secrets.secret("id"), secrets.secret("status")

    def place(n: int) -> tuple[int, int]:
        return identifiers.status_place(status.value, "revocation", n - 1)

    form, document = store_document(b'{"@context":[],"hand":"made"}')

    def award(n: int) -> UUID:
        return identifiers.award_id(institution.id, person_of(institution, n), achievement(n), "once")

    def achievement(n: int) -> str:
        return ("safety", "knots")[n % 2]

    copy_rows(
        connection, "ledger.award",
        ("award_id", "person_id", "achievement", "occurrence", "awarded_on", "day", "run_id"),
        ((award(n), person_of(institution, n), achievement(n), "once", day_of_year(n), "2026-01-02", RUN)
         for n in each),
    )  # fmt: skip

    def until(n: int) -> datetime:
        return start_of_day(day_of_year(n).replace(year=YEAR), institution.zone)

    def facts(n: int) -> str:
        return json.dumps(
            {
                "awarded_on": day_of_year(n).isoformat(), "occurrence": "once", "name": f"Learner {name_of(n)}",
                "identifiers": [{"type": "emailAddress", "value": f"u{n}@school.example"}],
                "valid_until": until(n).isoformat(),
            }
        )  # fmt: skip

    copy_rows(
        connection, "ledger.plan_line",
        ("plan_id", "ordinal", "action", "achievement", "award_id", "credential_id", "cause", "person_id",
         "status_ordinal", "facts", "reasons", "inputs", "state"),
        ((PLAN, n, "create", achievement(n), award(n), identifiers.credential_id(award(n), "issue"), "issue",
          person_of(institution, n), n - 1, facts(n), "[]", "{}", "applied") for n in each),
    )  # fmt: skip
    copy_rows(
        connection, "ledger.credential",
        ("credential_id", "award_id", "cause", "public_id", "id_secret_version", "salt_secret_version", "person_id",
         "achievement", "plan_id", "ordinal", "key_id", "list_number", "status_index", "as_of", "awarded_on",
         "valid_until", "document", "document_form", "document_sha256", "run_id"),
        ((c, award(n), "issue", identifiers.public_id(ids.value, c), 1, 1, person_of(institution, n), achievement(n),
          PLAN, n, "key-1", place(n)[0] + 1, place(n)[1], ISSUED, day_of_year(n),
          until(n), document, form, digest("document", n), RUN)
         for n in each for c in (identifiers.credential_id(award(n), "issue"),)),
    )  # fmt: skip
    connection.execute(
        text("insert into ledger.credential_state (credential_id, state) select credential_id, 'current'"
             " from ledger.credential")
    )  # fmt: skip
    connection.execute(
        text("insert into ledger.event (credential_id, seq, kind, actor, run_id)"
             " select credential_id, 1, 'issued', 'pipeline', 'bench' from ledger.credential")
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
