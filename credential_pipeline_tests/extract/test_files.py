"""Landing files: every row once, with where it came from; a file that cannot be read is set aside whole."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from credential_pipeline.errors import Terminal
from credential_pipeline.extract.files import ExtractResult, extract_dataset
from credential_pipeline.institution.sources import Dataset, DatasetOfSource, Source

DAY = date(2026, 1, 15)
LATER = date(2026, 1, 16)


def dataset(files: str = "rows*.csv", **changes: object) -> DatasetOfSource:
    made = Dataset(id="rows", role="reference", files=files, columns={"key": "id", "word": "word"}, **changes)
    return DatasetOfSource(source=Source(id="src", kind="files", name="Source", datasets=(made,)), dataset=made)


def extract(
    engine: Engine, data: Path, day: date = DAY, run: str = "run-1", of: DatasetOfSource | None = None
) -> ExtractResult:
    return extract_dataset(engine, of or dataset(), data, day, run)


def landed(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "select f.name, fr.row_number, r.copy, r.cells, r.problems from landed.file_row fr"
                " join landed.file f using (file_id) join landed.row r using (row_id) order by f.file_id, fr.row_number"
            )
        )
        return [tuple(row) for row in rows]


def codes(engine: Engine, *, resolved: bool = False) -> list[tuple[str, str | None]]:
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                f"select code, file_name from quarantine.breach where resolved_at is {'not ' if resolved else ''}null"
                " order by code, file_name"
            )
        )
        return [tuple(row) for row in rows]


def test_rows_land_with_file_row_and_cells(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,word,extra\n1,ä,x\n2,,y\n")
    assert extract(engine, tmp_path) == ExtractResult(files=1, rows=2, new_rows=2, breaches=())
    assert landed(engine) == [
        ("rows.csv", 1, 0, {"id": "1", "word": "ä", "extra": "x"}, None),
        ("rows.csv", 2, 0, {"id": "2", "word": "", "extra": "y"}, None),
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbfid,word\n1,a\n", id="byte order mark"),
        pytest.param(b"id,word\r\n1,a\r\n", id="crlf"),
        pytest.param(b"word,id\na,1\n", id="other column order"),
        pytest.param(b'\n"id","word"\n\n"1","a"', id="quotes, blank lines, no last newline"),
        pytest.param(b" id , word \n1,a\n", id="spaces in the header"),
    ],
)
def test_the_same_row_in_another_form_is_the_same_row(engine: Engine, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows1.csv").write_bytes(b"id,word\n1,a\n")
    (tmp_path / "rows2.csv").write_bytes(content)
    assert extract(engine, tmp_path) == ExtractResult(files=2, rows=1, new_rows=1, breaches=())


def test_quoted_newlines_and_delimiters_stay_in_the_cell(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('id,word\n1,"a\nb, ""c"""\n2,d\n')
    extract(engine, tmp_path)
    assert [(row[1], row[3]) for row in landed(engine)] == [
        (1, {"id": "1", "word": 'a\nb, "c"'}),
        (2, {"id": "2", "word": "d"}),
    ]


def test_identical_rows_of_a_file_are_numbered_copies(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,word\n1,a\n1,a\n1,a\n")
    assert extract(engine, tmp_path).rows == 3
    assert [row[2] for row in landed(engine)] == [0, 1, 2]


def test_ragged_rows_and_nul_land_with_their_problem(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"id,word\n1\n2,b,c\n3,d\x00e\n4,f\n")
    extract(engine, tmp_path)
    assert [(row[3], row[4]) for row in landed(engine)] == [
        ({"id": "1"}, ["ragged_row"]),
        ({"id": "2", "word": "b", "column 3": "c"}, ["ragged_row"]),
        ({"id": "3", "word": "d\u2400e"}, ["control_characters"]),
        ({"id": "4", "word": "f"}, None),
    ]


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        pytest.param(b"", "empty_file", "the file is empty", id="empty"),
        pytest.param(b"id,word\n", "empty_file", "a header and no rows", id="header only"),
        pytest.param(b"id,word\n1,\xff\n", "not_utf8", "0xff in line 2", id="latin-1"),
        pytest.param(b"id,wird\n1,a\n", "missing_column", "is it wird?", id="renamed column"),
        pytest.param(b"id,word,id\n1,a,2\n", "duplicate_column", "id twice", id="column twice"),
        pytest.param(b'id,word\n1,"a\n2,b\n', "malformed_csv", "line", id="quote never closed"),
        pytest.param(b'id,word\n1,"a"b\n', "malformed_csv", "line 2", id="text after a quote"),
    ],
)
def test_a_file_that_cannot_be_read_is_set_aside_and_the_others_land(
    engine: Engine, tmp_path: Path, content: bytes, code: str, said: str
) -> None:
    (tmp_path / "rows_bad.csv").write_bytes(content)
    (tmp_path / "rows_good.csv").write_text("id,word\n7,g\n")
    result = extract(engine, tmp_path)
    assert (result.files, result.rows) == (1, 1)
    [breach] = result.breaches
    assert (breach.code, breach.file_name) == (code, "rows_bad.csv")
    assert said in breach.detail
    assert breach.remedy
    assert codes(engine) == [(code, "rows_bad.csv")]
    assert [row[0] for row in landed(engine)] == ["rows_good.csv"]


def test_a_corrected_file_resolves_its_breach_and_lands_only_what_is_new(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("id,word\n1,a\n2,b\n")
    extract(engine, tmp_path)
    file.write_text("id,word\n1,a\n2,c\n3,d\n")
    assert extract(engine, tmp_path, run="run-2").new_rows == 2
    file.write_bytes(b"id\n")
    assert {breach.code for breach in extract(engine, tmp_path, run="run-3").breaches} == {
        "missing_column",
        "empty_extract",
    }
    file.write_text("id,word\n1,a\n")
    assert extract(engine, tmp_path, run="run-4") == ExtractResult(files=1, rows=1, new_rows=0, breaches=())
    assert codes(engine) == []
    assert codes(engine, resolved=True) == [("empty_extract", None), ("missing_column", "rows.csv")]


def test_no_file_is_a_breach_unless_files_are_named_by_day(engine: Engine, tmp_path: Path) -> None:
    assert [b.code for b in extract(engine, tmp_path).breaches] == ["no_file"]
    daily = dataset("{day}/rows.csv")
    assert extract(engine, tmp_path, of=daily).breaches == ()
    (tmp_path / str(LATER)).mkdir()
    (tmp_path / str(LATER) / "rows.csv").write_text("id,word\n1,a\n")
    assert extract(engine, tmp_path, of=daily).rows == 0
    assert extract(engine, tmp_path, LATER, of=daily).rows == 1


def test_again_on_a_later_day_nothing_lands_and_the_scope_is_the_same(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,word\n1,a\n2,b\n")
    extract(engine, tmp_path)
    assert extract(engine, tmp_path, LATER, run="run-2") == ExtractResult(files=1, rows=2, new_rows=0, breaches=())
    with engine.connect() as connection:
        assert set(connection.scalars(text("select day from landed.row"))) == {DAY}


def test_a_missing_data_directory_says_which(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(Terminal, match=r"no data directory .*nowhere"):
        extract(engine, tmp_path / "nowhere")
