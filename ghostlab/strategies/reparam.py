"""Structural re-parameterization: convolutions train as several parallel branches and are deployed as one.

The plain functions are ``ghostlab.reparam.reparameterize`` and ``ghostlab.reparam.fuse``. Sources: RepVGG
(https://arxiv.org/abs/2101.03697), MobileOne (https://arxiv.org/abs/2206.04040), for GhostNet GhostNetV3
(https://arxiv.org/abs/2404.11202) and, for a norm after the sum, QARepVGG (https://arxiv.org/abs/2212.01593).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn

from ghostlab.reparam import MultiBranchConv, reparameterize
from ghostlab.reparam.grow import INITS, NORMS
from ghostlab.reparam.online import MODES, model_paths
from ghostlab.reparam.trace import default_input
from ghostlab.strategies.base import Strategy, Task
from ghostlab.strategies.checks import at_least_one, one_of

__all__ = ["PathReport", "Reparam"]

logger = logging.getLogger(__name__)


@dataclass
class Reparam(Strategy):
    """Grows ``branches`` Conv-BN branches, and a 1x1 and an identity branch where they fit, in the chosen convolutions.

    ``include`` and ``exclude`` are lists of patterns of convolution names (``*`` matches anything); with ``include``
    null the model's own rule is used if it has one, else every convolution followed by a batch norm is grown.
    ``init`` says how the branches begin: "fresh" with new random weights, whatever weights the model had, "preserve" so
    that the model computes what it did, "auto" with what a model that came with weights or without them needs.
    ``online`` says how branches are computed: "never" one by one, "always" as one convolution, "auto" the faster way.
    ``norm`` says where batch norms are: in all "branches", or after their "sum", with none in the 1x1 and identity
    branches, for networks that will be quantized.
    """

    name = "reparam"
    branches: int = 3
    scale: bool = True
    identity: bool = True
    include: list[str] | None = None
    exclude: list[str] | None = None
    init: str = "auto"
    online: str = "auto"
    norm: str = "branches"

    def __post_init__(self) -> None:
        at_least_one("strategy.reparam.branches", self.branches)
        one_of("strategy.reparam.init", self.init, ("auto", *INITS))
        one_of("strategy.reparam.online", self.online, MODES)
        one_of("strategy.reparam.norm", self.norm, NORMS)
        self._grown = ""

    def change_model(self, model: nn.Module, task: Task) -> nn.Module:
        example = torch.zeros(1, len(task.mean), task.image_size, task.image_size)
        auto = "preserve" if task.pretrained else "fresh"
        init = auto if self.init == "auto" else self.init
        model = reparameterize(
            model,
            self.branches,
            self.scale,
            self.identity,
            self.include,
            self.exclude or (),
            example_input=example,
            init=init,
            online=self.online,
            norm=self.norm,
        )
        convs = sum(isinstance(module, MultiBranchConv) for module in model.modules())
        params = sum(parameter.numel() for parameter in model.parameters())
        lost = ", whose pretrained weights are replaced by new ones" if task.pretrained else ""
        kept = ", the weights kept" if init == "preserve" else lost
        self._grown = f" on {convs} convolutions, {params / 1e6:.2f} M params in training{kept}"
        return model

    def callbacks(self) -> list[Callback]:
        return [PathReport()] if self.online != "never" else []

    def describe(self) -> str:
        after = ", a batch norm after the sum," if self.norm == "sum" else ""
        return f"N={self.branches}{after}{self._grown}"


class PathReport(Callback):
    """Says at the start of training which convolutions are computed online."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        model = pl_module.model
        assert isinstance(model, nn.Module)
        in_pixels = any(weight.ndim == 4 and not weight.is_contiguous() for weight in model.parameters())
        images = default_input(model)
        with trainer.precision_plugin.forward_context():
            found = model_paths(model, images.to(memory_format=torch.channels_last) if in_pixels else images)
        rest = [name for name, path in found.items() if path != "online"]
        pl_module.print(f"reparam   {len(found) - len(rest)} of {len(found)} convolutions online, as one")
        logger.info("branch by branch: %s", ", ".join(rest) or "none")
