"""`verify`, `bake` and `unbake` from the command line, on what a real run has published."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from credential_pipeline.cli import commands
from credential_pipeline_tests.credential.test_baked import PNG, SVGS
from credential_pipeline_tests.riverside import AT, College
from credential_pipeline_tests.terminal import call


def test_verify_a_file_a_folder_a_site_and_a_url(college: College) -> None:
    one = college.credentials[0]
    single = call("verify", str(one), *AT)
    assert (single.code, single.stdout) == (0, "1 valid\n")
    assert re.search(r"^  pass +\S+: ", single.stderr, re.MULTILINE)
    for folder in (college.site, college.site / "credentials"):
        told = call("verify", str(folder), *AT, "--json")
        assert (told.code, told.result) == (0, {"verified": 5, "verdicts": {"valid": 5}, "refused": []})
    url = f"https://credentials.riverside-college.example/credentials/{one.name}"
    assert call("verify", url, "--site", str(college.site), *AT).code == 0
    several = call("verify", *map(str, college.credentials[:2]), *AT, "--json")
    assert (several.code, several.result["verified"]) == (0, 2)


def test_verify_refuses_one_changed_character_with_a_reason(college: College, tmp_path: Path) -> None:
    text = college.credentials[0].read_text(encoding="utf-8")
    changed = tmp_path / "changed.json"
    changed.write_text(text.replace("Completed the course", "Completed the courze", 1), encoding="utf-8")
    told = call("verify", str(changed), str(college.credentials[1]), "--site", str(college.site), *AT, "--json")
    assert told.code == 1
    assert told.result["verdicts"] == {"invalid": 1, "valid": 1}
    (refused,) = told.result["refused"]
    assert refused["source"] == str(changed)
    assert refused["reason"]
    assert f"invalid    {changed}: {refused['reason']}" in told.stderr


@pytest.fixture(scope="module")
def badges(college: College, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The first credential of the run in every form."""
    folder = tmp_path_factory.mktemp("badges")
    forms = {"json": folder / "badge.json"}
    shutil.copy(college.credentials[0], forms["json"])
    for kind, image in {"svg": SVGS["declaration"], "png": PNG}.items():
        plain = folder / f"plain.{kind}"
        plain.write_bytes(image)
        told = call("bake", str(plain), str(forms["json"]), "--output", str(folder / "baked"), "--json")
        forms[kind] = folder / "baked" / f"badge.{kind}"
        assert (told.code, told.result) == (0, {"baked": 1, "files": [str(forms[kind])]})
    return forms


@pytest.mark.parametrize("form", ["json", "svg", "png"])
def test_verify_every_form_as_file_folder_and_standard_input(
    college: College, badges: dict[str, Path], form: str
) -> None:
    site = ("--site", str(college.site), *AT)
    named = call("verify", str(badges[form]), *site, "--json")
    assert (named.code, named.result["verdicts"]) == (0, {"valid": 1})
    (report,) = named.result["reports"]
    assert {check["outcome"] for check in report["checks"]} == {"pass"}
    assert {check["name"] for check in report["checks"]} >= {"kind", "contexts", "schema", "issuer", "status", "dates"}
    piped = CliRunner().invoke(commands, ["verify", "-", *site], input=badges[form].read_bytes())
    assert (piped.exit_code, piped.stdout) == (0, "1 valid\n")
    folder = call("verify", str(badges[form].parent), *site, "--json")
    assert folder.result["verdicts"]["valid"] == (2 if form != "json" else 3)


@pytest.mark.parametrize("form", ["json", "svg", "png"])
def test_verify_refuses_one_changed_byte_in_every_form(
    college: College, badges: dict[str, Path], form: str, tmp_path: Path
) -> None:
    data = badges[form].read_bytes()
    at = data.index(b"awardedDate") + len("awardedDate") + 5
    changed = tmp_path / f"changed.{form}"
    changed.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    told = call("verify", str(changed), "--site", str(college.site), *AT, "--json")
    assert (told.code, told.result["verdicts"]) == (1, {"invalid": 1})
    reason = {"png": "the CRC of the chunk iTXt"}.get(form, "the signature does not match")
    assert reason in told.result["refused"][0]["reason"]


def test_verify_writes_each_report_as_it_comes(college: College, tmp_path: Path) -> None:
    lines = tmp_path / "reports.jsonl"
    told = call("verify", str(college.site), *AT, "--reports", str(lines), "--json")
    reports = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [report["source"] for report in reports] == [str(path) for path in college.credentials]
    assert {report["verdict"] for report in reports} == {"valid"}
    assert told.result["verified"] == 5


def test_unbake_gives_the_credential_back(college: College, badges: dict[str, Path], tmp_path: Path) -> None:
    text = college.credentials[0].read_text(encoding="utf-8")
    for form in ("svg", "png"):
        told = call("unbake", str(badges[form]))
        assert (told.code, told.stdout) == (0, f"{text}\n")
        assert call("unbake", str(badges[form]), "--json").result == {"credential": text}
    nothing = call("unbake", str(badges["json"]))
    assert (nothing.code, nothing.stdout) == (2, "")
    assert "a credential is carried by SVG or PNG" in nothing.stderr
    wrong = call("bake", str(badges["json"]), str(badges["json"]), "--output", str(tmp_path / "out"))
    assert wrong.code == 2
    assert "a credential is baked into SVG or PNG" in wrong.stderr


def test_verify_what_is_not_there_or_says_nothing(college: College, tmp_path: Path) -> None:
    missing = call("verify", str(tmp_path / "missing.json"))
    assert (missing.code, missing.stdout) == (2, "")
    assert "is neither a file, a folder nor an https URL" in missing.stderr
    empty = call("verify", str(tmp_path))
    assert (empty.code, empty.stdout) == (1, "nothing to verify\n")
    no_site = call("verify", str(college.credentials[0]), "--site", str(tmp_path))
    assert no_site.code == 2
    assert "is not a published site" in no_site.stderr
    assert call("verify", str(college.credentials[0]), "--at", "noon").code == 2
    assert call("verify").code == 2


@pytest.mark.parametrize(
    ("scheme", "reason"), [("http", "only https is asked"), ("https", "its host is not a public address")]
)
def test_verify_asks_nothing_of_this_machine(scheme: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/credentials/x.json"
        told = call("verify", url, "--json")
        with pytest.raises(BlockingIOError):  # nobody has connected
            listener.accept()
    assert (told.code, told.result["verdicts"]) == (1, {"unknown": 1})
    assert f"unknown    {url}: the credential could not be read: {reason}" in told.stderr
