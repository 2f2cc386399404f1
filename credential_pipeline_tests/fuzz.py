"""`make fuzz`: random credentials, compiled against the reference, for as long as one likes.

Belongs here: the loop and what it tells. Does not belong here: what is compared (credential/compare.py). A failure
names its seed; `--seed` with that number repeats it at once.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence

from credential_pipeline_tests.credential.compare import Tally, compare_batch


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 at the first difference."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1, help="of the first batch; each batch has the next")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    tally = Tally()
    seed = given.seed
    while time.monotonic() - started < given.seconds:
        try:
            compare_batch(seed, tally)
        except Exception:
            traceback.print_exc()
            print(f"DIFFERENT: repeat it with --seed {seed} --seconds 1", file=sys.stderr)
            return 1
        seed += 1
    seconds = time.monotonic() - started
    print(f"{tally.documents} documents of {seed - given.seed} layouts in {seconds:.0f} s: all equal")
    print(f"{tally.compiled} by their shape; the others by the reference, because of")
    for reason, count in tally.reasons.most_common(12):
        print(f"{count:8} {reason[:100]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
