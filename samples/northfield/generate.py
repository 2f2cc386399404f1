"""Northfield's people and what they did: invented rows in any number, and the truth about them.

    python samples/northfield/generate.py --people 2000 --seed 7 --out samples/northfield/data

The same people and seed give the same bytes on every Python from 3.11 on; a million people take a few minutes.
`truth.json` goes beside the data directory and holds what the generator knows because it made it, nothing that the
pipeline computed: the dirt, row by row, with the gate's code; who is who; which records the strict rules of identity
can link, which they cannot, and which must stay apart; and the sums a run must end with.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from generator import generate

HERE = Path(__file__).parent


def main() -> int:
    """Write the files and print the sums."""
    parser = argparse.ArgumentParser(description="Write Northfield's files and the truth about them.")
    parser.add_argument("--people", type=int, default=2000, help="how many humans, at least 50 (default 2000)")
    parser.add_argument("--seed", type=int, default=7, help="another seed, other people (default 7)")
    parser.add_argument("--out", type=Path, default=HERE / "data", help="directory of the files (default: data)")
    parser.add_argument("--truth", type=Path, help="where the truth goes (default: truth.json beside the directory)")
    options = parser.parse_args()
    try:
        truth = generate(options.people, options.seed, options.out, options.truth)
    except ValueError as error:
        parser.error(str(error))
    print(json.dumps(truth.expected, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
