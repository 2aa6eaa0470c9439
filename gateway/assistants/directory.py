"""Which assistants there are, and for whom: the shipped ones, the operator's, and those of one tenant alone."""

from collections.abc import Mapping
from pathlib import Path

from assistants.profile import Profile, ProfileError, read_folder, shipped
from gateway.environment import ConfigError
from gateway.tenants.tenant import Tenant

PREFIX = "assistant:"
"""Of an assistant's name as a model."""


class AssistantDirectory:
    """Read once, at the start."""

    def __init__(self, everybody: Mapping[str, Profile], own: Mapping[str, Mapping[str, Profile]]) -> None:
        """own: by tenant; they count before those of everybody."""
        self._everybody = everybody
        self._own = own

    @classmethod
    def read(cls, folder: Path | None) -> "AssistantDirectory":
        """The shipped profiles, over them `folder/NAME.yaml`, and over them `folder/TENANT/NAME.yaml`. Raises ConfigError."""
        try:
            everybody, own = shipped(), {}
            if folder is not None:
                if not folder.is_dir():
                    raise ProfileError(f"RAGFLEET_ASSISTANTS_DIR={folder} is no folder.")
                everybody |= read_folder(folder)
                own = {each.name: read_folder(each) for each in sorted(folder.iterdir()) if each.is_dir()}
        except ProfileError as error:
            raise ConfigError(str(error)) from None
        return cls(everybody, own)

    def of(self, tenant: Tenant) -> Mapping[str, Profile]:
        """By name, sorted."""
        found = {**self._everybody, **self._own.get(tenant.name, {})}
        return dict(sorted(found.items()))

    def find(self, tenant: Tenant, model: str) -> Profile | None:
        """The profile that a model's name stands for; None where it stands for none that the tenant has."""
        if not model.startswith(PREFIX):
            return None
        name = model.removeprefix(PREFIX)
        return self._own.get(tenant.name, {}).get(name) or self._everybody.get(name)
