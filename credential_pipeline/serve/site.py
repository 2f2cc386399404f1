"""The published folder on this machine, as a web server would show it: for development and tests.

Belongs here: serving files of known kinds, with the headers of publish/headers.py. Does not belong here: production,
where a CDN or nginx serves the same files, and anything that is computed for a request.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from credential_pipeline.publish.headers import SECURITY, class_of, object_headers

LOOPBACK = "127.0.0.1"
TTL_SECONDS = 3600


def build_app(folder: Path, *, ttl_seconds: int = TTL_SECONDS) -> Starlette:
    """The ASGI application; `ttl_seconds` is what short-lived objects may be kept for (policies.status_ttl_minutes)."""
    root = folder.resolve()

    # Not async: Starlette then runs it in a thread, and a slow disk does not stop the others.
    def serve(request: Request) -> Response:
        path = request.path_params["path"] or "index.html"
        data = _read(root, path)
        if data is None:
            return JSONResponse(
                {"error": "not_found", "detail": "nothing is published at this path"},
                status_code=404,
                headers={**SECURITY, "Cache-Control": "no-store"},
            )
        headers = {**object_headers(path, ttl_seconds), **SECURITY, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers)  # Starlette leaves the body out for HEAD

    return Starlette(routes=[Route("/{path:path}", serve, methods=["GET", "HEAD"])])


def run_site(folder: Path, port: int, *, ttl_seconds: int = TTL_SECONDS) -> None:
    """Serve the folder on loopback until the process is told to stop."""
    uvicorn.run(
        build_app(folder, ttl_seconds=ttl_seconds), host=LOOPBACK, port=port, log_level="warning", server_header=False
    )


def _read(root: Path, path: str) -> bytes | None:
    # The table decides what exists: no folder, no half-written file and no path with dots is in it.
    if class_of(path) is None:
        return None
    file = root / path
    try:
        if not file.resolve().is_relative_to(root):  # a symbolic link out of the site
            return None
        return file.read_bytes()
    except OSError:
        return None
