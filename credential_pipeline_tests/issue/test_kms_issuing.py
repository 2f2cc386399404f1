"""Plans whose credentials are signed by a key in a KMS: the same bytes, whole chunks or nothing, each hash once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.in_flight import in_flight, together
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.many import signer_of_many
from credential_pipeline.credential.proof import sign
from credential_pipeline.errors import Terminal, Transient
from credential_pipeline.institution import KmsOptions
from credential_pipeline.issue.key_periods import KeyInKms, declare_compromised, key_list, rotate_key
from credential_pipeline.store.kms import Kms
from credential_pipeline.store.pace import Pace
from credential_pipeline.store.signing import signer_at
from credential_pipeline_tests.credential.forms import AS_OF as FORMS_AS_OF
from credential_pipeline_tests.credential.forms import DID, FORMS, KEY, SIGNER
from credential_pipeline_tests.issue.desk import AS_OF, Desk, passed
from credential_pipeline_tests.kms_server import ENVIRONMENT, Key, KmsStandIn, serving

SAID: dict[str, Any] = {"actor": "registrar", "reason": "into the KMS", "run_id": "run-1"}
START = AS_OF - timedelta(hours=1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KmsStandIn]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with serving(KmsStandIn()) as stand_in:
        yield stand_in


@pytest.fixture
def kms(server: KmsStandIn) -> Kms:
    options = KmsOptions(requests_per_second=5000, calls_in_flight=8, endpoint_url=server.url)
    return Kms(options, pace=Pace(5000, random=random.Random(1)))


def take(desk: Desk, kms: Kms, key: Key) -> str:
    new = KeyInKms.asked(kms, key.arn)
    return rotate_key(desk.engine, desk.secrets, START, new, **SAID).key_id


def by_kms(desk: Desk, kms: Kms) -> Any:
    return lambda as_of: signer_at(desk.secrets, desk.institution.issuer_did, as_of, kms=kms)


def test_documents_made_together_are_those_made_one_by_one(server: KmsStandIn, kms: Kms) -> None:
    """Ed25519 gives the same bytes wherever the key is."""
    server.latency = 0.01
    key = server.create()
    key.private = KEY
    far: Signer = in_flight(kms.signer(key.arn, f"{DID}#key-1", SIGNER.public_key_multibase))
    many = signer_of_many(far, FORMS_AS_OF)
    facts = list(FORMS.values())
    here = signer_of_many(SIGNER, FORMS_AS_OF)
    assert together(far, lambda: [many.credential(one) for one in facts]) == [here.credential(one) for one in facts]
    assert server.most_at_once > 1
    assert set(Counter(server.signed).values()) == {1}
    document = open_badge_credential(facts[0])
    assert sign(document, far, FORMS_AS_OF) == sign(document, SIGNER, FORMS_AS_OF)
    assert together(SIGNER, lambda: sign(document, in_flight(SIGNER), FORMS_AS_OF)) == sign(
        document, SIGNER, FORMS_AS_OF
    )


def test_a_key_that_is_disabled_midway_stops_there_and_the_rest_is_issued_when_it_is_back(
    desk: Desk, server: KmsStandIn, kms: Kms
) -> None:
    key = server.create()
    assert take(desk, kms, key) == "key-2"
    desk.offer([passed(f"U{n}") for n in range(12)])
    plan = desk.planned()
    signed_before = len(server.signed)
    signers = by_kms(desk, kms)

    def until_six_are_signed(as_of: Any) -> Signer:
        if len(server.signed) - signed_before >= 12:
            key.state = "Disabled"
        return signers(as_of)

    with pytest.raises(Terminal, match="DisabledException; the key is disabled"):
        desk.apply(plan, signer_at=until_six_are_signed, chunk=3)
    recorded = desk.documents()
    assert len(recorded) == 6
    key.state = "Enabled"
    assert desk.apply(plan, signer_at=signers, chunk=3).issued == 6
    assert desk.documents().items() > recorded.items()
    assert desk.rows("select distinct key_id from ledger.credential") == [("key-2",)]
    assert len(server.signed) - signed_before == 2 * 12  # two proofs each, and none twice


def test_an_outage_records_nothing_and_is_told_as_one(desk: Desk, server: KmsStandIn, kms: Kms) -> None:
    take(desk, kms, server.create())
    desk.offer([passed("U1")])
    plan = desk.planned()
    server.failing = 1.0
    patient = Kms(kms.options, pace=Pace(5000, sleep=lambda _: None))
    with pytest.raises(Transient, match=r"tried 7 times\. Run again later"):
        desk.apply(plan, signer_at=by_kms(desk, patient))
    assert desk.documents() == {}
    server.failing = 0.0
    assert desk.apply(plan, signer_at=by_kms(desk, kms)).issued == 1


def test_a_key_in_kms_has_one_period_and_is_named_by_it(desk: Desk, server: KmsStandIn, kms: Kms) -> None:
    documents, jwts = server.create(), server.create("ECC_NIST_P256")
    assert take(desk, kms, documents) == "key-2"
    assert take(desk, kms, jwts) == "jwt-1"
    with pytest.raises(Terminal, match="is key-2 already: each period has a key of its own"):
        take(desk, kms, documents)
    listed = {one.key_id: (one.algorithm, one.kms_key, one.signs) for one in key_list(desk.engine, desk.secrets, AS_OF)}
    assert listed == {
        "key-1": ("Ed25519", None, False),
        "key-2": ("Ed25519", documents.arn, True),
        "jwt-1": ("ES256", jwts.arn, True),
    }
    assert desk.rows("select key_id, valid_until from ledger.signing_key order by 1") == [
        ("jwt-1", None),
        ("key-1", START),
        ("key-2", None),
    ]
    assert not list(desk.secrets.path.glob("key-2.pem"))
    with pytest.raises(Terminal, match=r"is in a KMS \(arn:aws:kms:.*\) and never leaves it"):
        _ = desk.secrets.signing_keys()[1].private_key


def test_a_lost_key_in_kms_needs_its_successor_first(desk: Desk, server: KmsStandIn, kms: Kms) -> None:
    take(desk, kms, server.create())
    with pytest.raises(Terminal, match="key rotate --kms ARN` first"):
        declare_compromised(desk.engine, desk.secrets, "key-2", AS_OF, AS_OF, **SAID)
    assert desk.rows("select key_id from ledger.signing_key where compromised_at is not null") == []
    rotate_key(desk.engine, desk.secrets, AS_OF, KeyInKms.asked(kms, server.create().arn), **SAID)
    came = declare_compromised(desk.engine, desk.secrets, "key-2", AS_OF, AS_OF, **SAID)
    assert came.successor is None


def test_a_lost_key_of_jwts_is_followed_by_one_of_its_kind(desk: Desk) -> None:
    made = rotate_key(desk.engine, desk.secrets, START, "ES256", **SAID)
    assert (made.key_id, made.use, made.algorithm) == ("jwt-1", "jwt", "ES256")
    came = declare_compromised(desk.engine, desk.secrets, "jwt-1", AS_OF, AS_OF, **SAID)
    assert came.successor is not None
    assert (came.successor.key_id, came.successor.algorithm) == ("jwt-2", "ES256")
    assert came.set_aside == ()
    assert desk.secrets.signing_keys()[-1].key_id == "key-1"


def test_no_key_is_made_in_a_directory_that_the_ledger_does_not_know(desk: Desk, tmp_path: Any) -> None:
    other = type(desk.secrets)(tmp_path / "another", b"a passphrase of tests")
    with pytest.raises(Terminal, match=r"the ledger knows key-1, which the secrets directory .* lacks"):
        rotate_key(desk.engine, other, AS_OF, "Ed25519", **SAID)
    assert other.all_keys() == ()
