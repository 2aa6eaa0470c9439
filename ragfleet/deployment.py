"""The settings of the gateways beside this command, for commands that work on their catalog, objects and index."""

import os
from dataclasses import replace

from gateway.config import Settings
from gateway.environment import variables
from ragfleet import fleet_spec, supervisor
from ragfleet.paths import home_from_environment


def settings_of_the_fleet() -> Settings | None:
    """The environment's, as a gateway reads it; addresses that it does not say are those of the embedded fleet that runs.

    None where neither says where Milvus is. Raises ConfigError.
    """
    home = home_from_environment()
    settings = replace(Settings.from_env(), home=home.root)
    embedded = fleet_spec.read(home.plan_file) if supervisor.running(home) else None
    if embedded is None:
        return settings if _said("milvus_uri") else None
    if not _said("milvus_uri"):
        settings = replace(settings, milvus_uri=embedded.milvus)
    if not _said("consul_url"):
        settings = replace(settings, consul_url=embedded.consul_url)
    return settings


def _said(field: str) -> bool:
    return any(os.environ.get(name) or os.environ.get(f"{name}_FILE") for name in variables(field))
