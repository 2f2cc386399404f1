"""What staff write beside a change is kept for good: it must not name the person it is about.

Belongs here: refusing a reason or an actor that repeats a name, an address or a key of somebody concerned. Does not
belong here: who is concerned, and what a reason is for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.errors import Terminal

LEAST = 4
"""Characters of a text that may not be repeated: the key `17` is in every number of a request."""

# The server sorts out all but a handful, so that an order about a million persons costs one pass; a text inside another
# word ("Mark" in "remarks") is told apart here.
REPEATED = """
select distinct t.kind, t.said from identity.source_record r cross join lateral (values
  ('name', r.full_name), ('name', r.given_name || ' ' || r.family_name),
  ('name', r.family_name || ', ' || r.given_name),
  ('e-mail address', r.email), ('key', r.source_key), ('key', split_part(r.source_key, ':', 2))) t (kind, said)
where r.person_id in ({persons}) and length(t.said) >= :least and position(lower(t.said) in lower(:words)) > 0
"""
OF_PLAN = "select person_id from ledger.plan_line where plan_id = :plan"
OF_AWARDS = "select person_id from ledger.award where award_id = any(:awards)"


def repeated(words: str, texts: Iterable[tuple[str, str]]) -> list[str]:
    """The kinds of those texts, of (kind, text), that `words` repeats as whole words."""
    folded = words.casefold()
    return sorted(
        {
            kind
            for kind, sought in texts
            if len(sought) >= LEAST and re.search(rf"(?<!\w){re.escape(sought.casefold())}(?!\w)", folded)
        }
    )


def refuse_repeated(words: str, texts: Iterable[tuple[str, str]]) -> None:
    """Raises Terminal, without the text, when `words` repeats one of these (kind, text)."""
    if named := repeated(words, texts):
        raise Terminal(
            f"the reason or the actor repeats the person's {' and '.join(named)}, and both are kept for good; refer to"
            " the request by its number instead. Nothing was done"
        )


def refuse_naming_in_plan(connection: Connection, plan: UUID, reason: str, actor: str) -> None:
    """Raises Terminal when reason or actor repeat a name, address or key of a person whom the plan is about."""
    words = f"{reason}\n{actor}"
    found = connection.execute(
        text(REPEATED.format(persons=OF_PLAN)), {"plan": plan, "least": LEAST, "words": words}
    ).all()
    # A corrected name is not yet one of the records.
    lines = connection.execute(
        text(
            "select 'name', facts->>'name' from ledger.plan_line where plan_id = :plan and facts ? 'name'"
            " and position(lower(facts->>'name') in lower(:words)) > 0"
        ),
        {"plan": plan, "words": words},
    ).all()
    refuse_repeated(words, ((kind, said) for kind, said in [*found, *lines]))


def refuse_naming_holders(connection: Connection, awards: Collection[UUID], reason: str, actor: str) -> None:
    """Raises Terminal when reason or actor repeat a name, address or key of a person who earned one of these awards."""
    words = f"{reason}\n{actor}"
    found = connection.execute(
        text(REPEATED.format(persons=OF_AWARDS)), {"awards": list(awards), "least": LEAST, "words": words}
    ).all()
    refuse_repeated(words, ((kind, said) for kind, said in found))
