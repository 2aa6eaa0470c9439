"""The one way in which this worker starts its Triton here, found out once."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worker import preflight, triton
from worker.settings import Settings


class NotRunnableError(Exception):
    """Triton cannot run on this machine; the text says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How Triton is started here."""

    argv: Sequence[str]
    environment: dict[str, str]

    @property
    def digest(self) -> str:
        """Equal for ways of starting that give the same server."""
        return triton.digest(self.argv)


def prepare(settings: Settings) -> Launch:
    """Checks the machine and composes the command line. Raises NotRunnableError. Takes up to a second."""
    installation = triton.find()
    problems = preflight.check_server(installation)
    problems += preflight.check_repository(settings.model_repository, settings.flavour)
    if problems or installation is None:
        raise NotRunnableError("\n".join(str(problem) for problem in problems))
    cores = os.cpu_count() or 1
    environment = triton.environment(settings, installation, os.environ, cores=cores)
    argv = triton.arguments(
        settings,
        installation,
        backends=triton.prepare_backends(installation, settings.home),
        flags=triton.known_flags(installation, environment),
        wishes=triton.wishes(settings.model_repository, settings.flavour),
        gpu=Path("/dev/nvidia0").exists(),
        cores=cores,
        key=secrets.token_hex(16),
    )
    return Launch(argv, environment)
