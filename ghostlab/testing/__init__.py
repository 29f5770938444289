"""What this package asks of its own strategies, for tests of yours: ``check_strategy(Noise, tmp_path)``."""

from ghostlab.testing.check import check_card, check_class, check_config, check_joined, check_step, check_strategy
from ghostlab.testing.runs import SmallRuns, check_killed, check_two_processes

__all__ = [
    "SmallRuns",
    "check_card",
    "check_class",
    "check_config",
    "check_joined",
    "check_killed",
    "check_step",
    "check_strategy",
    "check_two_processes",
]
