"""A published site as strangers see it: other people's implementations, plain HTTP, and one changed character."""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urlsplit

import base58
import httpx
import pytest
import rfc8785
import uvicorn
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from openbadgeslib.ob3 import ldp, status, verifier
from openbadgeslib.ob3.ldp import OB3LdpVerifier, verify_data_integrity_proof
from pyld import jsonld
from sqlalchemy import create_engine, make_url, text

from credential_pipeline.credential.canonical import rdfc_second_opinion
from credential_pipeline.credential.contexts import document_loader
from credential_pipeline.credential.verify import Verifier
from credential_pipeline.serve.site import build_app
from credential_pipeline.serve.verification import verify_sources
from credential_pipeline.serve.world import SiteFolder
from credential_pipeline_tests.e2e.conftest import AS_OF, House
from credential_pipeline_tests.e2e.lasting import lasting_houses
from credential_pipeline_tests.oulad import write_oulad
from samples.northfield.generator import generate

NOW = AS_OF + timedelta(hours=1)
YEAR = 31_536_000
FORMS = {
    "northfield": {
        "name",
        "results",
        "honours",
        "credits",
        "validity",
        "suspension",
        "alignment",
        "many identifiers",
    },
    "open_university": {"results"},
}
"""What the credentials of a sample have between them; one without anything is a form too."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """A run's published folder."""

    name: str
    house: House

    @property
    def base(self) -> str:
        return self.house.settings.institution.base_url

    def file(self, url: str) -> bytes:
        assert url.startswith(f"{self.base}/"), url
        return (self.house.site / url.removeprefix(f"{self.base}/")).read_bytes()

    def document(self, path: str) -> Document:
        return dict(json.loads((self.house.site / path).read_bytes()))

    @cached_property
    def credentials(self) -> dict[str, bytes]:
        return self.house.credentials()

    @cached_property
    def documents(self) -> list[Document]:
        return [json.loads(data) for data in self.credentials.values()]

    @cached_property
    def one_of_each_form(self) -> dict[frozenset[str], bytes]:
        return {form_of(json.loads(data)): data for data in self.credentials.values()}

    @cached_property
    def key(self) -> Ed25519PublicKey:
        """The one key of did.json, read by hand: multibase z, multicodec ed25519-pub."""
        (method,) = self.document(".well-known/did.json")["verificationMethod"]
        raw = base58.b58decode(method["publicKeyMultibase"].removeprefix("z"))
        assert raw[:2] == b"\xed\x01"
        return Ed25519PublicKey.from_public_bytes(raw[2:])


