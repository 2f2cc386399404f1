"""Constant blank nodes with equal first-degree hashes: the order RDFC-1.0 gives them, remembered.

Belongs here: that order. Does not belong here: ties between nodes that hold slots, which take the reference path.

Two grading scales that end alike are such nodes: the cells of their lists. Hash N-Degree Quads (RDFC-1.0 4.8) tells
them apart by the canonical labels of the nodes beside them, and by nothing else that varies. So the reference is asked
once for each way in which these labels fall: some dozens of ways, 1 ms each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from credential_pipeline.credential.canonical import CanonicalizationError, _Rdfc10

_MOST_WAYS = 4096

Triple = tuple[str, str, str, str]
"""Subject, predicate, object, graph of a quad: `_:nNUMBER` for a blank node; of the rest only the predicate counts."""


class NoOrder(Exception):
    """The reference gives no order, or another one to the nodes without ties."""


@dataclass(frozen=True, slots=True)
class Ties:
    """The tied nodes of a shape."""

    hashes: dict[bytes, tuple[int, ...]]
    """First-degree hash -> the nodes that have it."""
    count: int
    quads: tuple[Triple, ...]
    """All that mention a blank node: values of slots and constants do not matter here."""
    beside: tuple[int, ...]
    """The other nodes in the quads of tied ones."""
    known: dict[tuple[int, ...], tuple[int, ...]]
    """Ranks of `beside` -> order of the tied nodes; an entry is always the same, so that writing twice does no harm."""

    def order(self, ranked: Sequence[int], hashes: Callable[[], dict[int, bytes]]) -> tuple[int, ...]:
        """The tied nodes as their labels follow those of `ranked` (RDFC-1.0 4.4.3, step 5)."""
        way = tuple([ranked.index(node) for node in self.beside])
        found = self.known.get(way)
        if found is None:
            found = self._ask(ranked, hashes())
            if len(self.known) >= _MOST_WAYS:
                self.known.clear()
            self.known[way] = found
        return found

    def _ask(self, ranked: Sequence[int], hashes: dict[int, bytes]) -> tuple[int, ...]:
        algorithm = _Rdfc10()
        tied = {node: digest for digest, nodes in self.hashes.items() for node in nodes}
        for node, digest in (hashes | tied).items():
            algorithm.blank_node_info[f"_:n{node}"] = {"quads": [], "hash": digest.hex()}
        dataset: dict[str, list[dict[str, Any]]] = {}
        for subject, predicate, target, graph in self.quads:
            dataset.setdefault(graph or "@default", []).append(
                {"subject": _component(subject), "predicate": _component(predicate), "object": _component(target)}
            )
        try:
            algorithm.main(dataset, {"format": "application/n-quads"})
        except CanonicalizationError as cause:
            raise NoOrder(str(cause)) from cause
        labels: dict[str, str] = algorithm.canonical_issuer.existing
        order = sorted(labels, key=lambda name: int(labels[name].removeprefix("_:c14n")))
        nodes = tuple(int(name.removeprefix("_:n")) for name in order)
        if nodes[: len(ranked)] != tuple(ranked):
            raise NoOrder("the reference labels the other nodes in another order")
        return nodes[len(ranked) :]


def _component(text: str) -> dict[str, str]:
    return {"type": "blank node" if text.startswith("_:n") else "IRI", "value": text}
