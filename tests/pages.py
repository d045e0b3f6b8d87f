"""A served page, and a browser that shows it."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sweep.page.server import Server
from sweep.page.snapshot import Snapshot

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))


@contextmanager
def served(root: Path) -> Iterator[Server]:
    """A server of the page of that folder, on a port that is free."""
    with Server(Snapshot(root), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Browser:
    """Debian's chromium, without a window."""

    def __init__(self) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.driver.set_page_load_timeout(120)
        self.driver.set_script_timeout(180)

    def resize(self, width: int, height: int = 1000) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, value: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.until("return document.getElementById('status').textContent !== '' && (!runs.size || view !== null)")

    def run(self, program: str, *arguments: Any) -> Any:
        return self.driver.execute_script(program, *arguments)

    def until(self, condition: str, *arguments: Any) -> Any:
        """Wait until the program returns something true, a minute at most: other work may have the cores."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, 60, 0.05).until(lambda driver: driver.execute_script(condition, *arguments))

    def text(self, id_: str) -> str:
        return str(self.run("return document.getElementById(arguments[0]).textContent", id_))

    def column(self, name: str) -> list[str]:
        """The texts of a column of the table of runs."""
        return list(
            self.run(
                "const i = listedColumns.indexOf(arguments[0]);"
                "return [...document.querySelectorAll('#table tbody tr')].map((line) => line.cells[i].textContent)",
                name,
            )
        )

    def errors(self) -> list[str]:
        """What the browser complains of, such as a breach of the page's policy."""
        return [entry["message"] for entry in self.driver.get_log("browser") if "favicon" not in entry["message"]]


needs_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="it needs Debian's packages chromium and chromium-driver"
)
