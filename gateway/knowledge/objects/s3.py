"""Objects in a bucket of S3, or of what speaks its protocol."""

import re
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import S3Store as Bucket

from gateway.errors import NotFound, ObjectsUnavailable
from gateway.knowledge.objects.store import BLOCK, Stored, blocks, check_key, folder_of

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ClientConfig, S3Config

_PART = 5 * BLOCK
"""The least that S3 takes as a part; 10,000 parts are its most, so an object may have 48 GiB."""
_PARTS_AT_ONCE = 2
"""With the one that fills, an upload holds three parts in memory."""
_LISTED = 1000
_RETRIES = 3
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: ([^:\n]+)")
_OTHER = re.compile(r"(HTTP error: [^\n]+)")


class S3Store:
    """A bucket, and what every key begins with there.

    No call hangs: each request has `request_s` seconds from its connecting to the last byte of its answer, and is tried again
    for up to `retry_s` where that can help. A part goes up or comes down with a request of its own, so that neither a large
    object nor a slow client at the other end of a stream runs into that. An upload that breaks off is taken back; what a
    killed process left half done costs space unseen, until the bucket's own rule ends it (docs/production.md).

    endpoint: the server's URL; empty for AWS. region: empty for us-east-1. access_key, secret_key: empty for the role of the
    machine or the pod, as AWS's own tools find it. certificates: PEM, of a private authority.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str = "",
        region: str = "",
        access_key: str = "",
        secret_key: str = "",
        certificates: bytes | None = None,
        request_s: float = 20.0,
        retry_s: float = 10.0,
    ) -> None:
        # The library reads AWS_* by itself, and panics on an endpoint that is set to nothing: these two are always given.
        region = region or "us-east-1"
        endpoint = endpoint or f"https://s3.{region}.amazonaws.com"
        config: S3Config = {"aws_endpoint_url_s3": endpoint, "region": region}
        if access_key:
            config |= {"access_key_id": access_key, "secret_access_key": secret_key}
        client: ClientConfig = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(3.0, request_s)),
            "timeout": timedelta(seconds=request_s),
        }
        if certificates:
            client["root_certificate"] = certificates
        self._bucket = Bucket(
            bucket,
            prefix=prefix or None,
            config=config,
            client_options=client,
            retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=retry_s)},
        )
        self._name = f"s3://{bucket} at {endpoint}"

    async def put(self, key: str, chunks: bytes | AsyncIterable[bytes]) -> int:
        """See ObjectStore."""
        writer = obstore.open_writer_async(
            self._bucket, check_key(key), buffer_size=_PART, max_concurrency=_PARTS_AT_ONCE
        )
        size = 0
        try:
            async for block in blocks(chunks):
                with _Translated(self._name):
                    await writer.write(block)
                size += len(block)
            with _Translated(self._name):
                await writer.close()
        except BaseException as error:
            with suppress(BaseError, OSError):  # the store may be what failed
                await writer.__aexit__(type(error), error, error.__traceback__)  # takes back what has gone up
            raise
        return size

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """See ObjectStore."""
        found = await self._head(key)
        for at in range(0, found["size"], _PART):
            part = min(at + _PART, found["size"])
            with _Translated(self._name, key):
                options: GetOptions = {"range": (at, part), "if_match": found["e_tag"]}
                answer = await obstore.get_async(self._bucket, key, options=options)
                content = memoryview(await answer.bytes_async())
            for begin in range(0, len(content), BLOCK):
                yield bytes(content[begin : begin + BLOCK])

    async def read(self, key: str) -> bytes:
        """See ObjectStore."""
        return b"".join([block async for block in self.get(key)])

    async def size(self, key: str) -> int:
        """See ObjectStore."""
        return (await self._head(key))["size"]

    async def delete_prefix(self, prefix: str) -> None:
        """See ObjectStore."""
        folder_of(prefix)
        with _Translated(self._name):
            async for found in obstore.list(self._bucket, prefix, chunk_size=_LISTED):
                await obstore.delete_async(self._bucket, [each["path"] for each in found])

    async def listed(self, prefix: str = "") -> AsyncIterator[Stored]:
        """See ObjectStore. S3 lists in the order of the keys' bytes."""
        if prefix:
            folder_of(prefix)
        pages = obstore.list(self._bucket, prefix or None, chunk_size=_LISTED)
        while True:
            with _Translated(self._name):
                found = await anext(pages, None)
            if found is None:
                return
            for each in found:
                yield Stored(each["path"], each["size"], each["last_modified"].timestamp())

    async def _head(self, key: str) -> "ObjectMeta":
        try:
            with _Translated(self._name, check_key(key)):
                return await obstore.head_async(self._bucket, key)
        except NotFound:
            # The answer to a HEAD has no body, so a bucket that is gone looks like a key that is not there: a listing tells.
            with _Translated(self._name):
                await obstore.list(self._bucket, key, chunk_size=1).collect_async()
            raise


class _Translated:
    """The library's errors as ours. Only calls of the library go in it: the bytes of a put may fail by themselves."""

    def __init__(self, name: str, key: str = "") -> None:
        self._name = name
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError) and self._key and "<Code>NoSuchBucket" not in str(error):
            raise NotFound(f"There is no object {self._key!r}.") from error
        if isinstance(error, BaseError | OSError):
            detail = f"{self._name} {_why(error)}."
            raise ObjectsUnavailable("The object store does not answer.", detail=detail, retry_after_s=5) from error


def _why(error: Exception) -> str:
    text = str(error)
    code, status, other = (
        found[1].strip() if (found := each.search(text)) else "" for each in (_CODE, _STATUS, _OTHER)
    )
    if code == "NoSuchBucket":
        return "has no such bucket. Create it, or correct RAGFLEET_OBJECTS_URL"
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status.startswith(("401", "403")):
        return (
            f"refuses these keys ({code or status or 'permission denied'}): they must be allowed to get, put, delete and list "
            "objects (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
        )
    if isinstance(error, PreconditionError):
        return "changed the object while it was read"
    return f"did not answer as it should: {code or status or other or text.splitlines()[0][:200]}"
