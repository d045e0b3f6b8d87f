"""Optuna's samplers as functions of what is known: a study is made for each proposal and thrown away."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, QMCSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweep.search.space import Axis


class _Places(IntDistribution):
    """One for all trials: Optuna copies a trial deeply, and half of an ask's time would go into copying these."""

    def __deepcopy__(self, memo: object) -> "_Places":
        return self


class _Choices(CategoricalDistribution):
    """The same."""

    def __deepcopy__(self, memo: object) -> "_Choices":
        return self


class Known(NamedTuple):
    """A point's place along each axis and its losses; none while it runs."""

    codes: tuple[int, ...]
    losses: tuple[float, ...] | None


class _Sobol(QMCSampler):
    """Optuna's, which keeps in the study how far it came along its sequence; here what is known tells."""

    def __init__(self, place: int, seed: int) -> None:
        super().__init__(scramble=True, seed=seed, warn_independent_sampling=False)
        self._place = place

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        self._place += 1
        return self._place - 1


class Settings(NamedTuple):
    """What a sampler is made with: the search's seed, the proposal's, how many points are known, and the budget."""

    seed: int
    proposal_seed: int
    known: int
    budget: int

    @property
    def population(self) -> int:
        """Of the genetic samplers; ten generations in a budget, and no more than Optuna's own 50."""
        return int(np.clip(self.budget // 10, 8, 50))


def _tpe(settings: Settings) -> BaseSampler:
    # constant_liar: running points count as bad ones, so that no two workers are sent to one place.
    return TPESampler(seed=settings.proposal_seed, constant_liar=True, multivariate=True, n_startup_trials=10)


def _gp(settings: Settings) -> BaseSampler:
    return GPSampler(seed=settings.proposal_seed, n_startup_trials=10)


def _nsga2(settings: Settings) -> BaseSampler:
    return NSGAIISampler(seed=settings.proposal_seed, population_size=settings.population)


def _nsga3(settings: Settings) -> BaseSampler:
    return NSGAIIISampler(seed=settings.proposal_seed, population_size=settings.population)


def _qmc(settings: Settings) -> BaseSampler:
    return _Sobol(settings.known, settings.seed)


SAMPLERS: dict[str, Callable[[Settings], BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "nsga2": _nsga2,
    "nsga3": _nsga3,
    "qmc": _qmc,
}


def proposals(
    name: str, axes: Sequence[Axis], known: Sequence[Known], objectives: int, settings: Settings
) -> Iterator[tuple[int, ...]]:
    """Proposals without end, each the places along the axes. known: in the order in which they ended."""
    study = study_of(name, axes, known, objectives, settings)
    distributions = _distributions(axes)
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            params = study.ask(distributions).params
        yield tuple(int(params.get(axis.key, 0)) for axis in axes)


def study_of(name: str, axes: Sequence[Axis], known: Sequence[Known], objectives: int, settings: Settings) -> Study:
    """What Optuna is to know: the study of these points, with the sampler of this name."""
    distributions = _distributions(axes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = SAMPLERS[name](settings)
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # else it tells of each study that is made
        storage = InMemoryStorage()
        study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler, storage=storage)
        study_id = storage.get_study_id_from_name(study.study_name)
        for trial in _trials(axes, known, distributions, sampler, settings):
            storage.create_new_trial(study_id, trial)  # Study.add_trial checks each, in three times the time
    return study


def _distributions(axes: Sequence[Axis]) -> dict[str, BaseDistribution]:
    """Of the axes along which there is a choice."""
    return {axis.key: _distribution(axis) for axis in axes if len(axis.choices) > 1}


def _distribution(axis: Axis) -> BaseDistribution:
    """Places along the axis: as numbers where neighbours are alike."""
    count = len(axis.choices)
    return _Places(0, count - 1) if axis.ordered else _Choices(tuple(range(count)))


def _trials(
    axes: Sequence[Axis],
    known: Sequence[Known],
    distributions: dict[str, BaseDistribution],
    sampler: BaseSampler,
    settings: Settings,
) -> list[FrozenTrial]:
    trials = []
    ended = 0
    for codes, losses in known:
        params = {axis.key: code for axis, code in zip(axes, codes, strict=True) if axis.key in distributions}
        attributes: dict[str, Any] = {}
        if losses is not None and isinstance(sampler, NSGAIISampler | NSGAIIISampler):
            # Optuna notes a trial's generation when it asks for it; here the order in which they ended says it.
            attributes[f"{type(sampler).__name__}:generation"] = ended // settings.population
        ended += losses is not None
        trials.append(
            FrozenTrial(
                number=-1,  # the storage counts
                trial_id=-1,
                state=TrialState.RUNNING if losses is None else TrialState.COMPLETE,
                value=None,
                values=losses,
                params=params,
                distributions=distributions,
                system_attrs=attributes,
                user_attrs={},
                intermediate_values={},
                datetime_start=None,
                datetime_complete=None,
            )
        )
    return trials
