"""The frozen page in a real browser, with hostile texts, and an audit of both pages."""

import dataclasses
from pathlib import Path

import pytest

from sweep.page import document
from sweep.page.snapshot import Snapshot
from tests.pages import needs_browser
from tests.records import record, small_store
from tests.sweeping import ROOT, write_curve

pytestmark = needs_browser
HACK = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\"'&"


@pytest.fixture(scope="module")
def frozen(browser, tmp_path_factory) -> Path:
    """The frozen page of a store with a hostile record."""
    root = tmp_path_factory.mktemp("frozen")
    store = small_store(root / "results")
    write_curve(store.folder("a"), 0.5, 0.7, 0.8)
    store.write(dataclasses.replace(store.read("d"), error=HACK, host=HACK, traceback=HACK))
    store.write(record("e", sr=0.75, data_title=HACK, warning=HACK))
    snapshot = Snapshot(store.root)
    snapshot.refresh()
    path = root / "page.html"
    path.write_text(document.frozen(snapshot, title=HACK, summary="", sections=""))
    return path


def test_the_frozen_page_shows_hostile_texts_as_text(browser, frozen):
    browser.open(frozen.as_uri())
    assert HACK in browser.text("failed")
    assert browser.run("return document.title") == HACK
    browser.run("openRun('d')")
    browser.until("return document.querySelector('#run-content pre')")
    assert HACK in browser.text("run-content")
    assert browser.run("return window.hacked") is None
    assert browser.errors() == []


def test_a_spreadsheet_gets_no_formulas(browser, frozen):
    browser.open(frozen.as_uri())
    for text in ("=1+1", "\n=1+1", "＝1+1"):
        browser.run("runs.get('a').row.warning = arguments[0]; show()", text)
        browser.until("return csv().includes(`'${arguments[0]}`)", text)


def test_the_frozen_page_opens_curve_and_command_without_a_server(browser, frozen):
    browser.open(frozen.as_uri())
    browser.run("openRun('a')")
    browser.until("return document.querySelectorAll('#curve canvas').length === 3")
    browser.until(
        "return document.querySelector('#command code')?.textContent.startsWith('python -m sweep data=digits')"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("what", ["page", "run", "committed"])
def test_axe_finds_nothing_serious(browser, frozen, what, scheme):
    import axe_core_python

    browser.resize(1280)
    browser.scheme(scheme)
    browser.open((ROOT / "docs" / "index.html" if what == "committed" else frozen).as_uri())
    if what == "run":
        browser.run("openRun('a')")
        browser.until("return document.querySelectorAll('#curve canvas').length === 3")
    browser.run((Path(axe_core_python.__file__).parent / "axe.min.js").read_text())
    # Violations alone: all that passes, with its place in the page, would take twice the time.
    found = browser.driver.execute_async_script("axe.run({resultTypes: ['violations']}).then(arguments[0])")
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in serious] == []
