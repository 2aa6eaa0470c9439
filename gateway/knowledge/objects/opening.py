"""Which object store the settings name."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gateway.config import Settings
from gateway.environment import ConfigError
from gateway.knowledge.objects.folder import FolderStore
from gateway.knowledge.objects.store import ObjectStore, check_key

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def object_store(settings: Settings) -> ObjectStore:
    """The store that RAGFLEET_OBJECTS_URL names: `file:///folder`, `s3://bucket/prefix`, or empty for `<home>/objects`.

    Nothing is asked of it yet. Raises ConfigError.
    """
    url = settings.objects_url
    if not url:
        return FolderStore(settings.home.resolve() / "objects")
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _s3(settings)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
        raise ConfigError(
            f"RAGFLEET_OBJECTS_URL={url!r} names no store: give s3://bucket/prefix, or file:///folder "
            "(of a file system that all gateways share)"
        )
    return FolderStore(Path(unquote(parts.path)))


def _s3(settings: Settings) -> ObjectStore:
    from gateway.knowledge.objects.s3 import S3Store  # the library takes a tenth of a second to load

    url = settings.objects_url
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if not _BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment:
        raise ConfigError(
            f"RAGFLEET_OBJECTS_URL={url!r} names no bucket: give s3://bucket/prefix; "
            "the server is AWS_ENDPOINT_URL, the keys are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    try:
        if prefix:
            check_key(prefix)
    except ValueError:
        raise ConfigError(
            f"RAGFLEET_OBJECTS_URL={url!r}: a prefix is words of letters, digits, '.', '_', '-' between slashes"
        ) from None
    if bool(settings.s3_access_key) != bool(settings.s3_secret_key):
        raise ConfigError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together: set both (or their _FILE), or none")
    endpoint = urlsplit(settings.s3_endpoint)
    if settings.s3_endpoint and (endpoint.scheme not in ("http", "https") or not endpoint.netloc):
        raise ConfigError(f"AWS_ENDPOINT_URL={settings.s3_endpoint!r} is no URL: give http://host:port or https://host")
    return S3Store(
        parts.netloc,
        prefix,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        certificates=_certificates(settings.s3_ca_file),
    )


def _certificates(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"AWS_CA_BUNDLE={file} cannot be read: {error.strerror or error}") from error
