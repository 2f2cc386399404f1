"""The generator of Northfield's data: `generate(people, seed, out)` writes the files and returns the truth about them.

Only the standard library. Names, odd people and dirt, with their shares, are data: `recipe.json`, beside this file.
"""

from __future__ import annotations

from .truth import EVIDENCE, PEOPLE, Dirt, Truth
from .write import FEWEST_PEOPLE, generate

__all__ = ["EVIDENCE", "FEWEST_PEOPLE", "PEOPLE", "Dirt", "Truth", "generate"]
