"""An institution and its catalogue in the words of credential/, and the URLs of everything it publishes.

Belongs here: the mapping from what an adopter writes to what a credential says. Does not belong here: any decision
about a person, and files or buckets. Issue, publish and report use the same functions, so that they agree.
"""

from __future__ import annotations

from credential_pipeline.credential import document
from credential_pipeline.institution import Institution, catalogue


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
        alignments=tuple(
            document.Alignment(
                targetName=a.target_name,
                targetUrl=a.target_url,
                targetType=a.target_type,
                targetFramework=a.target_framework,
                targetCode=a.target_code,
                targetDescription=a.target_description,
            )
            for a in achievement.alignments
        ),
        result_descriptions=tuple(
            document.ResultDescription(
                id=result_description_id(address, result.id),
                name=result.name,
                resultType=result.type,
                valueMin=result.min,
                valueMax=result.max,
                allowedValue=result.allowed,
            )
            for result in achievement.results
        ),
        credits_available=achievement.credits,
        tags=achievement.tags,
        human_code=achievement.code,
        in_language=achievement.language,
    )


def achievement_url(institution: Institution, achievement: str) -> str:
    """Where the achievement can be read."""
    return f"{institution.base_url}/{achievement_path(achievement)}"


def result_description_id(achievement_address: str, result: str) -> str:
    """The id of one of the results of the achievement at this URL; a credential's result refers to it."""
    return f"{achievement_address}#{result}"


def credential_url(institution: Institution, public_id: str) -> str:
    """The credential's id, and where it can be fetched."""
    return f"{institution.base_url}/{credential_path(public_id)}"


def state_url(institution: Institution, public_id: str) -> str:
    """Where the state of a credential is told."""
    return f"{institution.base_url}/{state_path(public_id)}"


def status_list_url(institution: Institution, list_number: int) -> str:
    """Where a status list can be fetched."""
    return f"{institution.base_url}/{status_list_path(list_number)}"


def achievement_path(achievement: str) -> str:
    """The object's path in the site."""
    return f"achievements/{achievement}.json"


def credential_path(public_id: str) -> str:
    """The object's path in the site."""
    return f"credentials/{public_id}.json"


def state_path(public_id: str) -> str:
    """The object's path in the site."""
    return f"state/{public_id}.json"


def status_list_path(list_number: int) -> str:
    """The object's path in the site."""
    return f"status/{list_number}.json"
