"""A command's time with the embedded server: whoever started it stops it, unless somebody else uses it by then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from credential_pipeline.settings import Settings


@contextmanager
def embedded_session(settings: Settings) -> Iterator[None]:
    """Nothing with a database URL; else the server runs inside the block, and is left as it was found."""
    if settings.database_url is not None:
        yield
        return
    from credential_pipeline.store import embedded

    directory = settings.home / "postgres"
    found_running = embedded.is_running(directory)
    try:
        yield
    finally:
        if not found_running:
            embedded.stop_if_unused(directory)
