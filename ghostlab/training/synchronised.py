"""Batch norms whose statistics are those of the batches of all processes."""

from __future__ import annotations

from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import nn

from ghostlab.errors import UsageError

__all__ = ["synchronised"]

CONVERTIBLE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, BatchNormAct2d)


def synchronised(model: nn.Module) -> nn.Module:
    """``model`` with synchronised batch norms in place of its own: the same function, parameters and names of weights.

    By timm's converter, as torch's forgets the activation that timm's norms apply. Raises ``UsageError`` for a norm
    that does more than either knows.
    """
    if unknown := sorted({type(m).__name__ for m in model.modules() if _is_unknown(m)}):
        raise UsageError(f"trainer.sync_batchnorm=true: {type(model).__name__} has norms of its own, {unknown[0]}")
    return convert_sync_batchnorm(model)


def _is_unknown(module: nn.Module) -> bool:
    return isinstance(module, CONVERTIBLE) and type(module) not in CONVERTIBLE
