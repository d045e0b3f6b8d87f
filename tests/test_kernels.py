"""The compiled kernels against torch's own operations: values, gradients, running statistics."""

import copy
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from fire import kernels, model, native
from fire.arch import SqueezeNetSpec
from fire.errors import InputError
from fire.recipe import TrainSpec
from fire.train import train


def has_kernels() -> bool:
    return kernels.fastest(torch.device("cpu")) == "compiled"


needs_compiler = pytest.mark.skipif(not has_kernels(), reason="no C++ compiler")


def images(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 3
    return x.to(dtype).to(memory_format=torch.channels_last)


def norm(features: int) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(features)
    with torch.no_grad():
        made.weight.copy_(torch.linspace(-0.5, 1.5, features))  # below 0 too
        made.bias.copy_(torch.linspace(1, -1, features))
    return made


def gradients(y: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(y, inputs, images(*y.shape, dtype=y.dtype, seed=1)))


@needs_compiler
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("channels", [(16, 16), (4,), (1, 31), (20, 28), (64,), (3,)])
def test_norm_in_fp32_is_that_of_torch_in_fp64(channels, relu):
    parts = [images(8, c, 7, 7, seed=i).requires_grad_() for i, c in enumerate(channels)]
    wide = [part.detach().double().requires_grad_() for part in parts]
    ours, exact = norm(sum(channels)), norm(sum(channels)).double()
    y = kernels.norm_relu(tuple(parts), ours, relu)
    expected = exact(torch.cat(wide, dim=1))
    expected = expected.relu() if relu else expected
    torch.testing.assert_close(y.double(), expected, atol=1e-5, rtol=1e-5)
    for a, b in zip(ours.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(a.double(), b.double(), atol=1e-6, rtol=1e-5)
    for a, b in zip(
        gradients(y, *parts, ours.weight, ours.bias),
        gradients(expected, *wide, exact.weight, exact.bias),
        strict=True,
    ):
        torch.testing.assert_close(a.double(), b, atol=1e-3, rtol=1e-4)


@needs_compiler
def test_norm_in_bf16_is_within_its_rounding_of_fp64():
    x = images(16, 24, 5, 5, dtype=torch.bfloat16).requires_grad_()
    ours, exact = norm(24), norm(24).double()
    y = kernels.norm_relu((x,), ours, relu=True)
    wide = x.detach().double().requires_grad_()
    expected = exact(wide).relu()
    torch.testing.assert_close(y.double(), expected, atol=1e-6, rtol=2**-8)
    grad = images(*y.shape, dtype=torch.bfloat16, seed=1)
    y.backward(grad)
    expected.backward(grad.double())
    torch.testing.assert_close(x.grad.double(), wide.grad, atol=1e-5, rtol=2**-8)
    torch.testing.assert_close(ours.weight.grad.double(), exact.weight.grad, atol=1e-3, rtol=1e-4)


@needs_compiler
def test_variance_of_values_far_from_zero():
    x = (images(8, 16, 6, 6) * 0.01 + 1000).contiguous(memory_format=torch.channels_last)
    layer = nn.BatchNorm2d(16, momentum=1.0)
    kernels.norm_relu((x,), layer, relu=False)
    torch.testing.assert_close(layer.running_var.double(), x.double().var(dim=(0, 2, 3)), rtol=1e-3, atol=0)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [((28, 28), 3, 2), ((7, 5), 3, 2), ((3, 4), 2, 3), ((3, 3), 3, 2)]
)
@pytest.mark.parametrize("channels", [1, 16, 20])
def test_pool_is_that_of_torch(size, kernel, stride, channels, relu, dtype):
    x = (images(4, channels, *size, dtype=dtype) - 3).requires_grad_()
    y = kernels.max_pool(x, kernel, stride, relu)
    expected = nn.functional.max_pool2d(x, kernel, stride, ceil_mode=True)
    expected = expected.relu() if relu else expected
    assert torch.equal(y, expected)
    grad = images(*y.shape, dtype=dtype, seed=1)
    (ours,) = torch.autograd.grad(y, x, grad)
    # In fp32 also for bf16: where windows overlap torch adds gradients up as bf16, the kernel as fp32.
    wide = x.detach().float().requires_grad_()
    pooled = nn.functional.max_pool2d(wide, kernel, stride, ceil_mode=True)
    (theirs,) = torch.autograd.grad(pooled.relu() if relu else pooled, wide, grad.float())
    torch.testing.assert_close(ours.float(), theirs, atol=1e-6, rtol=1e-6 if dtype == torch.float32 else 2**-8)


@needs_compiler
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("channels", [1, 16, 20])
@pytest.mark.parametrize(("size", "kernel", "stride"), [((28, 28), 3, 2), ((7, 5), 3, 2)])
def test_norm_and_pool_in_one_are_those_of_torch_in_fp64(size, kernel, stride, channels, relu):
    x = images(4, channels, *size).requires_grad_()
    wide = x.detach().double().requires_grad_()
    ours, exact = norm(channels), norm(channels).double()
    y = kernels.norm_pool(x, ours, kernel, stride, relu)
    expected = nn.functional.max_pool2d(exact(wide), kernel, stride, ceil_mode=True)
    expected = expected.relu() if relu else expected
    torch.testing.assert_close(y.double(), expected, atol=1e-5, rtol=1e-5)
    for a, b in zip(ours.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(a.double(), b.double(), atol=1e-6, rtol=1e-5)
    for a, b in zip(
        gradients(y, x, ours.weight, ours.bias), gradients(expected, wide, exact.weight, exact.bias), strict=True
    ):
        torch.testing.assert_close(a.double(), b, atol=1e-3, rtol=1e-4)


@needs_compiler
def test_norm_and_pool_in_one_are_the_two_in_bf16():
    x = images(4, 24, 9, 9, dtype=torch.bfloat16).requires_grad_()
    one, two = norm(24), norm(24)
    y = kernels.norm_pool(x, one, 3, 2, relu=True)
    expected = kernels.max_pool(kernels.norm_relu((x,), two, relu=False), 3, 2, relu=True)
    assert torch.equal(y, expected)
    torch.testing.assert_close(
        gradients(y, one.weight)[0], gradients(expected, two.weight)[0], rtol=0.02, atol=0.5
    )  # of two pixels that are equal in bf16 each may take another


@needs_compiler
def test_not_a_number_is_passed_on():
    x = images(2, 16, 4, 4)
    x[0, 3, 1, 1] = torch.nan
    assert kernels.max_pool(x, 3, 2, relu=True)[0, 3].isnan().any()
    assert kernels.norm_relu((x,), norm(16), relu=True)[:, 3].isnan().all()


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_number_of_threads_changes_no_bit(dtype):
    parts = (images(9, 16, 7, 7, dtype=dtype), images(9, 48, 7, 7, dtype=dtype))
    results = []
    threads = torch.get_num_threads()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        inputs = [part.clone().requires_grad_() for part in parts]
        layer = norm(64)
        y = kernels.max_pool(kernels.norm_relu(tuple(inputs), layer, relu=True), 3, 2, relu=False)
        results.append([y, layer.running_var, *gradients(y, *inputs, layer.weight)])
    torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@needs_compiler
@pytest.mark.parametrize("bypass", ["none", "simple", "complex"])
def test_whole_network_is_as_near_to_fp64_as_with_torch(bypass):
    spec = SqueezeNetSpec(version="small", base_e=16, incr_e=16, sr=0.5, classes=10, norm="batch", bypass=bypass)
    plain = model.build(replace(spec, dropout=0.0), channels=1).to(memory_format=torch.channels_last)
    exact, compiled = copy.deepcopy(plain).double(), copy.deepcopy(plain)
    compiled.use_compiled_kernels(True)
    x = images(32, 1, 28, 28) - 3
    labels = torch.arange(32) % 10
    for network, inputs in ((plain, x), (compiled, x), (exact, x.double())):
        nn.functional.cross_entropy(network(inputs), labels).backward()

    def error(network: model.Network) -> torch.Tensor:
        pairs = zip(network.parameters(), exact.parameters(), strict=True)
        return torch.stack([(a.grad - b.grad).norm() / b.grad.norm() for a, b in pairs]).mean()

    assert error(compiled) < 2 * error(plain) + 1e-3
    assert error(compiled) < 0.02
    for (name, a), b in zip(exact.named_buffers(), compiled.buffers(), strict=True):
        torch.testing.assert_close(a.float(), b.float(), msg=name)


def test_other_layouts_and_types_are_left_to_torch():
    assert kernels.covers(images(2, 4, 3, 3))
    assert not kernels.covers(torch.zeros(2, 4, 3, 3))
    assert not kernels.covers(images(2, 4, 3, 3).double())
    assert not kernels.covers(images(2, 4, 3, 3), images(2, 4, 3, 3, dtype=torch.bfloat16))


def test_parameters_in_bf16_are_left_to_torch():
    spec = SqueezeNetSpec(version="small", base_e=16, incr_e=0, classes=10, norm="batch", dropout=0.0)
    plain = model.build(spec, channels=1).to(torch.bfloat16, memory_format=torch.channels_last)
    compiled = copy.deepcopy(plain)
    compiled.use_compiled_kernels(True)
    x = images(4, 1, 28, 28, dtype=torch.bfloat16)
    torch.testing.assert_close(compiled(x), plain(x))


WITHOUT_COMPILER = """
import torch
from fire import kernels, native
assert kernels.fastest(torch.device("cpu")) == "torch"
try:
    native.library()
except native.NoCompilerError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("compiler", "message"),
    [("no-such-compiler", "there is no C++ compiler"), ("false", "cannot be"), ("true", "cannot be kept or loaded")],
)
def test_without_a_working_compiler_torch_does_it(compiler, message, tmp_path):
    environment = os.environ | {"CXX": compiler, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert message in done.stdout


def test_kernels_that_are_asked_for_and_cannot_be_had(monkeypatch, narrow, digits, cpu):
    def none() -> None:
        raise native.NoCompilerError("there is no C++ compiler")

    monkeypatch.setattr(native, "library", none)
    with pytest.raises(InputError, match="no C\\+\\+ compiler"):
        train(model.build(narrow, channels=1), digits, TrainSpec(kernels="compiled"), seed=0, device=cpu)
    trained = train(model.build(narrow, channels=1), digits, TrainSpec(epochs=1), seed=0, device=cpu)
    assert trained.kernels == "torch"
