"""Credentials as JWTs, where `policies.forms` asks for them: signed once, recorded, then published.

An ES256 signature is another one each time, so what is recorded is never signed again; only where its key was lost is
another made. The ledger keeps the signature: with the credential's document it gives the JWT, and when the document is
erased it gives nothing. Belongs here: finding, making and recording them. Does not belong here: the form (credential/)
and sending (publish.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from credential_pipeline.credential.in_flight import in_flight, together
from credential_pipeline.credential.jwk import jwk_of
from credential_pipeline.credential.jwt import JwtError, read_jwt, sign_jwt, signed_jwt, unsigned_jwt, verify_jwt
from credential_pipeline.credential.keys import Signer
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.describe import jwt_path
from credential_pipeline.publish.manifest import Item
from credential_pipeline.store.document_form import DocumentReader

KIND = "jwt"

RECORDED = """
select j.credential_id, j.key_id, j.issued_at, j.signature, j.jwt_sha256, k.algorithm
from ledger.credential_jwt j join ledger.signing_key k using (key_id)
where k.compromised_at is null and j.credential_id = any(:ids)
"""

# `not exists` and not a join: once a key was lost a credential has several signatures, of which one counts.
DUE = """
select c.credential_id, c.public_id, c.document_form, c.document, c.document_sha256
from ledger.credential c
left join ledger.publication p on p.target = :target and p.kind = 'jwt' and p.credential_id = c.credential_id
where c.document is not null and c.as_of <= :as_of and (p.path is null or not exists (
  select from ledger.credential_jwt j join ledger.signing_key k using (key_id)
  where j.credential_id = c.credential_id and k.compromised_at is null and j.jwt_sha256 = p.digest))
"""


@dataclass(frozen=True)
class Jwts:
    """Makes the JWTs of credentials for one target; what has none yet is signed by one key at one instant."""

    engine: Engine
    institution: Institution
    target: str
    signer: Signer
    as_of: datetime
    run_id: str

    def due(self, connection: Connection, chunk: int) -> Iterator[Sequence[Row[Any]]]:
        """Credentials whose JWT is not at the target, `chunk` at a time; those dated after `as_of` wait."""
        parameters = {"target": self.target, "as_of": self.as_of}
        yield from connection.execute(text(DUE), parameters, execution_options={"yield_per": chunk}).partitions()

    def items(self, rows: Sequence[Row[Any]], reader: DocumentReader) -> list[Item]:
        """The objects of some rows, each of them recorded.

        Raises:
            Terminal: a recorded document or signature is damaged, or a signature is not what was asked for.
        """
        documents = {row.credential_id: self._document(row, reader) for row in rows}
        recorded = self._recorded(documents)
        if missing := {one: document for one, document in documents.items() if one not in recorded}:
            self._sign(missing)
            recorded = self._recorded(documents)
        return [self._item(row, documents[row.credential_id], recorded[row.credential_id]) for row in rows]

    def _document(self, row: Row[Any], reader: DocumentReader) -> dict[str, Any]:
        data = reader.read(row.document_form, row.document)
        if hashlib.sha256(data).digest() != bytes(row.document_sha256):
            raise Terminal(
                f"the document of credential {row.credential_id} is not what was recorded (its SHA-256 differs); no JWT"
                " was made of it; restore the ledger from its backup"
            )
        document: dict[str, Any] = json.loads(data)
        return document

    def _recorded(self, documents: Mapping[UUID, Any]) -> dict[UUID, Row[Any]]:
        with self.engine.connect() as connection:
            rows = connection.execute(text(RECORDED), {"ids": list(documents)}).all()
        return {row.credential_id: row for row in rows}

    def _sign(self, documents: Mapping[UUID, dict[str, Any]]) -> None:
        """Sign, check, record. Where two targets do it at once, the first row stands for both."""
        signer = in_flight(self.signer)
        signed = together(signer, lambda: [sign_jwt(one, signer, self.as_of) for one in documents.values()])
        jwk = jwk_of(self.signer.public_key_multibase)
        rows = []
        for credential_id, token in zip(documents, signed, strict=True):
            data = token.encode("ascii")
            try:
                read = read_jwt(data)
                verify_jwt(read, jwk)
            except JwtError as error:
                raise Terminal(f"the JWT of credential {credential_id}: {error}; nothing was recorded") from error
            rows.append(
                {
                    "credential": credential_id, "key": self.signer.verification_method.partition("#")[2],
                    "at": self.as_of, "signature": read.signature, "sha256": hashlib.sha256(data).digest(),
                    "run": self.run_id,
                }
            )  # fmt: skip
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "insert into ledger.credential_jwt"
                    " (credential_id, key_id, issued_at, signature, jwt_sha256, run_id)"
                    " values (:credential, :key, :at, :signature, :sha256, :run) on conflict do nothing"
                ),
                rows,
            )

    def _item(self, row: Row[Any], document: dict[str, Any], recorded: Row[Any]) -> Item:
        method = f"{self.institution.issuer_did}#{recorded.key_id}"
        unsigned = unsigned_jwt(document, recorded.algorithm, method, recorded.issued_at)
        data = signed_jwt(unsigned, bytes(recorded.signature)).encode("ascii")
        if hashlib.sha256(data).digest() != bytes(recorded.jwt_sha256):
            raise Terminal(
                f"the JWT of credential {row.credential_id} is not what was signed (its SHA-256 differs); it was not"
                " published; restore the ledger from its backup, or go back to the version that signed it"
            )
        # The number of its key: a JWT that another key had to sign again takes the place of the one before.
        version = int(recorded.key_id.partition("-")[2])
        return Item(jwt_path(row.public_id), KIND, data, version, row.credential_id)
