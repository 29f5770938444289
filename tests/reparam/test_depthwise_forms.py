"""Every form of the depthwise moments and gradients gives what patches laid out one by one give."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import torch
from pytest import param
from torch import Tensor

from ghostlab.errors import UsageError
from ghostlab.reparam.online import eager, native, triton_depthwise
from tests.reparam.depthwise import (
    Case,
    close,
    every_second,
    first,
    last,
    operands,
    reference_input_gradient,
    reference_kernel_gradient,
    reference_moments,
    slice_of_more,
)

Call = Callable[..., Any]


@dataclass(frozen=True)
class Form:
    """The three functions under test, and how exact they must be in the most exact type that they take."""

    moments: Call
    kernel_gradient: Call
    input_gradient: Call
    dtype: torch.dtype
    tolerance: float


EAGER = Form(eager.moments, eager.kernel_gradient, eager.input_gradient, torch.float64, 1e-12)
NATIVE = Form(native.moments, native.kernel_gradient, native.input_gradient, torch.float64, 1e-12)


SMALL_PROGRAMS = """
from ghostlab.reparam.online import triton_depthwise
triton_depthwise.PROGRAMS, triton_depthwise.PIXELS = 2, 256
"""
"""So that images as small as these fill several programs, and each takes several images."""


@pytest.fixture(scope="module")
def interpreter() -> Iterator[ProcessPoolExecutor]:
    """A process in which triton interprets its kernels on the CPU: that is decided when triton is imported."""
    if not triton_depthwise.available():
        pytest.skip("triton is not installed")
    if version("triton").startswith("3.6") and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        pytest.skip("the interpreter of triton 3.6 needs numpy < 2.4")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            pool.submit(exec, SMALL_PROGRAMS).result()
        yield pool


@pytest.fixture(params=["eager", "native", "triton"])
def form(request: pytest.FixtureRequest) -> Form:
    if request.param == "eager":
        return EAGER
    if request.param == "native":
        if native.kernels(torch.float64) is None:
            pytest.skip("there is no C++ compiler")
        return NATIVE
    pool = request.getfixturevalue("interpreter")

    def elsewhere(function: Call) -> Call:
        return lambda *arguments: pool.submit(function, *arguments).result()

    return Form(
        elsewhere(triton_depthwise.moments),
        elsewhere(triton_depthwise.kernel_gradient),
        elsewhere(triton_depthwise.input_gradient),
        torch.float32,
        1e-5,
    )


CASES = [
    param(Case((2, 5, 6, 7), 3, 1, 1, last), id="3x3"),
    param(Case((2, 3, 6, 5), 3, 1, 1, first), id="3x3 contiguous"),
    param(Case((3, 20, 5, 5), 3, 2, 1, last), id="stride 2"),
    param(Case((2, 4, 6, 7), 3, 2, 1, slice_of_more), id="stride 2, even size, slice of channels"),
    param(Case((1, 3, 5, 4), 3, 1, 0, last), id="batch 1, no padding"),
    param(Case((2, 4, 8, 7), 3, 2, 0, last), id="pixels that no output reads"),
    param(Case((1, 36, 1, 2), 3, 1, 1, last), id="smaller than the kernel"),
    param(Case((2, 4, 6, 3), 5, 1, 2, last), id="5x5"),
    param(Case((2, 2, 7, 3), 5, 2, 2, every_second), id="5x5 stride 2, narrow, not dense"),
    param(Case((2, 3, 4, 4), 3, 2, 3, last), id="padding as wide as the kernel"),
]


@pytest.mark.parametrize("case", CASES)
def test_moments(form: Form, case: Case) -> None:
    x = case.layout(operands(case)["x"].to(form.dtype))
    mean, cov = form.moments(x, *case.kernel)
    expected = reference_moments(x.double(), *case.kernel)
    assert mean.dtype == cov.dtype == form.dtype
    assert mean.is_contiguous() and cov.is_contiguous()
    close(mean, expected[0], form.tolerance)
    close(cov, expected[1], form.tolerance)


@pytest.mark.parametrize("case", CASES)
def test_kernel_gradient(form: Form, case: Case) -> None:
    x, grad = (case.layout(operands(case)[name].to(form.dtype)) for name in ("x", "grad"))
    d_kernel, d_bias = form.kernel_gradient(x, grad, *case.kernel)
    expected = reference_kernel_gradient(case)
    assert d_kernel.is_contiguous() and d_bias.is_contiguous()
    close(d_kernel, expected[0], form.tolerance)
    close(d_bias, expected[1], form.tolerance)


@pytest.mark.parametrize("case", CASES)
def test_input_gradient(form: Form, case: Case) -> None:
    values = {name: value.to(form.dtype) for name, value in operands(case).items()}
    x, grad = case.layout(values.pop("x")), case.layout(values.pop("grad"))
    dx = form.input_gradient(x, grad, *values.values(), *case.kernel)
    assert dx.dtype == x.dtype
    assert case.layout is not last or dx.stride() == x.stride()
    close(dx, reference_input_gradient(case), form.tolerance)


@pytest.mark.parametrize("padding", [0, 1])
def test_moments_keep_their_digits_where_the_mean_is_large(form: Form, padding: int) -> None:
    """Of values 100 +- 1, E[x^2] - E[x]^2 in float32 would be wrong in the third digit."""
    x = last(torch.randn(4, 3, 12, 10) + 100)
    expected = reference_moments(x.double(), 3, 1, padding)[1].diagonal(0, 1, 2)
    variance = form.moments(x, 3, 1, padding)[1].double().diagonal(0, 1, 2)
    torch.testing.assert_close(variance, expected, rtol=5e-6, atol=0)


@pytest.mark.parametrize("form", ["eager", "triton"], indirect=True)
def test_half_precision_is_summed_in_single(form: Form) -> None:
    case = Case((2, 8, 6, 5), 3, 1, 1, last)
    values = {name: value.bfloat16() for name, value in operands(case).items()}
    x, grad, rest = last(values.pop("x")), last(values.pop("grad")), [value.float() for value in values.values()]
    exact_x, exact_grad = x.double(), grad.double()
    for got, expected in zip(form.moments(x, 3, 1, 1), reference_moments(exact_x, 3, 1, 1), strict=True):
        assert got.dtype == torch.float32
        close(got, expected, 1e-6)
    exact = EAGER.kernel_gradient(exact_x, exact_grad, 3, 1, 1)
    for got, expected in zip(form.kernel_gradient(x, grad, 3, 1, 1), exact, strict=True):
        assert got.dtype == torch.float32
        close(got, expected, 1e-6)
    dx = form.input_gradient(x, grad, *rest, 3, 1, 1)
    assert dx.dtype == torch.bfloat16
    close(dx, EAGER.input_gradient(exact_x, exact_grad, *(value.double() for value in rest), 3, 1, 1), 2**-7)


def test_a_gradient_that_is_one_value_everywhere(form: Form) -> None:
    """What the backward of a sum passes: a tensor that holds one number, all strides 0."""
    x = last(torch.randn(2, 4, 5, 5, dtype=form.dtype))
    one = torch.ones((), dtype=form.dtype).expand(x.shape)
    zeros = torch.zeros(4, 9, 9, dtype=form.dtype)
    kernel = torch.randn(4, 9, dtype=form.dtype)
    close(form.kernel_gradient(x, one, 3, 1, 1)[0], EAGER.kernel_gradient(x, last(one), 3, 1, 1)[0], 1e-5)
    dx = form.input_gradient(x, one, kernel, zeros, zeros[0, :4], 3, 1, 1)
    close(dx[:, :, 2, 2], kernel.sum(1).expand(2, -1), 1e-5)


def test_arguments_stay_as_they_are() -> None:
    case = Case((2, 3, 5, 5), 3, 1, 0, first)
    values = operands(case)
    before = {name: value.clone() for name, value in values.items()}
    eager.moments(values["x"], *case.kernel)
    eager.kernel_gradient(values["x"], values["grad"], *case.kernel)
    eager.input_gradient(**values, size=3, stride=1, padding=0)
    for name, value in values.items():
        assert torch.equal(value, before[name]), name


def test_autocast_takes_no_digits() -> None:
    case = Case((2, 3, 5, 5), 3, 1, 1, first)
    values = {name: value.float() for name, value in operands(case).items()}
    with torch.autocast("cpu", torch.bfloat16):
        cov = eager.moments(values["x"], *case.kernel)[1]
        d_kernel = eager.kernel_gradient(values["x"], values["grad"], *case.kernel)[0]
        dx = eager.input_gradient(**values, size=3, stride=1, padding=1)
    assert torch.equal(cov, eager.moments(values["x"], *case.kernel)[1])
    assert torch.equal(d_kernel, eager.kernel_gradient(values["x"], values["grad"], *case.kernel)[0])
    assert torch.equal(dx, eager.input_gradient(**values, size=3, stride=1, padding=1))


@pytest.mark.parametrize("function", ["moments", "kernel_gradient"])
def test_an_image_smaller_than_the_kernel_is_refused(form: Form, function: str) -> None:
    x = torch.zeros(1, 2, 2, 5)
    with pytest.raises(UsageError, match=r"image \(2, 5\) with padding 0 is smaller than the kernel, 3 x 3"):
        getattr(form, function)(*((x,) if function == "moments" else (x, x)), 3, 1, 0)


@pytest.mark.skipif(not triton_depthwise.available(), reason="triton is not installed")
def test_triton_refuses_what_it_would_round() -> None:
    with pytest.raises(UsageError, match=r"dtype torch\.float64 has no Triton form; allowed: torch\.float32"):
        triton_depthwise.moments(torch.zeros(1, 2, 5, 5, dtype=torch.float64), 3, 1, 1)


def launched(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, size: int, stride: int) -> list[tuple[Any, Any, Any]]:
    """The three kernels that Triton would launch for a layer of 72 channels, with their arguments."""
    calls: list[tuple[Any, Any, Any]] = []
    monkeypatch.setattr(triton_depthwise, "launch", lambda kernel, grid, *a, **meta: calls.append((kernel, a, meta)))
    case = Case((4, 72, 14, 14), size, stride, size // 2, last)
    values = {name: value.to(dtype) for name, value in operands(case).items()}
    x, grad = last(values["x"]), last(values["grad"])
    triton_depthwise.moments(x, *case.kernel)
    triton_depthwise.kernel_gradient(x, grad, *case.kernel)
    arguments: list[Any] = [x, grad, *list(values.values())[2:], *case.kernel]
    triton_depthwise.input_gradient(*arguments)
    return calls


def compiled(kernel: Any, arguments: tuple[Any, ...], constants: dict[str, Any]) -> str:
    """PTX of a kernel for a GPU of compute capability 9.0, assembled as well; needs no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int32: "*i32"}
    signature, hints, constants = {}, {}, dict(constants)
    for place, (name, value) in enumerate(zip(kernel.arg_names, arguments, strict=False)):
        if isinstance(value, Tensor) or value % 16 == 0:
            hints[(place,)] = [["tt.divisibility", 16]]
        if value is not arguments[0] and not isinstance(value, Tensor) and value == 1:
            constants[name] = 1
        signature[name] = types[value.dtype] if isinstance(value, Tensor) else "i32"
    signature |= dict.fromkeys(constants, "constexpr")
    return triton.compile(ASTSource(kernel, signature, constants, hints), target=GPUTarget("cuda", 90, 32)).asm["ptx"]


