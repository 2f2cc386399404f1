"""Where each column of a model comes from, worked out from its SQL.

Belongs here: lineage of columns, for those who show it. Does not belong here: lineage of one credential (explain.py).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from credential_pipeline.report.model_types import Model, Project
from credential_pipeline.store.tables import metadata


def column_lineage(project: Project, model: Model) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """For each column, the (SCHEMA.TABLE, column) pairs that its value is made of; models are named by their relation.

    About 10 ms a column: ask for it when it is shown, not when the project is loaded.
    """
    from sqlglot import exp
    from sqlglot.lineage import lineage

    schema = _schema(project)
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    # sqlglot warns of what it cannot type, which does not matter for where a column comes from.
    level = logging.getLogger("sqlglot").level
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        for column in model.columns:
            leaves = set()
            for node in lineage(column.name, model.sql, schema=schema, dialect="postgres").walk():
                if not node.downstream and isinstance(node.source, exp.Table):
                    leaves.add((f"{node.source.db}.{node.source.name}", node.name.rpartition(".")[2].strip('"')))
            found[column.name] = tuple(sorted(leaf for leaf in leaves if leaf[0] != "."))
    finally:
        logging.getLogger("sqlglot").setLevel(level)
    return found


def _schema(project: Project) -> dict[str, object]:
    tables: dict[str, dict[str, dict[str, str]]] = {}
    for table in metadata.tables.values():
        tables.setdefault(table.schema or "public", {})[table.name] = {column.name: "text" for column in table.columns}
    for other in project.models:
        schema, _, name = other.relation.partition(".")
        tables.setdefault(schema, {})[name] = {column.name: "text" for column in other.columns}
    return dict(tables)
