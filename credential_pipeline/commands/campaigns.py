"""`renew`, `campaign`, `key`: many at once, by window or by key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from credential_pipeline.commands.common import common, finish

if TYPE_CHECKING:
    from credential_pipeline.credential.multikey import Algorithm
    from credential_pipeline.runtime import Runtime
    from credential_pipeline.settings import Settings

REASON = click.option("--reason", required=True, help="Why; kept in the ledger, never published. No personal data.")
ACTOR = click.option("--actor", required=True, help="Who says so; one of the institution's people, if it lists any.")


@contextmanager
def _opened(settings: Settings, as_of: str | None = None) -> Iterator[Runtime]:
    from credential_pipeline.definitions import parse_instant
    from credential_pipeline.embedded_session import embedded_session
    from credential_pipeline.runtime import open_runtime

    with (
        embedded_session(settings),
        open_runtime(settings, as_of=parse_instant(as_of) if as_of else None) as runtime,
    ):
        yield runtime


def _run_id() -> str:
    return f"command-{uuid4()}"


@click.command()
@click.option("--window", "written", required=True, metavar="YYYY-MM[/SHARD]", help="The month it ends in; 0 to 3.")
@click.option("--as-of", help="The instant credentials are dated with, e.g. 2027-02-01T12:00:00Z [now].")
@click.option("--plan-only", is_flag=True, help="Make the plans and remind; renew nothing yet.")
@common
def renew(settings: Settings, as_json: bool, written: str, as_of: str | None, plan_only: bool) -> None:
    """Renew the credentials that end in a month: remind, plan, and carry out what is approved.

    Exit code 1: some are blocked; the reasons are told. What needs signatures waits for one approval of the window.
    Given again, it does what is missing and nothing twice.

    Example: credential-pipeline renew --window 2027-03
    """
    from credential_pipeline.renew.window_run import run_windows

    with _opened(settings, as_of) as runtime:
        came = run_windows(runtime, written, _run_id(), plan_only=plan_only)
    text = [f"window {written} as of {came.as_of.isoformat()}"]
    text += [f"  {n:>8,}  {a}: end in it, {came.renewable.get(a, 0):,} renewable" for a, n in came.expiring.items()]
    text += [f"  {came.planned:>8,}  planned now, {came.renewed:,} renewed", f"  {came.reminded:>8,}  reminded"]
    text += [f"  {n:>8,}  blocked: {reason}" for reason, n in came.blocked.items()]
    text += [
        f"waits for a signed approval of {n:,} renewals: credential-pipeline approve {plan}"
        for plan, n in came.waiting.items()
    ]
    finish(asdict(came), as_json, "\n".join(text), in_order=not came.blocked and not came.stale)


@click.group()
def campaign() -> None:
    """Plans about many credentials: re-issue what a key signed, and see how far they are.

    Example: credential-pipeline campaign list
    """


@campaign.command()
@click.option("--key", "key_id", required=True, metavar="KID", help="The key whose credentials are issued again.")
@click.option("--as-of", help="The instant credentials are dated with [now].")
@REASON
@ACTOR
@common
def reissue(settings: Settings, as_json: bool, key_id: str, as_of: str | None, reason: str, actor: str) -> None:
    """Plan revoking and re-issuing everything a key signed; each credential gets a successor with the same content.

    The plan waits for signatures, unless policies.campaign_approval is `actor`: then it is carried out at once.

    Example: credential-pipeline campaign reissue --key key-1 --reason 'laptop stolen' --actor registrar
    """
    from credential_pipeline.issue.apply import apply_plan
    from credential_pipeline.issue.reissue import plan_reissue

    with _opened(settings, as_of) as runtime:
        run_id = _run_id()
        stored = plan_reissue(
            runtime.engine, runtime.institution, runtime.secrets, key_id, runtime.as_of, run_id,
            actor=actor, reason=reason,
        )  # fmt: skip
        done = None
        if stored and stored.does_something and runtime.institution.policies.campaign_approval == "actor":
            done = apply_plan(
                runtime.engine, runtime.institution, runtime.secrets, runtime.signer, stored.plan_id, run_id,
                now=runtime.clock(), workers=runtime.workers,
            )  # fmt: skip
    if stored is None:
        finish({"plan": None, "counts": {}, "state": "nothing"}, as_json, f"nothing of {key_id} is left to re-issue")
    counts = dict(stored.counts)
    told = ", ".join(f"{number:,} {action}" for action, number in sorted(counts.items()))
    text = f"plan {stored.plan_id}: {told}\nhash {stored.hash.hex()}\n"
    state = "waiting" if stored.does_something and done is None else "applied"
    if done is not None:
        text += f"{done.issued:,} issued again, {done.moved:,} only revoked; published with the next publication"
    elif stored.does_something:
        text += f"waits for a signed approval: credential-pipeline approve {stored.plan_id}"
    result = {
        "plan": stored.plan_id, "hash": stored.hash.hex(), "counts": counts, "state": state,
        "issued": done.issued if done else 0, "revoked": done.moved if done else 0,
    }  # fmt: skip
    finish(result, as_json, text.rstrip(), in_order=not counts.get("hold") and not (done and done.stale))


@campaign.command("list")
@common
def campaign_list(settings: Settings, as_json: bool) -> None:
    """Renewals and re-issues, the newest first, and how many of their lines are still open.

    Example: credential-pipeline campaign list
    """
    from credential_pipeline.issue.reissue import campaigns

    with _opened(settings) as runtime:
        found = campaigns(runtime.engine)
    lines = [
        f"{one.plan_id}  {one.kind:<8} {one.scope:<18} {one.state:<9} {one.approval:<10} {one.open:>9,} open  "
        + ", ".join(f"{n:,} {action}" for action, n in sorted(one.counts.items()))
        for one in found
    ]
    finish({"campaigns": [asdict(one) for one in found]}, as_json, "\n".join(lines) or "no campaign yet")


@click.group()
def key() -> None:
    """The issuer's signing keys: their periods, a new one, and one that somebody else may have.

    Example: credential-pipeline key list
    """


@key.command("list")
@common
def key_listing(settings: Settings, as_json: bool) -> None:
    """All keys with their periods, and how many credentials each signed.

    Example: credential-pipeline key list
    """
    from credential_pipeline.issue.key_periods import key_list

    with _opened(settings) as runtime:
        found = key_list(runtime.engine, runtime.secrets, runtime.clock())
    lines = []
    for one in found:
        until = one.valid_until.isoformat() if one.valid_until else "now"
        told = ", ".join(f"{number:,} {state}" for state, number in one.credentials.items()) or "nothing signed"
        kind = f"{one.algorithm} in KMS" if one.kms_key else one.algorithm
        lines.append(
            f"{one.key_id:<8} {kind:<14} {one.valid_from.isoformat()} to {until}  {told}" + _told_of(one.signs, one)
        )
    finish({"keys": [asdict(one) for one in found]}, as_json, "\n".join(lines))


def _told_of(signs: bool, one: Any) -> str:
    if one.compromised_at:
        return f"  COMPROMISED since {one.compromised_at.isoformat()}"
    return "  signs" if signs else ""


@key.command()
@click.option(
    "--algorithm",
    type=click.Choice(["Ed25519", "ES256", "RS256"]),
    help="Ed25519 signs documents, ES256 and RS256 sign JWTs [Ed25519].",
)
@click.option("--kms", metavar="ARN", help="Sign with this key in AWS KMS from now on; its kind says what it signs.")
@REASON
@ACTOR
@common
def rotate(
    settings: Settings, as_json: bool, algorithm: Algorithm | None, kms: str | None, reason: str, actor: str
) -> None:
    """Make a key that signs from now on; what the one before signed stays verifiable.

    Given first of all in a new home, it makes the first key: with --kms, no private key is ever on this machine.

    Example: credential-pipeline key rotate --reason 'yearly rotation' --actor registrar
    """
    from credential_pipeline.issue.key_periods import KeyInKms, rotate_key

    if algorithm and kms:
        raise click.UsageError("give --algorithm or --kms: a key in KMS has its algorithm already")
    with _opened(settings) as runtime:
        new = KeyInKms.asked(runtime.kms, kms) if kms else algorithm or "Ed25519"
        made = rotate_key(
            runtime.engine, runtime.secrets_directory, runtime.clock(), new,
            actor=actor, reason=reason, run_id=_run_id(),
        )  # fmt: skip
    signs = "documents" if made.use == "key" else "JWTs"
    finish(
        {
            "key": made.key_id,
            "algorithm": made.algorithm,
            "kms_key": made.kms_key,
            "valid_from": made.created.isoformat(),
            "public_key_multibase": made.public_key_multibase,
        },
        as_json,
        f"{made.key_id} ({made.algorithm}) signs {signs} from {made.created.isoformat()} on; did.json lists it after "
        "the next publication",
    )


@key.command()
@click.argument("key_id", metavar="KID")
@click.option("--since", required=True, metavar="INSTANT", help="Since when somebody else may have it.")
@REASON
@ACTOR
@common
def compromised(settings: Settings, as_json: bool, key_id: str, since: str, reason: str, actor: str) -> None:
    """Let nothing be signed with a key any more, whatever the date; the next key is made at once where it is needed.

    It leaves did.json with the next publication, and verifiers refuse all it signed: re-issue that with
    `credential-pipeline campaign reissue --key KID`.

    Example: credential-pipeline key compromised key-1 --since 2026-03-01T00:00:00Z --reason 'laptop stolen' --actor
    registrar
    """
    from credential_pipeline.definitions import parse_instant
    from credential_pipeline.issue.key_periods import declare_compromised

    with _opened(settings) as runtime:
        came = declare_compromised(
            runtime.engine, runtime.secrets, key_id, parse_instant(since), runtime.clock(),
            actor=actor, reason=reason, run_id=_run_id(),
        )  # fmt: skip
    assert came.key.compromised_at is not None  # noqa: S101 - for the type checker
    text = [f"{key_id} is compromised since {came.key.compromised_at.isoformat()}: nothing is signed with it any more"]
    if came.successor:
        text.append(f"{came.successor.key_id} signs from {came.successor.created.isoformat()} on")
    text += [
        f"plan {plan} is set aside: it was dated with {key_id} and has to be made again" for plan in came.set_aside
    ]
    text.append(f"{came.credentials:,} current credentials were signed with it; publish, then re-issue them:")
    text.append(f"  credential-pipeline campaign reissue --key {key_id} --reason ... --actor {actor}")
    result = {
        "key": key_id,
        "compromised_at": came.key.compromised_at.isoformat(),
        "successor": came.successor.key_id if came.successor else None,
        "plans_set_aside": list(came.set_aside),
        "current_credentials": came.credentials,
    }
    finish(result, as_json, "\n".join(text))


COMMANDS: tuple[click.Command, ...] = (renew, campaign, key)
