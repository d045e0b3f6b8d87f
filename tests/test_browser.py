"""The page in a real browser: what a reader sees, does and hears."""

import csv
import dataclasses
import io

import pytest

from fire.files import locked
from fire.stats import mean_interval
from sweep.axes import PLACES
from sweep.map import stored
from sweep.map.making import make
from sweep.store import Store
from tests import mapping
from tests.pages import Browser, needs_browser, served
from tests.records import DATA, record
from tests.sweeping import write_curve

pytestmark = needs_browser


def point(page: Browser, key: str) -> tuple[int, int]:
    """Where the run's point is in the window."""
    page.run("document.getElementById('chart').scrollIntoView({block: 'center'})")
    x, y = page.run(
        "const point = marks([...runs.values()], new Map()).points.find((each) => each.key === arguments[0]);"
        "const box = document.querySelector('#chart canvas').getBoundingClientRect(), [left, top] = view.origin();"
        "const x = left + view.padding().left + view.scale('x')(point.x);"
        "const y = top + view.padding().top + view.scale('y')(point.y);"
        "return [box.x + x, box.y + y];",
        key,
    )
    return round(x), round(y)


def mouse(page: Browser, x: int, y: int, click: bool = False) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(page.driver, duration=0)
    actions.w3c_actions.pointer_action.move_to_location(x - 2, y)
    actions.w3c_actions.pointer_action.move_to_location(x, y)
    if click:
        actions.w3c_actions.pointer_action.click()
    actions.perform()


def test_runs_appear_change_and_go_without_a_reload(page, store):
    page.run("window.former = true")
    assert page.text("status") == "Runs: 3 finished, 1 failed."
    store.write(record("e", sr=0.75, top1=0.95))
    page.until("return runs.size === 5 && view.data('points').length === 4")
    assert page.column("key")[0] == "e", "the best is first"
    store.write(dataclasses.replace(store.read("e"), top1=0.55))
    page.until("return view.data('points').some((point) => point.key === 'e' && point.y === 0.55)")
    (store.folder("e") / "record.json").unlink()
    page.until("return view.data('points').length === 3 && !listed.some((row) => row.key === 'e')")
    assert page.run("return window.former"), "it was not loaded again"
    assert page.errors() == []


def test_a_running_run_is_shown_with_its_epoch_and_time_left(page, store):
    folder = store.folder("e")
    folder.mkdir()
    (folder / "config.yaml").write_text("train: {epochs: 100}\n")
    write_curve(folder, 0.5, 0.6)
    with locked(folder / ".lock"):
        page.until("return document.getElementById('underway').textContent.includes('epoch 2 of 100')")
        assert "2 min" in page.text("underway"), "98 epochs of a second each"
        assert "1 running" in page.text("status")
    page.until("return document.getElementById('underway').textContent.includes('interrupted')")


def test_a_map_is_shown_when_it_is_made(page, store):
    assert page.run("return document.getElementById('maps').hidden")
    made = make(mapping.trained())
    stored.write(store.root, made)
    page.until("return document.querySelectorAll('#maps tbody tr').length === 10")
    assert f"{100 * made.best[0].top1:.2f}" in page.text("maps")
    assert not page.run("return document.getElementById('maps').hidden")
    assert page.errors() == []


def test_failed_runs_are_shown_with_the_reason(page):
    assert "diverged" in page.text("failed")
    assert page.text("failed-title") == "Failed: 1"


def test_hovering_a_point_tells_the_run(page):
    mouse(page, *point(page, "c"))
    page.until("return !document.getElementById('tooltip').hidden")
    text = page.text("tooltip")
    assert "sr=0.25" in text
    assert "test top-1: 70.00 %" in text
    assert "run c" in text
    mouse(page, *point(page, "a"))
    page.until("return document.getElementById('tooltip').textContent.includes('run a')")
    _, low, high, _ = mean_interval([0.80, 0.90])
    assert f"mean of 2 seeds: 85.00 %, 95 % interval {100 * low:.2f} to {100 * high:.2f}" in page.text("tooltip")


