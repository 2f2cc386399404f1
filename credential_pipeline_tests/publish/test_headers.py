"""The table of headers covers what is published and nothing else."""

from __future__ import annotations

import pytest

from credential_pipeline.publish.headers import class_of, object_headers
from credential_pipeline.publish.page import STYLE_PATH

PUBLIC_ID = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("path", "name", "content_type", "cache"),
    [
        (f"credentials/{PUBLIC_ID}.json", "credential", "application/vc", "public, max-age=300, s-maxage=31536000"),
        (f"state/{PUBLIC_ID}.json", "state", "application/json", "public, max-age=60"),
        ("status/12.json", "status list", "application/vc", "public, max-age=60"),
        (".well-known/did.json", "did", "application/did+ld+json", "public, max-age=60"),
        ("did.json", "did", "application/did+ld+json", "public, max-age=60"),
        ("keys.json", "keys", "application/json", "public, max-age=60"),
        ("issuer.json", "issuer", "application/ld+json", "public, max-age=60"),
        ("achievements/data-101.json", "achievement", "application/ld+json", "public, max-age=60"),
        ("index.html", "page", "text/html; charset=utf-8", "public, max-age=300"),
        (STYLE_PATH, "style", "text/css; charset=utf-8", "public, max-age=31536000, immutable"),
    ],
)
def test_each_class(path: str, name: str, content_type: str, cache: str) -> None:
    found = class_of(path)
    assert found is not None
    assert found.name == name
    assert object_headers(path, 60) == {"Content-Type": content_type, "Cache-Control": cache}


@pytest.mark.parametrize(
    "path",
    [
        "", "credentials", "credentials/", f"credentials/{PUBLIC_ID}.json#1", f"credentials/{PUBLIC_ID}",
        "status/0.json", "credentials/short.json", "../secrets/key-1.pem", f"credentials/../state/{PUBLIC_ID}.json",
        "status/1.json\n", "assets/site.css", ".well-known/x",
    ],
)  # fmt: skip
def test_nothing_else(path: str) -> None:
    assert class_of(path) is None
    with pytest.raises(ValueError, match="in no class"):
        object_headers(path, 60)
