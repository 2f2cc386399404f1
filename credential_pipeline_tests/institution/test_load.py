"""Every problem of an institution's files, with its file, line and remedy, as whoever wrote them reads it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.load import json_schema, load_institution
from credential_pipeline.institution.problems import InstitutionError
from credential_pipeline.institution.starter import write_starter
from credential_pipeline_tests.institution.problem_cases import CASES, COURSES, INSTITUTION


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    directory = tmp_path / "college"
    write_starter(directory)
    return directory


def edit(directory: Path, file: str, old: str, new: str) -> int:
    """Replace one piece of a file and return the line it began on."""
    text = (directory / file).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
    (directory / file).write_text(text.replace(old, new), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def problems(directory: Path) -> list[str]:
    """The lines of the error, with paths from the institution's directory."""
    with pytest.raises(InstitutionError) as caught:
        load_institution(directory)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return str(caught.value).replace(f"{directory}/", "").replace(str(directory), ".").splitlines()


@pytest.mark.parametrize("case", CASES)
def test_a_problem_names_file_line_and_remedy(starter: Path, case: str) -> None:
    file, old, new, below, said = CASES[case]
    line = edit(starter, file, old, new)
    found = problems(starter)
    if below is None:  # the edit is in another file than the line that no longer fits
        assert any(re.fullmatch(rf"\S+:\d+: {re.escape(said)}", problem) for problem in found), found
    else:
        assert f"{file}:{line + below}: {said}" in found


def test_all_problems_are_listed_in_the_order_of_files_and_lines(starter: Path) -> None:
    edit(starter, COURSES, "type: Course\n", "type: Curse\n")
    edit(starter, COURSES, "{years: 2}", "{years: two}")
    edit(starter, INSTITUTION, "kind: files", "kind: file")
    edit(starter, INSTITUTION, "time_zone: UTC", "time_zone: Mars")
    (starter / "catalogue" / "broken.yaml").write_text("a: [", encoding="utf-8")
    places = [line.partition(": ")[0] for line in problems(starter)]
    assert places == [
        "institution.yaml:7", "institution.yaml:18", "catalogue/broken.yaml:1", "catalogue/courses.yaml:7",
        "catalogue/courses.yaml:23",
    ]  # fmt: skip


def test_several_misfits_of_one_model_are_all_listed(starter: Path) -> None:
    edit(starter, COURSES, "field: score, min", "field: scor, min")
    edit(starter, COURSES, "{per: term}", "{per: trem}")
    edit(starter, COURSES, "{course: FIRST-AID, outcome: completed}", "{curse: FIRST-AID, outcome: completed}")
    found = problems(starter)
    assert len(found) == 3
    assert all("did you mean" in line for line in found)


def test_of_a_word_or_a_mapping_only_what_was_written_is_explained(starter: Path) -> None:
    edit(starter, COURSES, "{per: term}", "{par: term}")
    assert problems(starter) == [
        (
            "catalogue/courses.yaml:22: `per` is missing (achievements[1].occurrence.per); add `per: ...`, as "
            "lower-case letters, digits and _, beginning with a letter"
        ),
        "catalogue/courses.yaml:22: `par` is not a member here (achievements[1].occurrence.par); did you mean `per`?",
    ]


