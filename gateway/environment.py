"""Variables of the environment: by which of them a setting is given, and its text made a value."""

import types
import typing
from pathlib import Path

MAX_NUMBER = 10**12
"""Of any setting: seconds, bytes, places. Timers and databases do not count much further."""


class ConfigError(Exception):
    """A setting that cannot be used; the message says which and why."""


FOREIGN = types.MappingProxyType(
    {
        "milvus_uri": ("MILVUS_URI",),
        "trace_endpoint": ("OTEL_EXPORTER_OTLP_ENDPOINT",),
        "milvus_token": ("MILVUS_TOKEN",),
        "consul_token": ("RAGFLEET_CONSUL_TOKEN", "CONSUL_HTTP_TOKEN"),
        "s3_endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "s3_region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        "s3_access_key": ("AWS_ACCESS_KEY_ID",),
        "s3_secret_key": ("AWS_SECRET_ACCESS_KEY",),
        "s3_ca_file": ("AWS_CA_BUNDLE",),
    }
)
"""Settings whose variables the tools of Milvus, OpenTelemetry, Consul and AWS have named."""


_BOOLEANS = types.MappingProxyType(
    {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
)


def variables(field: str) -> tuple[str, ...]:
    """The variables that a setting is read from; the first that is set counts. Each may end with `_FILE`, too."""
    return FOREIGN.get(field, (f"RAGFLEET_{field.upper()}",))


def raw_value(env: typing.Mapping[str, str], name: str) -> str:
    """The value, or the content of the file that `<name>_FILE` names, without the white space around it."""
    value, file = env.get(name, ""), env.get(f"{name}_FILE", "")
    if value and file:
        raise ConfigError(f"{name} and {name}_FILE are both set. Unset one of them.")
    if not file:
        return value
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE={file} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def converted(name: str, raw: str, hint: typing.Any) -> typing.Any:
    if isinstance(hint, types.UnionType):
        hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
    if hint is bool:
        if raw.lower() not in _BOOLEANS:
            raise ConfigError(f"{name}={raw!r} is neither true nor false")
        return _BOOLEANS[raw.lower()]
    try:
        value = hint(raw)
    except ValueError as error:
        raise ConfigError(f"{name}={raw[:80]!r} is not a valid {hint.__name__}") from error
    if hint in (int, float):
        _check_number(name, raw, value)
    return value


def _check_number(name: str, raw: str, value: float) -> None:
    """A number that no setting can be: of other digits than a reader takes for such, below 0, or beyond anything."""
    least = -1 if name == "RAGFLEET_RAG_MIN_SCORE" else 0  # a cosine
    most = 65535 if name.endswith("_PORT") else MAX_NUMBER
    if not raw.isascii() or "_" in raw:
        raise ConfigError(f"{name}={raw[:80]!r} is not a plain number")
    if not least <= value <= most:  # nan is neither
        raise ConfigError(f"{name}={raw[:80]!r} is not between {least} and {most}")
