"""A composed configuration as typed, checked settings: what is wrong with it is said before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ghostlab.data.config import DataConfig
from ghostlab.errors import RunError, UsageError, unknown
from ghostlab.modules import function, is_function
from ghostlab.quantities import is_number
from ghostlab.runs.compose import modules_of
from ghostlab.runs.config_checks import check_keys, refuse_ineffective_keys
from ghostlab.runs.identity import config_hash, images_digest, plugin_versions, run_folder, strategy_name, to_plain_dict
from ghostlab.runs.optimizer import OptimizerConfig
from ghostlab.runs.run import Run
from ghostlab.strategies.base import Strategy
from ghostlab.strategies.checks import one_of, require, within
from ghostlab.strategies.registry import join, load, register_modules

__all__ = ["LoggerConfig", "Objective", "Settings", "TrainerConfig", "parse", "tradeoff"]

T = TypeVar("T")
FACTORIES = {"model": "nets:tiny", "data": "sets:load", "logger": "tracking:logger"}
"""Groups in which a function of the user's may be chosen, and how one may be called."""
LOGGERS = ("none", "tensorboard", "custom")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")


@dataclass
class TrainerConfig:
    """``conf/trainer``: how long and on what a run trains."""

    max_epochs: int
    accelerator: str
    devices: int | str
    num_nodes: int
    precision: str
    accumulate: int
    clip: float | None
    channels_last: bool
    cpu_kernels: bool
    compile: bool
    grad_checkpointing: bool
    sync_batchnorm: bool

    def __post_init__(self) -> None:
        for key in ("max_epochs", "num_nodes", "accumulate"):
            require(getattr(self, key) >= 1, f"trainer.{key}", getattr(self, key), "must be at least 1")
        require(self.clip is None or self.clip > 0, "trainer.clip", self.clip, "must be above 0, or null")
        if self.precision not in PRECISIONS:
            raise UsageError(f"trainer.precision={self.precision}: {unknown('precision', self.precision, PRECISIONS)}")


@dataclass
class LoggerConfig:
    """``conf/logger``: where figures go besides ``metrics.csv``.

    The function ``factory`` of ``logger=custom`` takes the run's folder, its name and ``options``.
    """

    name: str
    factory: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in LOGGERS:
            raise UsageError(f"logger.name={self.name}: {unknown('logger', self.name, LOGGERS)}")
        if self.name == "custom":
            require(self.factory is not None, "logger.factory", None, "must be <module>:<function>")
            function(str(self.factory), "logger.factory", ("folder", "name"))
        for key, value in {"factory": self.factory, "options": self.options}.items():
            unused = self.name != "custom" and value
            require(not unused, f"logger.{key}", value, f"logger={self.name} has no use for it; leave it out")


@dataclass(frozen=True)
class Settings:
    """Everything one run is made from."""

    model: dict[str, Any]
    data: DataConfig
    strategies: list[Strategy]
    strategy: str
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    logger: LoggerConfig
    objective: Objective
    seed: int
    resume: str
    force: bool
    folder: Path
    config_hash: str
    config: dict[str, Any]

    @property
    def outputs(self) -> Path:
        """Where the run folders of its kind are kept."""
        return Path(self.config["outputs"])

    @property
    def run(self) -> Run:
        """The run in ``folder``."""
        return Run(self.folder)

    @property
    def resumes(self) -> bool:
        """Whether the run goes on from a checkpoint of its own."""
        return self.resume == "auto" and not self.force and self.run.last.exists()


def parse(cfg: DictConfig) -> Settings:
    """Check a composed configuration and build its typed settings; raises ``UsageError`` naming the key."""
    _check_given(cfg)
    register_modules(modules_of(cfg.plugins))
    if cfg.resume not in ("auto", "never"):
        raise UsageError(f"resume={cfg.resume}: {unknown('way to resume', cfg.resume, ('auto', 'never'))}")
    require(type(cfg.force) is bool, "force", cfg.force, "must be true or false")
    settings = Settings(
        model=to_plain_dict(cfg.model),
        data=parse_node(DataConfig, cfg.data, "data"),
        strategies=_strategies(cfg),
        strategy=strategy_name(cfg),
        optimizer=parse_node(OptimizerConfig, cfg.optimizer, "optimizer"),
        trainer=parse_node(TrainerConfig, cfg.trainer, "trainer"),
        logger=parse_node(LoggerConfig, cfg.logger, "logger"),
        objective=parse_node(Objective, cfg.objective, "objective"),
        seed=_seed(cfg.seed),
        resume=cfg.resume,
        force=cfg.force,
        folder=run_folder(cfg),
        config_hash=config_hash(cfg),
        config=to_plain_dict(cfg) | {"seed": _seed(cfg.seed)} | _found(cfg),
    )
    refuse_ineffective_keys(settings.config)
    for strategy in settings.strategies:
        strategy.check(settings.config)
    return settings


