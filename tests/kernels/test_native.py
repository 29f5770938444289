"""The C++ kernels over all geometries of a depthwise convolution against PyTorch's in float64.

``make test-sanitized`` runs these with AddressSanitizer and UndefinedBehaviorSanitizer in the kernels.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from pytest import param
from torch import Tensor

from ghostlab.errors import UsageError
from ghostlab.kernels import native
from ghostlab.kernels.geometry import Geometry

pytestmark = pytest.mark.skipif(native.kernels(torch.float64) is None, reason="there is no C++ compiler")

SIZES = [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (1, 3), (3, 1), (1, 5), (5, 1), (1, 9), (11, 1)]


class Case(NamedTuple):
    shape: tuple[int, int, int, int]
    geometry: Geometry
    layout: Callable[[Tensor], Tensor]


class Results(NamedTuple):
    y: Tensor
    dx: Tensor
    d_weight: Tensor
    d_bias: Tensor


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def first(x: Tensor) -> Tensor:
    return x.contiguous()


def slice_of_more(x: Tensor) -> Tensor:
    """Channels-last, the channels part of more: pixels lie further apart than channels are many."""
    return last(torch.cat([x[:, :1], x, x[:, :1], x[:, :1]], 1))[:, 1:-2]


def every_second(x: Tensor) -> Tensor:
    """No dimension is dense."""
    return x.repeat_interleave(2, 3)[..., ::2]


LAYOUTS = (last, last, first, slice_of_more, every_second)


def cases(size: tuple[int, int], stride: int) -> Iterator[Case]:
    """Paddings up to more than the kernel reaches, each with images of several sides, channels and layouts."""
    draw = random.Random(100 * size[0] + 10 * size[1] + stride)
    for padding, _ in product(range(max(size) + stride + 2), range(3)):
        paddings = tuple(padding if side > 1 or draw.random() < 0.2 else 0 for side in size)
        smallest = [max(1, side - 2 * pad) for side, pad in zip(size, paddings, strict=True)]
        height, width = (least + draw.choice([0, 0, 1, 2, 3, 5, 8, 13]) for least in smallest)
        shape = (draw.choice([1, 2, 4, 9, 70]), draw.choice([2, 3, 4, 7, 8, 16, 21, 37]), height, width)
        geometry = Geometry(size, (stride, stride), paddings, (1, 1), shape[1])  # type: ignore[arg-type]
        yield Case(shape, geometry, draw.choice(LAYOUTS))


def operands(case: Case, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, weight, bias and the gradient of the output."""
    channels = case.shape[1]
    x, weight = torch.randn(case.shape, dtype=dtype), torch.randn(channels, 1, *case.geometry.size, dtype=dtype)
    grad = torch.randn(*case.shape[:2], *case.geometry.output(x.shape), dtype=dtype)
    return case.layout(x), weight, torch.randn(channels, dtype=dtype), case.layout(grad)


def by_pytorch(case: Case, x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor) -> Results:
    given = [one.detach().clone().requires_grad_() for one in (x, weight, bias)]
    y = F.conv2d(*given, case.geometry.stride, case.geometry.padding, 1, case.shape[1])
    return Results(y.detach(), *torch.autograd.grad(y, given, grad))


def by_kernels(case: Case, x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor) -> Results:
    return Results(
        native.convolve(x, weight, bias, case.geometry),
        native.input_gradient(grad, weight, x.shape, case.geometry),
        *native.kernel_gradient(x, grad, weight, case.geometry, bias=True),
    )


