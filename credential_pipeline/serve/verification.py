"""Verify what a person names on the command line: files, URLs, folders, whole sites, standard input.

Belongs here: the world each credential is verified in, in one process or several. Does not belong here: finding the
credentials (sources.py), the checks (credential/verify.py) and printing (commands/verification.py).
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import httpx

from credential_pipeline.credential.report import Check, Report
from credential_pipeline.credential.verify import Unreachable, Verifier, World
from credential_pipeline.serve.sources import Site, Task, chosen_site, is_url, read_file, tasks_of
from credential_pipeline.serve.world import FirstOf, SiteFolder, Web

# A process costs 1.5 s of imports and a credential about 5 ms (RDF canonicalization).
ALONE_UP_TO = 200
CHUNK = 50
TIMEOUT_SECONDS = 10.0
NOTE = (
    "the issuer's keys and lists were read from the folder that the credential lies in: this shows that they fit"
    " together, not that the folder is the issuer's; verify its URL for that"
)


@dataclass(frozen=True)
class Conditions:
    """How to verify: at which instant (aware), what the proofs were made for, and whether this machine may be asked."""

    now: datetime
    allow_loopback: bool = False
    domain: str | None = None
    challenge: str | None = None


def verify_sources(
    sources: Sequence[str],
    *,
    site: Path | None,
    now: datetime,
    workers: int = 2,
    allow_loopback: bool = False,
    domain: str | None = None,
    challenge: str | None = None,
    stdin: BinaryIO | None = None,
    passed_over: Callable[[str], None] = lambda _file: None,
) -> Iterator[tuple[str, Report]]:
    """Verify each credential that `sources` name, in their order; yields (file or URL, report) as they come.

    Args:
        sources: a FILE of any kind (JSON, JWT, SVG, PNG), an https URL, a site's folder (its credentials), any other
            folder (its .json, .jwt, .jws, .svg and .png files), or `-` for one credential on standard input.
        site: a published folder to ask instead of the web. Without it a file in a site's folder is verified with
            that folder and its report says so, any other credential with the web.
        now: the instant to verify at, aware.
        workers: processes for more than 200 credentials.
        allow_loopback: ask this machine too, also by plain http; everything private is refused otherwise.
        domain, challenge: what the proofs have to be made for; without them a proof made for any is refused.
        stdin: what `-` means.
        passed_over: told each file of a folder that is of another kind.

    Raises:
        Terminal: a source is neither a file, a folder nor a URL, or `site` is not a site. Before the first report.
    """
    chosen = None if site is None else chosen_site(site)
    tasks = tasks_of(sources, chosen, stdin, passed_over)
    return _run(tasks, Conditions(now, allow_loopback, domain, challenge), workers)


def _run(tasks: Iterator[Task], conditions: Conditions, workers: int) -> Iterator[tuple[str, Report]]:
    first = list(islice(tasks, ALONE_UP_TO + 1))
    if len(first) <= ALONE_UP_TO or workers <= 1:
        verifiers = _Verifiers(conditions)
        for task in chain(first, tasks):
            yield task.source, verifiers.verify(task)
        return
    # Spawned, not forked: the caller may have threads (Dagster, pools), and a fork copies their locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(conditions,)) as pool:
        # Only as many chunks ahead as keep the processes busy: a folder of a million is neither listed nor kept.
        running: deque[Future[list[tuple[str, Report]]]] = deque()
        waiting = chain(first, tasks)
        while chunk := list(islice(waiting, CHUNK)):
            running.append(pool.submit(_verify, chunk))
            if len(running) > 2 * workers:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()


class _Verifiers:
    """One Verifier a world, so that keys and status lists are asked for once."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._web = Web(
            httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False), allow_loopback=conditions.allow_loopback
        )
        self._of = lru_cache(maxsize=8)(self._make)

    def verify(self, task: Task) -> Report:
        verifier, world = self._of(task.site)
        try:
            data = self._load(task, world)
        except (Unreachable, OSError) as error:
            detail = f"the credential could not be read: {error}"
            return Report((Check("read", "unknown", detail),), "unknown", detail)
        report = verifier.verify(data)
        if task.site is not None and not task.site.chosen:
            found = Check("site", "warn", NOTE, {"folder": str(task.site.folder), "base": task.site.base_url})
            return replace(report, checks=(*report.checks, found))
        return report

    def _load(self, task: Task, world: World) -> bytes:
        if task.data is not None:
            return task.data
        if is_url(task.source):
            # The URL is the user's: it is asked for even where the issuer's documents come from a folder.
            return FirstOf(world, self._web).fetch(task.source) if task.site else world.fetch(task.source)
        return read_file(Path(task.source))

    def _make(self, site: Site | None) -> tuple[Verifier, World]:
        world: World = self._web if site is None else SiteFolder(site.folder, site.base_url)
        asked = self._conditions
        return Verifier(world, asked.now, domain=asked.domain, challenge=asked.challenge), world


_in_this_process: list[_Verifiers] = []


def _start(conditions: Conditions) -> None:
    _in_this_process[:] = [_Verifiers(conditions)]


def _verify(tasks: Sequence[Task]) -> list[tuple[str, Report]]:
    (verifiers,) = _in_this_process
    return [(task.source, verifiers.verify(task)) for task in tasks]
