"""Where own kernels compute and where they do not, and that the model is the same to whoever looks at it."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from ghostlab.kernels import DepthwiseKernels, build, native, training
from ghostlab.kernels.function import Way
from ghostlab.kernels.geometry import Geometry

pytestmark = pytest.mark.skipif(native.kernels(torch.float32) is None, reason="there is no C++ compiler")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Conv2d(8, 8, 3)
        self.square = nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False)
        self.row = nn.Conv2d(8, 8, (1, 5), padding="same", groups=8)
        self.dilated = nn.Conv2d(8, 8, 3, 1, 2, 2, groups=8)
        self.circular = nn.Conv2d(8, 8, 3, 1, 1, groups=8, padding_mode="circular")

    def forward(self, x: Tensor) -> Tensor:
        return self.circular(self.dilated(self.row(self.square(self.dense(x)))))


class Counted:
    """Of calls of own code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._depthwise = training.depthwise
        monkeypatch.setattr(training, "depthwise", self)

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, way: Way) -> Tensor:
        self.count += 1
        return self._depthwise(x, weight, bias, geometry, Way.BOTH)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def gradients(net: nn.Module, x: Tensor, kernels: DepthwiseKernels | None) -> dict[str, Tensor]:
    net.zero_grad()
    with kernels.active() if kernels else nullcontext():
        net(x).square().sum().backward()
    return {name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_those_of_pytorch(net: Net, own: Counted, dtype: torch.dtype) -> None:
    net, x = net.to(dtype), torch.randn(4, 8, 9, 9, dtype=dtype)
    expected = gradients(net, x, None)
    assert own.count == 0
    found = gradients(net, x, DepthwiseKernels(net))
    assert own.count == 2
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-4 if dtype is torch.float32 else 1e-9, atol=1e-5, msg=name
        )


@pytest.mark.parametrize(
    "elsewhere",
    [
        pytest.param(torch.no_grad, id="no gradient"),
        pytest.param(lambda: torch.autocast("cpu", torch.bfloat16), id="autocast"),
    ],
)
def test_everything_else_is_computed_by_pytorch(
    net: Net, own: Counted, elsewhere: Callable[[], AbstractContextManager[None]]
) -> None:
    with DepthwiseKernels(net).active(), elsewhere():
        net(torch.randn(4, 8, 9, 9)), net.row(torch.randn(4, 8, 9, 9))
    assert own.count == 0


def test_16_bits_and_other_devices_are_computed_by_pytorch(net: Net, own: Counted) -> None:
    with DepthwiseKernels(net).active():
        net.to(torch.bfloat16)(torch.randn(4, 8, 9, 9, dtype=torch.bfloat16))
        net.to("meta")(torch.randn(4, 8, 9, 9, dtype=torch.bfloat16, device="meta"))
    assert own.count == 0


def test_frozen_layers_are_computed_by_pytorch(net: Net, own: Counted) -> None:
    with DepthwiseKernels(net.requires_grad_(False)).active():
        net(torch.randn(4, 8, 9, 9))
    assert own.count == 0


def test_torch_func_is_computed_by_pytorch(net: Net, own: Counted) -> None:
    weights = dict(net.named_parameters())

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(net, weights, (x[None],)).square().sum()

    with DepthwiseKernels(net).active():
        each = vmap(grad(loss), (None, 0))(weights, torch.randn(4, 8, 9, 9))
    assert own.count == 0 and len(each["row.weight"]) == 4


def test_compiled_graphs_and_traces_are_as_ever(net: Net, own: Counted) -> None:
    x = torch.randn(4, 8, 9, 9)
    with DepthwiseKernels(net).active():
        graph = torch.fx.symbolic_trace(net)
        program = torch.export.export(net, (x,))
        compiled = torch.compile(net, backend="eager", fullgraph=True)(x)
    assert own.count == 0
    assert torch.equal(graph(x), net(x)) and torch.equal(program.module()(x), net(x)) and torch.equal(compiled, net(x))


def test_the_model_is_the_same_to_whoever_looks_at_it(net: Net) -> None:
    before, kernels = {name: dict(vars(module)) for name, module in net.named_modules()}, DepthwiseKernels(net)
    with kernels.active():
        net(torch.randn(4, 8, 9, 9)).sum().backward()
    assert {name: dict(vars(module)) for name, module in net.named_modules()} == before
    buffer = io.BytesIO()
    torch.save(net, buffer)
    assert type(copy.deepcopy(net).row) is type(net.row) is nn.Conv2d


def test_it_is_the_same_after_an_error(net: Net) -> None:
    with pytest.raises(RuntimeError), DepthwiseKernels(net).active():
        net(torch.randn(4, 7, 9, 9))
    assert not any("forward" in vars(module) for module in net.modules())


def test_hooks_fire(net: Net, own: Counted) -> None:
    seen: list[int] = []
    net.row.register_forward_hook(lambda module, args, y: seen.append(y.shape[1]))
    gradients(net, torch.randn(4, 8, 9, 9), DepthwiseKernels(net))
    assert seen == [8] and own.count == 2


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_activations(net: Net, own: Counted, reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.net, x, use_reentrant=reentrant)

    x = torch.randn(4, 8, 9, 9, requires_grad=True)
    expected = gradients(net, x, None)
    found = gradients(model := Checkpointed(), x, DepthwiseKernels(model))
    assert own.count == (2 if reentrant else 4)  # the reentrant kind wants no gradient the first time
    for name, value in expected.items():
        torch.testing.assert_close(found[f"net.{name}"], value, rtol=1e-4, atol=1e-5)


def test_shapes_are_measured_within_checkpointed_activations(net: Net, cache: Path) -> None:
    x = torch.randn(4, 8, 9, 9)
    kernels = DepthwiseKernels(net)
    with kernels.active():
        checkpoint(net, x, use_reentrant=False).sum().backward()
    assert len(kernels.choices.taken) == 2 and list(cache.glob("*.json"))


def test_without_a_compiler_pytorch_computes(net: Net, own: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    for cached in (build.library, build.compiler):
        cached.cache_clear()
    try:
        gradients(net, torch.randn(4, 8, 9, 9), DepthwiseKernels(net))
        assert own.count == 0
    finally:
        for cached in (build.library, build.compiler):
            cached.cache_clear()
