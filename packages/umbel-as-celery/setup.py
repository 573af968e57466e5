"""Puts ``umbel_as_celery.pth`` beside the module, where ``site`` reads it at interpreter start.

pyproject.toml has no way to say "a file at the top of site-packages"; this one step is all that is
here. An editable install leaves the .pth out: install this distribution the plain way.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithPth(build_py):
    def run(self) -> None:
        super().run()
        Path(self.build_lib).mkdir(parents=True, exist_ok=True)
        shutil.copy("umbel_as_celery.pth", self.build_lib)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [
            *super().get_outputs(include_bytecode),
            str(Path(self.build_lib) / "umbel_as_celery.pth"),
        ]


setup(cmdclass={"build_py": BuildWithPth})
