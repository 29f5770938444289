"""Configuration: joined strategies in Hydra, composing from Python, the identity of a run, errors in one line."""

from ghostlab.config import native as native  # its resolver
from ghostlab.config.compose import CONF, compose
from ghostlab.config.identity import config_hash, run_folder, strategy_name
from ghostlab.config.plus import register

__all__ = ["CONF", "compose", "config_hash", "register", "run_folder", "strategy_name"]

register()
