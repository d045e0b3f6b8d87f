"""python -m sweep.device BOUND=AMOUNT ... [key=value ...] [--train PRESET] [--out DIR]: a network for a small device.

BOUND is peak_ram, flash, weight, macs, size, parameters or activations; AMOUNT may have a unit: peak_ram=48KiB
macs=12.51M. The command searches for the best network within the bounds, trains it once more with three seeds and the
recipe PRESET of conf/train (full, unless said), and writes the best of these into DIR (device, unless said): ONNX in
fp32 and int8, the compressed file, and card.md.

key=value are overrides of the search, conf/experiment/device.yaml: data=digits, search.budget_runs=50, threads=2. The
same command goes on where it was interrupted.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import hydra

from fire.data import dataset
from fire.errors import InputError, require
from fire.train.spec import MOST_INITIAL, TrainSpec
from sweep.__main__ import answer as sweep
from sweep.again import overrides_of
from sweep.commands import exits
from sweep.commands.display import console
from sweep.commands.exits import ELSEWHERE, RunsError, runs_begun
from sweep.commands.hydra_errors import input_errors
from sweep.compose import OPTIONS, load, options_of, presets
from sweep.config import Options, RunConfig
from sweep.manifests import Sweep
from sweep.overrides import as_typed
from sweep.preparation import check_export
from sweep.search import best
from sweep.search.best import Candidate
from sweep.search.budget import SHORT, amount
from sweep.search.spec import AtMost
from sweep.search.sweeper import NOT_IN_THE_NAME
from sweep.store import Store

EXPERIMENT = "device"
SEEDS = (0, 1, 2)
RESUMES = "; the same command goes on from there"


def main() -> None:
    """Run the command."""
    exits.main("sweep.device", lambda: answer(sys.argv[1:]), RESUMES)


def answer(arguments: list[str]) -> None:
    """Search, train, export. Raises InputError where the arguments are wrong, RunsError if runs have not finished."""
    parser = exits.Parser(add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--train", default="full")
    parser.add_argument("--out", type=Path, default=Path("device"))
    parser.add_argument("words", nargs="*")
    given = parser.parse_intermixed_args(arguments)
    if given.help:
        print(__doc__)
        return
    at_most, overrides = _split(given.words)
    options, recipe = _composed(overrides, given.train)
    if not options.dry_run:  # what would else be missed after the trainings
        check_export("int8")
        require(given.out.is_dir() or not given.out.exists(), "--out", "a folder", str(given.out))
    found = _search(at_most, overrides, options)
    if found is None:
        return
    train = _without_untrained_weights(recipe.train, found.config, options)
    chosen = _train(replace(found.config, train=train), overrides, options)
    from sweep.delivery import deliver  # torch and onnxruntime are imported here

    print(f"exported to {deliver(chosen, options, given.out, at_most)}")


def _split(words: Sequence[str]) -> tuple[AtMost, list[str]]:
    """The budget and the overrides among the arguments."""
    bounds, overrides = {}, []
    for word in words:
        key, _, value = word.partition("=")
        if key in SHORT:
            bounds[SHORT[key]] = amount(SHORT[key], value, key)
        else:
            overrides.append(as_typed(word))
    require(bool(bounds), "the budget", f"one of {', '.join(SHORT)} or several, such as peak_ram=48KiB", "none")
    for override in overrides:
        key = override.partition("=")[0]
        require(key not in ("experiment", "seed"), key, "left out, as this command sets it", override)
    return AtMost(**bounds), overrides


def _composed(overrides: Sequence[str], train: str) -> tuple[Options, RunConfig]:
    """The options of all steps, and a run with the recipe of the last training."""
    shared = [text for text in overrides if text.partition("=")[0] in OPTIONS]
    with presets(), input_errors():
        cfg = hydra.compose("config", overrides=[*shared, f"train={train}"])
        return options_of(cfg), load(cfg)


def _search(at_most: AtMost, overrides: Sequence[str], options: Options) -> Candidate | None:
    """The best network that the search has trained; None if it was only to show what it would train."""
    bounds = [f"search.at_most.{cost}={bound:.15g}" for cost, bound in at_most.bounds.items()]
    asked = [*bounds, *overrides]
    failure = None
    try:
        sweep([f"experiment={EXPERIMENT}", *asked])
    except RunsError as error:
        if error.code == ELSEWHERE:
            raise
        failure = error  # which was printed; the other networks do
    if options.dry_run:
        return None
    store = Store(options.results_dir)
    records = [store.read(key) for key in _manifest(store, asked).keys]
    found = best.candidates([record for record in records if record is not None], at_most)
    if not found:
        raise failure or RunsError("the budget leaves no network of the space that can be trained")
    for line in best.report(found, found[0], at_most):
        print(line)
    return found[0]


def _manifest(store: Store, asked: Sequence[str]) -> Sweep:
    """The manifest of the search that these overrides ask for."""
    keys = [(text.partition("=")[0], text) for text in asked]
    # Hydra keeps what is said to itself, such as hydra/launcher, apart from the overrides of a manifest.
    named = tuple(text for key, text in keys if key not in NOT_IN_THE_NAME and not _is_hydras(key))
    searches = [each for each in store.sweeps() if each.search is not None and each.experiment == EXPERIMENT]
    # Of several, on image folders in several places, the one that has just been launched.
    found = max(
        (each for each in searches if each.overrides == named), key=lambda each: each.launched or "", default=None
    )
    if found is None:
        raise InputError(f"the results must have the manifest of this search, got none in {str(store.root)!r}")
    return found


def _is_hydras(key: str) -> bool:
    return key.lstrip("+~").startswith(("hydra/", "hydra."))


def _without_untrained_weights(train: TrainSpec, config: RunConfig, options: Options) -> TrainSpec:
    """The recipe, without averaged weights where these would keep a share above MOST_INITIAL of the initial ones.

    On a thousand images, the few hundred steps of train=full leave an average with decay 0.998 mostly untrained.
    """
    images = len(dataset.load(config.data, Path(options.data_dir)).train)
    steps = train.epochs * max(1, images // train.batch_size)
    share = train.initial_share(steps)
    if share <= MOST_INITIAL:
        return train
    console().print(f"train.ema=0, as {100 * share:.0f} % of the average over {steps} steps would be untrained weights")
    return replace(train, ema=0.0)


def _train(config: RunConfig, overrides: Sequence[str], options: Options) -> Candidate:
    """Train the network with each of SEEDS. Raises RunsError if one does not finish."""
    keys = [(text.partition("=")[0], text) for text in overrides]
    shared = [text for key, text in keys if key in OPTIONS or key.startswith(("hydra/launcher", "hydra.launcher."))]
    seeds = ",".join(map(str, SEEDS))
    with runs_begun():
        sweep(["-m", *overrides_of(config), f"seed={seeds}", *shared])
    store = Store(options.results_dir)
    records = [store.read(replace(config, seed=seed).key) for seed in SEEDS]
    (found,) = best.candidates([record for record in records if record is not None], AtMost())
    return found


if __name__ == "__main__":
    main()
