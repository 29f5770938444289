"""What Hydra says, in the words of the command line."""

from __future__ import annotations

import tomllib

import pytest
from hydra.errors import MissingConfigException

from ghostlab.runs.messages import EXTRAS, one_line
from tests.conftest import ROOT


@pytest.mark.parametrize("choice", EXTRAS)
def test_a_choice_of_a_package_that_is_not_there_names_its_extra(choice: str) -> None:
    """As Hydra raises it where the package is not installed."""
    error = MissingConfigException("In 'config': Could not find it", choice.replace("=", "/"), ["basic"])
    extra = EXTRAS[choice]
    assert one_line(error) == f"{choice}: needs `pip install 'ghostlab[{extra}]'`"
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_another_is_named_with_the_nearest() -> None:
    error = MissingConfigException("In 'config': Could not find it", "hydra/launcher/jolbib", ["basic", "joblib"])
    assert one_line(error).startswith("hydra/launcher=jolbib: no hydra/launcher 'jolbib'; did you mean 'joblib'?")
