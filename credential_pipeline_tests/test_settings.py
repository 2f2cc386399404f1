"""The environment: what wins, what is refused, and that nothing secret is shown."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from credential_pipeline.errors import Terminal
from credential_pipeline.institution.problems import InstitutionError
from credential_pipeline.institution.starter import write_starter
from credential_pipeline.settings import DEVELOPMENT_PASSPHRASE, VARIABLES, SettingsError, load_settings

REPOSITORY = Path(__file__).parent.parent
OWN = {"CREDENTIAL_PIPELINE_PASSPHRASE": "hunter2hunter2"}


@pytest.fixture
def college(tmp_path: Path) -> Path:
    write_starter(tmp_path / "college")
    return tmp_path / "college"


def test_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ={"PATH": "/bin", "CREDENTIAL": "x"})
    assert settings.institution.id == "northfield"
    assert settings.institution_dir == REPOSITORY / "samples" / "northfield"
    assert settings.data == REPOSITORY / "samples" / "northfield" / "data"
    assert settings.home == tmp_path / ".local"
    assert settings.secrets == tmp_path / ".local" / "secrets"
    assert settings.database_url is None
    assert settings.database_owner_url is None
    assert settings.passphrase.reveal() == DEVELOPMENT_PASSPHRASE.encode()
    assert list(tmp_path.iterdir()) == []


def test_the_environment_wins_over_the_defaults(college: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(
        environ={
            "CREDENTIAL_PIPELINE_INSTITUTION": "college",
            "CREDENTIAL_PIPELINE_HOME": "state",
            "CREDENTIAL_PIPELINE_DATA": "exports",
            "CREDENTIAL_PIPELINE_SECRETS": "/run/secrets/college",
            "CREDENTIAL_PIPELINE_DATABASE_URL": "postgresql://app:pw@db.example/college",
            "CREDENTIAL_PIPELINE_DATABASE_OWNER_URL": "postgresql://owner:pw@db.example/college",
            "CREDENTIAL_PIPELINE_PASSPHRASE": "čtyři",
        }
    )
    assert settings.institution_dir == college
    assert settings.home == tmp_path / "state"
    assert settings.data == tmp_path / "exports"
    assert settings.secrets == Path("/run/secrets/college")
    assert settings.database_url == "postgresql://app:pw@db.example/college"
    assert settings.database_owner_url == "postgresql://owner:pw@db.example/college"
    assert settings.passphrase.reveal() == "čtyři".encode()


def test_arguments_win_over_the_environment(college: Path, tmp_path: Path) -> None:
    environ = {f"CREDENTIAL_PIPELINE_{name}": "/nowhere" for name in ("INSTITUTION", "HOME", "DATA")} | OWN
    settings = load_settings(institution=college, home=tmp_path / "h", data=tmp_path / "d", environ=environ)
    assert (settings.institution_dir, settings.home, settings.data) == (college, tmp_path / "h", tmp_path / "d")
    assert settings.secrets == tmp_path / "h" / "secrets"


def test_data_of_the_institution_begins_at_its_directory(
    college: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for written, read in (("exports/daily", college / "exports" / "daily"), ("/srv/exports", Path("/srv/exports"))):
        text = (college / "institution.yaml").read_text(encoding="utf-8")
        (college / "institution.yaml").write_text(text.replace("data: data ", f"data: {written} "), encoding="utf-8")
        assert load_settings(institution=Path("college"), environ=OWN).data == read
        (college / "institution.yaml").write_text(text, encoding="utf-8")


def test_an_empty_variable_is_not_set(college: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    empty = {f"CREDENTIAL_PIPELINE_{name}": "" for name in VARIABLES}
    assert load_settings(environ=empty) == load_settings(environ={})
    with pytest.raises(SettingsError, match="CREDENTIAL_PIPELINE_PASSPHRASE is not set"):
        load_settings(institution=college, environ=empty)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"CREDENTIAL_PIPELINE_DATABSE_URL": "postgresql://u:hunter2hunter2@h/d"},
            (
                "CREDENTIAL_PIPELINE_DATABSE_URL is not a variable of this program; "
                "did you mean `CREDENTIAL_PIPELINE_DATABASE_URL`?"
            ),
        ),
        (
            {"CREDENTIAL_PIPELINE_PASPHRASE": "hunter2hunter2", "CREDENTIAL_PIPELINE_HOEM": "x"},
            (
                "CREDENTIAL_PIPELINE_HOEM is not a variable of this program; did you mean `CREDENTIAL_PIPELINE_HOME`?\n"
                "CREDENTIAL_PIPELINE_PASPHRASE is not a variable of this program; "
                "did you mean `CREDENTIAL_PIPELINE_PASSPHRASE`?"
            ),
        ),
        (
            {"CREDENTIAL_PIPELINE_DATABASE_URL": "mysql://u:hunter2hunter2@h/d"},
            (
                "CREDENTIAL_PIPELINE_DATABASE_URL is not a URL of PostgreSQL: write "
                "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            ),
        ),
        (
            {"CREDENTIAL_PIPELINE_DATABASE_OWNER_URL": "postgresql://u:hunter2hunter2@h/d"},
            (
                "CREDENTIAL_PIPELINE_DATABASE_OWNER_URL is set and CREDENTIAL_PIPELINE_DATABASE_URL is not: set both, "
                "or neither for the embedded server"
            ),
        ),
    ],
)
def test_what_would_surprise_later_is_refused_without_its_value(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=environ)
    assert str(caught.value) == said
    assert isinstance(caught.value, Terminal)


def test_a_word_near_nothing_lists_what_there_is() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={"CREDENTIAL_PIPELINE_" + "Z" * 60: "x"})
    assert all(f"CREDENTIAL_PIPELINE_{name}" in str(caught.value) for name in VARIABLES)


def test_only_samples_do_without_a_passphrase_of_their_own(college: Path) -> None:
    with pytest.raises(SettingsError, match="CREDENTIAL_PIPELINE_PASSPHRASE is not set: the signing key"):
        load_settings(institution=college, environ={})
    with pytest.raises(SettingsError, match="is the development passphrase of the samples") as caught:
        load_settings(institution=college, environ={"CREDENTIAL_PIPELINE_PASSPHRASE": DEVELOPMENT_PASSPHRASE})
    assert DEVELOPMENT_PASSPHRASE not in str(caught.value)
    assert load_settings(institution=college, environ=OWN).passphrase.reveal() == b"hunter2hunter2"
    assert load_settings(environ=OWN).passphrase.reveal() == b"hunter2hunter2"


def test_secrets_are_in_no_text_of_the_settings() -> None:
    settings = load_settings(
        environ=OWN
        | {
            "CREDENTIAL_PIPELINE_DATABASE_URL": "postgresql://app:hunter2hunter2@h/d",
            "CREDENTIAL_PIPELINE_DATABASE_OWNER_URL": "postgresql://owner:hunter2hunter2@h/d",
        }
    )
    shown = [
        repr(settings),
        str(settings),
        f"{settings.passphrase}",
        f"{settings.passphrase!r:>40}",
        str([settings.passphrase]),
    ]
    assert not [text for text in shown if "hunter2" in text]
    assert pickle.loads(pickle.dumps(settings.passphrase)) == copy.deepcopy(settings.passphrase) == settings.passphrase


def test_an_institution_that_is_not_right_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(InstitutionError, match="is not a directory"):
        load_settings(institution=tmp_path / "nowhere", environ={})
