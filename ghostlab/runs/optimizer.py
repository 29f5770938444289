"""``conf/optimizer``: an optimizer of timm's, whose options are checked before anything is built."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from ghostlab.errors import UsageError, nearest
from ghostlab.strategies.checks import require

__all__ = ["OptimizerConfig"]

OWN = {"adamw": "adamw", "sgd": "sgd", "rmsprop": "rmsproptf", "lamb": "lamb"}
"""Names of ``optimizer=``, and timm's; their options are known here, and timm is not imported to check them."""
OPTIONS = {
    "adamw": {"betas", "eps", "foreach"},
    "sgd": {"momentum", "nesterov", "foreach"},
    "rmsprop": {"momentum", "alpha", "eps", "foreach"},
    "lamb": {"betas", "eps", "foreach"},
}


@dataclass
class OptimizerConfig:
    """Options that are not given are left at timm's defaults; ``options`` are those that have no key of their own."""

    name: str
    lr: float
    lr_per: int | None = None
    weight_decay: float = 0.0
    momentum: float | None = None
    nesterov: bool | None = None
    alpha: float | None = None
    eps: float | None = None
    betas: list[float] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_numbers()
        takes = _options_of(self.name)
        for key, value in self._given().items():
            if key not in takes:
                where = "optimizer.options" if key in self.options else "optimizer"
                allowed = ", ".join(sorted(takes - {"foreach"}))
                raise UsageError(f"{where}.{key}={value}: null leaves it out, {self.name} takes only {allowed}")

    def for_steps_of(self, images: int) -> OptimizerConfig:
        """The same for optimizer steps of ``images``: the learning rate grows with them where ``lr_per`` is given.

        Goyal et al., https://arxiv.org/abs/1706.02677, section 2.1.
        """
        return self if self.lr_per is None else replace(self, lr=self.lr * images / self.lr_per, lr_per=None)

    def timm_options(self) -> dict[str, Any]:
        """Keyword arguments of ``timm.optim.create_optimizer_v2``, once ``lr_per`` is resolved."""
        foreach = {"foreach": True} if "foreach" in _options_of(self.name) else {}
        common = {"opt": OWN.get(self.name, self.name), "lr": self.lr, "weight_decay": self.weight_decay}
        return {**common, **foreach, **self._given()}

    def _given(self) -> dict[str, Any]:
        everywhere = ("name", "lr", "lr_per", "weight_decay", "options")
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in everywhere}
        return {key: value for key, value in {**own, **self.options}.items() if value is not None}

    def _check_numbers(self) -> None:
        require(self.lr > 0, "optimizer.lr", self.lr, "must be above 0")
        require(self.lr_per is None or self.lr_per >= 1, "optimizer.lr_per", self.lr_per, "images, at least 1, or null")
        for key in ("weight_decay", "momentum", "eps"):
            value = getattr(self, key)
            require(value is None or value >= 0, f"optimizer.{key}", value, "must not be negative")
        betas = self.betas
        # some have three, and one has none but one for each of several purposes
        require(betas is None or all(0 <= beta < 1 for beta in betas), "optimizer.betas", betas, "two in [0, 1)")
        require(betas is None or self.name not in OWN or len(betas) == 2, "optimizer.betas", betas, "two in [0, 1)")


@cache
def _options_of(name: str) -> frozenset[str]:
    """What the optimizer takes besides learning rate and weight decay."""
    if name in OWN:
        return frozenset(OPTIONS[name])
    from timm.optim import get_optimizer_class, get_optimizer_info, list_optimizers

    known = [str(one) for one in list_optimizers()]
    if name not in known:
        hint = nearest(name, [*OWN, *known]) or ";"
        available = f"{', '.join(OWN)} and timm's {len(known)} optimizers"
        raise UsageError(f"optimizer.name={name}: no optimizer '{name}'{hint} available: {available}")
    require(
        not get_optimizer_info(name).second_order,
        "optimizer.name",
        name,
        "needs second derivatives, which no run makes",
    )
    try:
        found = get_optimizer_class(name, bind_defaults=False)
    except Exception as error:  # a package or a device that it needs
        raise UsageError(f"optimizer.name={name}: cannot be used here ({' '.join(str(error).split())})") from error
    return frozenset(inspect.signature(found).parameters) - {"params", "lr", "weight_decay"}
