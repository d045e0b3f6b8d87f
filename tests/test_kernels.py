"""The compiled kernels against torch's own operations: values, gradients, running statistics."""

import copy
import ctypes
import re
import statistics
from pathlib import Path

import pytest
import torch
from torch import nn

from fire import model
from fire.arch import SqueezeNetSpec
from fire.errors import InputError
from fire.machine import kernels, native
from fire.machine.accelerate import accelerate
from fire.train.spec import TrainSpec
from fire.train.training import train

needs_compiler = pytest.mark.skipif(not native.available(), reason="no C++ compiler")


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
    ("size", "kernel", "stride"),
    [((28, 28), 3, 2), ((7, 5), 3, 2), ((3, 4), 2, 3), ((4, 3), 2, 3), ((6, 6), 2, 4), ((3, 3), 3, 2)],
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
    spec = SqueezeNetSpec(
        version="small", base_e=16, incr_e=16, fires=4, sr=0.5, classes=10, norm="batch", bypass=bypass, dropout=0.0
    )
    networks = [model.build(spec, channels=1, seed=seed).to(memory_format=torch.channels_last) for seed in range(5)]
    # The median: where rounding moves a maximum to another pixel, a single error is a hundred times as large.
    by_torch, by_kernels = (
        statistics.median(error_of_gradients(network, using) for network in networks) for using in ("torch", "compiled")
    )
    assert by_kernels < 2 * by_torch + 1e-3
    assert by_kernels < 0.02


def error_of_gradients(network: nn.Sequential, using: str) -> float:
    """The mean relative error of the parameters' gradients; the running statistics are checked."""
    network, exact = copy.deepcopy(network), copy.deepcopy(network).double()
    x = images(16, 1, 28, 28) - 3
    labels = torch.arange(16) % 10
    for computed, inputs in ((accelerate(network, using), x), (exact, x.double())):
        nn.functional.cross_entropy(computed(inputs), labels).backward()
    for (name, a), b in zip(exact.named_buffers(), network.buffers(), strict=True):
        torch.testing.assert_close(a.float(), b.float(), msg=name)
    pairs = zip(network.parameters(), exact.parameters(), strict=True)
    return float(torch.stack([(a.grad - b.grad).norm() / b.grad.norm() for a, b in pairs]).mean())


def test_other_layouts_and_types_are_left_to_torch():
    assert kernels.covers(images(2, 4, 3, 3))
    assert not kernels.covers(torch.zeros(2, 4, 3, 3))
    assert not kernels.covers(images(2, 4, 3, 3).double())
    assert not kernels.covers(images(2, 4, 3, 3), images(2, 4, 3, 3, dtype=torch.bfloat16))


def test_parameters_in_bf16_are_left_to_torch():
    spec = SqueezeNetSpec(version="small", base_e=16, incr_e=0, classes=10, norm="batch", dropout=0.0)
    plain = model.build(spec, channels=1).to(torch.bfloat16, memory_format=torch.channels_last)
    compiled, by_torch = (accelerate(copy.deepcopy(plain), using) for using in ("compiled", "torch"))
    x = images(4, 1, 28, 28, dtype=torch.bfloat16)
    assert torch.equal(compiled(x), by_torch(x))


@pytest.fixture
def compile_anew(monkeypatch, tmp_path):
    """A function that compiles the kernels with the command that it is given, as a first run would."""

    def compile_with(command: str) -> ctypes.CDLL:
        monkeypatch.setenv("CXX", command)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(native, "library", native.library.__wrapped__)  # what is kept is of another compiler
        return native.library()

    return compile_with


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-compiler", "there is no C++ compiler: no-such-compiler is no program"),
        ("no-such-cache c++", "there is no C++ compiler: no-such-cache is no program"),
        ("false", "false cannot be used on "),
        ("true", "the compiled kernels cannot be kept or loaded: "),
        ('ccache "c++', "CXX must be a command, got 'ccache \"c++': No closing quotation"),
    ],
)
def test_without_a_working_compiler_torch_does_it(command, message, compile_anew, cpu):
    with pytest.raises(native.NoCompilerError, match=f"^.*{re.escape(message)}") as error:
        compile_anew(command)
    assert len(str(error.value).splitlines()) == 1
    assert native.fastest(cpu.type) == "torch"


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def copier(path: Path) -> Path:
    """A compiler that copies the library instead; its last argument is the file to make."""
    made = native.library()._name
    return script(path, f'test "$1" = --version || for to; do :; done; cp {made} "$to" 2> /dev/null; :')


@needs_compiler
def test_other_flags_of_the_compiler_make_another_library():
    compiler = native._compiler()
    assert native._identity(compiler) == native._identity(compiler)
    assert native._identity([*compiler, "-O0"]) != native._identity(compiler)


@needs_compiler
def test_a_damaged_library_is_made_anew(compile_anew, tmp_path):
    kept = Path(compile_anew(str(copier(tmp_path / "c++")))._name)
    kept.rename(tmp_path / "mapped")
    kept.write_bytes(b"")
    assert native.library()._name == str(kept)


@needs_compiler
def test_a_compiler_may_be_a_command_of_several_words(compile_anew, tmp_path):
    cache = script(tmp_path / "ccache", f'echo "$@" >> {tmp_path}/calls; exec "$@"')
    compile_anew(f"{cache} {copier(tmp_path / 'g++')} -pipe")
    version, compilation = (tmp_path / "calls").read_text().replace(f"{tmp_path}/g++", "g++").splitlines()
    assert version == "g++ -pipe --version"
    assert compilation.startswith("g++ -pipe -std=c++17 ")


def test_kernels_that_are_asked_for_and_cannot_be_had(monkeypatch, narrow, digits, cpu):
    def none() -> None:
        raise native.NoCompilerError("there is no C++ compiler")

    monkeypatch.setattr(native, "library", none)
    with pytest.raises(InputError, match="no C\\+\\+ compiler"):
        train(model.build(narrow, channels=1), digits, TrainSpec(kernels="compiled"), seed=0, device=cpu)
    trained = train(model.build(narrow, channels=1), digits, TrainSpec(epochs=1), seed=0, device=cpu)
    assert trained.kernels == "torch"


@needs_compiler
def test_a_single_value_a_channel_is_refused_by_both():
    spec = SqueezeNetSpec(version="small", base_e=8, incr_e=8, conv1=8, fires=3, norm="batch", classes=5, dropout=0.0)
    network = model.build(spec, channels=1).to(memory_format=torch.channels_last)
    before = copy.deepcopy(network.state_dict())
    for size in (2, 3):  # pool1 leaves a single pixel
        messages = set()
        for using in ("torch", "compiled"):
            network.load_state_dict(before)
            with pytest.raises(ValueError, match="Expected more than 1 value per channel when training") as error:
                accelerate(network, using)(images(1, 1, size, size))
            messages.add(str(error.value))
        assert len(messages) == 1
    for run in (lambda x: kernels.norm_relu((x,), norm(4), True), lambda x: kernels.norm_pool(x, norm(4), 3, 2, True)):
        with pytest.raises(ValueError, match=re.escape("got input size torch.Size([1, 4, 1, 1])")):
            run(images(1, 4, 1, 1))
