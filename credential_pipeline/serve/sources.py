"""What a person names on the command line, as tasks: a file, a URL, a folder, a whole site, standard input.

Belongs here: walking folders, reading regular files, and which site each credential is verified in. Does not belong
here: verifying (verification.py), and URLs that a document names (world.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from credential_pipeline.credential.verify import MOST_READ
from credential_pipeline.errors import Terminal
from credential_pipeline.publish.documents import DID_PATH
from credential_pipeline.serve.world import find_site

SUFFIXES = frozenset((".json", ".jsonld", ".jwt", ".jws", ".svg", ".png"))
"""What is looked at in a folder; a file that is named is looked at whatever it is called."""
STDIN = "-"


@dataclass(frozen=True)
class Site:
    """A folder that stands for the web; `chosen`: the user named it, it was not found beside the credential."""

    folder: Path
    base_url: str
    chosen: bool


@dataclass(frozen=True)
class Task:
    """One credential to verify; `data` where it was read already."""

    source: str
    site: Site | None
    data: bytes | None = None


def chosen_site(folder: Path) -> Site:
    """The site whose top is `folder`; raises Terminal."""
    found = find_site(folder)
    if found is None or found[0] != folder.absolute():
        raise Terminal(f"{folder} is not a published site: it has no {DID_PATH}; name the folder that has")
    return Site(*found, chosen=True)


def tasks_of(
    sources: Sequence[str], chosen: Site | None, stdin: BinaryIO | None, passed_over: Callable[[str], None]
) -> Iterator[Task]:
    """The tasks of all sources in order, found as they are asked for; a folder may hold millions.

    `passed_over` is told each file of a folder that is of another kind. Raises Terminal, before the first task, for a
    source that is neither a file, a folder nor a URL.
    """
    for source in sources:
        if source == STDIN:
            if stdin is None:
                raise Terminal("standard input is not open here; name a file")
        elif not (is_url(source) or Path(source).is_file() or Path(source).is_dir()):
            raise Terminal(f"{source} is neither a file, a folder nor an https URL; correct it and run again")
    return (task for source in sources for task in _tasks(source, chosen, stdin, passed_over))


def read_file(path: Path) -> bytes:
    """One byte more than is read of any file, so that the verifier says it is too large; raises OSError.

    Regular files only: a folder from a stranger may hold a pipe that never ends, or a device.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("not a regular file")
        return file.read(MOST_READ + 1)


def is_url(source: str) -> bool:
    """Whether a source is meant as a URL."""
    return source.startswith(("https://", "http://"))


def _tasks(
    source: str, chosen: Site | None, stdin: BinaryIO | None, passed_over: Callable[[str], None]
) -> Iterator[Task]:
    path = Path(source)
    if source == STDIN:
        if stdin is not None:
            yield Task("standard input", chosen, stdin.read(MOST_READ + 1))
    elif is_url(source):
        yield Task(source, chosen)
    elif path.is_dir():
        yield from _folder(path, chosen, passed_over)
    else:
        yield Task(source, chosen or _site_of(path.parent))


def _folder(top: Path, chosen: Site | None, passed_over: Callable[[str], None]) -> Iterator[Task]:
    # os.walk and not rglob: one folder's names are in memory at a time, and links to folders are not followed.
    for name, folders, files in os.walk(top):
        folders.sort()
        folder = Path(name)
        site = _site_of(folder)
        # Of a site only its credentials are credentials of persons; keys, lists and states have their own checks.
        inside = folder.absolute().relative_to(site.folder).parts[:1] if site is not None else None
        if inside is not None and inside != ("credentials",):
            continue
        for file in sorted(files):
            if Path(file).suffix.lower() in SUFFIXES:
                yield Task(str(folder / file), chosen or site)
            else:
                passed_over(str(folder / file))


def _site_of(folder: Path) -> Site | None:
    found = find_site(folder)
    return Site(*found, chosen=False) if found else None
