"""Canonical forms: two RDFC-1.0 implementations agree, and nothing is dropped in silence."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credential_pipeline.credential.canonical import (
    CanonicalizationError,
    UndefinedTerm,
    jcs,
    rdfc,
    rdfc_second_opinion,
)
from credential_pipeline.credential.contexts import (
    CLR2,
    DATA_INTEGRITY2,
    MULTIKEY1,
    OB3,
    OB3_EXTENSIONS,
    VC2,
    ContextNotVendored,
    context_bytes,
    document_loader,
)
from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.proof import sign
from credential_pipeline_tests.credential.forms import AS_OF, FORMS, SIGNER, status_list

# What a signed text may hold, and the controls on top: RDFC-1.0 has to escape them although our builders refuse them.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=["\ufffe", "\uffff", "\x00"], codec="utf-8"),
    min_size=1,
    max_size=40,
).map(lambda t: t + '\b\t\n\f\r"\\\x7f\x01' if len(t) % 3 == 0 else t)


def credential(name: str, value: str, narrative: str) -> dict[str, Any]:
    document = open_badge_credential(FORMS["results"])
    document["issuer"]["name"] = name
    document["credentialSubject"]["result"][0]["value"] = value
    document["credentialSubject"]["achievement"]["criteria"]["narrative"] = narrative
    return document


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(name=TEXTS, value=TEXTS, narrative=TEXTS)
def test_pyoxigraph_agrees_with_pyld_whatever_the_text(name: str, value: str, narrative: str) -> None:
    document = credential(name, value, narrative)
    assert rdfc(document) == rdfc_second_opinion(document)


@pytest.mark.parametrize("form", FORMS)
def test_pyoxigraph_agrees_on_every_form(form: str) -> None:
    document = open_badge_credential(FORMS[form])
    canonical = rdfc(document)
    assert canonical == rdfc_second_opinion(document)
    assert canonical.count("\n") == len(canonical.split("\n")) - 1
    assert canonical.split("\n")[:-1] == sorted(canonical.split("\n")[:-1])


def test_pyoxigraph_agrees_on_status_lists() -> None:
    document = {k: v for k, v in status_list(1, "revocation", (3, 5)).items() if k != "proof"}
    assert rdfc(document) == rdfc_second_opinion(document)


def test_escapes_are_those_of_canonical_nquads() -> None:
    """RDFC-1.0 5.1; pyld alone writes U+0008, U+000C, U+000B and U+007F as they are."""
    document = open_badge_credential(FORMS["least"])
    document["issuer"]["name"] = 'b\b t\t n\n f\f r\r q" s\\ v\x0b e\x1f d\x7f n\x85 l\u2028'
    expected = r'"b\b t\t n\n f\f r\r q\" s\\ v\u000B e\u001F d\u007F n' + '\x85 l\u2028" .\n'
    assert f"<did:web:badges.example.org> <https://schema.org/name> {expected}" in rdfc(document)


def test_escapes_reach_the_hashes_of_blank_nodes() -> None:
    """Two blank nodes whose order depends on the escaped text: labels follow the hash of the escaped line."""
    document = open_badge_credential(FORMS["least"])
    for first, second in (("\x01", "\x7f"), ("\b", "\\b"), ("\x0b", "\x0c")):
        document["credentialSubject"]["result"] = [
            {"type": ["Result"], "value": first},
            {"type": ["Result"], "value": second},
        ]
        assert rdfc(document) == rdfc_second_opinion(document)


def test_indistinguishable_blank_nodes_still_have_one_form() -> None:
    document = open_badge_credential(FORMS["least"])
    document["credentialSubject"]["result"] = [{"type": ["Result"], "value": "A"} for _ in range(4)]
    assert rdfc(document) == rdfc_second_opinion(document)


def test_poison_graph_is_refused() -> None:
    document = open_badge_credential(FORMS["least"])
    subject = {"type": ["AchievementSubject"], "result": [{"type": ["Result"], "value": "A"} for _ in range(9)]}
    document["credentialSubject"] = [subject, subject]
    with pytest.raises(CanonicalizationError, match="indistinguishable blank nodes"):
        rdfc(document)


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(open_badge_credential(FORMS["results"])))
    target: Any = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("undefinedTerm",), "x"),
        (("credentialSubject", "grade"), "A"),
        (("credentialSubject", "achievement", "tags"), ["x"]),
        (("id",), "credentials/1.json"),
        (("id",), "https://x.example/a b"),
        (("id",), "https://x.example/a\u00a0b"),
        (("credentialStatus", "id"), "https://x.example/a\u2028b"),
        (("id",), "//x.example/a"),
        (("id",), "_:b0"),
        (("type",), ["VerifiableCredential", "OpenBadgeCredential", "@foo"]),
        (("credentialSubject", "achievement", "id"), "achievements/1"),
        (("credentialSubject", "achievement", "image", "id"), "logo.png"),
        (("type",), ["VerifiableCredential", "OpenBadgeCredentials"]),
        (("credentialSubject", "result", 0, "type"), ["Resultt"]),
        (("name",), None),
        (("credentialSubject", "@id"), "https://x.example/"),
        (("@included",), []),
        (("credentialSubject", "@context"), {"grade": "https://x.example/grade"}),
    ],
)
def test_what_json_ld_would_drop_is_refused(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(UndefinedTerm):
        rdfc(changed(path, value))


@pytest.mark.parametrize(
    "context",
    [
        [VC2, {"grade": "https://x.example/grade"}],
        [VC2, "https://x.example/unknown"],
        [VC2, "https://purl.imsglobal.org/spec/ob/v3p0/context.json"],
        7,
    ],
)
def test_contexts_that_are_not_vendored_are_refused(context: Any) -> None:
    with pytest.raises(CanonicalizationError):
        rdfc(changed(("@context",), context))


def test_every_vendored_context_has_its_pinned_bytes() -> None:
    for url in (VC2, OB3, OB3_EXTENSIONS, CLR2, DATA_INTEGRITY2, MULTIKEY1):
        assert "@context" in document_loader(url)["document"]
        assert context_bytes(url)
    with pytest.raises(ContextNotVendored, match="never fetched"):
        document_loader(VC2 + "/")


def test_threads_share_nothing() -> None:
    documents = [open_badge_credential(given) for given in FORMS.values()]
    alone = [rdfc(document) for document in documents]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(rdfc, documents * 3)) == alone * 3


def test_an_embedded_credential_with_its_proof_keeps_its_graph() -> None:
    """A learner record embeds signed credentials: their proofs are named graphs of blank nodes."""
    member = sign(open_badge_credential(FORMS["honours"]), SIGNER, AS_OF)
    record = {
        "@context": [VC2, CLR2, OB3, OB3_EXTENSIONS],
        "id": "https://badges.example.org/records/1.json",
        "type": ["VerifiableCredential", "ClrCredential"],
        "issuer": member["issuer"],
        "validFrom": member["validFrom"],
        "name": "Record",
        "credentialSubject": {
            "type": ["ClrSubject"],
            "verifiableCredential": [
                {k: v for k, v in member.items() if k not in ("@context", "proof")} | {"proof": member["proof"][:1]}
            ],
        },
    }
    canonical = rdfc(record)
    assert canonical == rdfc_second_opinion(record)
    assert "_:c14n0 .\n" in canonical or "_:c14n1 .\n" in canonical


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": '\x0f\n€"\\'}, b'{"a":"\\u000f\\n\xe2\x82\xac\\"\\\\","b":1}'),
        ({"\U0001f600": 1, "\ufb33": 2}, '{"\U0001f600":1,"\ufb33":2}'.encode()),  # RFC 8785 3.2.3: UTF-16 order
        ([0.0, -0.0, 3.0, 2.5, 1e21, 1e-7, 4.5e15], b"[0,0,3,2.5,1e+21,1e-7,4500000000000000]"),
    ],
)
def test_jcs_follows_rfc_8785(value: Any, expected: bytes) -> None:
    assert jcs(value) == expected


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**53,
        "\ud800",
        "\uffff",
        "\ufdd0",
        "\U0001fffe",
        {"\ud800": 1},
        {1: 2},
        b"bytes",
        deep(100_000),
    ],
    ids=lambda v: type(v).__name__,
)
def test_jcs_refuses_what_i_json_refuses(value: Any) -> None:
    with pytest.raises(CanonicalizationError):
        jcs(value)
