"""One mistake each in the starter's files, and what is said about it; test_load.py makes them."""

from __future__ import annotations

INSTITUTION = "institution.yaml"
COURSES = "catalogue/courses.yaml"

# file, what is replaced by what, how many lines below that the problem is, and what is said
CASES: dict[str, tuple[str, str, str, int | None, str]] = {
    "unknown member": (
        INSTITUTION, "time_zone: UTC", "timezone: UTC\ntime_zone: UTC", 0,
        "`timezone` is not a member here (timezone); did you mean `time_zone`?",
    ),
    "unknown member without a near one": (
        INSTITUTION, "  name: Your Organisation", "  name: Your Organisation\n  zzz: 1", 1,
        "`zzz` is not a member here (issuer.zzz); take it out; members are: description, email, name, url",
    ),
    "unknown member of a check": (
        INSTITUTION, "max: 200}", "max: 200, mni: 1}", 0,
        "`mni` is not a member here (sources[0].datasets[0].gate.checks[3].mni); did you mean `min`?",
    ),
    "missing member: the line of its parent": (
        INSTITUTION, "  name: Your Organisation\n", "", -1,
        "`name` is missing (issuer.name); add `name: ...`",
    ),
    "missing member says its form": (
        INSTITUTION, "{check: reference, field: person, to: lms.users.person}", "{check: reference, field: person}", 0,
        "`to` is missing (sources[0].datasets[1].gate.checks[1].to); add `to: ...`, as SOURCE.DATASET.FIELD",
    ),
    "no value": (
        INSTITUTION, "data: data ", "data: ", 0,
        "`data` has no value (data); write one, or take the member out",
    ),
    "a text where a mapping should be": (
        INSTITUTION, "columns: {person: user_id, full_name: full_name, email: email}", "columns: user_id", 0,
        ("`columns` must be a mapping (sources[0].datasets[0].columns); write its members as `name: value`, "
        "indented below it"),
    ),
    "a text where a list should be": (
        INSTITUTION, "fields: [person]}", "fields: person}", 0,
        "`fields` must be a list (sources[0].datasets[0].gate.checks[1].fields); write a `- ...` line for each item",
    ),
    "a list where a text should be": (
        COURSES, "name: Courses", "name: [Courses]", 0,
        "`name` must be a text (name); write a text, in quotes if it holds `: ` or ` #`",
    ),
    "not a number": (
        INSTITUTION, "max: 100}", "max: hundred}", 0,
        "`max` must be a number (sources[0].datasets[1].gate.checks[7].max); write it with a decimal point",
    ),
    "not a whole number, two lines below": (
        COURSES, "{opens_days_before: 60}", "\n      opens_days_before:\n        sixty", 1,
        "`opens_days_before` must be a whole number (achievements[1].renewal.opens_days_before); write digits only",
    ),
    "too small": (
        COURSES, "{years: 2}", "{years: 0}", 0,
        "`years` must be greater than 0 (achievements[1].validity.years); correct it",
    ),
    "not a date": (
        INSTITUTION, "history_from: 2025-01-01", "history_from: 2025-13-01", 0,
        "`history_from` must be a date (history_from); write an existing day as YYYY-MM-DD",
    ),
    "a number is not a date": (
        INSTITUTION, "{check: date, field: completed_on}", "{check: date, field: completed_on, min: 20250101}", 0,
        "`min` must be a date (sources[0].datasets[1].gate.checks[6].min); write an existing day as YYYY-MM-DD",
    ),
    "not a word of a closed set": (
        COURSES, "type: Certificate", "type: Certificat", 0,
        "`type` cannot be `Certificat` (achievements[1].type); did you mean `Certificate`?",
    ),
    "unknown kind of check": (
        INSTITUTION, "{check: email, field: email}", "{check: e-mail, field: email}", 0,
        "item 5 cannot be `e-mail` (sources[0].datasets[0].gate.checks[4]); did you mean `email`?",
    ),
    "no kind of check": (
        INSTITUTION, "{check: email, field: email}", "{field: email}", 0,
        "`check` is missing (sources[0].datasets[0].gate.checks[4]); add `check: ...`, which says what kind item 5 is",
    ),
    "a kind and a member of one name": (
        INSTITUTION, "{check: email, field: email}", ("check: pattern\n              field: email\n"
        "              pattern: '@'\n              remdy: x"), 3,
        "`remdy` is not a member here (sources[0].datasets[0].gate.checks[4].remdy); did you mean `remedy`?",
    ),
    "not a regular expression": (
        INSTITUTION, "{check: email, field: email}", "{check: pattern, field: email, pattern: '['}", 0,
        ("`pattern`: is not a regular expression: unterminated character set at position 0 "
        "(sources[0].datasets[0].gate.checks[4].pattern); correct it, and keep it in single quotes"),
    ),
    "a date format that is none": (
        INSTITUTION, "{check: date, field: completed_on}", "{check: date, field: completed_on, format: DD/MM/YYYY}", 0,
        ("`format`: does not hold a whole date (sources[0].datasets[1].gate.checks[6].format); "
        "write it with %Y, %m and %d, such as %d/%m/%Y"),
    ),
    "limits the wrong way round": (
        INSTITUTION, "min: 0, max: 100}", "min: 100, max: 0}", 0,
        "max 0 is below min 100 (sources[0].datasets[1].gate.checks[7].max); no value can pass: correct one of them",
    ),
    "an id that is none": (
        COURSES, "id: first-aid", "id: First Aid", 0,
        ("`id` is not in the right form (achievements[1].id); write lower-case letters and digits, with single - or _ "
        "between them, beginning with a letter"),
    ),
    "a field that is none": (
        INSTITUTION, "full_name: full_name", "Full-Name: full_name", 0,
        ("`Full-Name` cannot be the name of a field (sources[0].datasets[0].columns.Full-Name); write lower-case "
        "letters, digits and _, beginning with a letter"),
    ),
    "occurrence: another word": (
        COURSES, "occurrence: once", "occurrence: twice", 0,
        "`occurrence` cannot be `twice` (achievements[0].occurrence); write `once`, or `{per: FIELD}`",
    ),
    "an empty list": (
        INSTITUTION, "fields: [person]}", "fields: []}", 0,
        "`fields` has nothing in it (sources[0].datasets[0].gate.checks[1].fields); add at least one item",
    ),
    "time zone": (
        INSTITUTION, "time_zone: UTC", "time_zone: Mars", 0,
        "`time_zone`: no such time zone (time_zone); write a name of the IANA database, such as Europe/London",
    ),
    "not https": (
        INSTITUTION, "  url: https:", "  url: http:", 0,
        "`url`: is not an https URL (issuer.url); write an absolute https:// URL without spaces",
    ),
    "base URL with a query": (
        INSTITUTION, "credentials.college.example ", "credentials.college.example?a=b ", 0,
        "base_url has a query or a fragment (base_url); everything is published below it: cut them",
    ),
    "did of another host": (
        INSTITUTION, "data: data ", "did: did:web:other.example\ndata: data ", 0,
        ("did is not the one that is published below base_url (did); write did:web:credentials.college.example, or "
        "take it out"),
    ),
    "files outside the data directory": (
        INSTITUTION, "files: users.csv", "files: ../users.csv", 0,
        ("`files`: leaves the data directory (sources[0].datasets[0].files); write a path below it, such as "
        "lms/completions*.csv"),
    ),
    "a check of a field that is not there": (
        INSTITUTION, "{check: required, field: full_name}", "{check: required, field: full_nam}", 0,
        "no such field: full_nam (sources[0].datasets[0].gate.checks[2].field); did you mean `full_name`?",
    ),
    "no key of a person": (
        INSTITUTION, "{person: user_id, full_name: full_name, email: email}    #",
        "{user: user_id, full_name: full_name, email: email, person_: x} #", 0,
        "a dataset of people needs the person's key (sources[0].datasets[0].columns); map a column to `person`",
    ),
    "a reference to a dataset that is not there": (
        INSTITUTION, "to: lms.users.person", "to: lms.user.person", 0,
        "no such dataset: lms.user (sources[0].datasets[1].gate.checks[1].to); did you mean `lms.users`?",
    ),
    "a reference to a field that is not there": (
        INSTITUTION, "to: lms.users.person", "to: lms.users.zzz", 0,
        "lms.users has no field zzz (sources[0].datasets[1].gate.checks[1].to); it has: email, full_name, person",
    ),
    "two datasets of one asset name": (
        INSTITUTION, "- id: completions ", "- id: users", 0,
        "another dataset has the id users (sources[0].datasets[1].id); give one of them another id",
    ),
    "an identifier of no source": (
        INSTITUTION, "from: lms}", "from: sis}", 0,
        ("recipient identifier from: sis is neither email nor a source (recipient.identifiers[1].from); "
        "write one of: email, lms"),
    ),
    "across files: no such dataset": (
        COURSES, "lms.completions, where: {course: FIRST-AID", "lms.completion, where: {course: FIRST-AID", 0,
        ("achievement first-aid: lms.completion is not a dataset of evidence (achievements[1].earned_by[0].dataset); "
        "did you mean `lms.completions`?"),
    ),
    "across files: no such field": (
        COURSES, "field: score, min", "field: scores, min", 0,
        ("achievement data-101: lms.completions has no field scores (achievements[0].results[0].field); "
        "did you mean `score`?"),
    ),
    "across files: an award day that nothing checks": (
        INSTITUTION, "            - {check: date, field: completed_on}\n", "", None,
        ("achievement data-101: nothing checks that lms.completions.completed_on is a date "
        "(achievements[0].earned_by[0].awarded_on); add `{check: date, field: completed_on}` to the gate of "
        "lms.completions"),
    ),
    "across files: an occurrence that can be corrected": (
        COURSES, "{per: term}", "{per: completed_on}", 0,
        ("achievement first-aid: completed_on is a date, and a corrected date would be a second award "
        "(achievements[1].occurrence.per); name a term, a run or a period, or write `once`"),
    ),
    "across files: a value that the gate never lets pass": (
        COURSES, "{course: FIRST-AID, outcome: completed}", "{course: FIRST-AID, outcome: complete}", 0,
        ("achievement first-aid: the gate of lms.completions never lets outcome be complete "
        "(achievements[1].earned_by[0].where.outcome); did you mean `completed`?"),
    ),
    "two achievements of one id": (
        COURSES, "id: first-aid", "id: data-101", 0,
        ("achievement data-101 is in programme courses as well (achievements[1].id); keep one, or give one that was "
        "never issued another id"),
    ),
    "two results of one id": (
        COURSES, "    results:\n", "    results:\n      - {id: score, name: Score, type: Percent, field: score}\n", 2,
        "two results have the id score (achievements[0].results[1].id); give one of them another id",
    ),
    "rubric levels of a percentage": (
        COURSES, "field: score, min: '0', max: '100'}", "field: score, levels: [{id: a, name: A}]}", 0,
        ("a Percent has no rubric levels (achievements[0].results[0].levels); take them out, or make the type one of "
        "RubricCriterion, RubricCriterionLevel, RubricScore, PerformanceLevel"),
    ),
    "statuses of a percentage": (
        COURSES, "field: score, min: '0', max: '100'}", "field: score, statuses: {x: Completed}}", 0,
        ("a Percent has no status (achievements[0].results[0].statuses); take them out, or make the type Status"),
    ),
    "a status that no standard knows": (
        COURSES, "Percent, field: score, min: '0', max: '100'}", "Status, field: score, statuses: {x: Done}}", 0,
        ("`x` cannot be `Done` (achievements[0].results[0].statuses.x); write one of: Completed, Enrolled, Failed, "
        "InProgress, OnHold, Provisional, Withdrew"),
    ),
    "two levels of one value": (
        COURSES, "type: Percent, field: score, min: '0', max: '100'}",
        "type: RubricScore, field: score, levels: [{id: a, name: A, value: '1'}, {id: b, name: '1'}]}", 0,
        "two levels stand for the value 1 (achievements[0].results[0].levels[1]); give each a `value` of its own",
    ),
    "what a standard refuses": (
        COURSES, "field: score, min: '0', max: '100'}", "field: score, min: '0', max: '100', required: '101'}", -9,
        "achievement data-101: the result '101' of 'Final score' is outside 0 to 100 (achievements[0]); correct it",
    ),
    "what a standard refuses of the issuer": (
        INSTITUTION, "  name: Your Organisation", "  name: Your Organisation\n  email: nobody", -1,
        "issuer.email is 'nobody' (issuer); an address is needed (B.1 Profile, email)",
    ),
    "a language that is none": (
        COURSES, "    occurrence: once ", "    language: english\n    occurrence: once ", 0,
        ("`language` is not in the right form (achievements[0].language); write a BCP 47 code such as en-GB (Open "
        "Badges 3.0 B.3 LanguageCode)"),
    ),
    "translations of an unknown language": (
        COURSES, "    occurrence: once ",
        "    translations:\n      - {language: cy, name: a, description: b, criteria: c}\n    occurrence: once ", 0,
        ("translations of a text whose language is not given (achievements[0].translations); add `language`, which the "
        "name and description are in"),
    ),
    "two translations into one language": (
        COURSES, "    occurrence: once ",
        ("    language: cy\n    translations:\n      - {language: cy, name: a, description: b, criteria: c}\n"
        "    occurrence: once "), 2,
        "the achievement is in cy already (achievements[0].translations[0]); keep one of them",
    ),
    "across files: evidence from no field": (
        COURSES, "    occurrence: once ", "    evidence: [{field: scores}]\n    occurrence: once ", 0,
        ("achievement data-101: lms.completions has no field scores (achievements[0].evidence[0].field); "
        "did you mean `score`?"),
    ),
    "the same evidence twice": (
        COURSES, "    occurrence: once ", "    evidence: [{field: score}, {field: score}]\n    occurrence: once ", 0,
        "two pieces of evidence from the field score (achievements[0].evidence[1].field); keep one of them",
    ),
    "renewal of what never ends": (
        COURSES, "    validity: {years: 2}          # counted from the day it was earned\n", "", 0,
        ("renewal without validity: a credential that never ends cannot be renewed (achievements[1].renewal); add "
        "`validity`, or take `renewal` out"),
    ),
    "the catalogue in the wrong file": (
        INSTITUTION, "data: data ", "catalogue: []\ndata: data ", 0,
        "`catalogue` is not a member of institution.yaml (catalogue); write programmes into catalogue/*.yaml",
    ),
    "a member twice": (
        COURSES, "name: Courses\n", "name: Courses\nid: other\n", 1,
        "`id` is written twice, first on line 2 (id); keep one of them",
    ),
    "a tag": (
        COURSES, "name: Courses\n", "name: !!python/object/apply:os.system [true]\n", 0,
        "has a YAML tag (name); take the !tag out: values are plain text, lists and mappings",
    ),
    "a merge key": (
        COURSES, "    occurrence: once ", "    <<: {language: en}\n    occurrence: once ", 0,
        "has a merge key `<<` (achievements[0]); write the members out: YAML 1.2 has no merge keys",
    ),
    "an alias to itself": (
        COURSES, "name: Courses\n", "name: &again [*again]\n", 0,
        "an alias refers to the value it stands in (name[0]); write the members out",
    ),
    "not YAML": (
        COURSES, "name: Courses\n", "name: [Courses\n", 1,
        ("is not YAML: while parsing a flow sequence expected ',' or ']', but got ':'; correct the indentation, quotes "
        "or brackets there"),
    ),
}  # fmt: skip
