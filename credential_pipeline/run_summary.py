"""A run's outcome as JSON and as text a person can read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from credential_pipeline.run import Outcome


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """What `run --json` prints."""
    return {
        **asdict(outcome.counts),
        "reconciled": outcome.reconciled,
        "seconds": dict(outcome.seconds),
        "site": outcome.site,
        "day": outcome.day.isoformat(),
        "as_of": outcome.as_of.isoformat().replace("+00:00", "Z"),
        "quarantine": [
            {"dataset": dataset, "code": code, "rows": rows} for dataset, code, rows in outcome.reasons.quarantined
        ],
        "skipped_reasons": dict(outcome.reasons.skipped),
        "held_reasons": dict(outcome.reasons.held),
        "breaches": list(outcome.reasons.breaches),
        "differences": list(outcome.differences),
        "failures": list(outcome.failures),
        "run_ids": dict(outcome.run_ids),
    }


def _quarantined(outcome: Outcome) -> list[str]:
    codes: dict[str, list[tuple[int, str]]] = {}
    for dataset, code, rows in outcome.reasons.quarantined:
        codes.setdefault(dataset, []).append((rows, code))
    width = max(map(len, codes))
    return [
        f"  {dataset:<{width}}  " + ", ".join(f"{code} {rows}" for rows, code in sorted(found, reverse=True))
        for dataset, found in codes.items()
    ]


def as_text(outcome: Outcome) -> str:
    """A summary with the sums, what needs a person, and where to look next."""
    c = outcome.counts
    lines = [
        "",
        f"Day {outcome.day}, credentials dated {outcome.as_of:%Y-%m-%dT%H:%M:%SZ}",
        f"  evidence    {c.landed:>9,} landed = {c.accepted:,} accepted + {c.quarantined:,} quarantined",
        f"  awards      {c.earned:>9,} earned = {c.issued:,} issued + {c.already_issued:,} already + {c.held:,} held",
        f"              {c.skipped:>9,} accepted rows earn nothing",
        f"  persons     {c.persons:>9,} known, {c.holders:,} hold a credential",
        f"  published   {c.published:>9,} credentials",
        f"  reconciled  {'yes' if outcome.reconciled else 'NO':>9}",
        f"  seconds     {'  '.join(f'{stage} {seconds:.1f}' for stage, seconds in outcome.seconds.items())}",
    ]
    if c.issued == 0 and c.already_issued and not outcome.failures:
        lines += ["", "Nothing new to issue: everything earned had been issued before or is held."]
    if outcome.reasons.quarantined:
        lines += ["", "Quarantined, rows by dataset and code:", *_quarantined(outcome)]
    for title, reasons in (("Skipped", outcome.reasons.skipped), ("Held", outcome.reasons.held)):
        if reasons:
            lines += ["", f"{title}:", *(f"  {count:>7,}  {reason}" for reason, count in reasons.items())]
    for title, said in (
        ("Set aside", outcome.reasons.breaches),
        ("Failed", outcome.failures),
        ("Does not add up", outcome.differences),
    ):
        if said:
            lines += ["", f"{title}:", *(f"  {line}" for line in said)]
    lines += [
        "",
        f"Published: {outcome.site}",
        "Next: credential-pipeline verify, explain, reconcile; `make dev` shows runs, quarantine and the site.",
    ]
    return "\n".join(lines)