def _found(cfg: DictConfig) -> dict[str, Any]:
    """What a run is besides its configuration: the content of its images, and the versions of its plug-ins."""
    found = {"images": images_digest(cfg), "plugged": plugin_versions(cfg)}
    return {key: value for key, value in found.items() if value}


def _seed(given: object) -> int:
    """Of a number or of its digits, as which an environment variable arrives."""
    text = str(given)
    require(text.isdecimal() and int(text) < 2**31, "seed", given, "must be an integer from 0 to 2^31")
    return int(text)


def parse_node(cls: type[T], node: DictConfig, key: str) -> T:
    """An instance of the dataclass ``cls`` from a node of the configuration, whose values must have its types."""
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for name in map(str, node):
        if name not in known:
            raise UsageError(f"{key}.{name}: {unknown('key', name, known)}")
    required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}  # type: ignore[arg-type]
    if missing := sorted(required - set(map(str, node))):
        raise UsageError(f"{key}.{missing[0]} is missing")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(cls), to_plain_dict(node))
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        reason = (error.msg or str(error)).splitlines()[0]
        raise UsageError(f"{key}.{error.full_key or error.key}: {reason}") from error


def _strategies(cfg: DictConfig) -> list[Strategy]:
    names = [str(name) for name in cfg.strategy]
    if not names:
        raise UsageError("strategy is empty; for plain training use strategy=baseline")
    loaded = []
    for name in join("+".join(names)):
        cls = load(name)
        _check_complete(cls, cfg.strategy[name], name)
        loaded.append(parse_node(cls, cfg.strategy[name], f"strategy.{name}"))
    return loaded


def _check_complete(cls: type[Strategy], node: DictConfig, name: str) -> None:
    """A node with some of its knobs only was never chosen: a stray ``+strategy.kd.alpha=...`` made it."""
    missing = [f.name for f in fields(cls) if f.name not in node]  # type: ignore[arg-type]
    if missing:
        raise UsageError(f"strategy.{name} has no '{missing[0]}': choose it by name, as in strategy={name}+...")


def _check_given(cfg: DictConfig) -> None:
    for group in FACTORIES:
        if isinstance(node := cfg.get(group), DictConfig) and "factory" in node.keys():  # noqa: SIM118 (if missing, too)
            key = f"{group}.factory"
            if OmegaConf.is_missing(node, "factory"):
                raise UsageError(f"{key} must be given, as in {key}=my_project.{FACTORIES[group]}")
            require(is_function(str(node.factory)), key, node.factory, "must be <module>:<function>")
    for key in sorted(OmegaConf.missing_keys(cfg)):
        raise UsageError(f"{key} must be given, as in {key}=<value>")
    check_keys(cfg)


METRICS = ("top1", "tradeoff")


@dataclass
class Objective:
    """``objective`` in ``conf/config.yaml``; raises ``UsageError`` naming the key that is not allowed.

    ``macs`` is the target T of the trade-off ``top1 * (MACs / T) ** exponent``.
    """

    metric: str = "top1"
    macs: float | None = None
    exponent: float = -0.07

    def __post_init__(self) -> None:
        one_of("objective.metric", self.metric, METRICS)
        within("objective.exponent", self.exponent, "[-1, 0]")
        if self.macs is not None:
            within("objective.macs", self.macs, "(0, inf)")
        elif self.metric == "tradeoff":
            raise UsageError("objective.macs=null: objective.metric=tradeoff needs a target, as in objective.macs=3e8")

    def value(self, result: Mapping[str, Any]) -> float:
        """Of a run's ``result.json``, in percent: larger is better. Raises ``RunError`` for one without the figure."""
        if self.metric == "top1":
            return float(result["top1"])
        assert self.macs is not None
        macs: Any = result.get("macs_deploy")
        if not is_number(macs):
            raise RunError(f"objective.metric=tradeoff: macs_deploy={macs} in the result; force=true trains it anew")
        return tradeoff(result["top1"], macs, self.macs, self.exponent)


def tradeoff(accuracy: float, macs: float, target: float, exponent: float = -0.07) -> float:
    """``accuracy * (macs / target) ** exponent``, in the unit of ``accuracy``: what a search for networks maximises.

    MnasNet (https://arxiv.org/abs/1807.11626), section 3.1; EfficientNet (https://arxiv.org/abs/1905.11946), section 4.
    """
    return accuracy * (macs / target) ** exponent