@pytest.fixture(scope="module", params=["northfield", "open_university"])
def site(
    request: pytest.FixtureRequest, server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    if request.param == "northfield":
        generate(60, 7, directory / "data")
    else:
        write_oulad(directory / "data", seed=3, registrations=100)
    with lasting_houses(server_url, template, directory) as new_house:
        house = new_house(request.param, data=directory / "data")
        flow = house.stages()
        assert flow.reconciliation.differences == ()
        assert flow.counts.published == flow.counts.issued == len(house.credentials()) > 40
        yield Site(request.param, house)


def form_of(document: Document) -> frozenset[str]:
    subject = document["credentialSubject"]
    kinds = [identifier["identityType"] for identifier in subject["identifier"]]
    results = [result["resultDescription"].partition("#")[2] for result in subject.get("result", ())]
    has = {
        "name": "name" in kinds,
        "results": bool(results),
        "honours": "honours" in results,
        "credits": "creditsEarned" in subject,
        "validity": "validUntil" in document,
        "suspension": document["credentialStatus"]["statusPurpose"] == "suspension",
        "alignment": "alignment" in subject["achievement"],
        "many identifiers": len(kinds) > 2,
    }
    return frozenset(name for name, holds in has.items() if holds)


def test_every_form_is_there(site: Site) -> None:
    """So that the other tests are about all of them."""
    assert frozenset().union(*site.one_of_each_form) == FORMS[site.name]
    if site.name == "northfield":
        assert {frozenset({"name"}), frozenset({"name", "results"})} <= {
            form - {"many identifiers"} for form in site.one_of_each_form
        }


def test_our_verify_says_valid(site: Site) -> None:
    reports = dict(verify_sources([str(site.house.site / "credentials")], site=site.house.site, now=NOW, workers=1))
    assert len(reports) == len(site.credentials)
    assert Counter(report.verdict for report in reports.values()) == {"valid": len(site.credentials)}
    assert {check.outcome for report in reports.values() for check in report.checks} == {"pass"}


class OurClock(datetime):
    """The clock of somebody else's verifier, which knows only the real one."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return NOW.astimezone(tz)


def test_openbadgeslib_says_valid(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ldp, status, verifier):
        monkeypatch.setattr(module, "datetime", OurClock)
    theirs = OB3LdpVerifier.for_issuer_did(site.house.settings.institution.issuer_did)
    for data in site.credentials.values():
        # Its own check of a list's signature knows JWT lists only; the lists have their own test below.
        read = theirs.verify(data, check_status=True, verify_status_list=False, download=site.file)
        assert read.id == json.loads(data)["id"]
    changed = json.loads(next(iter(site.credentials.values())))
    changed["credentialSubject"]["achievement"]["name"] += "!"
    with pytest.raises(Exception, match="signature mismatch"):
        theirs.verify(json.dumps(changed), download=site.file)


def jcs_holds(document: Document, key: Ed25519PublicKey) -> bool:
    """VC-DI-EDDSA 3.3 written again, from rfc8785, cryptography and base58 alone."""
    proofs = document["proof"] if isinstance(document["proof"], list) else [document["proof"]]
    (proof,) = [proof for proof in proofs if proof["cryptosuite"] == "eddsa-jcs-2022"]
    config = {name: value for name, value in proof.items() if name != "proofValue"}
    bare = {name: value for name, value in document.items() if name != "proof"}
    data = b"".join(hashlib.sha256(rfc8785.dumps(part)).digest() for part in (config, bare))
    try:
        key.verify(base58.b58decode(proof["proofValue"].removeprefix("z")), data)
    except InvalidSignature:
        return False
    return config.get("@context") == bare.get("@context") and config["proofPurpose"] == "assertionMethod"


def test_an_independent_implementation_of_jcs_says_valid(site: Site) -> None:
    assert [document["id"] for document in site.documents if not jcs_holds(document, site.key)] == []
    changed = copy.deepcopy(site.documents[0])
    changed["awardedDate"] = "1999-01-01T00:00:00Z"
    assert not jcs_holds(changed, site.key)


def test_pyld_and_pyoxigraph_agree_on_the_canonical_form(site: Site) -> None:
    options = {"algorithm": "URDNA2015", "format": "application/n-quads", "documentLoader": document_loader}
    for document in site.documents:
        bare = {name: value for name, value in document.items() if name != "proof"}
        assert jsonld.normalize(bare, options) == rdfc_second_opinion(bare), document["id"]


@pytest.fixture(scope="module")
def verify(site: Site) -> Callable[[bytes], Any]:
    """Our verify with the published folder as the world; asks for keys and lists once."""
    return Verifier(SiteFolder(site.house.site, site.base), NOW).verify


def test_one_flipped_character_anywhere_fails_with_a_reason(site: Site, verify: Callable[[bytes], Any]) -> None:
    """Every character of the credential that says most, every seventh and all proof values and digits of each form.

    0.3 ms where jcs or the parser refuses; 5 ms in the rdfc proof, which only the rdfc proof covers.
    """
    most = max(site.one_of_each_form, key=lambda form: (len(form), sorted(form)))
    for form, data in site.one_of_each_form.items():
        assert verify(data).verdict == "valid"
        positions = range(len(data)) if form == most else sampled(data)
        for position in positions:
            flipped = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
            report = verify(flipped)
            assert report.verdict in {"invalid", "unknown"}, (
                sorted(form),
                position,
                flipped[max(0, position - 30) :][:60],
            )
            assert report.reason, (sorted(form), position)


def sampled(data: bytes) -> list[int]:
    values = [data.index(proof["proofValue"].encode()) for proof in json.loads(data)["proof"]]
    in_values = {start + n for start in values for n in range(0, 88, 4)}
    digits = {n for n, byte in enumerate(data) if chr(byte).isdigit() and n < values[0] - 300}
    return sorted({*range(0, len(data), 7), *in_values, *digits})


def test_a_flipped_file_in_the_folder_is_named(site: Site, tmp_path: Path) -> None:
    data = next(iter(site.credentials.values()))
    position = data.index(b"awardedDate") + len("awardedDate") + 4
    (tmp_path / "good.json").write_bytes(data)
    (tmp_path / "bad.json").write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
    reports = dict(verify_sources([str(tmp_path)], site=site.house.site, now=NOW, workers=1))
    assert {Path(name).name: report.verdict for name, report in reports.items()} == {
        "good.json": "valid",
        "bad.json": "invalid",
    }
    assert "signature does not match" in reports[str(tmp_path / "bad.json")].reason


@contextmanager
def served(folder: Path, ttl_seconds: int) -> Iterator[str]:
    """The folder over real HTTP on a free port of loopback."""
    server = uvicorn.Server(
        uvicorn.Config(build_app(folder, ttl_seconds=ttl_seconds), host="127.0.0.1", port=0, log_level="error")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def urls_in(value: Any) -> Iterator[str]:
    """Every string of a document that is a URL."""
    if isinstance(value, dict):
        for member in value.values():
            yield from urls_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from urls_in(member)
    elif isinstance(value, str) and value.startswith("https://"):
        yield value


def headers_of(kind: str, ttl_seconds: int) -> dict[str, str]:
    """What the contract says about each kind of object."""
    short = f"public, max-age={ttl_seconds}"
    return {
        "credentials": {"Content-Type": "application/vc", "Cache-Control": f"public, max-age=300, s-maxage={YEAR}"},
        "state": {"Content-Type": "application/json", "Cache-Control": short},
        "status": {"Content-Type": "application/vc", "Cache-Control": short},
        "achievements": {"Content-Type": "application/ld+json", "Cache-Control": short},
        "issuer.json": {"Content-Type": "application/ld+json", "Cache-Control": short},
        "keys.json": {"Content-Type": "application/json", "Cache-Control": short},
        ".well-known": {"Content-Type": "application/did+ld+json", "Cache-Control": short},
    }[kind]


def test_every_url_of_ours_is_there_over_http(site: Site) -> None:
    ttl = site.house.settings.institution.policies.status_ttl_minutes * 60
    fragments = defaultdict[str, set[str]](set)
    for document in site.documents:
        for url in urls_in(document):
            if urlsplit(url).netloc == urlsplit(site.base).netloc:
                fragments[urldefrag(url).url].add(url)
    for path in ("issuer.json", "keys.json", ".well-known/did.json"):
        fragments[f"{site.base}/{path}"] = set()
    kinds = Counter(url.removeprefix(f"{site.base}/").split("/")[0] for url in fragments)
    assert kinds["credentials"] == kinds["state"] == len(site.credentials)
    assert set(kinds) == {"credentials", "state", "status", "achievements", "issuer.json", "keys.json", ".well-known"}
    with served(site.house.site, ttl) as there, httpx.Client(trust_env=False) as client:
        for url, of_it in fragments.items():
            path = url.removeprefix(f"{site.base}/")
            answer = client.get(f"{there}/{path}")
            expected = headers_of(path.split("/")[0], ttl)
            assert answer.status_code == 200, url
            assert {name: answer.headers[name] for name in expected} == expected, url
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            document = answer.json()
            if path.startswith("achievements/"):
                # a result's description is found where its id says it is
                described = {entry["id"] for entry in document.get("resultDescription", ())}
                assert of_it - {url} <= described, url
            if not path.startswith((".well-known/", "issuer.json")):
                assert document["id"] == url
        assert client.get(f"{there}/credentials/{'a' * 26}.json").status_code == 404


def test_every_other_url_is_of_a_standard_or_of_the_institution(site: Site) -> None:
    hosts = {urlsplit(url).netloc for document in site.documents for url in urls_in(document)}
    institution = site.house.settings.institution
    standards = {"www.w3.org", "purl.imsglobal.org"}
    own = {urlsplit(site.base).netloc, urlsplit(institution.issuer.url).netloc, "skills.northfield.example"}
    assert hosts <= standards | own


def test_status_lists_are_signed_versioned_and_say_how_long_they_may_be_kept(site: Site) -> None:
    policies = site.house.settings.institution.policies
    pem = site.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    versions = dict(query(site, "select list_number, version from ledger.status_list"))
    published = dict(query(site, "select path, version from ledger.publication where kind = 'status_list'"))
    entries = defaultdict[str, list[Mapping[str, str]]](list)
    for document in site.documents:
        entry = document["credentialStatus"]
        entries[entry["statusListCredential"]].append(entry)
    assert {f"{site.base}/status/{number}.json" for number in versions} == set(entries)
    for url, mine in entries.items():
        path = url.removeprefix(f"{site.base}/")
        document = site.document(path)
        verify_data_integrity_proof(document, pem)
        assert jcs_holds(document, site.key)
        subject = document["credentialSubject"]
        assert {entry["statusPurpose"] for entry in mine} == {subject["statusPurpose"]}
        assert subject["ttl"] == policies.status_ttl_minutes * 60_000
        assert instant(document["validUntil"]) == AS_OF + timedelta(days=policies.status_valid_days)
        number = int(Path(path).stem)
        assert published[path] == versions[number] >= 1
        bits = gzip.decompress(base64.urlsafe_b64decode(subject["encodedList"].removeprefix("u") + "=="))
        assert len(bits) * 8 >= 131_072
        assert not any(bits)  # nobody's is revoked
        indexes = [int(entry["statusListIndex"]) for entry in mine]
        assert len(set(indexes)) == len(indexes)
        assert max(indexes) < len(bits) * 8
        tampered = copy.deepcopy(document)
        tampered["credentialSubject"]["ttl"] += 1
        assert not jcs_holds(tampered, site.key)


def instant(written: str) -> datetime:
    return datetime.strptime(written, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def query(site: Site, sql: str) -> list[Any]:
    engine = create_engine(make_url(str(site.house.settings.database_url)).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(sql))]
    engine.dispose()
    return found


def test_each_credential_has_a_signed_state_of_its_own(site: Site) -> None:
    policies = site.house.settings.institution.policies
    for document in site.documents:
        state = json.loads(site.file(document["refreshService"]["id"]))
        assert jcs_holds(state, site.key)
        assert (state["credential"], state["state"], state["version"]) == (document["id"], "current", 1)
        assert state["issuer"] == document["issuer"]["id"]
        assert instant(state["asOf"]) == AS_OF
        assert instant(state["validUntil"]) == AS_OF + timedelta(days=policies.state_valid_days)
    assert len(list((site.house.site / "state").iterdir())) == len(site.documents)
    assert jcs_holds(site.document("keys.json"), site.key)
