"""The institution that `credential-pipeline init DIR` writes: small, commented, and running as it is.

Belongs here: the files an adopter starts from. Does not belong here: samples/, which show every feature.
"""

from __future__ import annotations

import re
from pathlib import Path

from credential_pipeline.errors import Terminal
from credential_pipeline.institution import is_slug
from credential_pipeline.institution.base import SLUG_FORM

_ID = "your-organisation"
_HOST = "your-organisation.example"

_INSTITUTION = """\
# Who issues, where rows come from, and what they must hold. Check your changes with: credential-pipeline check
id: your-organisation             # part of every identifier: choose it once, before the first credential is issued
issuer:
  name: Your Organisation
  url: https://your-organisation.example
base_url: https://credentials.your-organisation.example   # where the published site will be; did:web is made of it
time_zone: UTC                    # a day begins at midnight here; such as Europe/London
history_from: 2025-01-01          # the first day that rows may arrive on
data: data                        # the directory of the sources' files, from here
recipient:
  name: shown                     # or omitted
  identifiers:                    # hashed in the credential; the first that a person has is enough
    - {type: emailAddress, from: email}
    - {type: ltiUserId, from: lms}

sources:
  - id: lms                       # part of every person's key: never rename it
    kind: files
    system: lms
    name: Learning management system
    datasets:
      - id: users                 # people: one row for each person, as this system knows them
        role: people
        files: users.csv
        columns: {person: user_id, full_name: full_name, email: email}    # our field: their column
        gate:
          checks:
            - {check: required, field: person}
            - {check: unique, fields: [person]}
            - {check: required, field: full_name}
            - {check: length, field: full_name, max: 200}
            - {check: email, field: email}
      - id: completions           # evidence: what earns something
        role: evidence
        files: completions*.csv
        columns:
          person: user_id
          course: course_code
          term: term
          completed_on: completed_on
          score: score
          outcome: outcome
        gate:
          checks:
            - {check: required, field: person}
            - {check: reference, field: person, to: lms.users.person}
            - {check: required, field: course}
            - {check: one_of, field: course, values: [FIRST-AID, DATA-101]}
            - {check: required, field: term}
            - {check: required, field: completed_on}
            - {check: date, field: completed_on}
            - {check: number, field: score, min: 0, max: 100}
            - {check: one_of, field: outcome, values: [completed, failed]}
            - {check: unique, fields: [person, course, term]}
"""

_CATALOGUE = """\
# What can be earned in one programme. Each file of this directory is a programme.
id: courses
name: Courses
achievements:
  - id: data-101                  # part of every award's identity: change the name, never the id
    name: Foundations of Data
    type: Course
    description: A course about reading, questioning and presenting data.
    criteria: Completed the course DATA-101 with all its assessments.
    earned_by:                    # accepted rows with these values earn it
      - {dataset: lms.completions, where: {course: DATA-101, outcome: completed}, awarded_on: completed_on}
    occurrence: once              # whoever completes it again earns nothing new
    results:
      - {id: score, name: Final score, type: Percent, field: score, min: '0', max: '100'}
  - id: first-aid
    name: First Aid at Work
    type: Certificate
    description: First aid at work, refreshed every two years.
    criteria: Completed the course FIRST-AID.
    earned_by:
      - {dataset: lms.completions, where: {course: FIRST-AID, outcome: completed}, awarded_on: completed_on}
    occurrence: {per: term}       # one award for each term it is completed in
    validity: {years: 2}          # counted from the day it was earned
    renewal: {opens_days_before: 60}
"""

_USERS = """\
user_id,full_name,email
1001,Amara Okafor,amara.okafor@mail.example
1002,José Álvarez,jose.alvarez@mail.example
1003,Li Wei,li.wei@mail.example
1004,Fatima Zahra Idrissi,fatima.idrissi@mail.example
1005,Sam Taylor,
"""

_COMPLETIONS = """\
user_id,course_code,term,completed_on,score,outcome
1001,DATA-101,2025-spring,2025-05-30,91.5,completed
1002,DATA-101,2025-spring,2025-05-30,78,completed
1003,DATA-101,2025-spring,2025-05-30,41,failed
1004,DATA-101,2025-spring,2025-05-31,140,completed
1001,FIRST-AID,2025-spring,2025-04-11,,completed
1003,FIRST-AID,2025-spring,2025-04-11,,completed
1005,FIRST-AID,2025-spring,2025-04-11,,completed
"""

_README = """\
# your-organisation

An institution of credential-pipeline: everything it needs to know, as files to be reviewed like code.

    institution.yaml      who issues, the sources and the gates their rows must pass
    catalogue/*.yaml      what can be earned, by which rows, for how long
    data/*.csv            a few invented rows, to be replaced with exports of your own

Secrets are never in these files. The signing key is made on the first run and encrypted with a passphrase that you give
in the environment; keep it in a safe place, because without it nothing can be signed or revoked any more:

    export CREDENTIAL_PIPELINE_PASSPHRASE="$(openssl rand -base64 32)"      # once; then from your password manager
    credential-pipeline check --institution .
    credential-pipeline run --institution . --home .local

Of the 7 invented completions 5 earn a credential, 1 was failed and is skipped, and 1 (a score of 140) is quarantined.
Correct the score in data/completions.csv and run again: only that row is issued.

Before the first real credential, choose `id`, `base_url` and the ids of sources and achievements: credentials carry
them for good. Take the invented rows out, and delete .local with what was issued from them.
"""

_IGNORED = """\
# databases, secrets and what was published: never in version control
.local/
"""

_FILES = {
    ".gitignore": _IGNORED,
    "README.md": _README,
    "institution.yaml": _INSTITUTION,
    "catalogue/courses.yaml": _CATALOGUE,
    "data/users.csv": _USERS,
    "data/completions.csv": _COMPLETIONS,
}


def write_starter(directory: Path, *, id: str | None = None) -> list[Path]:  # noqa: A002 - the member it becomes
    """Write a small institution that loads and runs; returns the files written.

    Args:
        directory: made if need be; it must be empty.
        id: of the institution; made of the directory's name when not given.

    Raises:
        Terminal: the directory has something in it or cannot be written, or the id is not one.
    """
    if id is not None and not is_slug(id):
        raise Terminal(f"{id!r} cannot be the id of an institution; write {SLUG_FORM}")
    chosen = id or _slug_of(directory.absolute().name) or _ID
    host = chosen.replace("_", "-") + ".example"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise Terminal(f"{directory} is not empty; name a new directory, so that nothing is overwritten")
        return [_write(directory / name, text, chosen, host) for name, text in _FILES.items()]
    except OSError as error:
        raise Terminal(f"cannot write {directory}: {error.strerror}; name a directory that can be written") from error


def _write(path: Path, text: str, chosen: str, host: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text.replace(_HOST, host).replace(_ID, chosen))
    return path


def _slug_of(name: str) -> str | None:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-")
    return slug if is_slug(slug) else None