def test_a_click_opens_curve_record_and_command_and_escape_closes(page, store):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    write_curve(store.folder("c"), 0.5, 0.6, 0.7)
    mouse(page, *point(page, "c"), click=True)
    page.until("return document.querySelectorAll('#curve canvas').length === 3")
    page.until("return document.querySelector('#command code')?.textContent.startsWith('python -m sweep data=digits')")
    assert "arch.sr=0.25" in page.text("command")
    names = page.run("return [...document.querySelectorAll('#run dt')].map((name) => name.textContent)")
    assert {"key", "top1", "parameters", "train.lr"} <= set(names)
    page.driver.find_element(By.ID, "run").send_keys(Keys.ESCAPE)
    assert page.until("return !document.getElementById('run').open")
    assert page.errors() == []


def test_the_keyboard_opens_a_run(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page.driver.find_element(By.CSS_SELECTOR, "button[data-key=b]").send_keys(Keys.ENTER)
    assert page.until(
        "return document.getElementById('run').open && document.getElementById('run-title').textContent"
    ) == ("Run b")


def test_the_table_sorts_by_a_column_and_back(page):
    from selenium.webdriver.common.by import By

    assert page.column("key")[:3] == ["b", "a", "c"], "by accuracy"
    heading = "button[data-column=sr]"
    page.driver.find_element(By.CSS_SELECTOR, heading).click()
    first = page.column("sr")
    page.driver.find_element(By.CSS_SELECTOR, heading).click()
    second = page.column("sr")
    assert (first, second) == (["0.5", "0.5", "0.25", "0.125"], ["0.125", "0.25", "0.5", "0.5"])
    assert page.run("return document.activeElement.dataset.column") == "sr", "the focus stays"
    assert page.run("return document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "ascending"


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", "abcd"),
        ("sr>=0.5", "ab"),
        ("sr=0.5 seed=1", "b"),
        ("status=failed", "d"),
        ("DIVERGED", "d"),
        ("top1<0.85", "ac"),
        ("train.epochs=3 macs>1e6", "abcd"),
        ("nothing of the kind", ""),
    ],
)
def test_the_filter_holds_for_table_and_chart(page, text, keys):
    page.run(
        "const filter = document.getElementById('filter'); filter.value = arguments[0];"
        "filter.dispatchEvent(new Event('input', {bubbles: true}))",
        text,
    )
    assert sorted(page.run("return listed.map((row) => row.key)")) == list(keys)
    page.until("return view.data('points').map((each) => each.key).sort().join('') === arguments[0]", keys.strip("d"))


def choose(page: Browser, id_: str, value: str) -> None:
    page.run(
        "const select = document.getElementById(arguments[0]); select.value = arguments[1];"
        "select.dispatchEvent(new Event('input', {bubbles: true}))",
        id_,
        value,
    )


def test_axis_and_colour_are_the_readers_choice(page):
    for id_, value in (("x", "macs"), ("colour", "sr")):
        choose(page, id_, value)
    page.until("return JSON.parse(drawn)[0].layer[2].encoding.x.title.startsWith('multiply-accumulates')")
    points = page.until("const points = view.data('points'); return points.every((each) => each.c >= 0.25) && points")
    assert {each["key"]: each["c"] for each in points} == {"a": 0.5, "b": 0.5, "c": 0.25}
    choose(page, "colour", "bypass")
    page.until("return view.data('points').every(({c}) => c === 'none')")
    choose(page, "colour", "macs")
    page.until("return JSON.parse(drawn)[0].layer[2].encoding.color.legend?.title.endsWith('millions')")
    assert page.run("return view.data('points').every(({key, c}) => Math.abs(c - runs.get(key).row.macs / 1e6) < 1e-9)")