@pytest.mark.skipif(not triton_depthwise.available(), reason="triton is not installed")
@pytest.mark.parametrize(
    ("dtype", "size", "stride", "loads"),
    [
        param(torch.bfloat16, 3, 1, ("v2.b32", "v2.b32", "v4.b32"), id="3x3 bf16"),
        param(torch.float32, 3, 2, ("v4.b32", "v4.b32", "v4.b32"), id="3x3 fp32 stride 2"),
        param(torch.bfloat16, 5, 1, ("v2.b32", "v2.b32", "v4.b32"), id="5x5 bf16"),
    ],
)
def test_triton_compiles_without_a_gpu_and_reads_several_channels_at_once(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, size: int, stride: int, loads: tuple[str, ...]
) -> None:
    for (kernel, arguments, constants), width in zip(launched(monkeypatch, dtype, size, stride), loads, strict=True):
        code = compiled(kernel, arguments, constants)
        assert f"ld.global.{width}" in code, kernel.__name__
        assert "mma." not in code, "a tensor core would round the sums"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.skipif(not triton_depthwise.available(), reason="triton is not installed")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", [*CASES, param(Case((16, 184, 14, 14), 3, 1, 1, last), id="layer of a network")])
def test_triton_on_a_gpu(case: Case, dtype: torch.dtype) -> None:
    values = {name: value.cuda().to(dtype) for name, value in operands(case).items()}
    x, grad = case.layout(values.pop("x")), case.layout(values.pop("grad"))
    rest: list[Any] = [*(value.float() for value in values.values()), *case.kernel]
    exact_rest: list[Any] = [*(value.double() for value in rest[:3]), *case.kernel]

    def run() -> list[Tensor]:
        return [
            *triton_depthwise.moments(x, *case.kernel),
            *triton_depthwise.kernel_gradient(x, grad, *case.kernel),
            triton_depthwise.input_gradient(x, grad, *rest),
        ]

    wide_x, wide_grad = x.double(), grad.double()
    expected = [
        *eager.moments(wide_x, *case.kernel),
        *eager.kernel_gradient(wide_x, wide_grad, *case.kernel),
        eager.input_gradient(wide_x, wide_grad, *exact_rest),
    ]
    got, again = run(), run()
    for value, other, exact in zip(got, again, expected, strict=True):
        assert torch.equal(value, other)
        close(value, exact, 1e-5 if value.dtype == torch.float32 else 2 * torch.finfo(dtype).eps)
