"""The online form computes what the branches compute: outputs, every gradient, every running statistic."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from pytest import param
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ghostlab.kernels import build
from ghostlab.reparam import MultiBranchConv, reparameterize
from ghostlab.reparam.online import model_paths, native, path_of
from tests.reparam.nets import TinyNet, scatter

CHANNELS_LAST = torch.channels_last


class Case(NamedTuple):
    """A convolution, what it is grown to, its norms, and the images."""

    channels: tuple[int, int]
    conv: dict[str, Any]
    grown: dict[str, Any]
    norm: dict[str, Any]
    size: tuple[int, int, int]


def random_case(seed: int) -> Case:
    draw = random.Random(seed)
    kind = draw.choice(["pointwise", "depthwise", "depthwise", "dense", "grouped"])
    c_in = draw.choice([2, 4, 5, 8, 18, 20, 28])
    kernel = 1 if kind == "pointwise" else draw.choice([3, 5])
    groups = {"depthwise": c_in, "grouped": 2 if c_in % 2 == 0 else 1}.get(kind, 1)
    c_out = c_in if kind == "depthwise" or draw.random() < 0.3 else groups * draw.randint(1, 9)
    stride = 1 if kind == "pointwise" and draw.random() < 0.8 else draw.choice([1, 1, 2])
    dilation = 2 if kind != "pointwise" and draw.random() < 0.15 else 1
    padding = draw.choice([kernel // 2 * dilation] * 4 + ["same" if stride == 1 else 0, 0])
    smallest = dilation * (kernel - 1) + 1 if padding == 0 else 1
    sides = [smallest + draw.randint(1, 9) for _ in range(2)]
    return Case(
        (c_in, c_out),
        {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
        {"branches": draw.choice([1, 2, 3, 6]), "scale": draw.random() < 0.7, "identity": draw.random() < 0.7},
        {"eps": draw.choice([1e-5, 1e-3]), "momentum": draw.choice([0.1, 0.7, None]), "affine": draw.random() < 0.85},
        (draw.choice([1, 2, 3]), *sides),
    )


def site_of(case: Case, dtype: torch.dtype = torch.float64) -> MultiBranchConv:
    conv, norm = nn.Conv2d(*case.channels, **case.conv), nn.BatchNorm2d(case.channels[1], **case.norm)
    site = MultiBranchConv.from_conv(conv, norm, **case.grown)
    return scatter(site).to(dtype).train()  # type: ignore[return-value]


def images_of(case: Case, dtype: torch.dtype = torch.float64) -> Tensor:
    batch, *sides = case.size
    x = torch.randn(batch, case.channels[0], *sides, dtype=dtype)
    return x.contiguous(memory_format=CHANNELS_LAST)


def one_step(site: nn.Module, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The output, all gradients and all buffers after one training step of a copy of ``site``."""
    yield from step_of(copy.deepcopy(site), x)


