"""Every form of credential that is emitted, and a whole site in memory, for the tests of this room."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credential_pipeline.credential.document import (
    Achievement,
    Alignment,
    CredentialFacts,
    Evidence,
    HashedIdentifier,
    Issuer,
    KeyPeriod,
    Related,
    Result,
    ResultDescription,
    RubricCriterionLevel,
    StatusEntry,
    did_document,
    honors_description,
    keys_document,
    open_badge_credential,
    serialize,
    state_document,
    status_list_credential,
)
from credential_pipeline.credential.keys import Ed25519FileSigner
from credential_pipeline.credential.proof import JCS, sign
from credential_pipeline.credential.status_list import encode
from credential_pipeline.credential.verify import Unreachable

BASE = "https://badges.example.org"
DID = "did:web:badges.example.org"
AS_OF = datetime(2025, 7, 31, 22, 0, 0, tzinfo=UTC)
NOW = datetime(2025, 8, 1, 9, 30, 0, tzinfo=UTC)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Ed25519FileSigner(KEY, f"{DID}#key-1")
PUBLIC = KEY.public_key().public_bytes_raw()

ISSUER = Issuer(
    DID,
    "Northfield Universität",
    BASE,
    description="Teaches.\nExamines.",
    email="records@northfield.example.org",
    image=f"{BASE}/logo.png",
)
COURSE = Achievement(
    id=f"{BASE}/achievements/data-101.json",
    name="Data 101",
    description="The first course.",
    achievement_type="Course",
    criteria_narrative="Pass the exam with 60 % or more.",
)
RICH = Achievement(
    id=f"{BASE}/achievements/msc-data.json",
    name="MSc Data Science",
    description="A degree,\nwith a thesis.",
    achievement_type="MasterDegree",
    criteria_narrative="All modules and the thesis.",
    criteria_url=f"{BASE}/criteria/msc-data",
    alignments=(
        Alignment(
            "Data analysis",
            "https://framework.example.org/skills/data-analysis",
            targetType="ceasn:Competency",
            targetFramework="Skills",
            targetCode="S1",
            targetDescription="Analyse data.",
        ),
        Alignment("Statistics", "https://framework.example.org/skills/statistics"),
    ),
    result_descriptions=(
        ResultDescription(f"{BASE}/achievements/msc-data.json#mark", "Mark", "Percent", valueMin="0", valueMax="100"),
        ResultDescription(
            f"{BASE}/achievements/msc-data.json#grade",
            "Grade",
            "LetterGrade",
            allowedValue=("A", "B", "C"),
            requiredValue="C",
        ),
        honors_description(f"{BASE}/achievements/msc-data.json"),
    ),
    credits_available=Decimal("90.5"),
    tags=("data", "science"),
    human_code="MSC-DATA",
    field_of_study="Data science",
    specialization="Learning analytics",
    in_language="en-GB",
    image_url=f"{BASE}/images/msc-data.png",
    version="2025",
)


SKILL_ID = f"{BASE}/achievements/care.json"
SKILL = Achievement(
    id=SKILL_ID,
    name="Patient Care",
    description="Cares for patients.",
    achievement_type="Competency",
    criteria_url=f"{BASE}/criteria/care",
    alignments=(
        Alignment("Care", "https://case.example.org/ims/case/v1p0/CFItems/1", "CFItem", "State standards", "C.1"),
        Alignment("Nursing", "https://credentialengineregistry.org/resources/ce-1", "ceterms:Credential"),
        Alignment("provide care", "http://data.europa.eu/esco/skill/2d1e", targetFramework="ESCO"),
        Alignment("Nursing Assistants", "https://www.onetonline.org/link/summary/31-1131.00", "ext:onet"),
    ),
    result_descriptions=(
        ResultDescription(
            f"{SKILL_ID}#care",
            "Care",
            "RubricCriterionLevel",
            allowedValue=("Novice", "Able"),
            requiredValue="Able",
            rubricCriterionLevel=(
                RubricCriterionLevel(f"{SKILL_ID}#care.novice", "Novice", "Beginning", "1", "Needs\nhelp."),
                RubricCriterionLevel(
                    f"{SKILL_ID}#care.able",
                    "Able",
                    points="2",
                    alignments=(Alignment("C", "https://case.example.org/2"),),
                ),
            ),
            requiredLevel=f"{SKILL_ID}#care.able",
            alignments=(Alignment("D", "https://case.example.org/3"),),
        ),
        ResultDescription(f"{SKILL_ID}#outcome", "Outcome", "Status"),
        ResultDescription(f"{SKILL_ID}#gpa", "GPA", "GradePointAverage", valueMin="0.0", valueMax="4.0"),
    ),
    in_language="en",
    related=(
        Related(f"{BASE}/achievements/care.cy.json", "cy"),
        Related(f"{BASE}/achievements/care.zh-Hant-TW.json", "zh-Hant-TW", "2"),
    ),
)
OUTCOME = Result(None, f"{SKILL_ID}#outcome", "Completed")


def public_id(n: int) -> str:
    return f"{n:026d}"


def facts(n: int = 0, **changes: Any) -> CredentialFacts:
    given: dict[str, Any] = {
        "url": f"{BASE}/credentials/{public_id(n)}.json",
        "as_of": AS_OF,
        "awarded_on": date(2025, 7, 15),
        "issuer": ISSUER,
        "achievement": COURSE,
        "identifiers": (HashedIdentifier("sourcedId", f"S{n}", "5a17" * 8),),
        "status": StatusEntry(f"{BASE}/status/1.json", n, "revocation"),
        "refresh_url": f"{BASE}/state/{public_id(n)}.json",
    }
    return CredentialFacts(**(given | changes))


FORMS: dict[str, CredentialFacts] = {
    "least": facts(0),
    "name": facts(1, name="Ada Lovelace"),
    "results": facts(
        2,
        achievement=RICH,
        results=(Result("87.5", RICH.result_descriptions[0].id), Result("B", RICH.result_descriptions[1].id)),
    ),
    "honours": facts(3, achievement=RICH, name="Grace Hopper", honors=("magna cum laude", "Faculty prize")),
    "credits": facts(4, achievement=RICH, credits_earned=Decimal("2.5"), term="2024FA"),
    "whole_credits": facts(5, credits_earned=Decimal("3.000")),
    "tiny_credits": facts(6, credits_earned=0.125),
    "validity": facts(7, valid_until=datetime(2099, 1, 1, tzinfo=UTC)),
    "suspendable": facts(8, status=StatusEntry(f"{BASE}/status/2.json", 8, "suspension")),
    "right_to_left": facts(9, name="محمد الخوارزمي"),
    "hebrew_marks": facts(10, name="\u200fשָׁרָה כֹּהֵן"),
    "han_astral": facts(11, name="𠮷野家 🎓", term="二〇二四"),
    "decomposed": facts(12, name="Zoe\u0308 O’Brien‑Nuñez \u2028x"),
    "quotes": facts(13, name='Robert "Bob" \\ Tables\' <b>&amp;'),
    "two_identifiers": facts(
        14,
        identifiers=(
            HashedIdentifier("emailAddress", "ada@example.org", "aa" * 16),
            HashedIdentifier("nationalIdentityNumber", "NX-123456", "bb" * 16),
        ),
    ),
    "evidence": facts(
        16,
        name="Ada",
        evidence=(
            Evidence(f"{BASE}/reports/16", "Thesis", "Read it.", genre="Report", audience="Examiners"),
            Evidence(narrative="A talk,\nwith questions.", description="Half an hour."),
        ),
    ),
    "graded": facts(
        15,
        achievement=SKILL,
        results=(Result("Able", f"{SKILL_ID}#care", "Completed", f"{SKILL_ID}#care.able"),),
    ),
    "skilled": facts(
        20,
        achievement=SKILL,
        results=(
            OUTCOME,
            Result("3.7", f"{SKILL_ID}#gpa", alignments=(Alignment("E", "https://case.example.org/4"),)),
            Result(result_description=f"{SKILL_ID}#care", achieved_level=f"{SKILL_ID}#care.novice"),
        ),
    ),
    "everything": facts(
        21,
        achievement=RICH,
        holder="did:key:z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2",
        name="Ada Lovelace",
        narrative="Wrote a programme.\nPublished it.",
        role="Author",
        license_number="L-1",
        activity=(date(2025, 1, 7), date(2025, 6, 30)),
        evidence=(Evidence(f"{BASE}/theses/21", "Notes", "Notes A to G.", "A translation", "Report", "Everybody"),),
    ),
    "holder_only": facts(22, identifiers=(), holder="https://people.example.org/22"),
}


def signed(given: CredentialFacts) -> dict[str, Any]:
    return sign(open_badge_credential(given), SIGNER, given.as_of)


def status_list(number: int, purpose: str, bits: tuple[int, ...] = (), until: datetime | None = None) -> dict[str, Any]:
    document = status_list_credential(
        f"{BASE}/status/{number}.json",
        ISSUER,
        purpose,
        encode(131_072, bits),
        AS_OF,
        until or NOW + timedelta(hours=1),
        3_600_000,
    )
    return sign(document, SIGNER, AS_OF)


def state(n: int, name: str = "current", until: datetime | None = None, by: str | None = None) -> dict[str, Any]:
    document = state_document(
        f"{BASE}/state/{public_id(n)}.json",
        f"{BASE}/credentials/{public_id(n)}.json",
        DID,
        name,
        1,
        AS_OF,
        until or NOW + timedelta(hours=1),
        superseded_by=by,
    )
    return sign(document, SIGNER, AS_OF, suites=(JCS,))


def keys(**changes: Any) -> dict[str, Any]:
    period = KeyPeriod(f"{DID}#key-1", SIGNER.public_key_multibase, datetime(2025, 1, 1, tzinfo=UTC), **changes)
    return sign(keys_document(f"{BASE}/keys.json", DID, [period], AS_OF), SIGNER, AS_OF, suites=(JCS,))


@dataclass
class Site:
    """A published site in memory: what is not in it is out of reach."""

    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def put(self, path: str, document: dict[str, Any]) -> None:
        self.objects[BASE + path] = serialize(document)

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.objects:
            raise Unreachable("no such object")
        return self.objects[url]


def site() -> Site:
    """All forms as current, nothing revoked."""
    built = Site()
    built.put("/.well-known/did.json", did_document(DID, [("key-1", SIGNER.public_key_multibase, True)]))
    built.put("/keys.json", keys())
    built.put("/status/1.json", status_list(1, "revocation"))
    built.put("/status/2.json", status_list(2, "suspension"))
    for given in FORMS.values():
        built.put(f"/state/{public_id(given.status.index)}.json", state(given.status.index))
    return built
