"""Publishing what a command has just changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credential_pipeline.commands.common import say

if TYPE_CHECKING:
    from credential_pipeline.runtime import Runtime


def publish_now(runtime: Runtime, run_id: str) -> bool:
    """Publish everything that waits to be; False when that failed: the change stands, and the next run publishes it."""
    from credential_pipeline.errors import PipelineError
    from credential_pipeline.publish.documents import recorded_keys
    from credential_pipeline.publish.publish import publish

    institution, engine, as_of = runtime.institution, runtime.engine, runtime.as_of
    try:
        signer = runtime.signer(as_of)
        keys = recorded_keys(engine, institution)  # after the signer: its key may be the first
        target, jwt_signer = institution.targets.site, runtime.jwt_signer(as_of)
        publish(engine, institution, runtime.store, target, signer, keys, as_of, run_id, jwt_signer=jwt_signer)
    except PipelineError as error:
        say(f"done, but not published: {error}; the next run publishes it")
        return False
    return True
