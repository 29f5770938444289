"""What ``pyproject.toml`` cannot say: ``conf/`` travels in the package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithConfiguration(build_py):
    """Copies ``conf/`` into the package that is installed; a checkout has it beside the package."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("conf", Path(self.build_lib, "ghostlab", "conf"), dirs_exist_ok=True)


setup(cmdclass={"build_py": WithConfiguration})
