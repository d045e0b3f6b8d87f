"""The page in a real browser while runs begin, are interrupted and vanish, and when its server is gone."""

from fire.files import locked
from sweep.page import document
from sweep.page.snapshot import Snapshot
from sweep.store import Store
from tests.pages import needs_browser, served
from tests.sweeping import write_curve

pytestmark = needs_browser


def begin(store: Store, key: str, *top1: float):
    """Leave what a run of 100 epochs leaves after its first ones."""
    folder = store.folder(key)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("train: {epochs: 100}\n")
    write_curve(folder, *top1)
    return folder


def test_a_run_that_was_interrupted_is_one(browser, tmp_path):
    begin(Store(tmp_path / "results"), "e", 0.5)
    with served(tmp_path / "results") as server:
        browser.open(server.url)
        assert browser.text("status") == "Runs: 0 finished, 1 interrupted."
        assert browser.text("underway-title") == "Interrupted"
        browser.driver.get("about:blank")


def test_failures_go_with_their_runs(page, store):
    for key in "abcd":
        (store.folder(key) / "record.json").unlink()
    page.until("return !runs.size && document.getElementById('failed').hidden")
    assert page.text("status") == "There is no run yet."


def test_the_focus_stays_on_a_run_while_it_trains(page, store):
    folder = begin(store, "e", 0.5)
    with locked(folder / ".lock"):
        page.until("return document.querySelector('#underway button') !== null")
        page.run("document.querySelector('#underway button').focus()")
        write_curve(folder, 0.5, 0.6)
        page.until("return document.getElementById('underway').textContent.includes('epoch 2 of 100')")
        assert page.run("return document.activeElement.dataset.key") == "e"


def test_a_run_under_way_has_a_curve_and_no_command_yet(page, store):
    with locked(begin(store, "e", 0.5, 0.6) / ".lock"):
        page.until("return running.length === 1")
        page.run("openRun('e')")
        page.until("return document.querySelectorAll('#curve canvas').length === 3")
        page.until("return document.getElementById('command').textContent.length > 1")
    assert page.text("command") == "The command is known when the run has ended."


def test_a_frozen_page_knows_the_curve_of_a_run_under_way(browser, store, tmp_path):
    begin(store, "e", 0.5, 0.6)
    snapshot = Snapshot(store.root)
    snapshot.refresh()
    path = tmp_path / "page.html"
    path.write_text(document.frozen(snapshot, title="", summary="", sections=""), "utf-8")
    browser.open(path.as_uri())
    browser.run("openRun('e')")
    browser.until("return document.querySelectorAll('#curve canvas').length === 3")
    browser.until("return document.getElementById('command').textContent.startsWith('The command is known when')")
    assert browser.errors() == []


def test_a_server_that_is_gone_is_not_taken_for_a_run_without_a_curve(page):
    page.run("fetch = () => Promise.reject(new TypeError('Failed to fetch'))")  # as browsers say it
    page.run("openRun('a')")
    page.until("return document.getElementById('curve').textContent === 'The server did not answer.'")
    assert page.text("command") == "The server did not answer."
    page.until("return document.getElementById('status').textContent.startsWith('The server does not answer.')")


def test_a_name_that_two_columns_share_is_that_of_neither(page):
    assert page.run("return ['train.lr', 'data.resize', 'sr'].map(short)") == ["lr", "resize", "sr"]
    shared = ["train.mirror", "data.mirror", "train.epochs"]  # a record has epochs of its own: those that were trained
    assert page.run("return arguments[0].map(short)", shared) == shared
    passing = (
        "return filterOf(arguments[0])({'train.epochs': 3, epochs: 2, 'data.mirror': true, 'train.mirror': false})"
    )
    for text in ("epochs=2", "train.epochs=3", "data.mirror=true", "train.mirror=false"):
        assert page.run(passing, text), text
