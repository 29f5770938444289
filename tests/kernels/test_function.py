"""The autograd node of depthwise convolutions: gradients of every order, by every way, in every memory format."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ghostlab.kernels import native
from ghostlab.kernels.function import Way, depthwise
from ghostlab.kernels.geometry import Geometry

pytestmark = pytest.mark.skipif(native.kernels(torch.float64) is None, reason="there is no C++ compiler")
GEOMETRY = Geometry((3, 5), (2, 1), (1, 2), (1, 1), 5)
FORMATS = [torch.channels_last, torch.contiguous_format]


def given(memory_format: torch.memory_format = torch.channels_last) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = (2, 5, 6, 4), (5, 1, 3, 5), (5,)
    x, weight, bias = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    return [one.requires_grad_() for one in (x.contiguous(memory_format=memory_format), weight, bias)]


@pytest.mark.parametrize("way", Way)
def test_first_and_second_derivatives(way: Way) -> None:
    def compute(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return depthwise(x, weight, bias, GEOMETRY, way)

    assert torch.autograd.gradcheck(compute, given())
    assert torch.autograd.gradgradcheck(compute, given())


@pytest.mark.parametrize("way", [Way.BACKWARD, Way.BOTH])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_output_and_gradient_have_the_memory_format_of_the_input(way: Way, memory_format: torch.memory_format) -> None:
    x, weight, bias = given(memory_format)
    y = depthwise(x, weight, bias, GEOMETRY, way)
    (dx,) = torch.autograd.grad(y, x, torch.ones(y.shape, dtype=y.dtype))
    assert y.is_contiguous(memory_format=memory_format) and dx.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_only_the_gradients_that_are_wanted(wanted: tuple[int, ...]) -> None:
    def gradients(own: bool) -> list[Tensor]:
        tensors = [one.requires_grad_(i in wanted) for i, one in enumerate(given())]
        y = (
            depthwise(*tensors, GEOMETRY, Way.BOTH)
            if own
            else F.conv2d(*tensors, GEOMETRY.stride, GEOMETRY.padding, 1, 5)
        )
        y.square().sum().backward()
        return [one.grad for one in tensors if one.grad is not None]

    own, expected = gradients(True), gradients(False)
    assert len(own) == len(expected) == len(wanted)
    for one, other in zip(own, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