def close(got: Results, expected: Results, tolerance: float, case: Case) -> None:
    for name, one, other in zip(Results._fields, got, expected, strict=True):
        bound = tolerance * max(1.0, other.abs().max().item())
        assert (one - other).abs().max() <= bound, f"{name} of {case}"


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Three, so that channels and images are cut among them."""
    before = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("size", "stride"), [*product(SIZES, (1, 2)), ((3, 3), 3), ((2, 2), 3), ((1, 1), 4)])
def test_every_geometry_gives_what_pytorch_gives(size: tuple[int, int], stride: int) -> None:
    for case in cases(size, stride):
        given = operands(case)
        close(by_kernels(case, *given), by_pytorch(case, *given), 1e-11, case)


@pytest.mark.parametrize("size", [(3, 3), (5, 1)])
def test_float32_is_as_close_as_its_digits_allow(size: tuple[int, int]) -> None:
    for case in cases(size, 1):
        given = operands(case, torch.float32)
        exact = by_pytorch(case, *(one.double() for one in given))
        close(Results(*(one.double() for one in by_kernels(case, *given))), exact, 2e-5, case)


def test_a_long_sum_in_float32_keeps_its_digits() -> None:
    """A sum of 400,000 values one after the other would lose four of seven."""
    case = Case((32, 2, 112, 112), Geometry((3, 3), (1, 1), (1, 1), (1, 1), 2), last)
    x, weight, bias, grad = operands(case, torch.float32)
    given = (x + 10, weight, bias, grad + 10)
    expected = by_pytorch(case, *(one.double() for one in given))
    for one, exact in zip(by_kernels(case, *given)[2:], expected[2:], strict=True):
        assert ((one.double() - exact).abs() / exact.abs()).max() < 5e-7


@pytest.mark.parametrize("shape", [(70, 24, 9, 9), (3, 40, 1, 1), (64, 5, 32, 32)])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_bits_depend_neither_on_the_number_of_threads_nor_on_the_call(
    shape: tuple[int, int, int, int], stride: int
) -> None:
    case = Case(shape, Geometry((3, 3), (stride, stride), (1, 1), (1, 1), shape[1]), last)
    given = operands(case, torch.float32)
    once = by_kernels(case, *given)
    for count in (1, 2, 5, 3):
        torch.set_num_threads(count)
        assert all(torch.equal(one, other) for one, other in zip(by_kernels(case, *given), once, strict=True))


ONE, KERNEL = torch.zeros(2, 4, 6, 6), torch.zeros(4, 1, 3, 3)
PLAIN = Geometry((3, 3), (1, 1), (1, 1), (1, 1), 4)
MISFITS = [
    param((ONE[:0], KERNEL, ONE), PLAIN, "none of the four 0", id="no images"),
    param((ONE[:, :0], KERNEL, ONE), PLAIN, "none of the four 0", id="no channels"),
    param(
        (ONE[:, :, :1, :1], KERNEL, ONE), PLAIN._replace(padding=(0, 0)), "not smaller", id="smaller than the kernel"
    ),
    param((ONE, KERNEL[:3], ONE), PLAIN, r"weight \(3, 1, 3, 3\): must be \(4, 1, 3, 3\)", id="fewer kernels"),
    param((ONE, KERNEL[..., :1], ONE), PLAIN, r"weight \(4, 1, 3, 1\)", id="narrower kernels"),
    param((ONE, KERNEL, ONE[..., :5]), PLAIN, r"grad \(2, 4, 6, 5\): must be \(2, 4, 6, 6\)", id="narrower gradient"),
    param((ONE, KERNEL, ONE[:1]), PLAIN, r"grad \(1, 4, 6, 6\)", id="gradient of fewer images"),
    param((ONE, KERNEL, ONE.double()), PLAIN, "must be one of float32 and float64", id="two types"),
    param((ONE.half(), KERNEL.half(), ONE.half()), PLAIN, "must be one of float32 and float64", id="half"),
    param((ONE, KERNEL.to("meta"), ONE), PLAIN, "on meta", id="weight on another device"),
    param((ONE, KERNEL, ONE), PLAIN._replace(padding=(-1, 1)), "has no C", id="negative padding"),
    param((ONE, KERNEL, ONE), PLAIN._replace(dilation=(2, 2)), "has no C", id="dilation"),
    param((ONE, KERNEL, ONE), PLAIN._replace(stride=(0, 1)), "has no C", id="no stride"),
    param((ONE, KERNEL, ONE), PLAIN._replace(padding=(2**62, 1)), "at most 65536", id="padding beyond 64 bits"),
]


@pytest.mark.parametrize(("given", "geometry", "said"), MISFITS)
def test_what_does_not_fit_together_is_refused(given: tuple[Tensor, ...], geometry: Geometry, said: str) -> None:
    x, weight, grad = given
    with pytest.raises(UsageError, match=said):
        native.kernel_gradient(x, grad, weight, geometry, bias=True)


def test_a_bias_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match=r"bias \(3,\): must be \(4,\)"):
        native.convolve(ONE, KERNEL, torch.zeros(3), PLAIN)
