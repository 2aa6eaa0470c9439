"""The wheel brings what a fleet reads beside its code: the folders keep their places here and lie in `ragfleet/_data` there."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("model_repository", "consul", "examples")
"""ragfleet.paths.data_folder finds them."""


class BuildWithData(build_py):
    """Copies FOLDERS into the built package; an editable install finds them in the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in FOLDERS:
                target = Path(self.build_lib, "ragfleet", "_data", folder)
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithData})
