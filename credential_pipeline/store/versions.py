"""The older versions of an object in a bucket that keeps them: found and deleted, with their delete markers.

Belongs here: the calls that obstore does not have. Does not belong here: everything else about objects (objects.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from credential_pipeline.errors import Terminal

DeleteVersions = Callable[[str], int]


def bucket_versions(target: str, options: Mapping[str, Any]) -> DeleteVersions:
    """A function that deletes every version of a path below `s3://BUCKET/PREFIX`; returns how many there were.

    `options` are those of objects.open_store; without them the usual AWS_* variables and profiles are asked.
    """
    parts = urlsplit(target)
    prefix = parts.path.strip("/")

    def delete(path: str) -> int:
        import boto3  # 0.3 s, and only an erasure needs it
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        key = f"{prefix}/{path}" if prefix else path
        given = {
            "endpoint_url": options.get("endpoint"),
            "region_name": options.get("region"),
            "aws_access_key_id": options.get("access_key_id"),
            "aws_secret_access_key": options.get("secret_access_key"),
            "aws_session_token": options.get("session_token"),
        }
        config = Config(s3={"addressing_style": "path"}) if given["endpoint_url"] else None
        client = boto3.client("s3", config=config, **{name: value for name, value in given.items() if value})
        deleted = 0
        try:
            for page in client.get_paginator("list_object_versions").paginate(Bucket=parts.netloc, Prefix=key):
                for found in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    if found["Key"] == key:
                        client.delete_object(Bucket=parts.netloc, Key=key, VersionId=found["VersionId"])
                        deleted += 1
        except (BotoCoreError, ClientError) as error:
            raise Terminal(
                f"{target}: older versions of {path} could not be deleted ({type(error).__name__}); let the account"
                " list and delete object versions (s3:ListBucketVersions, s3:DeleteObjectVersion; no object lock), and"
                " publish again"
            ) from error
        return deleted

    return delete
