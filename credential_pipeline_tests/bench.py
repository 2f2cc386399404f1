"""`make bench`: what signing costs beside what it must cost at least, and a whole run, measured now on this machine.

Belongs here: rates and the ratios between them, which say the same on a slow machine as on a fast one. Does not belong
here: limits to pass; nothing fails because a machine is slow. About a minute on 2 cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pyld import jsonld

from credential_pipeline.bench.proofs import as_table, measure_proofs
from credential_pipeline.bench.shapes import measure_shapes
from credential_pipeline.credential.canonical import jcs, rdfc
from credential_pipeline.credential.contexts import document_loader
from credential_pipeline.credential.keys import Ed25519FileSigner
from credential_pipeline.credential.many import signer_of_many
from credential_pipeline.credential.proof import RDFC, sign
from credential_pipeline.credential.verify import Verifier
from credential_pipeline.institution.load import load_institution
from credential_pipeline.serve.world import SiteFolder
from samples.northfield.generator import EVIDENCE, generate

REPOSITORY = Path(__file__).parent.parent
NORTHFIELD = REPOSITORY / "samples" / "northfield"
DAY, AS_OF = "2026-03-02", datetime(2026, 3, 2, 10, tzinfo=UTC)
ROUNDS = 3
WIDTH = 46

Document = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A whole run of a generated Northfield, by the command line in a process of its own."""

    site: Path
    rows: int
    evidence: int
    result: dict[str, Any]
    seconds: float
    peak_mib: float


def whole_run(work: Path, people: int) -> Run:
    """Generate, run, and measure; the embedded PostgreSQL is not in the peak, which is of the run's own process."""
    truth = generate(people, 7, work / "data")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CREDENTIAL_PIPELINE_", "DAGSTER_"))}
    command = ["run", "--institution", str(NORTHFIELD), "--data", str(work / "data"), "--home", str(work / "home")]
    command += ["--day", DAY, "--as-of", f"{AS_OF:%Y-%m-%dT%H:%M:%SZ}", "--json"]
    started = time.monotonic()
    with (work / "told").open("w+b") as told, (work / "result").open("w+b") as result:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "credential_pipeline",
                *command,
                "--day",
                DAY,
                "--as-of",
                f"{AS_OF:%FT%TZ}",
                "--json",
            ],
            stdout=result,
            stderr=told,
            env=environment,
            cwd=REPOSITORY,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        # wait4 has taken the status that Popen would look for
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        if process.returncode:
            told.seek(0)
            raise SystemExit(f"the run failed:\n{told.read().decode()[-3000:]}")
        result.seek(0)
        printed = json.loads(result.read().splitlines()[-1])
    evidence = sum(truth.rows[name] for name in EVIDENCE.values())
    return Run(work / "home" / "site", truth.rows.total(), evidence, printed, seconds, peak_mib(usage))


