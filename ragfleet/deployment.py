"""The settings of the gateways beside this command, for commands that work on their catalog, objects and index."""

import os
from dataclasses import replace
from urllib.parse import urlsplit

from gateway.config import Settings
from gateway.environment import ConfigError, variables
from ragfleet import fleet_spec, supervisor
from ragfleet.paths import home_from_environment


def settings_of_the_fleet() -> Settings | None:
    """The environment's, as a gateway reads it; addresses that it does not say are those of the embedded fleet that runs.

    None where neither says where Milvus is. Raises ConfigError.
    """
    home = home_from_environment()
    settings = replace(Settings.from_env(), home=home.root)
    embedded = fleet_spec.read(home.plan_file) if supervisor.running(home) else None
    if _said("milvus_uri"):
        check_address("MILVUS_URI", settings.milvus_uri)
    if embedded is None:
        return settings if _said("milvus_uri") else None
    if not _said("milvus_uri"):
        settings = replace(settings, milvus_uri=embedded.milvus)
    if not _said("consul_url"):
        settings = replace(settings, consul_url=embedded.consul_url)
    return settings


def check_address(name: str, value: str) -> None:
    """Raises ConfigError where it names no host."""
    try:
        host = urlsplit(value).hostname
    except ValueError:
        host = None
    if not host:
        raise ConfigError(f"{name}={value[:80]!r} is no address like http://host:19530.")


def _said(field: str) -> bool:
    return any(os.environ.get(name) or os.environ.get(f"{name}_FILE") for name in variables(field))
