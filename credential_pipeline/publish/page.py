"""The front page of a site: who issues here and what can be fetched. Plain HTML, no script, no count, no person.

The pages that show a credential to a reader are a later stage's; this one keeps `/` from being an error.
"""

from __future__ import annotations

import hashlib
from html import escape

from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Programme

STYLE = b"""\
:root { color-scheme: light dark; font: 1rem/1.55 system-ui, sans-serif; }
body { max-width: 44rem; margin: 3rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin-bottom: .25rem; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
dt { margin-top: .6rem; }
dd { margin-left: 0; opacity: .8; }
code { font-size: .95em; overflow-wrap: anywhere; }
"""
# Named by its content: a cache may keep it forever.
STYLE_PATH = f"assets/site-{hashlib.sha256(STYLE).hexdigest()[:16]}.css"


def front_page(institution: Institution) -> bytes:
    """The HTML of /index.html."""
    issuer = institution.issuer
    about = f"<p>{escape(issuer.description)}</p>\n" if issuer.description else ""
    sample = "<p><strong>A sample: nothing here was earned by anybody.</strong></p>\n" if institution.sample else ""
    programmes = "".join(_programme(p) for p in institution.catalogue.programmes)
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Credentials of {escape(issuer.name)}</title>
<link rel="stylesheet" href="{STYLE_PATH}">
</head>
<body>
<h1>Credentials of {escape(issuer.name)}</h1>
<p><a href="{escape(issuer.url)}">{escape(issuer.url)}</a></p>
{about}{sample}<p>Open Badges 3.0 credentials, signed by <code>{escape(institution.issuer_did)}</code>.
Anybody can verify one with what is published here; no account and no server of ours is needed.</p>
{programmes}<h2>What can be fetched</h2>
<dl>
<dt><a href=".well-known/did.json">.well-known/did.json</a></dt><dd>the issuer's keys</dd>
<dt><a href="keys.json">keys.json</a></dt><dd>when each key was in use, signed</dd>
<dt><a href="issuer.json">issuer.json</a></dt><dd>the issuer's profile</dd>
<dt><code>achievements/NAME.json</code></dt><dd>what can be earned, and how</dd>
<dt><code>credentials/ID.json</code></dt><dd>a signed credential; only its holder can tell you its id</dd>
<dt><code>state/ID.json</code></dt><dd>whether that version is current, signed</dd>
<dt><code>status/N.json</code></dt><dd>which credentials are revoked, as a bit string</dd>
</dl>
</body>
</html>
""".encode()


def _programme(programme: Programme) -> str:
    items = (f'<li><a href="achievements/{a.id}.json">{escape(a.name)}</a></li>\n' for a in programme.achievements)
    return f"<h2>{escape(programme.name)}</h2>\n<ul>\n{''.join(items)}</ul>\n"
