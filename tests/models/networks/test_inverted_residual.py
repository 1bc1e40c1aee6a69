"""Depthwise convolutions with taps far apart, and of strides with the padding "SAME", against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pipeline.models.networks.inverted_residual import SameConv2d, WideDepthwise, has_avx512
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import PSPNetSpec

LENGTHS = st.integers(1, 23)


def wide(channels: int, kernel: int, dilation: int, dtype: torch.dtype, *, bias: bool) -> WideDepthwise:
    torch.manual_seed(0)
    padding = dilation * (kernel // 2)
    made = WideDepthwise(channels, channels, kernel, 1, padding, dilation, channels, bias=bias)
    return made.to(dtype, memory_format=torch.channels_last)


@settings(max_examples=60)
@given(
    LENGTHS,
    LENGTHS,
    st.sampled_from([(3, 8), (5, 3), (5, 4), (7, 2)]),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    st.sampled_from([torch.channels_last, torch.contiguous_format]),
)
@torch.inference_mode()
def test_it_gives_what_torch_gives(height, width, kind, bias, dtype, layout):
    """To the last bit where it takes the place of torch's own: runs that were begun are resumed to the same bytes."""
    convolution = wide(16, *kind, dtype, bias=bias)
    x = torch.randn(2, 16, height, width).to(dtype, memory_format=layout)
    expected = nn.Conv2d.forward(convolution, x.contiguous(memory_format=torch.channels_last))
    if has_avx512() or dtype == torch.float64:
        near = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.1}[dtype]
        torch.testing.assert_close(convolution.apart(x), expected, atol=near, rtol=near)
    else:
        assert torch.equal(convolution.apart(x), expected)
        assert torch.equal(convolution(x), expected)
    assert convolution.apart(x).is_contiguous(memory_format=layout)


def padded_first(convolution: SameConv2d, x: torch.Tensor) -> torch.Tensor:
    """As TensorFlow describes "SAME": the output has a cell for each stride, and the odd zero comes last."""
    zeros = []
    for size in reversed(x.shape[2:]):
        missing = max(0, (-(-size // 2) - 1) * 2 + convolution.kernel_size[0] - size)
        zeros += [missing // 2, missing - missing // 2]
    whole = functional.pad(x, zeros).contiguous(memory_format=torch.channels_last)
    return functional.conv2d(whole, convolution.weight, convolution.bias, 2, 0, 1, convolution.groups)


@settings(max_examples=60)
@given(
    LENGTHS,
    LENGTHS,
    st.sampled_from([3, 5]),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    st.sampled_from([torch.channels_last, torch.contiguous_format]),
)
@torch.inference_mode()
def test_zeros_around_are_as_good_as_a_copy_with_zeros(height, width, kernel, bias, dtype, layout):
    torch.manual_seed(0)
    convolution = SameConv2d(16, 16, kernel, 2, 0, 1, 16, bias=bias).to(dtype, memory_format=torch.channels_last)
    x = torch.randn(2, 16, height, width).to(dtype, memory_format=layout)
    expected = padded_first(convolution, x)
    found = convolution.around(x)
    if has_avx512() or dtype == torch.float64:
        near = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.1}[dtype]
        torch.testing.assert_close(found, expected, atol=near, rtol=near)
    else:
        assert torch.equal(found, expected)
        assert torch.equal(convolution(x), expected)
    assert found.is_contiguous(memory_format=layout)


def given_back(forward, convolution, x, weights):
    wanted = (x, convolution.weight, convolution.bias)
    return torch.autograd.grad((forward(x) * weights).sum(), wanted)


def test_it_learns_what_torch_learns():
    convolution = wide(8, 5, 4, torch.float64, bias=True)
    x = torch.randn(2, 8, 19, 22, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 8, 19, 22, dtype=torch.float64)
    both = (convolution.apart, lambda x: nn.Conv2d.forward(convolution, x))
    for found, expected in zip(*(given_back(forward, convolution, x, weights) for forward in both), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_zeros_around_teach_the_same():
    convolution = SameConv2d(8, 8, 3, 2, 0, 1, 8).double()
    x = torch.randn(2, 8, 18, 21, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 8, 9, 11, dtype=torch.float64)
    both = (convolution, lambda x: padded_first(convolution, x))
    for found, expected in zip(*(given_back(forward, convolution, x, weights) for forward in both), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("stride", "count"), [(8, 3), (16, 0), (32, 0)])
def test_it_stands_where_padding_is_wide(stride, count):
    with torch.device("meta"):
        network = PSPNet(PSPNetSpec("efficientnet_lite0", 3, 2, output_stride=stride))
    found = [module for module in network.modules() if isinstance(module, WideDepthwise)]
    assert len(found) == count
    assert all(module.padding == (8, 8) for module in found)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_what_is_traced_has_one_convolution():
    convolution = wide(4, 5, 4, torch.float32, bias=False).eval()
    graph = str(torch.jit.trace(convolution, torch.randn(1, 4, 16, 16), check_trace=False).graph)
    assert "reshape" not in graph
    assert "_convolution" in graph
    x = torch.randn(1, 4, 16, 16)
    expected = functional.conv2d(x, convolution.weight, None, 1, 8, 4, 4)
    torch.testing.assert_close(convolution(x), expected, atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_what_is_traced_is_padded_first():
    convolution = SameConv2d(4, 4, 3, 2, 0, 1, 4, bias=False).eval()
    graph = str(torch.jit.trace(convolution, torch.randn(1, 4, 16, 16), check_trace=False).graph)
    assert "aten::pad" in graph
