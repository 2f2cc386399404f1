"""YAML files as values that know their lines.

Belongs here: YAML 1.2 without tags, merge keys and duplicate keys, every value as the text that stands in the file.
The types decide what a text means, so `course: 007`, `outcome: no` and `term: 1.10` stay what the registrar wrote.
Does not belong here: what a member means (the models) and the words of their errors (explain.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode
from ruamel.yaml.reader import ReaderError

from credential_pipeline.institution.problems import MemberPath, Problem, dotted

_CORE = "tag:yaml.org,2002:"
_SCALARS = frozenset(_CORE + kind for kind in ("str", "int", "float", "bool", "timestamp", "value"))


@dataclass(frozen=True)
class Node:
    """A value of a file; `line` is that of its key, or of itself in a list, counted from 1."""

    file: Path
    line: int
    value: str | dict[str, Node] | list[Node] | None

    def plain(self) -> object:
        """The value without its lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def at(self, path: MemberPath) -> Node:
        """The node of a path, or the last one on the way that exists."""
        node = self
        for part in path:
            inner = node._child(part)
            if inner is None:
                break
            node = inner
        return node

    def _child(self, part: str | int) -> Node | None:
        if isinstance(self.value, dict):
            return self.value.get(str(part))
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            return self.value[part]
        return None


def read_document(path: Path) -> tuple[Node | None, list[Problem]]:
    """A file's root and every problem that YAML itself has with it; the root is None when it cannot be read at all."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return None, [
            Problem(path, None, f"cannot be read: {error.strerror}", "", "see that the file exists and is ours")
        ]
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return None, [Problem(path, line, "is not UTF-8", "", "save the file as UTF-8")]
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except (YAMLError, RecursionError) as error:
        return None, [_syntax(path, text, error)]
    if root is None:
        return None, [Problem(path, 1, "is empty", "", "`credential-pipeline init DIR` writes one to start from")]
    reader = _Reader(path)
    node = reader.read(root, (), root.start_mark.line + 1, ())
    return node, reader.problems


def _syntax(path: Path, text: str, error: Exception) -> Problem:
    # The text of these errors quotes the line; a line may hold a secret, so only the reason is taken.
    remedy = "correct the indentation, quotes or brackets there"
    if isinstance(error, ReaderError):
        line = text[: error.position].count("\n") + 1
        return Problem(path, line, "holds a control character", "", "remove it")
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        reason = " ".join(part for part in (error.context, error.problem) if part)
        return Problem(path, error.problem_mark.line + 1, f"is not YAML: {reason}", "", remedy)
    return Problem(path, 1, "is not YAML: nested too deeply", "", remedy)


class _Reader:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def read(self, node: YamlNode, path: MemberPath, line: int, above: tuple[YamlNode, ...]) -> Node:
        if any(node is outer for outer in above):
            self._refuse(line, "an alias refers to the value it stands in", path, "write the members out")
            return Node(self.file, line, None)
        if isinstance(node, MappingNode) and node.tag == _CORE + "map":
            return Node(self.file, line, self._mapping(node, path, (*above, node)))
        if isinstance(node, SequenceNode) and node.tag == _CORE + "seq":
            items = enumerate(node.value)
            inner = [self.read(v, (*path, i), v.start_mark.line + 1, (*above, node)) for i, v in items]
            return Node(self.file, line, inner)
        if isinstance(node, ScalarNode) and node.tag in _SCALARS:
            return Node(self.file, line, str(node.value))
        if not (isinstance(node, ScalarNode) and node.tag == _CORE + "null"):
            self._refuse(line, "has a YAML tag", path, "take the !tag out: values are plain text, lists and mappings")
        return Node(self.file, line, None)

    def _mapping(self, node: MappingNode, path: MemberPath, above: tuple[YamlNode, ...]) -> dict[str, Node]:
        members: dict[str, Node] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self._refuse(line, "a member's name is a list or a mapping", path, "write a plain name")
            elif key.tag == _CORE + "merge":
                self._refuse(line, "has a merge key `<<`", path, "write the members out: YAML 1.2 has no merge keys")
            elif key.value in members:
                first = members[key.value].line
                what = f"`{key.value}` is written twice, first on line {first}"
                self._refuse(line, what, (*path, key.value), "keep one of them")
            else:
                members[key.value] = self.read(value, (*path, key.value), line, above)
        return members

    def _refuse(self, line: int, what: str, path: MemberPath, remedy: str) -> None:
        self.problems.append(Problem(self.file, line, what, dotted(path), remedy))