def step_of(site: nn.Module, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """As ``one_step``, of ``site`` itself."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = site(x)
    weights = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    (y * weights).sum().backward()
    assert x.grad is not None
    yield from (("output", y.detach()), ("input", x.grad))
    yield from ((name, value.grad) for name, value in site.named_parameters() if value.grad is not None)
    yield from site.named_buffers()


def with_mode(model: nn.Module, mode: str) -> nn.Module:
    model = copy.deepcopy(model)
    for site in model.modules():
        if isinstance(site, MultiBranchConv):
            site.online = mode
    return model


def assert_same(model: nn.Module, x: Tensor, tolerance: float, modes: tuple[str, ...] = ("always", "auto")) -> None:
    """Every tensor of a step by ``modes`` is that of ``never``, relative to its largest value."""
    expected = dict(one_step(with_mode(model, "never"), x))
    largest = max(value.abs().max().item() for name, value in expected.items() if value.is_floating_point())
    for mode in modes:
        found = dict(one_step(with_mode(model, mode), x))
        assert found.keys() == expected.keys()
        for name, value in found.items():
            scale = max(expected[name].abs().max().item(), 1e-3 * largest)  # some gradients are zero but for rounding
            assert (value - expected[name]).abs().max().item() <= tolerance * scale, f"{mode}: {name}"


@pytest.mark.parametrize("seed", range(60))
def test_a_step_is_that_of_the_branches(seed: int) -> None:
    case = random_case(seed)
    assert_same(site_of(case), images_of(case), 1e-9)


@pytest.mark.parametrize("seed", range(60, 90))
def test_a_step_in_float32(seed: int) -> None:
    case = random_case(seed)
    site, x = site_of(case), images_of(case)
    exact = dict(one_step(with_mode(site, "never"), x))
    steps = {mode: dict(one_step(with_mode(site, mode).float(), x.float())) for mode in ("never", "always", "auto")}
    for name, value in exact.items():
        error = {mode: (step[name].double() - value).abs().max().item() for mode, step in steps.items()}
        for mode in ("always", "auto"):
            assert error[mode] <= 1e-4 * value.abs().max().item() + 4 * error["never"], f"{mode}: {name}"


GROWN = {"branches": 3, "scale": True, "identity": True}
DEPTHWISE = Case(
    (20, 20),
    {"kernel_size": 3, "padding": 1, "groups": 20},
    {"branches": 3, "scale": True, "identity": True},
    {},
    (2, 9, 7),
)
POINTWISE = Case((8, 12), {"kernel_size": 1}, {"branches": 3, "scale": True, "identity": True}, {}, (2, 9, 7))
KINDS = [param(DEPTHWISE, id="depthwise"), param(POINTWISE, id="pointwise")]


@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 1, 1), (1, 2, 1), (3, 4, 4), (2, 33, 21)], ids=str)
def test_small_and_odd_images(case: Case, shape: tuple[int, int, int]) -> None:
    case = case._replace(size=shape)
    assert_same(site_of(case), images_of(case), 1e-9)


@pytest.mark.parametrize("case", KINDS)
def test_contiguous_images(case: Case) -> None:
    assert_same(site_of(case), images_of(case).contiguous(), 1e-9)


@pytest.mark.parametrize("case", KINDS)
def test_a_slice_of_channels(case: Case) -> None:
    site = with_mode(site_of(case), "always")
    wide = torch.randn(2, 40, 9, 7, dtype=torch.float64).contiguous(memory_format=CHANNELS_LAST)
    x = wide[:, 3 : 3 + case.channels[0]]
    assert torch.allclose(site(x), with_mode(site, "never")(x), rtol=1e-9)


@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("frozen", [("bn",), ("bn", "identity", "scale")], ids=["some", "all"])
def test_frozen_norms(case: Case, frozen: tuple[str, ...]) -> None:
    site = site_of(case._replace(channels=(20, 20)))
    for name in frozen:
        if getattr(site, name) is not None:
            getattr(site, name).eval()
    assert_same(site, images_of(case._replace(channels=(20, 20))), 1e-9)


@pytest.mark.parametrize("case", KINDS)
def test_evaluation_is_one_convolution(case: Case) -> None:
    site, x = site_of(case).eval(), images_of(case)
    assert torch.allclose(site(x), with_mode(site, "never")(x), rtol=1e-10, atol=1e-12)
    kernel, bias = site.fold()
    conv = F.conv2d(x, kernel, bias, padding=case.conv.get("padding", 0), groups=site.groups)
    assert torch.allclose(site(x), conv, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("mode", ["never", "always", "auto"])
def test_one_value_a_channel_is_refused_as_by_a_batch_norm(case: Case, mode: str) -> None:
    site = with_mode(site_of(case), mode)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        site(images_of(case._replace(size=(1, 1, 1))))


@pytest.mark.parametrize("case", KINDS)
def test_differentiating_twice_is_an_error_not_a_wrong_number(case: Case) -> None:
    x = images_of(case).requires_grad_()
    (grad,) = torch.autograd.grad(with_mode(site_of(case), "always")(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("case", KINDS)
def test_a_mean_far_from_zero_loses_no_digits(case: Case) -> None:
    site, x = site_of(case), images_of(case._replace(size=(8, 16, 16))) + 100
    exact = with_mode(site, "never")(x)
    errors = {
        mode: (with_mode(site, mode).float()(x.float()).double() - exact).abs().max().item()
        for mode in ("never", "always")
    }
    assert errors["always"] <= 2 * errors["never"] + 1e-4


@pytest.mark.parametrize("case", KINDS)
def test_half_precision_is_as_exact_as_that_of_the_branches(case: Case) -> None:
    site, x = site_of(case, torch.float32), images_of(case._replace(size=(4, 12, 12)), torch.float32)
    exact = dict(one_step(with_mode(site, "never"), x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = {mode: dict(one_step(with_mode(site, mode), x)) for mode in ("never", "always")}
    assert found["always"]["output"].dtype == torch.bfloat16
    for name, value in exact.items():
        scale = value.abs().max()
        error = {mode: (steps[name] - value).abs().max() / scale for mode, steps in found.items()}
        assert error["always"] <= 2 * error["never"] + 0.01, name


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    ("case", "layout"),
    [
        param(DEPTHWISE, CHANNELS_LAST, id="depthwise"),
        param(POINTWISE, torch.contiguous_format, id="pointwise, contiguous"),
        param(POINTWISE._replace(channels=(96, 96)), torch.contiguous_format, id="with an identity"),
        param(
            DEPTHWISE._replace(conv={"kernel_size": 3, "padding": 1}, channels=(8, 8)), CHANNELS_LAST, id="dense 3 x 3"
        ),
        param(DEPTHWISE._replace(size=(2, 1, 1)), CHANNELS_LAST, id="one pixel"),
    ],
)
def test_auto_that_takes_the_branches_under_autocast_is_never(
    case: Case, layout: torch.memory_format, half: torch.dtype
) -> None:
    """To the bit, and in the same data types: the mode must not change what an identity branch is given."""
    site = site_of(case, torch.float32)
    x = images_of(case, torch.float32).contiguous(memory_format=layout)
    with torch.autocast("cpu", half):
        assert path_of(site, x) == "branches"
        auto, never = (dict(one_step(with_mode(site, mode), x)) for mode in ("auto", "never"))
    for name, value in never.items():
        assert auto[name].dtype == value.dtype and torch.equal(auto[name], value), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("case", KINDS)
def test_on_a_gpu_a_step_is_that_of_the_branches(case: Case, half: bool) -> None:
    site, x = site_of(case).cuda(), images_of(case._replace(size=(4, 12, 12))).cuda()
    exact = dict(one_step(with_mode(site, "never"), x))
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
        found = {mode: dict(one_step(with_mode(site, mode).float(), x.float())) for mode in ("never", "always")}
    for name, value in exact.items():
        error = {mode: (steps[name] - value).abs().max() / value.abs().max() for mode, steps in found.items()}
        assert error["always"] <= 2 * error["never"] + (0.01 if half else 1e-4), name


@pytest.mark.parametrize("case", KINDS)
def test_the_same_step_gives_the_same_bits(case: Case) -> None:
    site, x = with_mode(site_of(case, torch.float32), "always"), images_of(case, torch.float32)
    for (_, first), (_, second) in zip(one_step(site, x), one_step(site, x), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("case", KINDS)
def test_gradients_share_no_memory(case: Case) -> None:
    site = with_mode(site_of(case), "always")
    site(images_of(case)).square().sum().backward()
    grads = [value.grad for value in site.parameters() if value.grad is not None]
    expected = [2 * grad for grad in grads]
    for grad in grads:
        grad.mul_(2)
    assert all(torch.equal(grad, twice) for grad, twice in zip(grads, expected, strict=True))


@pytest.mark.parametrize("case", KINDS)
def test_gradient_checkpointing(case: Case) -> None:
    site, x = site_of(case), images_of(case)

    class Checkpointed(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            # Without an operation after the site, recomputing would end before the statistics change once more.
            return checkpoint(lambda x: self.inner(x).sin(), x, use_reentrant=False)

    assert_same(Checkpointed(site), x, 1e-9)


@pytest.mark.parametrize("mode", ["auto", "never"])
@pytest.mark.parametrize("case", KINDS)
def test_torch_compile_takes_it_as_one_graph(case: Case, mode: str) -> None:
    site, x = site_of(case), images_of(case)
    eager = dict(one_step(with_mode(site, mode), x))
    compiled = with_mode(site, mode)
    compiled.compile(backend="aot_eager", fullgraph=True)
    for name, value in step_of(compiled, x):
        assert torch.allclose(value, eager[name], rtol=1e-9, atol=1e-9), name


def train(net: nn.Module, modes: list[str]) -> dict[str, Tensor]:
    """The state of ``net`` after a step of SGD in each of ``modes``, on fixed random images."""
    net = copy.deepcopy(net).double().train()
    generator = torch.Generator().manual_seed(3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for mode in modes:
        for site in net.modules():
            if isinstance(site, MultiBranchConv):
                site.online = mode
        x = torch.randn(8, 3, 16, 16, dtype=torch.float64, generator=generator).contiguous(memory_format=CHANNELS_LAST)
        loss = F.cross_entropy(net(x), torch.randint(0, 5, (8,), generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.state_dict()


@pytest.mark.parametrize(
    "modes",
    [
        param(["always"] * 50, id="always"),
        param(["auto"] * 50, id="auto"),
        param(["always", "never"] * 25, id="switching"),
    ],
)
def test_a_net_after_fifty_steps(modes: list[str]) -> None:
    net = reparameterize(TinyNet(), example_input=torch.zeros(1, 3, 16, 16))
    expected, found = train(net, ["never"] * 50), train(net, modes)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-6, atol=1e-6), name


def test_auto_chooses_by_shape_and_layout() -> None:
    depthwise, pointwise = site_of(DEPTHWISE, torch.float32), site_of(POINTWISE, torch.float32)
    narrowing = site_of(POINTWISE._replace(channels=(96, 8)), torch.float32)
    narrow_images = images_of(POINTWISE._replace(channels=(96, 8)), torch.float32)
    assert path_of(pointwise, images_of(POINTWISE, torch.float32)) == "online"
    assert path_of(narrowing, narrow_images) == "branches"
    assert path_of(pointwise, images_of(POINTWISE, torch.float32).contiguous()) == "branches"
    expected = "branches" if native.kernels(torch.float32) is None else "online"
    assert path_of(depthwise, images_of(DEPTHWISE, torch.float32)) == expected


def test_the_paths_of_a_model_by_name() -> None:
    net = reparameterize(TinyNet(), example_input=torch.zeros(1, 3, 16, 16)).to(memory_format=CHANNELS_LAST)
    modes = {module: module.training for module in net.modules()}
    images = torch.zeros(1, 3, 16, 16).contiguous(memory_format=CHANNELS_LAST)
    found = model_paths(net, images)
    assert found["pointwise.0"] == "online"
    assert found["stem"] == found["down.0"] == "branches"
    assert set(model_paths(with_mode(net, "never"), images).values()) == {"branches"}
    assert set(model_paths(with_mode(net, "always"), images).values()) == {"online"}
    assert all(module.training == mode for module, mode in modes.items())


def test_without_a_compiler_it_still_computes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    for cached in (build.library, build.compiler):
        cached.cache_clear()
    try:
        assert_same(site_of(DEPTHWISE), images_of(DEPTHWISE), 1e-9)
        assert path_of(site_of(DEPTHWISE), images_of(DEPTHWISE)) == "branches"
        assert "/nowhere/c++" in caplog.text
    finally:
        for cached in (build.library, build.compiler):
            cached.cache_clear()
