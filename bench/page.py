"""python -m bench.page: the page of 10,000 runs, and the size of the frozen one.

It makes the records in a temporary folder, serves them to Debian's chromium (packages chromium and chromium-driver) and
takes the time until the first picture, until all runs are drawn, and from the record of one more run to its point.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from selenium import webdriver

from fire.arch import SqueezeNetSpec
from fire.cost import COSTS
from fire.data.spec import DataSpec
from fire.train.spec import TrainSpec
from sweep.config import RunConfig
from sweep.page.server import Server
from sweep.page.snapshot import Snapshot
from sweep.record import Record, dump
from sweep.store import Store

NETWORKS, SEEDS = 2500, 4
REPEATS = 5


def main() -> None:
    """Print the times."""
    argparse.ArgumentParser(prog="python -m bench.page", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        last = _fill(store)
        with Server(Snapshot(folder), "127.0.0.1", 0) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            driver = _browser()
            try:
                for what in ("cold: no record was read before", "warm: the page again"):
                    begun = time.monotonic()
                    driver.get(server.url)
                    first = _after(begun, lambda: driver.execute_script("return view !== null"))
                    whole = f"return view.data('points').length >= {NETWORKS * SEEDS}"
                    drawn = _after(begun, lambda whole=whole: driver.execute_script(whole))
                    print(f"{what}: first picture after {first:.2f} s, {NETWORKS * SEEDS:,} runs after {drawn:.2f} s")
                times = [_one_more(store, last, number, driver) for number in range(REPEATS)]
                print(f"one more run: {np.median(times):.2f} s from its record to its point, median of {REPEATS}")
                drawing = driver.execute_async_script(
                    "const done = arguments[0], begun = performance.now(); "
                    "view.known.delete([...view.known.keys()][0]);"
                    "show().then(() => done((performance.now() - begun) / 1000));"
                )
                print(f"of these, to draw: {drawing:.2f} s")
            finally:
                driver.quit()
                server.shutdown()
    frozen = Path(__file__).parents[1] / "docs" / "index.html"
    print(f"docs/index.html: {frozen.stat().st_size / 1e6:.2f} MB")
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def _fill(store: Store) -> Record:
    """Write the records; the last one."""
    random = np.random.default_rng(0)
    data, train = DataSpec(name="fashion_mnist", channels=1, stored_size=28, image_size=28), TrainSpec(epochs=3, lr=0.2)
    for _ in range(NETWORKS):
        sr, pct = (round(float(value), 4) for value in random.uniform(0.05, 0.95, 2))
        bypass = str(random.choice(["none", "simple", "complex"]))
        arch = SqueezeNetSpec(version="small", norm="batch", classes=10, sr=sr, pct_3x3=pct, bypass=bypass)
        for seed in range(SEEDS):
            config = RunConfig(arch=arch, data=data, train=train, seed=seed)
            top1 = 0.85 + 0.08 * sr**0.3 * pct**0.2 + float(random.normal(0, 0.003))
            record = Record(
                key=config.key,
                status="finished",
                config=config,
                **{name: getattr(config.cost, name) for name in COSTS},
                top1=top1,
                validation_top1=top1,
                epochs=3,
            )
            folder = store.folder(config.key)
            folder.mkdir()
            (folder / "record.json").write_text(dump(record))  # Store.write waits for the disk
    return record


def _one_more(store: Store, last: Record, number: int, driver: webdriver.Chrome) -> float:
    assert last.config is not None
    config = replace(last.config, seed=SEEDS + number)
    begun = time.monotonic()
    store.write(replace(last, key=config.key, config=config))
    drawn = "return view.data('points').some((point) => point.key === arguments[0])"
    return _after(begun, lambda: driver.execute_script(drawn, config.key))


def _after(begun: float, condition: Callable[[], bool]) -> float:
    """Seconds until the condition holds."""
    while not condition():
        time.sleep(0.01)
    return time.monotonic() - begun


def _browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.set_script_timeout(120)
    return driver


if __name__ == "__main__":
    main()
