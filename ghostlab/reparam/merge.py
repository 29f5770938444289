"""Branches merged into one convolution and one batch norm, for a network that trains on without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

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
    that the kernels of its branches had before their norms, as it decides how far a step of the optimizer goes.
    """
    like = next(model.parameters())
    images = images.to(like.device, like.dtype)
    spreads = _spreads(model, images)
    for pair in survey(plain(copy_of(model)), images[:1]).pairs:
        if pair.conv in spreads:
            site, place = model.get_submodule(pair.conv), model.get_submodule(pair.norm)
            assert isinstance(site, MultiBranchConv) and isinstance(place, NormPlace)
            conv, norm = _merged(site, place, spreads[pair.conv])
            model.set_submodule(pair.conv, conv.train(site.training))
            model.set_submodule(pair.norm, norm.train(site.training))
    return model


@torch.no_grad()
def _merged(site: MultiBranchConv, place: NormPlace, variance: Tensor) -> tuple[nn.Conv2d, BatchNorm]:
    """The pair for one site whose output has the ``variance`` (C_out,)."""
    conv, norm = plain_site(site, place)
    if norm.weight is None or norm.bias is None:
        return conv, norm
    assert norm.running_mean is not None and norm.running_var is not None and site.bn.running_var is not None
    kernel, shift = site.fold()
    mean = torch.stack([_mean(bn).view(-1, site.out_channels).sum(0) for bn in site.norms()]).sum(0)
    usual = site.bn.running_var.cpu().double().view(site.branches, -1).mean(0)
    scale = (usual / variance).sqrt()
    conv.weight.copy_(kernel * scale.view(-1, 1, 1, 1))
    norm.running_mean.copy_(scale * (mean - shift))
    norm.running_var.copy_(usual)
    norm.weight.copy_((usual + norm.eps).sqrt() / scale)
    norm.bias.copy_(mean)
    return conv, norm


def _mean(norm: BatchNorm) -> Tensor:
    """The mean of a norm's output over what it was trained on."""
    assert norm.running_mean is not None
    factor, shift = affine(norm)
    return factor * norm.running_mean.cpu().double() + shift


def _variance(norm: BatchNorm) -> Tensor:
    assert norm.running_var is not None
    return affine(norm)[0] ** 2 * norm.running_var.cpu().double()


def _spreads(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The variance (C_out,) of every site's output: those of its branches, times what ``images`` give to their sum."""
    with evaluating(model), _measuring(sites(model)) as gains:
        model(images)
    spreads = {}
    for name, site in sites(model).items():
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
