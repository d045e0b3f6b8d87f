import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from analysis import style
from fire.arch import SqueezeNetSpec
from fire.data import dataset
from fire.data.dataset import DataSet, ImageSet
from fire.data.spec import DataSpec
from sweep.store import Store
from tests.pages import Browser, served
from tests.records import small_store


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Networks this small run no faster on more, and a hundred times slower where other work has the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def process_settings() -> Iterator[None]:
    """Runs set the whole process up for themselves: fire.machine.process.prepare_process.

    So do commands: after Ctrl-C, the next one ends the process (sweep.commands.exits), here with all of its tests.
    """
    threads = torch.get_num_threads()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def digits_spec() -> DataSpec:
    return DataSpec(name="digits", stored_size=8, image_size=8, mirror=False, validation=200)


@pytest.fixture(scope="session")
def digits(digits_spec, tmp_path_factory) -> DataSet:
    return dataset.load(digits_spec, tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def narrow() -> SqueezeNetSpec:
    """A network that learns the digits within seconds."""
    return SqueezeNetSpec(
        version="small",
        base_e=32,
        incr_e=32,
        conv1=32,
        sr=0.5,
        fires=4,
        norm="batch",
        classes=10,
        final_relu=False,
        dropout=0.0,
    )


@pytest.fixture
def store(tmp_path) -> Store:
    """A store of four runs in a sweep: tests.records.small_store."""
    return small_store(tmp_path)


@pytest.fixture
def unrendered(monkeypatch) -> None:
    """Write the figures of reports as empty files: drawing them takes milliseconds, rendering them seconds."""

    def save(figure, folder, name):
        folder.mkdir(parents=True, exist_ok=True)
        for ending in ("png", "svg"):
            (folder / f"{name}.{ending}").touch()

    monkeypatch.setattr(style, "save", save)


@pytest.fixture(scope="session")
def cpu() -> torch.device:
    return torch.device("cpu")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def data_set_of() -> Callable[..., DataSet]:
    """A data set whose three parts are all these images, (N, C, S, S) uint8, with mean 0 and standard deviation 1."""

    def make(images, labels=None, *, classes=10, mean=0.0, std=1.0, mirror=True, image_size=None) -> DataSet:
        count, channels, size, _ = images.shape
        labels = np.zeros(count, np.int64) if labels is None else np.asarray(labels, np.int64)
        part = ImageSet(images, labels, np.arange(count))
        return DataSet(
            spec=DataSpec(
                channels=channels, classes=classes, stored_size=size, image_size=image_size or size, mirror=mirror
            ),
            train=part,
            validation=part,
            test=part,
            class_names=tuple(str(i) for i in range(classes)),
            mean=(mean,) * channels,
            std=(std,) * channels,
            skipped=0,
        )

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.driver.quit()


@pytest.fixture
def page(browser, store) -> Iterator[Browser]:
    """The live page of the small store."""
    browser.resize(1280)
    browser.scheme("light")
    with served(store.root) as server:
        browser.open(server.url)
        yield browser
        browser.driver.get("about:blank")  # it asks no more
