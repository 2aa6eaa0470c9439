"""What must be there before Triton can run, checked before it fails in its own words an hour of reading away."""

import re
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from worker.triton import Installation, interpreter

_UNFIT = re.compile(r"""[\s"'\\$&;|<>()*?\[\]{}`!#]|[^\x00-\x7f]""")
"""What a shell tears, and what an embedded Python that was told of no locale cannot look up (no variable helps there)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is missing, and what to do about it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}"


def shared_libpython() -> Path | None:
    """This interpreter's library, or None where Python was built without one (the stub must load it)."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" not in name:
        return None
    candidate = Path(sysconfig.get_config_var("LIBDIR") or "", name)
    return candidate if candidate.exists() else None


def version_of(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_server(
    installation: Installation | None,
    *,
    libpython: Callable[[], Path | None] = shared_libpython,
    version: Callable[[str], str | None] = version_of,
) -> list[Problem]:
    """Whether a server is there and its Python backend will find this interpreter."""
    if installation is None:
        return [
            Problem(
                "There is no tritonserver on PATH, in /opt/tritonserver or in this environment",
                "Run: pip install 'ragfleet[embedded]', or use NVIDIA's container.",
            )
        ]
    problems = []
    if installation.stub is not None and not installation.stub.is_file():
        problems.append(
            Problem(
                f"Triton's Python backend has no stub for Python {interpreter()}",
                "Use Python 3.11, 3.12 or 3.13. In a checkout: make clean setup PYTHON=python3.12",
            )
        )
    if installation.from_wheel and libpython() is None:
        problems.append(
            Problem(
                "This Python was built without a shared libpython, which Triton's Python backend loads",
                "Use the distribution's python3, or one built with --enable-shared"
                " (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install 3.12).",
            )
        )
    numpy = version("numpy")
    if installation.from_wheel and (numpy is None or int(numpy.partition(".")[0]) >= 2):
        problems.append(
            Problem(
                f"numpy is {numpy or 'not installed'}; Triton 2.51's Python backend crashes with 2.0 and newer",
                "Run: pip install 'numpy<2'.",
            )
        )
    return problems


def check_paths(*paths: Path) -> list[Problem]:
    """Whether Triton's Python backend can work there: a shell gets the paths, unquoted, and a Python that knows only ASCII."""
    return [
        Problem(
            f"The path {str(path)!r} has {found[0]!r} in it, on which Triton's Python backend fails",
            "Use a folder whose path has neither spaces and quotes nor letters beyond ASCII"
            " (RAGFLEET_HOME, --model-repository, or where Ragfleet is installed).",
        )
        for path in dict.fromkeys(paths)
        if (found := _UNFIT.search(str(path)))
    ]


def check_repository(repository: Path, flavour: str) -> list[Problem]:
    """Whether there are models, and the flavour is one that some model has."""
    if not any(repository.glob("*/config.pbtxt")) and not any(repository.glob("*/configs/*.pbtxt")):
        return [Problem(f"There is no model under {repository}", "Name the folder with --model-repository.")]
    flavours = sorted({path.stem for path in repository.glob("*/configs/*.pbtxt")})
    if flavour and flavour not in flavours:
        offer = (
            f"Choose one of: {', '.join(flavours)}."
            if flavours
            else "This repository has no flavours. Start it without one."
        )
        return [Problem(f"No model has a flavour '{flavour}'", offer)]
    return []
