# make sr | pct | bypass: a sweep on real images, its figures and its report; ARGS="data=digits seed=0,1,2" goes on to it.
# make watch: a page that shows the runs of results/ (RESULTS=FOLDER) while they are trained, and afterwards.
# make map: the expected accuracy of networks that were not trained, from the runs of results/; ARGS="data=digits" chooses runs.
# make device BUDGET="peak_ram=48KiB flash=80KiB macs=12.51e6": the best network that fits, its files and a card in device/.
# make results: the paper's tables 2 and 3, compressed networks included, some hours. make test: all checks; make test-next:
# the tests on the coming Hydra.
# make chaos: faults on purpose, a sample of ten minutes; CHAOS=--full takes hours: docs/reliability.md.
# make bench: speed against peers, ten minutes; BENCH=--full takes an hour.
PYTHON ?= python3
ARGS ?=
BUDGET ?=
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.complete

.PHONY: setup sr pct bypass map watch device results bench chaos test test-next lint format publish clean

setup: $(SETUP)

# constraints.txt holds the versions that the results were made with.
$(SETUP): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[notebooks,dev]' --constraint constraints.txt
	touch $@

RESULTS = $(or $(patsubst results_dir=%,%,$(filter results_dir=%,$(ARGS))),results)
sr: EXPERIMENT = sr
pct: EXPERIMENT = pct_3x3
bypass: EXPERIMENT = bypass
# Exit code 69: Fashion-MNIST is not here and cannot be downloaded. Then the digits do, unless ARGS choose the data.
DIGITS_DO = $(if $(filter data=% data.root=%,$(ARGS)),false,true)
sr pct bypass: $(SETUP)
	@note=; $(BIN)/python -m sweep experiment=$(EXPERIMENT) $(ARGS) || { \
		code=$$?; [ $$code = 69 ] && $(DIGITS_DO) || exit $$code; \
		note="make $@: on scikit-learn's digits, because Fashion-MNIST is missing"; echo "$$note"; \
		$(BIN)/python -m sweep experiment=$(EXPERIMENT) $(ARGS) data=digits || exit; }; \
	$(BIN)/python -m analysis $(RESULTS) --out report || exit; \
	[ -z "$$note" ] || echo "$$note"

map: $(SETUP)
	$(BIN)/python -m analysis map $(RESULTS) $(filter-out results_dir=%,$(ARGS)) --out report

watch: $(SETUP)
	$(BIN)/python -m sweep.watch $(RESULTS)

device: $(SETUP)
	$(BIN)/python -m sweep.device $(BUDGET) $(ARGS)

results: $(SETUP)
	$(BIN)/python -m sweep experiment=results $(ARGS)
	$(BIN)/python -m sweep experiment=results_alexnet $(ARGS)
	$(BIN)/python -m sweep experiment=deep_compression $(ARGS)
	$(BIN)/python -m sweep experiment=entropy $(ARGS)
	$(BIN)/python -m analysis $(RESULTS) --out report

# The runs of results/ that finished, or that a search stopped, are added to the committed ones, and docs/ becomes their
# report and their table: sweep/publish.py.
publish: $(SETUP)
	$(BIN)/python -m sweep.publish results docs/results
	rm -rf docs/figures docs/tables
	$(BIN)/python -m analysis docs/results --out docs
	$(BIN)/python -m analysis.tabular docs/results --out docs/tabular/networks.parquet

BENCH =
bench: $(SETUP)
	$(BIN)/python -m pip install --quiet --editable '.[bench]' --constraint constraints.txt
	$(BIN)/python -m bench $(BENCH)
	$(BIN)/python -m bench.compression

CHAOS =
chaos: $(SETUP)
	$(BIN)/python -m bench.chaos $(CHAOS)

# A process of tests that dies is not replaced: xdist has waited for ever after that.
PARALLEL := --numprocesses=auto --dist=loadfile --max-worker-restart=0
test: lint
	$(BIN)/python -m pytest $(PARALLEL)

# The tests on the coming Hydra and OmegaConf, in an environment of their own.
NEXT := .venv-next
test-next: $(NEXT)/.complete
	$(NEXT)/bin/python -m pytest $(PARALLEL)

$(NEXT)/.complete: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(NEXT)
	grep -v '^hydra-core\|^omegaconf' constraints.txt > $(NEXT)/constraints.txt
	$(NEXT)/bin/python -m pip install --quiet --editable '.[notebooks,dev]' 'hydra-core==1.4.0rc3' --constraint $(NEXT)/constraints.txt
	touch $@

lint: $(SETUP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(SETUP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(NEXT) .venv-gpu .venv-nncodec *.egg-info
