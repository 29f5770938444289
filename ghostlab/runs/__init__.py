"""Configuration: joined strategies in Hydra, composing from Python, the identity of a run, errors in one line."""

from ghostlab.runs.compose import CONF, compose, register
from ghostlab.runs.identity import config_hash, run_folder, strategy_name

__all__ = ["CONF", "compose", "config_hash", "register", "run_folder", "strategy_name"]

register()
