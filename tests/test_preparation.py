"""What would fail every run is refused once, before anything trains: one line and exit code 2."""

import re

import pytest

from fire.errors import InputError
from fire.machine import hardware, native
from sweep import preparation
from sweep.config import Options
from sweep.preparation import check, check_machine
from tests.sweeping import TINY, answered, image_folder, point


@pytest.fixture
def no_gpus(monkeypatch):
    monkeypatch.setattr(hardware, "gpus", list)


@pytest.fixture
def no_compiler(monkeypatch):
    def library() -> None:
        raise native.NoCompilerError("there is no C++ compiler")

    monkeypatch.setattr(native, "library", library)
    monkeypatch.setattr(native, "available", lambda: False)


@pytest.mark.parametrize("mode", [("-m", "seed=0,1"), (), ("experiment=search", "search.first=[]")], ids=" ".join)
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("device=cuda", "device must be auto, cpu or one of 0 GPUs that torch can use here, got 'cuda'"),
        ("train.kernels=compiled", "train.kernels must be auto or torch here, got compiled: there is no C++ compiler"),
        ("data.classes=11", "data.classes must be 10 for digits, got 11"),
        ("data.validation=5000", "data.validation must be below the 1438 training images there are, such as 0.1 for"),
        ("train.weights=/nowhere.safetensors", "train.weights must be a readable file, got '/nowhere.safetensors'"),
    ],
)
def test_what_would_fail_every_run(mode, setting, message, tmp_path, no_gpus, no_compiler):
    places = (f"data_dir={tmp_path}/data", f"results_dir={tmp_path}/results")
    code, _, err = answered(*mode, *TINY, "arch.fires=2", setting, *places)
    assert code == 2
    assert re.fullmatch(r"sweep: [^\n]+\n", err), err
    assert message in err
    assert not list(tmp_path.glob("results/*/config.yaml")), "no run has begun"


@pytest.mark.parametrize(("device", "fits"), [("cuda", True), ("cuda:1", True), ("cuda:2", False), ("auto", True)])
def test_a_gpu_is_one_that_the_machine_has(device, fits, monkeypatch):
    monkeypatch.setattr(hardware, "gpus", lambda: ["0", "1"])
    if fits:
        check_machine("auto", Options(device=device))
    else:
        with pytest.raises(InputError, match="one of 2 GPUs that torch can use here, got 'cuda:2'"):
            check_machine("auto", Options(device=device))


def test_compiled_kernels_are_asked_for_on_processors_only(monkeypatch, no_compiler):
    monkeypatch.setattr(hardware, "gpus", lambda: ["0"])
    check_machine("compiled", Options(device="cuda"))
    with pytest.raises(InputError, match="no C\\+\\+ compiler"):
        check_machine("compiled", Options(device="cpu"))


def test_runs_of_another_machine_need_nothing_of_this_one(monkeypatch, no_gpus):
    points, options = [point(*TINY)], Options(device="cuda")
    check(points, options, here=False)
    with pytest.raises(InputError):
        check(points, options)


def test_each_machine_is_looked_at_once(monkeypatch):
    looked: list[str] = []
    monkeypatch.setattr(preparation, "check_machine", lambda kernels, options: looked.append(options.device))
    check([point(*TINY, f"seed={seed}") for seed in range(5)], Options())
    assert looked == ["auto"]


@pytest.mark.parametrize("mode", [("-m", "seed=0,1"), (), ("experiment=search", "search.first=[]")], ids=" ".join)
def test_the_classes_of_an_image_folder_are_counted(mode, tmp_path):
    root = image_folder(tmp_path / "images", classes=3)
    images = ("data=image_folder", "data.stored_size=20", "data.image_size=20", f"data.root={root}", "dry_run=true")
    places = (f"data_dir={tmp_path}/data", f"results_dir={tmp_path}/results")
    network = [setting for setting in TINY if not setting.startswith("data=")]
    code, _, err = answered(*mode, *network, *images, *places, "data.classes=5")
    assert (code, err) == (2, "sweep: data.classes must be 3, got 5\n")
    assert answered(*mode, *network, *images, *places, "data.classes=3")[0] == 0
