"""Branches merged into one convolution and one batch norm, for a network that trains on without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from ghostlab.reparam.branches import MultiBranchConv
from ghostlab.reparam.copying import copy_of
from ghostlab.reparam.fold import plain, plain_site, sites
from ghostlab.reparam.norms import BatchNorm, NormPlace, affine
from ghostlab.reparam.pairs import survey
from ghostlab.reparam.trace import evaluating

__all__ = ["merge_branches"]


def merge_branches(model: nn.Module, images: Tensor) -> nn.Module:
    """Make every multi-branch convolution of ``model`` a Conv-BN pair that computes the same in evaluation; in place.

    In training a batch norm takes its statistics from the batch, so those of the new norms are to be what its batches
    will have. The variance of a sum of branches is that of each, which their own norms know, and how they go together,
    which is measured on ``images`` (B, C, H, W), B > 1, such as training images. The kernel is scaled to the variance
    that the kernels of its branches had before their norms, as it decides how far a step of the optimizer goes. A norm
    after the sum of its branches knows their mean and variance, so that nothing needs to be measured.
    """
    like = next(model.parameters())
    images = images.to(like.device, like.dtype)
    grown = sites(model)
    pairs = [pair for pair in survey(plain(copy_of(model)), images[:1]).pairs if pair.conv in grown]
    places = {pair.conv: cast(NormPlace | BatchNorm, model.get_submodule(pair.norm)) for pair in pairs}
    spreads = _spreads(model, {name: site for name, site in grown.items() if site.own_norms}, images)
    for pair in pairs:
        site, place = grown[pair.conv], places[pair.conv]
        sums = _Sums.after(place) if isinstance(place, BatchNorm) else _Sums.of(site, spreads[pair.conv])
        conv, norm = _merged(site, place, sums)
        model.set_submodule(pair.conv, conv.train(site.training))
        model.set_submodule(pair.norm, norm.train(site.training))
    return model


class _Sums(NamedTuple):
    """What the sums of the branches of a site are like, and what becomes of them: ``factor (sum - mean) + bias``."""

    mean: Tensor
    variance: Tensor
    factor: Tensor
    bias: Tensor

    @classmethod
    def of(cls, site: MultiBranchConv, variance: Tensor) -> Self:
        """Of branches that have norms of their own."""
        mean = torch.stack([_mean(bn).view(-1, site.out_channels).sum(0) for bn in site.norms()]).sum(0)
        return cls(mean, variance, torch.ones_like(mean), mean)

    @classmethod
    def after(cls, norm: BatchNorm) -> Self:
        """Of those that ``norm`` reads."""
        assert norm.running_mean is not None and norm.running_var is not None
        mean, variance = norm.running_mean.cpu().double(), norm.running_var.cpu().double()
        return cls(mean, variance.clamp(min=1e-12), affine(norm)[0], _mean(norm))


@torch.no_grad()
def _merged(site: MultiBranchConv, place: NormPlace | BatchNorm, sums: _Sums) -> tuple[nn.Conv2d, BatchNorm]:
    """The pair for one site, whose sums are ``sums``."""
    conv, norm = plain_site(site, place)
    if norm.weight is None or norm.bias is None:
        return conv, norm
    assert norm.running_mean is not None and norm.running_var is not None and site.bn.running_var is not None
    kernel, shift = site.fold()
    usual = site.bn.running_var.cpu().double().view(site.branches, -1).mean(0)
    scale = (usual / sums.variance).sqrt()
    conv.weight.copy_(kernel * scale.view(-1, 1, 1, 1))
    norm.running_mean.copy_(scale * (sums.mean - shift))
    norm.running_var.copy_(usual)
    norm.weight.copy_(sums.factor * (usual + norm.eps).sqrt() / scale)
    norm.bias.copy_(sums.bias)
    return conv, norm


def _mean(norm: BatchNorm) -> Tensor:
    """The mean of a norm's output over what it was trained on."""
    assert norm.running_mean is not None
    factor, shift = affine(norm)
    return factor * norm.running_mean.cpu().double() + shift


def _variance(norm: BatchNorm) -> Tensor:
    assert norm.running_var is not None
    return affine(norm)[0] ** 2 * norm.running_var.cpu().double()


def _spreads(model: nn.Module, grown: dict[str, MultiBranchConv], images: Tensor) -> dict[str, Tensor]:
    """The variance (C_out,) of the output of each of ``grown``: that of its branches, times the sum's on ``images``."""
    if not grown:
        return {}
    with evaluating(model), _measuring(grown) as gains:
        model(images)
    spreads = {}
    for name, site in grown.items():
        own = torch.stack([_variance(bn).view(-1, site.out_channels).sum(0) for bn in site.norms()]).sum(0)
        spreads[name] = (own * gains[name]).clamp(min=1e-12)
    return spreads


@contextmanager
def _measuring(found: dict[str, MultiBranchConv]) -> Iterator[dict[str, Tensor]]:
    """While active, measures Var(sum of branches) / sum of Var(branch), for each channel, of every site that runs."""
    gains: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, site in found.items():

            def measure(site: nn.Module, inputs: tuple[Tensor], name: str = name) -> None:
                assert isinstance(site, MultiBranchConv)
                parts = site.branch_outputs(inputs[0])
                alone = torch.stack([_spread(part) for part in parts]).sum(0)
                ratio = _spread(sum(parts[1:], start=parts[0])) / alone
                gains[name] = ratio.nan_to_num(nan=1.0, posinf=1.0).cpu().double()

            hooks.callback(site.register_forward_pre_hook(measure).remove)
        yield gains


def _spread(images: Tensor) -> Tensor:
    return images.float().var((0, 2, 3), correction=0)