def peak_mib(usage: resource.struct_rusage) -> float:
    """Peak resident memory: Linux counts in KiB, macOS in bytes."""
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def seconds_each(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Seconds of CPU for one item; the best of some rounds, since whatever else the machine does only adds."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - started)
    return best / len(items)


def measure_signing(site: Path, count: int) -> dict[str, float]:
    """Seconds a credential of each way, over the same published credentials of this run."""
    published = [path.read_bytes() for path in sorted((site / "credentials").glob("*.json"))[:count]]
    documents = [without_proof(json.loads(data)) for data in published]
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    signer = Ed25519FileSigner(key, "did:web:bench.example#key-1")
    options = {"algorithm": "URDNA2015", "format": "application/n-quads", "documentLoader": document_loader}
    canonical = [jcs(document) for document in documents]
    base_url = load_institution(NORTHFIELD).base_url
    verifier = Verifier(SiteFolder(site, base_url), AS_OF + timedelta(minutes=1))
    if any(verifier.verify(data).verdict != "valid" for data in published[:10]):
        raise SystemExit("a published credential is not valid: there is nothing to measure")

    def at_least(data: bytes) -> None:
        """What no implementation can leave out: hash the document and sign, once for each proof."""
        for _ in range(2):
            signer.sign(hashlib.sha256(data).digest() * 2)

    both, first = signer_of_many(signer, AS_OF), signer_of_many(signer, AS_OF, (RDFC,))
    return {
        "compiled": seconds_each(both.serialized, documents),
        "compiled_rdfc": seconds_each(first.serialized, documents),
        "sign": seconds_each(lambda document: sign(document, signer, AS_OF), documents),
        "pyld": seconds_each(lambda document: jsonld.normalize(document, options), documents),
        "rdfc": seconds_each(rdfc, documents),
        "limit": seconds_each(at_least, canonical),
        "verify": seconds_each(verifier.verify, published),
    }


def without_proof(document: Document) -> Document:
    """The document as it was before it was signed."""
    return {name: value for name, value in document.items() if name != "proof"}


def results(run: Run, each: dict[str, float], measured: int) -> dict[str, Any]:
    """Everything as one object."""
    issued = run.result["issued"]
    stages = {
        stage: {
            "seconds": seconds,
            "rows_per_second": round(run.rows / seconds) if seconds else None,
            "credentials_per_second": round(issued / seconds) if seconds else None,
        }
        for stage, seconds in run.result["seconds"].items()
    }
    return {
        "signing": {
            "credentials_measured": measured,
            "microseconds": {name: round(seconds * 1e6, 1) for name, seconds in each.items()},
            "per_second": {name: round(1 / seconds) for name, seconds in each.items()},
            "ratios": {
                "compiled_to_limit": round(each["compiled"] / each["limit"], 2),
                "pyld_canonicalization_to_compiled_rdfc": round(each["pyld"] / each["compiled_rdfc"], 1),
                "dual_sign_to_pyld_canonicalization": round(each["sign"] / each["pyld"], 2),
                "dual_sign_to_canonicalization": round(each["sign"] / each["rdfc"], 2),
                "dual_sign_to_limit": round(each["sign"] / each["limit"], 1),
                "pyld_canonicalization_to_limit": round(each["pyld"] / each["limit"], 1),
                "verify_to_dual_sign": round(each["verify"] / each["sign"], 2),
            },
        },
        "run": {
            "rows": run.rows,
            "evidence": run.evidence,
            "issued": issued,
            "reconciled": run.result["reconciled"],
            "seconds": round(run.seconds, 1),
            "rows_per_second": round(run.rows / run.seconds, 1),
            "credentials_per_second": round(issued / run.seconds, 1),
            "peak_rss_mib": round(run.peak_mib),
            "stages": stages,
        },
    }


def table(found: dict[str, Any]) -> str:
    """The same for a person."""
    signing, run = found["signing"], found["run"]
    names = {
        "limit": "2 x (SHA-256 + Ed25519), the limit",
        "rdfc": "RDF canonicalization alone, contexts kept",
        "pyld": "RDF canonicalization by pyld as it comes",
        "sign": "both proofs by the reference path",
        "compiled": "both proofs compiled, to final bytes",
        "compiled_rdfc": "the rdfc proof compiled, to final bytes",
        "verify": "verify: both proofs, key, status, state",
    }
    lines = ["", f"One core, {signing['credentials_measured']} credentials", ""]
    lines += [f"{'':<{WIDTH}}{'µs each':>12}{'a second':>12}{'x limit':>10}"]
    micro = signing["microseconds"]
    lines += [
        f"{told:<{WIDTH}}{micro[name]:>12,.1f}{signing['per_second'][name]:>12,}{micro[name] / micro['limit']:>10,.1f}"
        for name, told in names.items()
    ]
    ratios = signing["ratios"]
    lines += [
        "",
        f"Compiled, both proofs cost {ratios['compiled_to_limit']:.2f} times the limit; the rdfc proof is made",
        f"{ratios['pyld_canonicalization_to_compiled_rdfc']:.1f} times while pyld canonicalizes once.",
    ]
    lines += ["", f"A whole run: {run['rows']:,} rows, {run['evidence']:,} of evidence, {run['issued']:,} issued", ""]
    lines += [f"{'':<{WIDTH}}{'seconds':>12}{'rows/s':>12}{'cred./s':>10}"]
    for stage, of in run["stages"].items():
        rates = f"{of['rows_per_second'] or 0:>12,}{of['credentials_per_second'] or 0:>10,}"
        lines.append(f"{stage:<{WIDTH}}{of['seconds']:>12.1f}{rates}")
    whole = f"{'all, with start of Python and PostgreSQL':<{WIDTH}}{run['seconds']:>12.1f}"
    lines += [f"{whole}{run['rows_per_second']:>12,.0f}{run['credentials_per_second']:>10,.0f}"]
    lines += [f"{'peak memory of the run, MiB':<{WIDTH}}{run['peak_rss_mib']:>12,}", ""]
    return "\n".join([*lines, as_table(found["proofs"]), ""])


def tell(line: str) -> None:
    """What is being done, for a person."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--people", type=int, default=400, help="size of the run: about 2.5 credentials each (400)")
    parser.add_argument("--credentials", type=int, default=150, help="how many to sign and verify (150)")
    parser.add_argument("--json", action="store_true", help="the last line of stdout is one JSON object")
    parser.add_argument("--made-up", type=int, default=20_000, help="how many of `bench proofs` (20000)")
    given = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="credential-pipeline-bench-"))
    try:
        tell(f"a run of {given.people} people ...")
        run = whole_run(work, given.people)
        count = min(given.credentials, run.result["issued"])
        tell(f"{count} credentials, {ROUNDS} rounds each way ...")
        found = results(run, measure_signing(run.site, count), count)
        found["proofs"] = measure_proofs(given.made_up, tell=tell) | measure_shapes(tell=tell)
    finally:
        from credential_pipeline.store.embedded import stop

        stop(work / "home" / "postgres")
        shutil.rmtree(work, ignore_errors=True)
    print(table(found), file=sys.stderr if given.json else sys.stdout)
    if given.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
