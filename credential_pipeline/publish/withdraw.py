"""Take the documents of erased persons away from a target: every version of each object, then its line in the manifest.

Belongs here: which objects go, and in which order. Does not belong here: erasing from the ledger (issue/erase.py),
which comes before, and telling by state objects and status lists (publish.py does, as for every other state).
"""

from __future__ import annotations

import logging
from uuid import UUID

from sqlalchemy import Engine, text

from credential_pipeline.institution.describe import credential_path, jwt_path
from credential_pipeline.store.objects import ObjectStore

log = logging.getLogger(__name__)

# From the few erased persons to their credentials, each step by an index: a million others are not looked at.
STANDING = """
select p.path
from (select person_id from ledger.erasure
      union select a.alias_id from ledger.erasure e join identity.person_alias a using (person_id)) e
join ledger.credential c using (person_id)
join ledger.publication p on p.credential_id = c.credential_id and p.kind in ('credential', 'jwt')
where p.target = :target and c.document is null order by 1
"""


def delete_documents(engine: Engine, store: ObjectStore, person: UUID) -> tuple[str, ...]:
    """Delete a person's documents whatever the manifest says, after a publication; returns their paths.

    A publisher that was killed between sending and recording leaves an object that no manifest names.
    """
    with engine.connect() as connection:
        paths = tuple(
            path(public)
            for path in (credential_path, jwt_path)
            for public in connection.scalars(
                text(
                    "select c.public_id from (select cast(:person as uuid) as person_id union"
                    "  select alias_id from identity.person_alias where person_id = :person) p"
                    " join ledger.credential c using (person_id) where c.document is null order by 1"
                ),
                {"person": person},
            ).all()
        )
    for path in paths:
        store.delete_every_version(path)
    return paths


def withdraw_erased(engine: Engine, store: ObjectStore, target: str) -> tuple[str, ...]:
    """Delete what still stands of erased persons at a target; returns the paths. For the publisher, below its lock.

    Objects go first: killed in between, the manifest still names them, and the next call deletes them again.
    """
    with engine.begin() as connection:
        paths = tuple(connection.scalars(text(STANDING), {"target": target}))
        for path in paths:
            store.delete_every_version(path)
        connection.execute(
            text("delete from ledger.publication where target = :target and path = any(:paths)"),
            {"target": target, "paths": list(paths)},
        )
    if paths:
        log.info("%s: took away %d documents of erased persons", target, len(paths))
    return paths
