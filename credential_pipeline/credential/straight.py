"""A shape as one Python function without loops or look-ups: its slots -> SHA-256 of its canonical N-Quads.

Belongs here: writing that function out. Does not belong here: what decides the lines and their order (shape.py), and a
case that is rare: the function returns None and `Shape` goes the long way (compiled.py), which gives the reasons.

The source holds names and numbers of ours and nothing else: bytes of documents are values of constants, never code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import FunctionType
from typing import Any

from credential_pipeline.credential.compiled import BY_LABEL, LABELS, Group, Quads, Template, sorted_lines

Straight = Callable[[list[bytes]], bytes | None]
"""Values of the slots, as N-Quads have them -> 32 bytes, or None: not for the straight line."""

_MOST_STATES = 300
"""Hash states kept of a shape, 0.3 kB each: 5 constant blank nodes among 10 fall in 252 ways."""
_FEW, _MOST_MET = 2, 128
"""Slots of a node whose hashes are kept, and how many: the first ones, since values that never come again fill it."""


def straight(quads: Quads, slots: int) -> Straight:
    """The function of a shape with this many slots. IRIs are not checked in it."""
    writer = _Writer(quads, slots)
    made: Straight = written_out("values", writer.body(), writer.constants)
    return made


def written_out(argument: str, body: Sequence[str], constants: Mapping[str, Any]) -> Any:
    """A function of one argument with this body, in which `constants` have their names.

    Functions with the same source share their code, and constants are the defaults of parameters: what a shape has of
    its own, and a batch of many shapes keeps fetching into the processor's cache, is half of what it would be.
    """
    source = "\n".join([f"def written({', '.join([argument, *constants])}):", *body])
    made = _function(source)
    return FunctionType(made.__code__, made.__globals__, made.__name__, tuple(constants.values()))


@lru_cache(maxsize=256)
def _function(source: str) -> FunctionType:
    namespace: dict[str, Any] = {}
    exec(compile(source, "<shape>", "exec"), namespace)  # noqa: S102 - of names and numbers of ours; see above
    made: FunctionType = namespace["written"]
    return made


class _Writer:
    def __init__(self, quads: Quads, slots: int) -> None:
        self._quads = quads
        self._slots = slots
        self.constants: dict[str, Any] = {
            "sha256": hashlib.sha256,
            "sorted_lines": sorted_lines,
            "join": b"".join,
            "constant": quads.constant_hashes,
            "LABELS": LABELS,
            "no_labels": [b""] * quads.nodes,
            "states": {},
        }

    def body(self) -> list[str]:
        """The lines of the function."""
        quads = self._quads
        names = "".join(f"s{n}, " for n in range(self._slots))
        return [
            *([f" ({names}) = values"] if names else []),
            *self._order(),
            *(self._labels() if quads.nodes else []),
            *self._start(),
            *(self._group(n) for n in range(len(quads.groups)) if not self._in_head(n)),
            *(self._blocks() if quads.nodes else [f" state.update({self._filled(quads.middle)})"]),
            " return state.digest()",
        ]

    def _order(self) -> list[str]:
        """The subjects come as in the first document; constants among each other do anyway."""
        keys = [self._constant(x) if isinstance(x, bytes) else f"s{x} + b'>'" for x in self._quads.order]
        return [f" if not ({' < '.join(keys)}):", "  return None"] if len(keys) > 1 else []

    def _labels(self) -> list[str]:
        """RDFC-1.0 4.4.3, steps 3 and 4: nodes by their first-degree hashes."""
        quads, lines = self._quads, [" by_hash = constant.copy()"]
        for node, quad in quads.hashed:
            lines += self._hashed(node, quad)
        for node, unsorted in quads.unsorted:
            filled = ", ".join(map(self._filled, unsorted))
            lines.append(f" by_hash[sha256(join(sorted(({filled},)))).digest()] = {node}")
        ties = quads.ties
        lines += [f" if len(by_hash) != {quads.nodes - (ties.count if ties else 0)}:", "  return None"]
        if ties:
            self.constants |= {"tied": ties.hashes, "order_of_ties": ties.order}
            lines += [" if not by_hash.keys().isdisjoint(tied):", "  return None"]
        lines.append(" ranked = [*map(by_hash.__getitem__, sorted(by_hash))]")
        if ties:
            lines.append(" ranked += order_of_ties(ranked, lambda: {node: digest for digest, node in by_hash.items()})")
        names = "".join(f"l{n}, " for n in range(quads.nodes))
        return [
            *lines,
            " labels = no_labels.copy()",
            " for label, node in zip(LABELS, ranked):",
            "  labels[node] = label",
            f" ({names}) = labels",
        ]

    def _hashed(self, node: int, quads: Template) -> list[str]:
        hashed = f"sha256({self._filled(quads)}).digest()"
        numbers = sorted({*quads.numbers})
        if len(numbers) > _FEW:
            return [f" by_hash[{hashed}] = {node}"]
        # Most likely a result: grades and whole points are few.
        self.constants[f"met{node}"] = {}
        return [
            f" key = ({''.join(f'{self._name(n)}, ' for n in numbers)})",
            f" digest = met{node}.get(key)",
            " if digest is None:",
            f"  digest = {hashed}",
            f"  if len(met{node}) < {_MOST_MET}: met{node}[key] = digest",
            f" by_hash[digest] = {node}",
        ]

    def _start(self) -> list[str]:
        """The state after the lines before the first slot: they hold labels of constant nodes, or nothing that varies.

        These nodes fall among the others in few ways, each of which is hashed once.
        """
        quads = self._quads
        nodes = sorted({n for x in self._head_numbers() for n in self._nodes_of(x)})
        if not nodes:
            self.constants["state_of_head"] = hashlib.sha256(quads.head.fill(()))
            return [" state = state_of_head.copy()"]
        key = "".join(f"l{n}, " for n in nodes)
        return [
            f" key = ({key})",
            " state = states.get(key)",
            " if state is None:",
            *(f" {self._group(n)}" for n in range(len(quads.groups)) if self._in_head(n)),
            f"  if len(states) >= {_MOST_STATES}:",
            "   states.clear()",
            f"  state = states[key] = sha256({self._filled(quads.head)})",
            " state = state.copy()",
        ]

    def _head_numbers(self) -> Sequence[int]:
        return self._quads.head.numbers

    def _nodes_of(self, number: int) -> list[int]:
        node, group = number - self._slots, number - self._slots - self._quads.nodes
        return [n - self._slots for n in self._quads.groups[group].numbers] if group >= 0 else [node]

    def _in_head(self, group: int) -> bool:
        return self._slots + self._quads.nodes + group in self._head_numbers()

    def _group(self, number: int) -> str:
        group = self._quads.groups[number]
        tails = "".join(f"{self._filled(tail)}, " for tail in group.tails)
        if not self._is_of_labels(group):
            return f" g{number} = sorted_lines({self._filled(group.head)}, ({tails}))"
        # Labels differ, so that no line stands twice: their lines are written out where they belong.
        names = "".join(f"g{number}_{n}, " for n in range(len(group.tails)))
        if len(group.tails) == 2:
            one, two = (self._filled(tail) for tail in group.tails)
            return f" ({names}) = ({tails}) if {one} < {two} else ({two}, {one})"
        return f" ({names}) = sorted(({tails}))"

    def _is_of_labels(self, group: Group) -> bool:
        return all(tail.text == b"%b" and tail.numbers[0] >= self._slots for tail in group.tails)

    def _blocks(self) -> list[str]:
        nodes = self._quads.nodes
        blocks = []
        for node, (template, variants) in enumerate(self._quads.blocks):
            if variants:
                self.constants[f"v{node}"] = dict(zip(LABELS, variants, strict=False))
            blocks.append(f"v{node}[l{node}], " if variants else f"{self._filled(template)}, ")
        by_label = "map(blocks.__getitem__, ranked)"
        if nodes > 10:
            self.constants["by_label"] = BY_LABEL[nodes]
            by_label = "[blocks[ranked[rank]] for rank in by_label]"
        return [
            f" blocks = ({''.join(blocks)})",
            f" state.update(join(({self._filled(self._quads.middle)}, *{by_label})))",
        ]

    def _filled(self, template: Template) -> str:
        """The template as an expression."""
        text, names = b"", []
        for piece in template.pieces():
            if isinstance(piece, bytes):
                text += piece.replace(b"%", b"%%")
                continue
            group = piece - self._slots - self._quads.nodes
            if group < 0 or not self._is_of_labels(self._quads.groups[group]):
                text += b"%b"
                names.append(self._name(piece))
                continue
            head = self._quads.groups[group].head
            for n in range(len(self._quads.groups[group].tails)):
                text += head.text + b"%b .\n"
                names += [*map(self._name, head.numbers), f"g{group}_{n}"]
        if not names:
            return self._constant(text.replace(b"%%", b"%"))
        if text == b"%b":
            return names[0]
        return f"{self._constant(text)} % ({', '.join(names)},)"

    def _name(self, number: int) -> str:
        node, group = number - self._slots, number - self._slots - self._quads.nodes
        return f"g{group}" if group >= 0 else f"l{node}" if node >= 0 else f"s{number}"

    def _constant(self, value: bytes) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name
