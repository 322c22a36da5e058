"""What depends on the build: the version, the torch that the daemon needs, the platform."""

import json
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel

BUILT = json.loads((Path(__file__).parent / "hookwire_server" / "build.json").read_text())
TORCH = ".".join(BUILT["torch"].split(".")[:2])


class Compiled(Distribution):
    """Is installed where packages of one platform are."""

    def has_ext_modules(self) -> bool:  # noqa: D102
        return True


class Wheel(bdist_wheel):
    """For every Python 3: the daemon is a program of its own, not a module."""

    def get_tag(self) -> tuple[str, str, str]:  # noqa: D102
        return "py3", "none", super().get_tag()[2]


setup(
    version=f"{BUILT['version']}+torch{TORCH}",
    install_requires=[f"torch=={TORCH}.*"],
    distclass=Compiled,
    cmdclass={"bdist_wheel": Wheel},
)
