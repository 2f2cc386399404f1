"""What a new shape costs, and what a batch of many shapes costs beside a batch of one.

Belongs here: costs of compiling and of having compiled much. Does not belong here: the rate of one shape (proofs.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from credential_pipeline.bench.proofs import bench_key, in_turns
from credential_pipeline.bench.rows import AS_OF, DID, Row, facts_by_row, synthetic_rows
from credential_pipeline.credential.keys import Ed25519FileSigner
from credential_pipeline.credential.many import ManySigner, signer_of_many
from credential_pipeline.credential.proof import RDFC

_CHUNK = 4000
"""Credentials of one transaction (issue/apply.py)."""


def measure_shapes(shapes: int = 500, *, tell: Callable[[str], None]) -> dict[str, Any]:
    """Milliseconds of CPU for a first credential, and the share that a batch in which `shapes` take turns costs more.

    The batch is signed chunk by chunk, as plans are applied.
    """
    signer = Ed25519FileSigner(bench_key(), f"{DID}#key-1")
    facts_of = facts_by_row()
    one, many = (signer_of_many(signer, AS_OF, (RDFC,)) for _ in range(2))

    def by(signs: ManySigner) -> Callable[[Row], object]:
        return lambda row: signs.credential(facts_of(row))

    several = synthetic_rows(10 * _CHUNK, achievements=shapes)
    chunks = [several[n : n + _CHUNK] for n in range(0, len(several), _CHUNK)]
    same = [[row._replace(achievement=0) for row in chunk] for chunk in chunks]
    # Contexts are read and processed once a process; the first shape pays for that too.
    by(one)(same[0][0])
    tell(f"{shapes} new shapes ...")
    cold = []
    for row in several[:shapes]:
        started = time.process_time()
        by(many)(row)
        cold.append(time.process_time() - started)
    cold.sort()

    def chunkwise(signs: ManySigner) -> Callable[[Sequence[Row]], object]:
        return lambda chunk: signs.credentials([facts_of(row) for row in chunk])

    chunkwise(many)(chunks[0])
    each = in_turns({"one": (chunkwise(one), same), "several": (chunkwise(many), chunks)}, tell)
    return {
        "cold_shape_ms": round(cold[len(cold) // 2] * 1000, 1),
        "cold_shape_ms_of_slowest_of_20": round(cold[-max(1, len(cold) // 20)] * 1000, 1),
        "shapes": shapes,
        "cost_of_many_shapes": round(each["several"] / each["one"] - 1, 3),
    }
