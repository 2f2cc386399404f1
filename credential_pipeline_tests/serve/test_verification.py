"""Files, folders and sites as a person names them; each report says what was found."""

from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from credential_pipeline.credential.baked import bake
from credential_pipeline.credential.report import Report
from credential_pipeline.errors import Terminal
from credential_pipeline.serve import verification
from credential_pipeline.serve.verification import verify_sources
from credential_pipeline_tests.credential.test_baked import PNG, SVGS
from credential_pipeline_tests.publish import ledger
from credential_pipeline_tests.publish.conftest import Publisher

NOW = ledger.AS_OF + timedelta(hours=2)


def _verify(*sources: Path | str, site: Path | None = None, workers: int = 1) -> dict[str, Report]:
    return dict(verify_sources([str(s) for s in sources], site=site, now=NOW, workers=workers))


def _file(publisher: Publisher, issued: ledger.Issued) -> Path:
    return publisher.folder / "credentials" / f"{issued.public_id}.json"


def test_a_published_site_verifies(publisher: Publisher, issued: list[ledger.Issued]) -> None:
    reports = _verify(publisher.folder)
    assert set(reports) == {str(_file(publisher, c)) for c in issued}
    for report in reports.values():
        assert report.verdict == "valid", report.as_dict()
        assert {c.outcome for c in report.checks if c.name != "site"} == {"pass"}


def test_a_folder_inside_a_site_and_one_around_it(publisher: Publisher, issued: list[ledger.Issued]) -> None:
    credentials = _verify(publisher.folder / "credentials")
    around = _verify(publisher.folder.parent)
    assert {r.verdict for r in (credentials | around).values()} == {"valid"}
    assert set(credentials) == set(around) == {str(_file(publisher, c)) for c in issued}
    assert _verify(publisher.folder / "state") == {}


def test_a_file_anywhere_with_a_site_that_was_named(
    publisher: Publisher, issued: list[ledger.Issued], tmp_path: Path
) -> None:
    mailed = tmp_path / "mailed"
    mailed.mkdir()
    shutil.copy(_file(publisher, issued[0]), mailed / "my badge.json")
    named = _verify(mailed, mailed / "my badge.json", site=publisher.folder)
    assert {r.verdict for r in named.values()} == {"valid"}
    assert "site" not in {c.name for r in named.values() for c in r.checks}


def test_a_site_that_vouches_for_itself_is_told(publisher: Publisher, issued: list[ledger.Issued]) -> None:
    (report,) = _verify(_file(publisher, issued[0])).values()
    (check,) = [c for c in report.checks if c.name == "site"]
    assert check.outcome == "warn"
    assert "not that the folder is the issuer's" in check.detail


def test_one_flipped_character_fails_with_a_reason(publisher: Publisher, issued: list[ledger.Issued]) -> None:
    file = _file(publisher, issued[0])
    data = file.read_bytes()
    position = data.index(b"Person 0")
    file.write_bytes(data[:position] + b"Q" + data[position + 1 :])
    reports = _verify(publisher.folder)
    assert reports[str(file)].verdict == "invalid"
    assert reports[str(file)].reason
    assert Counter(r.verdict for r in reports.values()) == {"valid": 2, "invalid": 1}


def test_revoked_suspended_superseded(publisher: Publisher, issued: list[ledger.Issued]) -> None:
    revoked, old, new = issued
    (suspended,) = ledger.issue(publisher.engine, publisher.college, 1, achievement="first-aid")
    ledger.move(publisher.engine, revoked.credential_id, "revoked")
    ledger.move(publisher.engine, old.credential_id, "superseded", superseded_by=new.credential_id)
    ledger.move(publisher.engine, suspended.credential_id, "suspended")
    publisher()
    reports = _verify(publisher.folder)
    verdicts = {c.public_id: reports[str(_file(publisher, c))].verdict for c in (revoked, old, new, suspended)}
    assert verdicts == {
        revoked.public_id: "revoked",
        old.public_id: "superseded",
        new.public_id: "valid",
        suspended.public_id: "suspended",
    }


def test_a_stale_site_is_unknown_and_not_valid(publisher: Publisher, issued: list[ledger.Issued]) -> None:
    later = ledger.AS_OF + timedelta(days=8)
    reports = dict(verify_sources([str(publisher.folder)], site=None, now=later))
    assert {r.verdict for r in reports.values()} == {"unknown"}
    publisher(later)
    reports = dict(verify_sources([str(publisher.folder)], site=None, now=later))
    assert {r.verdict for r in reports.values()} == {"valid"}


