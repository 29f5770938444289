"""The C++ kernels over all geometries of a depthwise convolution, and what no form may be given.

``make test-sanitized`` runs these with AddressSanitizer and UndefinedBehaviorSanitizer in the kernels.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

import pytest
import torch
from pytest import param
from torch import Tensor

from ghostlab.errors import UsageError
from ghostlab.reparam.online import eager, native, triton_depthwise
from ghostlab.reparam.online.depthwise import Depthwise
from tests.reparam.depthwise import (
    Case,
    close,
    first,
    last,
    operands,
    reference_input_gradient,
    reference_kernel_gradient,
    reference_moments,
    slice_of_more,
)

needs_compiler = pytest.mark.skipif(native.kernels(torch.float64) is None, reason="there is no C++ compiler")


@pytest.fixture
def threads() -> Iterator[None]:
    """Three, so that channels and images are cut among them."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def geometries(size: int, stride: int) -> Iterator[Case]:
    """Every padding up to twice what the kernel reaches, each with images of several sides, channels and layouts."""
    draw = random.Random(10 * size + stride)
    for padding, _ in product(range(2 * (size + stride) + 2), range(4)):
        smallest = max(1, size - 2 * padding)
        sides = [smallest + draw.choice([0, 0, 1, 2, 3, 5, 8, 13]) for _ in range(2)]
        shape = (draw.randint(1, 4), draw.choice([1, 2, 3, 4, 7, 8, 16, 21, 37]), *sides)
        yield Case(shape, size, stride, padding, draw.choice([last, last, first, slice_of_more]))  # type: ignore[arg-type]


@needs_compiler
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("size", "stride"), [*product((3, 5), (1, 2))])
def test_every_geometry_gives_what_patches_give(size: int, stride: int) -> None:
    for case in geometries(size, stride):
        values = dict(operands(case))
        x, grad = case.layout(values.pop("x")), case.layout(values.pop("grad"))
        got = [*native.moments(x, *case.kernel), *native.kernel_gradient(x, grad, *case.kernel)]
        got.append(native.input_gradient(x, grad, *values.values(), *case.kernel))  # type: ignore[arg-type]
        expected = [*reference_moments(x, *case.kernel), *reference_kernel_gradient(case)]
        for value, exact in zip(got, [*expected, reference_input_gradient(case)], strict=True):
            close(value, exact, 1e-11)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_one_value_for_all_pixels_of_one_channel(dtype: torch.dtype) -> None:
    """All strides are 0: the images lie 0 bytes apart."""
    x = torch.full((), 2.0, dtype=dtype).expand(2, 1, 5, 5)
    mean, cov = native.moments(x, 3, 1, 0)
    assert torch.equal(mean, torch.full_like(mean, 2)) and not cov.any()


ONE = torch.zeros(2, 4, 6, 6)
KERNEL, QUADRATIC, WIDE = torch.zeros(4, 9), torch.zeros(4, 9, 9), torch.zeros(2, 4, 6, 7)
MISFITS = [
    param((ONE[:0], ONE, KERNEL, QUADRATIC, KERNEL, 3, 1, 1), r"x of shape \(0, 4, 6, 6\)", id="no images"),
    param((ONE[:, :0], ONE, KERNEL, QUADRATIC, KERNEL, 3, 1, 1), r"x of shape \(2, 0, 6, 6\)", id="no channels"),
    param((ONE[0], ONE, KERNEL, QUADRATIC, KERNEL, 3, 1, 1), r"x of shape \(4, 6, 6\)", id="one image"),
    param((ONE, ONE, KERNEL, QUADRATIC, KERNEL, 3, 1, -1), "padding=-1", id="negative padding"),
    param((ONE, ONE, KERNEL, QUADRATIC, KERNEL, 3, 0, 1), "stride=0", id="no stride"),
    param((ONE, ONE, KERNEL, QUADRATIC, KERNEL, 3, 1, 2), r"grad \(2, 4, 6, 6\)", id="gradient of other padding"),
    param((ONE, ONE[:1], KERNEL, QUADRATIC, KERNEL, 3, 1, 1), r"grad \(1, 4, 6, 6\)", id="gradient of fewer images"),
    param((ONE, WIDE, KERNEL, QUADRATIC, KERNEL, 3, 1, 1), r"grad \(2, 4, 6, 7\)", id="gradient of wider images"),
    param((ONE, ONE, KERNEL[:3], QUADRATIC, KERNEL, 3, 1, 1), r"kernel \(3, 9\)", id="kernel of fewer channels"),
    param((ONE, ONE, KERNEL, QUADRATIC[:, :8], KERNEL, 3, 1, 1), r"quadratic \(4, 8, 9\)", id="quadratic"),
    param((ONE, ONE, KERNEL, QUADRATIC, KERNEL[0], 3, 1, 1), r"constant \(9,\)", id="constant of one channel"),
    param((ONE, ONE.to("meta"), KERNEL, QUADRATIC, KERNEL, 3, 1, 1), "on meta", id="gradient on another device"),
]


@pytest.mark.parametrize("form", [eager, native, triton_depthwise], ids=["eager", "native", "triton"])
@pytest.mark.parametrize(("arguments", "said"), MISFITS)
def test_what_does_not_fit_together_is_refused(form: object, arguments: tuple[object, ...], said: str) -> None:
    if form is triton_depthwise and not triton_depthwise.available():
        pytest.skip("triton is not installed")
    with pytest.raises(UsageError, match=said):
        form.input_gradient(*arguments)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("tensors", "size", "stride", "said"),
    [
        param((ONE.half(), ONE.half()), 3, 1, r"dtype torch\.float16 has no C\+\+ form", id="half"),
        param((ONE, ONE.double()), 3, 1, "needs one dtype", id="two types"),
        param((torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 5, 5)), 7, 1, "size 7 and stride 1 have no", id="7 x 7"),
        param((ONE, torch.zeros(2, 4, 2, 2)), 3, 3, "size 3 and stride 3 have no", id="stride 3"),
    ],
)
def test_what_has_no_kernel_is_refused(tensors: tuple[Tensor, Tensor], size: int, stride: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        native.kernel_gradient(*tensors, size, stride, 1)


def test_images_beyond_32_bits_have_no_triton_form() -> None:
    if not triton_depthwise.available():
        pytest.skip("triton is not installed")
    with pytest.raises(UsageError, match="counts pixels in 32 bits"):
        triton_depthwise.moments(torch.zeros(()).expand(2**20, 1, 64, 64), 3, 1, 1)


def test_the_operator_itself_refuses_a_gradient_of_another_shape() -> None:
    with pytest.raises(UsageError, match="grad"):
        Depthwise(3, 1, 4).kernel_gradient(ONE, ONE)
