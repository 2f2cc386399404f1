"""Verify what a person names on the command line: files, URLs, folders, whole sites.

Belongs here: finding the credentials and the world each is verified in, in one process or several. Does not belong
here: the checks (credential/verify.py) and printing (cli.py).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import httpx

from credential_pipeline.credential.report import Check, Report
from credential_pipeline.credential.verify import MAX_BYTES, Unreachable, Verifier, World
from credential_pipeline.errors import Terminal
from credential_pipeline.publish.documents import DID_PATH
from credential_pipeline.serve.world import SiteFolder, Web, find_site

# A process costs 1.5 s of imports and a credential about 5 ms (RDF canonicalization).
ALONE_UP_TO = 200
TIMEOUT_SECONDS = 10.0
NOTE = (
    "the issuer's keys and lists were read from the folder that the credential lies in: this shows that they fit"
    " together, not that the folder is the issuer's; verify its URL for that"
)


@dataclass(frozen=True)
class _Site:
    """A folder that stands for the web; `chosen`: the user named it, it was not found beside the credential."""

    folder: Path
    base_url: str
    chosen: bool


@dataclass(frozen=True)
class _Task:
    source: str
    site: _Site | None


def verify_sources(
    sources: Sequence[str], *, site: Path | None, now: datetime, workers: int = 2
) -> Iterator[tuple[str, Report]]:
    """Verify each credential that `sources` name, in their order; yields (file or URL, report).

    Args:
        sources: a FILE, an https URL, a site's folder (its credentials/*.json), or any other folder (its *.json).
        site: a published folder to ask instead of the web. Without it a file in a site's folder is verified with
            that folder and its report says so, any other credential with the web.
        now: the instant to verify at, aware.
        workers: processes for more than 200 credentials.

    Raises:
        Terminal: a source is neither a file, a folder nor a URL, or `site` is not a site. Before the first report.
    """
    chosen = None
    if site is not None:
        found = find_site(site)
        if found is None or found[0] != site.absolute():
            raise Terminal(f"{site} is not a published site: it has no {DID_PATH}; name the folder that has")
        chosen = _Site(*found, chosen=True)
    tasks = [task for source in sources for task in _tasks(source, chosen)]
    return _run(tasks, now, workers)


def _run(tasks: Sequence[_Task], now: datetime, workers: int) -> Iterator[tuple[str, Report]]:
    if len(tasks) <= ALONE_UP_TO or workers <= 1:
        verifiers = _Verifiers(now)
        for task in tasks:
            yield task.source, verifiers.verify(task)
        return
    # Spawned, not forked: the caller may have threads (Dagster, pools), and a fork copies their locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(now,)) as pool:
        for task, report in zip(tasks, pool.map(_verify, tasks, chunksize=50), strict=True):
            yield task.source, report


class _Verifiers:
    """One Verifier a world, so that keys and status lists are asked for once."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._of = lru_cache(maxsize=8)(self._make)

    def verify(self, task: _Task) -> Report:
        verifier, world = self._of(task.site)
        try:
            data = _load(task.source, world)
        except (Unreachable, OSError) as error:
            detail = f"the credential could not be read: {error}"
            return Report((Check("read", "unknown", detail),), "unknown", detail)
        report = verifier.verify(data)
        if task.site is not None and not task.site.chosen:
            found = Check("site", "warn", NOTE, {"folder": str(task.site.folder), "base": task.site.base_url})
            return replace(report, checks=(*report.checks, found))
        return report

    def _make(self, site: _Site | None) -> tuple[Verifier, World]:
        world: World
        if site is None:
            world = Web(httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False))
        else:
            world = SiteFolder(site.folder, site.base_url)
        return Verifier(world, self._now), world


_in_this_process: list[_Verifiers] = []


def _start(now: datetime) -> None:
    _in_this_process[:] = [_Verifiers(now)]


def _verify(task: _Task) -> Report:
    return _in_this_process[0].verify(task)


def _load(source: str, world: World) -> bytes:
    if _is_url(source):
        return world.fetch(source)
    with Path(source).open("rb") as file:
        return file.read(MAX_BYTES + 1)  # one more than is read, so that the verifier says it is too large


def _tasks(source: str, chosen: _Site | None) -> Iterator[_Task]:
    if _is_url(source):
        yield _Task(source, chosen)
        return
    path = Path(source)
    if path.is_file():
        yield _Task(source, chosen or _site_of(path.parent))
    elif path.is_dir():
        yield from _folder(path, chosen)
    else:
        raise Terminal(f"{source} is neither a file, a folder nor an https URL; correct it and run again")


def _folder(folder: Path, chosen: _Site | None) -> Iterator[_Task]:
    sites: dict[Path, _Site | None] = {}
    for file in sorted(folder.rglob("*.json")):
        if file.parent not in sites:
            sites[file.parent] = _site_of(file.parent)
        site = sites[file.parent]
        # Of a site only its credentials are credentials of persons; keys, lists and states have their own checks.
        if site is not None and file.absolute().relative_to(site.folder).parts[0] != "credentials":
            continue
        yield _Task(str(file), chosen or site)


def _site_of(folder: Path) -> _Site | None:
    found = find_site(folder)
    return _Site(*found, chosen=False) if found else None


def _is_url(source: str) -> bool:
    return source.startswith(("https://", "http://"))
