"""An institution and its catalogue in the words of credential/, and the URLs of everything it publishes.

Belongs here: the mapping from what an adopter writes to what a credential says. Does not belong here: any decision
about a person, and files or buckets. Issue, publish and report use the same functions, so that they agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from credential_pipeline.credential import document
from credential_pipeline.institution import Institution, catalogue, shown
from credential_pipeline.institution.base import Misfit


def issuer_of(institution: Institution) -> document.Issuer:
    """The issuer's Profile."""
    issuer = institution.issuer
    return document.Issuer(
        id=institution.issuer_did,
        name=issuer.name,
        url=issuer.url,
        description=issuer.description,
        email=issuer.email,
    )


def achievement_of(institution: Institution, achievement: catalogue.Achievement) -> document.Achievement:
    """The achievement as a credential shows it; its id is the URL where it can be read."""
    address = achievement_url(institution, achievement.id)
    return document.Achievement(
        id=address,
        name=achievement.name,
        description=achievement.description,
        achievement_type=achievement.type,
        criteria_narrative=achievement.criteria,
        criteria_url=achievement.criteria_url,
        alignments=_alignments(achievement.alignments),
        result_descriptions=tuple(result_description_of(address, result) for result in achievement.results),
        credits_available=achievement.credits,
        tags=achievement.tags,
        human_code=achievement.code,
        field_of_study=achievement.field_of_study,
        specialization=achievement.specialization,
        in_language=achievement.language,
        image_url=achievement.image,
        version=achievement.edition,
        related=_related(institution, achievement, None),
    )


def translations_of(
    institution: Institution, achievement: catalogue.Achievement
) -> Iterator[tuple[str, document.Achievement]]:
    """The achievement in each of its other languages, with the path where it can be read.

    Results and their levels keep ids below their own document: no credential refers to them there.
    """
    for translation in achievement.translations:
        translated = achievement.model_copy(
            update={
                "name": translation.name,
                "description": translation.description,
                "criteria": translation.criteria,
                "language": translation.language,
                "results": (),
            }
        )
        path = achievement_path(achievement.id, translation.language)
        address = f"{institution.base_url}/{path}"
        in_words = achievement_of(institution, translated)
        yield path, replace(in_words, id=address, related=_related(institution, achievement, translation.language))


def _related(
    institution: Institution, achievement: catalogue.Achievement, language: str | None
) -> tuple[document.Related, ...]:
    """The achievement in every language but one; None for that of the catalogue."""
    others = [(achievement.language, None), *((t.language, t.language) for t in achievement.translations)]
    return tuple(
        document.Related(achievement_url(institution, achievement.id, code), spoken)
        for spoken, code in others
        if code != language
    )


def result_description_of(address: str, result: shown.ResultField) -> document.ResultDescription:
    """What a result of the achievement at `address` can be."""
    own = result_description_id(address, result.id)
    return document.ResultDescription(
        id=own,
        name=result.name,
        resultType=result.type,
        valueMin=result.min,
        valueMax=result.max,
        allowedValue=result.allowed_values,
        requiredValue=result.required,
        rubricCriterionLevel=tuple(
            document.RubricCriterionLevel(
                id=level_id(own, level.id),
                name=level.name,
                level=level.level,
                points=level.points,
                description=level.description,
                alignments=_alignments(level.alignments),
            )
            for level in result.levels
        ),
        requiredLevel=None if result.required_level is None else level_id(own, result.required_level),
        alignments=_alignments(result.alignments),
    )


def results_of(
    address: str, results: Iterable[shown.ResultField], planned: Iterable[Mapping[str, str]]
) -> Iterator[document.Result]:
    """The results that a plan line shows (`id`, `value`), by the catalogue's fields."""
    fields = {result.id: result for result in results}
    for one in planned:
        field = fields.get(one["id"])
        own = result_description_id(address, one["id"])
        reached = [x.id for x in field.levels if x.shown_as == one["value"]] if field else []
        yield document.Result(
            one["value"],
            own,
            status=field.statuses.get(one["value"]) if field else None,
            achieved_level=level_id(own, reached[0]) if reached else None,
        )


def evidence_of(
    evidence: Iterable[shown.EvidenceField], planned: Iterable[Mapping[str, str]]
) -> tuple[document.Evidence, ...]:
    """The evidence that a plan line shows (`field`, `url`), in the words of the catalogue."""
    fields = {one.field: one for one in evidence}
    nothing = shown.EvidenceField(field="none")
    return tuple(
        document.Evidence(one["url"], said.name, said.narrative, said.description, said.genre, said.audience)
        for one in planned
        for said in [fields.get(one["field"], nothing)]
    )


def misfits_of_documents(institution: Institution) -> Iterator[Misfit]:
    """What the catalogue says and a standard refuses: no credential of that achievement could ever be made."""
    try:
        issuer = issuer_of(institution)
        document.issuer_profile(issuer)
    except document.BuildError as error:
        yield Misfit(("issuer",), *_refused(error))
        return
    for i, programme in enumerate(institution.catalogue.programmes):
        for j, achievement in enumerate(programme.achievements):
            try:
                document.achievement_document(achievement_of(institution, achievement), issuer)
                for _, translated in translations_of(institution, achievement):
                    document.achievement_document(translated, issuer)
            except document.BuildError as error:
                what, remedy = _refused(error)
                path = ("catalogue", "programmes", i, "achievements", j)
                yield Misfit(path, f"achievement {achievement.id}: {what}", remedy)


def _refused(error: document.BuildError) -> tuple[str, str]:
    what, _, remedy = str(error).partition(": ")
    return what, remedy or "correct it"


def _alignments(alignments: Iterable[shown.Alignment]) -> tuple[document.Alignment, ...]:
    return tuple(
        document.Alignment(
            targetName=a.target_name,
            targetUrl=a.target_url,
            targetType=a.target_type,
            targetFramework=a.target_framework,
            targetCode=a.target_code,
            targetDescription=a.target_description,
        )
        for a in alignments
    )


def achievement_url(institution: Institution, achievement: str, language: str | None = None) -> str:
    """Where the achievement can be read; `language`: in that one of its translations."""
    return f"{institution.base_url}/{achievement_path(achievement, language)}"


def result_description_id(achievement_address: str, result: str) -> str:
    """The id of one of the results of the achievement at this URL; a credential's result refers to it."""
    return f"{achievement_address}#{result}"


def level_id(result_description: str, level: str) -> str:
    """The id of one of the rubric levels of a result description."""
    return f"{result_description}.{level}"


def credential_url(institution: Institution, public_id: str) -> str:
    """The credential's id, and where it can be fetched."""
    return f"{institution.base_url}/{credential_path(public_id)}"


def state_url(institution: Institution, public_id: str) -> str:
    """Where the state of a credential is told."""
    return f"{institution.base_url}/{state_path(public_id)}"


def status_list_url(institution: Institution, list_number: int) -> str:
    """Where a status list can be fetched."""
    return f"{institution.base_url}/{status_list_path(list_number)}"


def achievement_path(achievement: str, language: str | None = None) -> str:
    """The object's path in the site."""
    return f"achievements/{achievement}.json" if language is None else f"achievements/{achievement}.{language}.json"


def credential_path(public_id: str) -> str:
    """The object's path in the site."""
    return f"credentials/{public_id}.json"


def jwt_path(public_id: str) -> str:
    """The object's path in the site."""
    return f"credentials/{public_id}.jwt"


def state_path(public_id: str) -> str:
    """The object's path in the site."""
    return f"state/{public_id}.json"


def status_list_path(list_number: int) -> str:
    """The object's path in the site."""
    return f"status/{list_number}.json"