@pytest.mark.parametrize("member", ["password", "passphrase", "client_secret", "api_token", "apiKey", "private_key"])
def test_a_secret_is_refused_and_never_repeated(starter: Path, member: str) -> None:
    line = edit(starter, INSTITUTION, "    name: Learning", f"    {member}: hunter2hunter2\n    name: Learning")
    (found,) = problems(starter)
    assert found.startswith(f"institution.yaml:{line}: `{member}` looks like a secret")
    assert "environment variable" in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("url: https://college.example", "url: https://admin:hunter2hunter2@college.example"),
        ("kind: files", "kind: [hunter2hunter2]"),
        ("time_zone: UTC", "time_zone: hunter2hunter2"),
        ("time_zone: UTC", "time_zone: UTC\nhunter2: [hunter2hunter2"),
        ("time_zone: UTC", "time_zone: UTC\npassword: &hunter2hunter2 x y: z"),
    ],
)
def test_values_and_lines_of_the_file_are_not_in_the_error(starter: Path, old: str, new: str) -> None:
    edit(starter, INSTITUTION, old, new)
    with pytest.raises(InstitutionError) as caught:
        load_institution(starter)
    assert "hunter2hunter2" not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None  # pydantic's own error quotes what was written
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def _no_directory(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()


MISSING: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no directory": (_no_directory, [r"\.: is not a directory; name an institution's directory"]),
    "no institution.yaml": (lambda d: (d / INSTITUTION).unlink(), [r"institution\.yaml: does not exist; name"]),
    "empty institution.yaml": (
        lambda d: (d / INSTITUTION).write_text("# nothing\n"),
        [r"institution\.yaml:1: is empty"],
    ),
    "a list": (
        lambda d: (d / INSTITUTION).write_text("\n- a\n"),
        [r"institution\.yaml:2: the file must be a mapping; write its members"],
    ),
    "empty catalogue": (lambda d: (d / COURSES).unlink(), [r"catalogue: holds no \*\.yaml file; write at least one"]),
    "misnamed": (
        lambda d: (d / COURSES).rename(d / "catalogue" / "courses.yml"),
        [r"catalogue: holds no", r"catalogue/courses\.yml: is not read: its name ends in \.yml; rename it to \.yaml"],
    ),
    "not UTF-8": (
        lambda d: (d / COURSES).write_bytes(b"id: a\nname: caf\xe9\n"),
        [r"catalogue/courses\.yaml:2: is not UTF-8; save the file as UTF-8"],
    ),
    "control character": (
        lambda d: (d / COURSES).write_bytes(b"id: a\nname: \x00\n"),
        [r"catalogue/courses\.yaml:2: holds a control character; remove it"],
    ),
    "two documents": (
        lambda d: (d / COURSES).write_text("id: a\n---\nid: b\n"),
        [r"catalogue/courses\.yaml:2: is not YAML: expected a single document"],
    ),
    "nested without end": (
        lambda d: (d / COURSES).write_text("[" * 20_000),
        [r"catalogue/courses\.yaml:1: is not YAML: nested too deeply"],
    ),
    "two programmes of one id": (
        lambda d: (d / "catalogue" / "more.yaml").write_text((d / COURSES).read_text().replace("- id: ", "- id: m-")),
        [r"catalogue/more\.yaml:2: another programme has the id courses as well \(id\); give one of them another id"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISSING)
def test_files_that_are_not_as_they_should_be(starter: Path, case: str) -> None:
    change, said = MISSING[case]
    change(starter)
    found = problems(starter)
    assert len(found) == len(said), found
    for line, pattern in zip(found, said, strict=True):
        assert re.match(pattern, line), line


def test_scalars_are_the_text_in_the_file(starter: Path) -> None:
    edit(starter, INSTITUTION, "values: [FIRST-AID, DATA-101]", "values: [007, 1.10, no, FIRST-AID, DATA-101]")
    edit(starter, COURSES, "{course: DATA-101, outcome", "{course: [007, 1.10, no, DATA-101], outcome")
    achievement = load_institution(starter).catalogue.achievements["data-101"]
    assert achievement.earned_by[0].where["course"] == ("007", "1.10", "no", "DATA-101")


def test_an_alias_repeats_a_value(starter: Path) -> None:
    edit(
        starter,
        INSTITUTION,
        "- {check: email, field: email}",
        "- &one {check: email, field: email}\n            - *one",
    )
    people = load_institution(starter).datasets[0].dataset
    assert people.gate.checks[4] == people.gate.checks[5]


def test_datasets_that_need_each_other_are_named(starter: Path) -> None:
    edit(
        starter,
        INSTITUTION,
        "{check: email, field: email}",
        "{check: reference, field: email, to: lms.completions.person}",
    )
    assert problems(starter) == [
        (
            "institution.yaml:22: datasets need each other in a circle: lms.users -> lms.completions -> lms.users "
            "(sources[0].datasets[0]); take one of the lookups or references out"
        )
    ]


def test_a_derivation_names_fields_of_the_other_dataset(starter: Path) -> None:
    lookup = "{rule: lookup, field: email, dataset: lms.users, match: {person: persn}, take: e_mail}"
    line = edit(
        starter,
        INSTITUTION,
        "          outcome: outcome\n",
        f"          outcome: outcome\n        derive: [{lookup}]\n",
    )
    at = f"institution.yaml:{line + 1}: lms.users has no field"
    assert problems(starter) == [
        f"{at} persn (sources[0].datasets[1].derive[0].match.person); did you mean `person`?",
        f"{at} e_mail (sources[0].datasets[1].derive[0].take); did you mean `email`?",
    ]


def test_programmes_are_in_the_order_of_file_names(starter: Path) -> None:
    text = (starter / COURSES).read_text(encoding="utf-8")
    for name in ("zoology", "art"):
        other = text.replace("id: courses", f"id: {name}").replace("- id: ", f"- id: {name}-")
        (starter / "catalogue" / f"{name}.yaml").write_text(other, encoding="utf-8")
    (starter / "catalogue" / ".hidden.yaml").write_text("]", encoding="utf-8")  # an editor's or archiver's own file
    assert [p.id for p in load_institution(starter).catalogue.programmes] == ["art", "courses", "zoology"]


def test_a_byte_order_mark_and_crlf_are_nothing_to_complain_about(starter: Path) -> None:
    before = load_institution(starter)
    for path in (starter / INSTITUTION, starter / COURSES):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_institution(starter) == before
    assert load_institution(starter).catalogue.version == before.catalogue.version


def test_the_samples_load(northfield: Institution, open_university: Institution) -> None:
    assert northfield.sample
    assert open_university.sample
    assert northfield.issuer_did == "did:web:credentials.northfield.example"
    assert [d.name for d in open_university.datasets_of("evidence")] == ["ou.registrations"]


def test_the_error_is_terminal(tmp_path: Path) -> None:
    with pytest.raises(Terminal):
        load_institution(tmp_path / "nowhere")


@pytest.mark.parametrize("sample", ["northfield", "open_university"])
def test_the_json_schema_accepts_the_samples_and_refuses_unknown_members(sample: str) -> None:
    directory = Path(__file__).parents[2] / "samples" / sample
    schemas = json_schema()
    for pattern, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        for path in directory.glob(pattern):
            document = _as_an_editor_reads(path)
            jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({**document, "nmae": "x"}, schema, cls=jsonschema.Draft202012Validator)


def _as_an_editor_reads(path: Path) -> dict[str, object]:
    document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))

    def without_dates(value: object) -> object:  # JSON has no dates: an editor sees their text
        if isinstance(value, dict):
            return {k: without_dates(v) for k, v in value.items()}
        if isinstance(value, list):
            return [without_dates(v) for v in value]
        return value if isinstance(value, str | int | float | bool | None) else str(value)

    return without_dates(document)
