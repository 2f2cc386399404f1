"""A small institution with ten good rows, for tests that put one bad thing beside them."""

from __future__ import annotations

from pathlib import Path

INSTITUTION = """\
id: college
sample: true
issuer: {name: College, url: https://college.example}
base_url: https://badges.college.example
time_zone: America/New_York
history_from: 2026-01-01
recipient:
  name: shown
  identifiers:
    - {type: emailAddress, from: email}
    - {type: systemId, from: lms}
sources:
  - id: lms
    kind: files
    system: lms
    name: Learning
    datasets:
      - id: users
        role: people
        files: users*.csv
        columns: {person: id, full_name: name, email: email}
        gate:
          checks:
            - {check: required, field: person}
            - {check: required, field: full_name}
            - {check: length, field: full_name, max: 200}
            - {check: email, field: email}
            - {check: unique, fields: [person]}
      - id: courses
        role: reference
        files: courses.csv
        columns: {course: code}
      - id: completions
        role: evidence
        files: FILES
        columns: {person: user, course: course, term: term, done: done, score: score, outcome: outcome}
        gate:
          reject_limit: 0.5
          checks:
            - {check: required, field: person}
            - {check: reference, field: person, to: lms.users.person}
            - {check: required, field: course}
            - {check: reference, field: course, to: lms.courses.course}
            - {check: required, field: term}
            - {check: required, field: done}
            - {check: date, field: done, min: 2000-01-01}
            - {check: number, field: score, min: 0, max: 100}
            - {check: one_of, field: outcome, values: [passed, failed]}
            - {check: unique, fields: [person, course, term]}
"""

CATALOGUE = """\
id: courses
name: Courses
achievements:
  - id: first-course
    name: First Course
    type: Course
    description: The first course.
    criteria: Passed it.
    earned_by:
      - {dataset: lms.completions, where: {course: C1, outcome: passed}, awarded_on: done}
    occurrence: {per: term}
    results:
      - {id: score, name: Score, type: Percent, field: score, min: "0", max: "100"}
"""

USERS = "id,name,email\n" + "".join(f"U{n},Person {chr(64 + n)}son,p{n}@college.example\n" for n in range(1, 11))
COURSES = "code\nC1\nC2\n"
HEADER = "user,course,term,done,score,outcome\n"
GOOD = [f"U{n},C1,2025FA,2025-12-{n:02d},{60 + n},passed" for n in range(1, 11)]


def write_college(directory: Path, *, files: str = "completions*.csv") -> Path:
    """Write the institution with its good rows; returns its data directory."""
    (directory / "catalogue").mkdir(parents=True)
    (directory / "institution.yaml").write_text(INSTITUTION.replace("FILES", files))
    (directory / "catalogue" / "courses.yaml").write_text(CATALOGUE)
    data = directory / "data"
    data.mkdir()
    (data / "users.csv").write_text(USERS)
    (data / "courses.csv").write_text(COURSES)
    (data / "completions.csv").write_text(HEADER + "\n".join(GOOD) + "\n")
    return data
