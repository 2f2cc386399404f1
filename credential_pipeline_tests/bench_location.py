"""The code location of a benched backfill: the real one without sensors and schedules, and told of each chunk.

Belongs here: what has to be changed inside the processes of a run, told by variables of the bench. Does not belong
here: starting them (bench_backfill.py). `BENCH_CHUNKS` names a file that gets a line for each chunk as it is recorded:
process, plan, first ordinal, lines. `BENCH_WITHOUT_SIGNING` puts a constant in the place of both proofs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dagster import Definitions, definitions

from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.text import serialize
from credential_pipeline.definitions import build_definitions
from credential_pipeline.issue import chunks, issuing, making
from credential_pipeline.settings import load_settings

CHUNKS = "BENCH_CHUNKS"
WITHOUT_SIGNING = "BENCH_WITHOUT_SIGNING"
PROOF = {"type": "DataIntegrityProof", "proofValue": "z" + "1" * 88}


class Unsigned:
    """Builds and serializes, with a constant for both proofs."""

    def credential(self, facts: Any) -> bytes:
        return serialize({**open_badge_credential(facts), "proof": [PROOF, PROOF]})


def leave_out_signing() -> None:
    """In this process, and in the workers that it starts from now on."""

    def unsigned(signer: Signer, as_of: datetime) -> making.Signing:
        del as_of
        return making.Signing(signer, Unsigned())

    making.Signing.at = unsigned
    making.check = lambda *_: None
    opener_of = making.opener_of

    def opener(signer: Signer) -> Callable[[], Signer] | None:
        found = opener_of(signer)
        return found and OpensWithoutSigning(found)

    chunks.opener_of = opener


@dataclass(frozen=True)
class OpensWithoutSigning:
    """Opens a signer in a worker, where signing is then left out too."""

    opener: Callable[[], Signer]

    def __call__(self) -> Signer:
        leave_out_signing()
        return self.opener()


def tell_chunks(file: Path) -> None:
    """Append a line for each chunk, before it is committed."""
    supersede = issuing.supersede

    def told(connection: Any, plan: Any, made: Any, run_id: str) -> None:
        line = f"{os.getpid()} {plan.plan_id} {made.ordinals[0]} {len(made.ordinals)}\n"
        with file.open("a") as opened:
            opened.write(line)
        supersede(connection, plan, made, run_id)

    told.told = True
    if not hasattr(supersede, "told"):  # a process loads its definitions more than once
        issuing.supersede = told


@definitions
def defs() -> Definitions:
    """What the daemon and its runs load."""
    if os.environ.get(WITHOUT_SIGNING):
        leave_out_signing()
    tell_chunks(Path(os.environ[CHUNKS]))
    whole = build_definitions(load_settings(environ=os.environ))
    return Definitions(assets=whole.assets, resources=whole.resources, executor=whole.executor)