@pytest.mark.parametrize(
    ("column", "place"), [("latency_seconds", "here, cpu, 1 thread"), ("onnx_latency_seconds", "here")]
)
def test_latencies_of_two_machines_are_not_mixed(browser, tmp_path, column, place):
    store = Store(tmp_path)
    here = {"host": "here", "device": "cpu", "threads": 1, "onnx_host": "here"}
    there = {PLACES[column][0]: "there"}
    store.write(record("a", sr=0.5, seed=0, **here | {column: 0.004}))
    store.write(record("b", sr=0.5, seed=1, **here | {column: 0.002}))
    store.write(record("c", sr=0.25, **here | there | {column: 0.001}))
    store.write(record("e", sr=0.75, **here))
    with served(store.root) as server:
        browser.open(server.url)
        assert "Latencies" not in browser.text("chart-note"), "sizes are the same everywhere"
        choose(browser, "x", column)
        browser.until("return view.data('points').map((each) => each.key).sort().join('') === 'ab'")
        assert browser.run("return view.data('intervals').map(({x}) => x)") == [pytest.approx(3)]
        assert f"Latencies of {place}. Not shown: 1 run timed elsewhere." in browser.text("chart-note")
        browser.driver.get("about:blank")


def test_seeds_have_their_mean_and_interval(page):
    (found,) = page.run("return view.data('intervals').map(({n, mean, low, high}) => ({n, mean, low, high}))")
    mean, low, high, n = mean_interval([0.80, 0.90])
    assert found == {"n": n, "mean": pytest.approx(mean), "low": pytest.approx(low), "high": pytest.approx(high)}


def test_the_front_has_what_nothing_beats(page):
    assert [each["n"] for each in page.run("return view.data('fronts').map(({n}) => ({n}))")] == [1, 2]


def test_dark_is_dark_and_drawn_anew(page):
    page.scheme("dark")
    page.until("return getComputedStyle(document.body).backgroundColor === 'rgb(21, 24, 29)'")
    page.until("return JSON.parse(drawn)[1] === true")


def test_a_phone_needs_no_scrolling_sideways(page):
    page.resize(390, 800)
    page.driver.refresh()
    page.until("return view !== null && document.querySelector('#chart canvas') !== null")
    assert page.run("return document.documentElement.scrollWidth") <= 390
    page.run("openRun('a')")
    assert page.run("return document.getElementById('run').getBoundingClientRect().width") <= 390


def test_pictures_and_the_table_can_be_taken_away(page):
    taken = page.driver.execute_async_script(
        "const done = arguments[0], taken = [];"
        "download = (name, kind, text) => taken.push([name, text.slice(0, 22)]);"
        "downloadChart('svg').then(() => downloadChart('png')).then(() => done(taken));"
    )
    assert taken[0][0] == "runs.svg"
    assert taken[0][1].startswith("<svg")
    assert taken[1] == ["runs.png", "data:image/png;base64,"]
    rows = list(csv.DictReader(io.StringIO(page.run("return csv()"))))
    assert {row["key"]: row["top1"] for row in rows} == {"a": "0.8", "b": "0.9", "c": "0.7", "d": ""}


def test_an_empty_store_says_so_and_fills(browser, tmp_path):
    store = Store(tmp_path / "results")
    store.root.mkdir()
    with served(store.root) as server:
        browser.open(server.url)
        assert browser.text("status") == "There is no run yet."
        assert browser.run("return document.getElementById('charted').hidden"), "it has nothing to choose"
        store.write(record("a"))
        browser.until("return view !== null && view.data('points').length === 1")
        browser.driver.get("about:blank")


def test_data_sets_are_chosen_by_their_titles_and_folders_by_their_pictures(browser, tmp_path):
    store = Store(tmp_path / "results")
    for key, fingerprint, title in (("a", "1", "Cats"), ("b", "1", "Dogs"), ("c", "2", None), ("d", "3", None)):
        pictures = dataclasses.replace(DATA, name="image_folder", root="/pictures", fingerprint=fingerprint)
        store.write(record(key, data=pictures, data_title=title, end=f"2026-01-0{'abcd'.index(key) + 1}"))
    store.write(record("e"))
    with served(store.root) as server:
        browser.open(server.url)
        texts = browser.run("return [...document.getElementById('data').options].map((option) => option.text)")
        assert texts == ["Dogs", "image_folder 2", "image_folder 3", "digits"]
        assert browser.column("key") == ["a", "b"]
        browser.driver.get("about:blank")
