"""An institution's files -> the typed Institution, or every problem in them with file, line and remedy.

Belongs here: which files there are, and where in them a validation error lies. Does not belong here: YAML itself
(documents.py), the words of an error (explain.py), and what is right or wrong (the models).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from credential_pipeline.institution import Institution, InstitutionFile
from credential_pipeline.institution.base import Misfit, Model
from credential_pipeline.institution.catalogue import Catalogue, Programme
from credential_pipeline.institution.describe import misfits_of_documents
from credential_pipeline.institution.documents import Node, read_document
from credential_pipeline.institution.explain import explain
from credential_pipeline.institution.places import Places
from credential_pipeline.institution.problems import InstitutionError, MemberPath, Problem, dotted

INSTITUTION_FILE = "institution.yaml"
CATALOGUE_FOLDER = "catalogue"

_Model = TypeVar("_Model", bound=Model)


def load_institution(directory: Path) -> Institution:
    """Read and check institution.yaml and catalogue/*.yaml (in the order of their names).

    Members are checked with each other once each file is right by itself, and files with each other last.

    Raises:
        InstitutionError: with all problems found, each `FILE:LINE: what is wrong (path.to.member); remedy`.
    """
    problems: list[Problem] = []
    main = directory / INSTITUTION_FILE
    catalogue_files = _catalogue_files(directory, problems)
    root, institution = _read(main, InstitutionFile, problems) if main.is_file() else (None, None)
    programmes = [_read(path, Programme, problems) for path in catalogue_files]
    roots = [node for node, _ in programmes if node is not None]
    typed = [programme for _, programme in programmes if programme is not None]
    if root is None or len(typed) < len(programmes):
        raise InstitutionError(problems)

    combined: Institution | None = None
    try:
        catalogue = Catalogue(programmes=tuple(typed))
        if institution is not None and not problems:
            members = {name: getattr(institution, name) for name in InstitutionFile.model_fields}
            combined = Institution.model_validate({**members, "catalogue": catalogue})
    except ValidationError as error:
        problems += _problems_across_files(error, root, roots)
    if combined is not None and not problems:
        problems += [_problem_across_files(misfit, root, roots) for misfit in misfits_of_documents(combined)]
    if combined is None or problems:
        raise InstitutionError(problems)
    return combined


def json_schema() -> dict[str, dict[str, Any]]:
    """JSON Schema 2020-12 for editors, by the files it is for: `institution.yaml` and `catalogue/*.yaml`."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {
        INSTITUTION_FILE: dialect | InstitutionFile.model_json_schema(),
        f"{CATALOGUE_FOLDER}/*.yaml": dialect | Programme.model_json_schema(),
    }


def _catalogue_files(directory: Path, problems: list[Problem]) -> list[Path]:
    """The catalogue's files by name; what is missing or would be silently passed over becomes a problem."""
    if not directory.is_dir():
        remedy = "name an institution's directory, or write a new one with `credential-pipeline init DIR`"
        raise InstitutionError([Problem(directory, None, "is not a directory", "", remedy)])
    folder = directory / CATALOGUE_FOLDER
    files = sorted(p for p in folder.glob("*.yaml") if not p.name.startswith(".")) if folder.is_dir() else []
    if not (directory / INSTITUTION_FILE).is_file():
        remedy = "name an institution's directory, or write a new one with `credential-pipeline init DIR`"
        problems.append(Problem(directory / INSTITUTION_FILE, None, "does not exist", "", remedy))
    if not files:
        remedy = "write at least one programme, such as catalogue/programme.yaml"
        problems.append(Problem(folder, None, "holds no *.yaml file", "", remedy))
    misnamed = [*directory.glob("institution.yml"), *folder.glob("*.yml")]
    problems += [Problem(p, None, "is not read: its name ends in .yml", "", "rename it to .yaml") for p in misnamed]
    return files


def _read(path: Path, model: type[_Model], problems: list[Problem]) -> tuple[Node | None, _Model | None]:
    root, found = read_document(path)
    problems += found
    if root is None:
        return None, None
    try:
        return root, model.model_validate(root.plain())
    except ValidationError as error:
        problems += _problems_in_file(error, root, Places(model))
        return root, None


def _problems_in_file(error: ValidationError, root: Node, places: Places) -> Iterator[Problem]:
    for details in error.errors(include_url=False):
        place = places.find(details["loc"])
        if details["type"] == "misfit":
            for misfit in _misfits(details):
                yield _problem(misfit, (*place.path, *misfit.path), root)
        elif (words := explain(details, place, root)) is not None:
            node = root.at(place.path)
            yield Problem(node.file, node.line, words.what, dotted(place.path), words.remedy)


def _problems_across_files(error: ValidationError, root: Node, programmes: Sequence[Node]) -> Iterator[Problem]:
    for details in error.errors(include_url=False):
        for misfit in _misfits(details):
            yield _problem_across_files(misfit, root, programmes)


def _problem_across_files(misfit: Misfit, root: Node, programmes: Sequence[Node]) -> Problem:
    """A misfit whose path begins at the institution or at its catalogue, as a member of the file it lies in."""
    match [part for part in misfit.path if part != "catalogue"]:
        case ["programmes", int(index), *rest]:
            return _problem(misfit, tuple(rest), programmes[index])
        case _:
            return _problem(misfit, misfit.path, root)


def _misfits(details: ErrorDetails) -> tuple[Misfit, ...]:
    misfits: tuple[Misfit, ...] = details["ctx"]["misfits"]
    return misfits


def _problem(misfit: Misfit, path: MemberPath, root: Node) -> Problem:
    node = root.at(path)
    return Problem(node.file, node.line, misfit.what, dotted(path), misfit.remedy)
