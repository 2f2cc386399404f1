"""Signing and verifying on one core, from row to bytes and back, beside what no implementation can leave out.

Belongs here: rates, and the ratios between them, which say the same on a slow machine as on a fast one. Does not belong
here: the database (store.py).

Seconds are of CPU. Every way goes over the same rows, all ways in turns, slice by slice; the best slice of each counts,
since whatever else the machine does only adds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pyld import jsonld

from credential_pipeline.bench.rows import AS_OF, DID, facts_by_row, synthetic_rows
from credential_pipeline.credential.canonical import rdfc
from credential_pipeline.credential.contexts import document_loader
from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.keys import Ed25519FileSigner
from credential_pipeline.credential.many import implementation, signer_of_many
from credential_pipeline.credential.multikey import encode_base58btc
from credential_pipeline.credential.proof import BOTH, RDFC, proof_config, sign
from credential_pipeline.credential.text import serialize

SLICES = 5
_PYLD_IN = 200
"""A row in this many is issued by pyld too: 4 ms each."""

Way = Callable[[Any], object]


def measure_proofs(count: int, *, tell: Callable[[str], None], seed: int = 1) -> dict[str, Any]:
    """Rates of `count` credentials, as a flat object. Raises AssertionError if two ways give different bytes."""
    rows = synthetic_rows(count, seed=seed)
    facts_of = facts_by_row()
    key = bench_key()
    public_key = key.public_key().public_bytes_raw()
    signer = Ed25519FileSigner(key, f"{DID}#key-1")
    one, both = signer_of_many(signer, AS_OF, (RDFC,)), signer_of_many(signer, AS_OF, BOTH)
    verifier = both.verifier()
    for row in rows[:50]:
        document = open_badge_credential(facts_of(row))
        for many, suites in ((one, (RDFC,)), (both, BOTH)):
            if many.credential(facts_of(row)) != serialize(sign(document, signer, AS_OF, suites)):
                raise AssertionError("the compiled proofs are not those of the reference: there is nothing to measure")
    signed = [both.credential(facts_of(row)) for row in rows[: count // SLICES + 1]]
    pyld = pyld_issuing(signer)
    body = one.credential(facts_of(rows[0]))
    nquads = rdfc(open_badge_credential(facts_of(rows[0]))).encode()

    def hash_and_sign(data: bytes) -> Way:
        return lambda _row: signer.sign(hashlib.sha256(data).digest() * 2)

    def verify(number: int) -> Way:
        def proof(data: bytes) -> None:
            document = orjson.loads(data)
            verifier.verify_proof(document, document["proof"][number], public_key)

        return proof

    ways: dict[str, tuple[Way, Sequence[Any]]] = {
        "rdfc": (lambda row: one.credential(facts_of(row)), rows),
        # VC-DI-EDDSA 3.2.4 hashes the canonical N-Quads, three times the length of the JSON.
        "limit": (hash_and_sign(nquads), rows),
        "limit_of_json": (hash_and_sign(body), rows),
        "dual": (lambda row: both.credential(facts_of(row)), rows),
        "pyld": (lambda row: pyld(open_badge_credential(facts_of(row))), rows[:: min(_PYLD_IN, max(1, count // 50))]),
        "jcs_verified": (verify(1), signed),
        "rdfc_verified": (verify(0), signed),
    }
    each = in_turns(ways, tell)
    return {
        "count": count,
        "document_bytes": len(body),
        "nquads_bytes": len(nquads),
        "implementation": implementation(),
        "rdfc_per_core_per_s": round(1 / each["rdfc"]),
        "dual_per_core_per_s": round(1 / each["dual"]),
        "pyld_per_s": round(1 / each["pyld"], 1),
        "limit_per_s": round(1 / each["limit"]),
        "pyld_ratio": round(each["pyld"] / each["rdfc"], 1),
        "limit_ratio": round(each["limit"] / each["rdfc"], 3),
        "limit_ratio_of_json": round(each["limit_of_json"] / each["rdfc"], 3),
        "verify_jcs_per_s": round(1 / each["jcs_verified"]),
        "verify_rdfc_per_s": round(1 / each["rdfc_verified"]),
    }


def bench_key() -> Ed25519PrivateKey:
    """A key that everybody knows."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"credential-pipeline bench").digest())


def pyld_issuing(signer: Ed25519FileSigner) -> Callable[[dict[str, Any]], bytes]:
    """Issuing with pyld as it comes: canonicalize, hash, sign, serialize; the proof's own hash is worked out once."""
    options = {"algorithm": "URDNA2015", "format": "application/n-quads", "documentLoader": document_loader}
    known: dict[str, bytes] = {}

    def issue(document: dict[str, Any]) -> bytes:
        config = proof_config(document, RDFC, signer.verification_method, AS_OF)
        if not known:
            in_context = config | {"@context": document["@context"]}
            known["config"] = hashlib.sha256(jsonld.normalize(in_context, options).encode()).digest()
        digest = hashlib.sha256(jsonld.normalize(document, options).encode()).digest()
        proof = config | {"proofValue": encode_base58btc(signer.sign(known["config"] + digest))}
        return serialize(document | {"proof": [proof]})

    return issue


def in_turns(ways: dict[str, tuple[Way, Sequence[Any]]], tell: Callable[[str], None]) -> dict[str, float]:
    """Seconds of CPU an item, of each way."""
    best = dict.fromkeys(ways, float("inf"))
    for number in range(SLICES):
        tell(f"slice {number + 1} of {SLICES} ...")
        for name, (way, items) in ways.items():
            best[name] = min(best[name], seconds_each(way, items[number::SLICES] or items))
    return best


def seconds_each(way: Way, items: Iterable[Any]) -> float:
    """Seconds of CPU for one item."""
    several = list(items)
    started = time.process_time()
    for item in several:
        way(item)
    return (time.process_time() - started) / len(several)


def as_table(found: dict[str, Any]) -> str:
    """The same for a person."""
    names = {
        "rdfc_per_core_per_s": "eddsa-rdfc-2022, row to signed bytes, a second",
        "dual_per_core_per_s": "both proofs, row to signed bytes, a second",
        "limit_per_s": "SHA-256 of the N-Quads and one signature, a second",
        "limit_ratio": "  eddsa-rdfc-2022 beside that",
        "limit_ratio_of_json": "  beside a signature and SHA-256 of the JSON alone",
        "pyld_per_s": "pyld, row to signed bytes, a second",
        "pyld_ratio": "  eddsa-rdfc-2022 beside that",
        "verify_jcs_per_s": "bytes to verified, eddsa-jcs-2022, a second",
        "verify_rdfc_per_s": "bytes to verified, eddsa-rdfc-2022, a second",
        "cold_shape_ms": "a first credential of a shape, milliseconds",
        "cost_of_many_shapes": "what many shapes in turns add to one, a share",
    }
    lines = [
        f"One core, {found['count']:,} credentials of {found['document_bytes']:,} bytes, {found['implementation']}"
    ]
    lines += [f"  {names.get(name, name):<52}{value:>12,}" for name, value in found.items() if name in names]
    more = {name: value for name, value in found.items() if name not in {*names, *_TOLD}}
    return "\n".join([*lines, *(f"  {name:<52}{value!s:>12}" for name, value in more.items())])


_TOLD = ("count", "document_bytes", "nquads_bytes", "implementation")
