"""The pool over workers that are played by the test: what it gives them, and what it does when they end."""

from collections import Counter
from multiprocessing import Pipe

import pytest

from fire.train.progress import Epoch, Progress
from sweep import pool
from sweep.commands.display import Display
from sweep.commands.exits import ELSEWHERE, FAILED
from sweep.config import Options
from sweep.launcher import in_order
from sweep.pool import LOSSES, Ended, Engine, Pool, Worker
from sweep.store import Store
from tests.records import record_of
from tests.sweeping import TINY, point

POINTS = [point(*TINY, f"seed={seed}") for seed in (0, 1)]
FIRST, SECOND = [each.key for each in POINTS]
FINISHES = Ended()
KILLED = Ended(code=-9)
LOST = Ended(lost="its worker was lost")


def epoch_done(epochs: int) -> Progress:
    row = Epoch(epoch=1, lr=0.1, train_loss=1, validation_loss=1, validation_top1=0.5, train_seconds=1, seconds=1)
    return Progress(epochs_done=epochs, epochs=9, loss=1.0, images_per_second=1.0, curve=(row,) * epochs)


class Played(Worker):
    def __init__(self, news):
        self.connection, self._other = Pipe()
        self._news = iter(news)
        self._other.send("there is news")

    def receive(self):
        return next(self._news)

    def stop(self):
        raise AssertionError


class Theatre(Engine):
    """An engine of one place. script: what is heard of each attempt at a run, by its key; None: it is elsewhere."""

    longest_wait = 0.01

    def __init__(self, store, script, opens=0):
        self.store = store
        self.script = {key: iter(attempts) for key, attempts in script.items()}
        self.opens = opens
        self.started = []

    def tend(self, more):
        self.opens -= 1
        self.more = more
        return []

    def free(self):
        return self.opens <= 0 and (not self.started or self.started[-1] is None)

    def start(self, config, options, *, again):
        self.started.append((config.key, again))
        news = next(self.script[config.key])
        if news is None:
            self.started.append(None)
            return None

        def heard():
            for each in news:
                if isinstance(each, Ended):
                    self.started.append(None)
                    if each == FINISHES:
                        self.store.write(record_of(config, 0.5))
                yield each

        return Played(heard())

    def close(self):
        pass


@pytest.fixture
def play(tmp_path, capsys):
    def run(script, opens=0):
        engine = Theatre(Store(tmp_path), script, opens)
        options = Options(results_dir=str(tmp_path))
        waiting = iter(POINTS)

        def source(under_way):
            return next(((each.config, options) for each in waiting), None)

        with Display(POINTS, options) as display:
            Pool(engine, source, display).run()
        for attempts in engine.script.values():
            assert next(attempts, "all were made") == "all were made"
        return [each for each in engine.started if each], display.reasons, capsys.readouterr().out

    return run


def test_a_run_waits_for_a_worker_and_is_not_lost_meanwhile(play):
    started, reasons, _ = play({FIRST: [[FINISHES]], SECOND: [[FINISHES]]}, opens=5)
    assert started == [(FIRST, False), (SECOND, False)]
    assert reasons == {}


def test_a_lost_worker_costs_no_attempt_of_its_run_and_the_next_worker_knows(play):
    script = {FIRST: [[LOST], [LOST], [KILLED], [FINISHES]], SECOND: [[FINISHES]]}
    started, reasons, out = play(script)
    assert started == [(FIRST, False), (SECOND, False), (FIRST, True), (FIRST, True), (FIRST, True)]
    assert reasons == {}
    assert Counter(line.split(": ")[0] for line in out.splitlines())["once more seed=0"] == 3


def test_a_run_whose_process_is_killed_twice_is_given_up(play):
    started, reasons, _ = play({FIRST: [[KILLED], [KILLED]], SECOND: [[FINISHES]]})
    assert len(started) == 3
    assert "killed by SIGKILL" in reasons[FIRST]


def test_a_run_that_only_loses_workers_is_given_up(play):
    _, reasons, _ = play({FIRST: [[LOST]] * LOSSES, SECOND: [[FINISHES]]})
    assert reasons[FIRST].startswith("its process ended early (its worker was lost)")


def test_a_run_that_gets_on_may_lose_any_number_of_workers(play):
    attempts = [[epoch_done(i), epoch_done(i + 1), LOST] for i in range(1, 2 * LOSSES)]
    _, reasons, _ = play({FIRST: [*attempts, [FINISHES]], SECOND: [[FINISHES]]})
    assert reasons == {}


def test_a_run_that_is_elsewhere_is_named_and_the_others_go_on(play):
    _, reasons, out = play({FIRST: [None], SECOND: [["it is under way", Ended(code=ELSEWHERE)]]})
    assert reasons == {}
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("elsewhere")] == [
        "elsewhere seed=0",
        "elsewhere seed=1",
    ]


@pytest.mark.parametrize("busy", [None, ["it is under way", Ended(code=ELSEWHERE)]])
def test_a_run_whose_lost_copy_is_still_at_it_is_tried_again(play, busy):
    started, reasons, out = play({FIRST: [[LOST], busy, busy, [FINISHES]], SECOND: [[FINISHES]]})
    assert (started[2:], reasons) == ([(FIRST, True)] * 3, {})
    assert "elsewhere" not in out


def test_no_run_waits_for_ever_for_its_lost_copy(play, monkeypatch):
    busy = ["it is under way", Ended(code=ELSEWHERE)]
    monkeypatch.setattr(pool, "SECOND_PATIENCE", 0.0)
    _, reasons, out = play({FIRST: [[LOST], None], SECOND: [[LOST]] + [busy] * (LOSSES - 1)})
    assert (reasons, out.count("elsewhere")) == ({}, 2)


def test_a_run_that_says_why_it_failed_is_not_tried_again(play):
    _, reasons, _ = play({FIRST: [["no data", Ended(code=FAILED)]], SECOND: [[None, FINISHES]]})
    assert reasons == {FIRST: "no data"}


def test_a_network_is_compressed_while_others_are_still_trained(tmp_path):
    store, options = Store(tmp_path), Options(results_dir=str(tmp_path))
    coded = "compress=entropy"
    points = [point(*TINY, coded), point(*TINY), point(*TINY, "seed=1"), point(*TINY, "seed=1", coded)]
    short, long = points[1].key, points[2].key
    following = in_order(points, options)
    trained = [following(set())[0].key, following({short})[0].key]
    assert sorted(trained) == sorted([short, long])
    assert following({short, long}) is None, "neither is trained yet"
    store.write(record_of(points[1].config))
    assert following({long})[0].key == points[0].key
    assert following({long}) is None
    store.write(record_of(points[2].config, None, status="failed", error="diverged"))
    assert following(set()) is None, "its network could not be trained"


def test_the_longest_trainings_come_first(tmp_path):
    points = [point(*TINY, f"train.epochs={epochs}") for epochs in (2, 4, 3)]
    following = in_order(points, Options(results_dir=str(tmp_path)))
    assert [following(set())[0].train.epochs for _ in points] == [4, 3, 2]
