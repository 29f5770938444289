"""Over two processes with synchronised norms, a step is that of one process with the whole batch."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from ghostlab.reparam import MultiBranchConv, reparameterize
from tests.reparam.nets import TinyNet, scatter

SIZES = (3, 5)  # images of each process


def grown() -> nn.Module:
    torch.manual_seed(0)
    net = reparameterize(TinyNet(), include=("*wise.0",), example_input=torch.zeros(1, 3, 16, 16))
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.BatchNorm2d) and "wise" not in name:
            net.set_submodule(name, nn.Identity())  # other norms would need a GPU to be synchronised
    for site in net.modules():
        if isinstance(site, MultiBranchConv):
            site.online = "always"
    return scatter(net).double().train()


def step(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Gradients of a loss that is a sum over images, and buffers."""
    net(x).square().sum().backward()
    grads = {name: value.grad for name, value in net.named_parameters() if value.grad is not None}
    return {**grads, **dict(net.named_buffers())}


def images() -> Tensor:
    return torch.randn(sum(SIZES), 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    net = nn.SyncBatchNorm.convert_sync_batchnorm(grown())
    found = step(net, images().split(SIZES)[rank])
    for name, _ in net.named_parameters():
        dist.all_reduce(found[name])
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_are_one(tmp_path: Path) -> None:
    net = grown()
    assert sum(isinstance(module, MultiBranchConv) for module in net.modules()) == 2
    expected = step(copy.deepcopy(net), images())
    mp.spawn(work, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.allclose(found[name], value, rtol=1e-9, atol=1e-9), name