def test_several_processes_tell_the_same(
    publisher: Publisher, issued: list[ledger.Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.move(publisher.engine, issued[1].credential_id, "revoked")
    publisher()
    alone = _verify(publisher.folder)
    monkeypatch.setattr(verification, "ALONE_UP_TO", 2)
    assert _verify(publisher.folder, workers=2) == alone
    assert list(_verify(publisher.folder, workers=2)) == list(alone)


def test_what_is_no_credential_is_told(publisher: Publisher, issued: list[ledger.Issued], tmp_path: Path) -> None:
    picture = tmp_path / "badge.json"
    picture.write_bytes(b"\x89PNG\r\n")
    huge = tmp_path / "huge.json"
    huge.write_bytes(b"{" + b" " * 2_000_000)
    reports = _verify(picture, huge, site=publisher.folder)
    assert {r.verdict for r in reports.values()} == {"invalid"}
    assert "a damaged PNG" in reports[str(picture)].reason


@pytest.mark.parametrize("source", ["no-such-file.json", "ftp://x.example/a.json"])
def test_a_source_that_does_not_exist_is_told_before_any_report(source: str) -> None:
    with pytest.raises(Terminal, match="neither a file, a folder nor an https URL"):
        verify_sources([source], site=None, now=NOW)


def test_a_site_that_is_none_is_told(publisher: Publisher, issued: list[ledger.Issued], tmp_path: Path) -> None:
    for folder in (tmp_path, publisher.folder / "credentials"):
        with pytest.raises(Terminal, match="not a published site"):
            verify_sources([str(publisher.folder)], site=folder, now=NOW)


def test_images_and_files_of_any_name(publisher: Publisher, issued: list[ledger.Issued], tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    data = _file(publisher, issued[0]).read_bytes()
    for name, content in {
        "badge.png": bake(PNG, data),
        "Badge.SVG": bake(SVGS["declaration"], data),
        "badge.json": data,
        "without-suffix": bake(PNG, data),
        "notes.txt": b"not looked at",
        ".DS_Store": b"nor this",
    }.items():
        (folder / name).write_bytes(content)
    over: list[str] = []
    reports = dict(verify_sources([str(folder)], site=publisher.folder, now=NOW, passed_over=over.append))
    assert {Path(name).name: report.verdict for name, report in reports.items()} == dict.fromkeys(
        ["badge.png", "Badge.SVG", "badge.json"], "valid"
    )
    assert sorted(Path(name).name for name in over) == [".DS_Store", "notes.txt", "without-suffix"]
    named = _verify(folder / "without-suffix", folder / "notes.txt", site=publisher.folder)
    assert [report.verdict for report in named.values()] == ["valid", "invalid"]
    assert "a file that starts with b'not looked a'" in named[str(folder / "notes.txt")].reason


def test_standard_input(publisher: Publisher, issued: list[ledger.Issued]) -> None:
    data = bake(PNG, _file(publisher, issued[0]).read_bytes())
    for content, verdict in ((data, "valid"), (data[:-30], "invalid"), (b"", "invalid")):
        found = dict(verify_sources(["-"], site=publisher.folder, now=NOW, stdin=io.BytesIO(content)))
        assert {name: report.verdict for name, report in found.items()} == {"standard input": verdict}
    with pytest.raises(Terminal, match="standard input is not open"):
        verify_sources(["-"], site=publisher.folder, now=NOW)


def test_pipes_devices_and_loops_in_a_strangers_folder(
    publisher: Publisher, issued: list[ledger.Issued], tmp_path: Path
) -> None:
    folder = tmp_path / "stranger"
    folder.mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / "endless.json").symlink_to("/dev/zero")
    (folder / "nothing.json").symlink_to("missing.json")
    (folder / "loop").symlink_to(folder)
    reports = _verify(folder, site=publisher.folder)
    assert {Path(name).name: report.verdict for name, report in reports.items()} == dict.fromkeys(
        ["endless.json", "nothing.json", "pipe.json"], "unknown"
    )


def test_a_folder_is_read_as_the_reports_are_taken(
    publisher: Publisher, issued: list[ledger.Issued], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a million files are neither listed nor kept before the first answer."""
    data = _file(publisher, issued[0]).read_bytes()
    for n in range(40):
        folder = tmp_path / "downloads" / f"{n:02d}"
        folder.mkdir(parents=True)
        (folder / "badge.json").write_bytes(data)
        (folder / "other.txt").touch()
    over: list[str] = []
    monkeypatch.setattr(verification, "ALONE_UP_TO", 3)
    reports = verify_sources(
        [str(tmp_path / "downloads")], site=publisher.folder, now=NOW, workers=1, passed_over=over.append
    )
    assert next(reports)[1].verdict == "valid"
    assert len(over) < 10
    assert sum(report.verdict == "valid" for _, report in reports) == 39
    assert len(over) == 40


def test_a_url_of_this_machine_only_where_that_is_allowed(
    publisher: Publisher, issued: list[ledger.Issued], serve: Callable[[Path], str]
) -> None:
    url = f"{serve(publisher.folder)}/credentials/{issued[0].public_id}.json"
    assert _verify(url)[url].verdict == "unknown"
    assert _verify(url, site=publisher.folder)[url].verdict == "unknown"
    allowed = dict(verify_sources([url], site=publisher.folder, now=NOW, allow_loopback=True))
    assert allowed[url].verdict == "valid"


def test_a_proof_that_was_made_for_nobody_answers_no_challenge(
    publisher: Publisher, issued: list[ledger.Issued]
) -> None:
    (report,) = dict(
        verify_sources([str(_file(publisher, issued[0]))], site=None, now=NOW, domain="https://shop.example")
    ).values()
    assert report.verdict == "invalid"
    assert "shop.example" in report.reason


def test_urls(publisher: Publisher, issued: list[ledger.Issued]) -> None:
    url = f"https://badges.college.example/credentials/{issued[0].public_id}.json"
    inside = "https://127.0.0.1/credentials/x.json"
    assert _verify(url, site=publisher.folder)[url].verdict == "valid"
    report = _verify(inside)[inside]
    assert (report.verdict, report.reason) == (
        "unknown",
        "the credential could not be read: its host is not a public address",
    )
