# `make demo` runs the main job on the embedded default; `make test` proves the whole project. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .uv/bin/uv
DEMO_OUT ?= demo-out
GPUS ?= 1,2
MINIMUM := build/minimum
SMOKE := $(addprefix tests/service/,server/test_process.py server/test_slow_clients.py api/routes/test_predict.py \
  api/routes/test_feedback.py telemetry/test_tracing.py) tests/triggers/store/test_redis_store.py
# PYTHONDONTWRITEBYTECODE, where it is set, would have every process compile all tests again
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest --maxprocesses 8 --dist loadfile --no-loadscope-reorder
export UV_PYTHON_DOWNLOADS = never

.DEFAULT_GOAL := help
.PHONY: build docs notebooks minimum audit mutants soak statistics counting system bench fuzz life scale results help install bootstrap demo test lint fmt types contracts pytest quick lock clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## create .venv and install the locked packages and this project into it

$(VENV)/.installed: requirements.lock pyproject.toml
	@test -x $(UV) || $(MAKE) --no-print-directory bootstrap
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	$(UV) pip install --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

bootstrap: # uv itself, the version and hashes of the lock, into .uv (needs only python and pip)
	@mkdir -p .uv
	@awk '/^[a-z]/ {on = /^uv==/} on' requirements.lock > .uv/requirements.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --target .uv --upgrade -r .uv/requirements.txt

demo: install ## learn triggers on digits and comments, serve them, swap live, print the fairness table (EXIT=1 ends)
	$(BIN)/python -m fairtrigger demo --out $(DEMO_OUT) $(if $(EXIT),--exit)

test: install system lint contracts ## everything: lint, types, import contracts, all tests but make soak's
	@$(MAKE) --no-print-directory --jobs 2 types pytest

system: # redis-server and chromium, for tests
	@.ci/system-packages

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml triggers trainer service fairtrigger

types:
	$(BIN)/mypy

contracts:
	$(BIN)/lint-imports

# A process of one thread per core and one more, since tests wait for processes that they start. What fails in that company
# is named and run once more alone: some tests time what a crowded machine does not keep, and a fault fails both times.
pytest:
	$(PYTEST) -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) || { echo "Once more, alone:"; \
	  $(PYTEST) -n 0 -v --last-failed --last-failed-no-failures none; }

quick: install ## the tests that take a second or two at most and start no process (they wait half of their time)
	$(PYTEST) -n $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN)) -m "not (slow or process or redis or soak)"

minimum: install ## a smoke of the service under the lowest versions that pyproject.toml allows (torch as in the lock)
	$(UV) venv --quiet --clear --python $(BIN)/python $(MINIMUM)
	grep -oE '^(torch|torchvision)==[0-9.]+' requirements.lock > $(MINIMUM)/constraints.txt
	$(UV) pip install --quiet --python $(MINIMUM)/bin/python --resolution lowest-direct \
	  --constraint $(MINIMUM)/constraints.txt --editable '.[service,redis,tracing]'
	$(UV) pip install --quiet --python $(MINIMUM)/bin/python httpx hypothesis pytest pytest-timeout
	OMP_NUM_THREADS=1 $(MINIMUM)/bin/python -m pytest -o filterwarnings=default $(SMOKE)

build: install ## a wheel and a source archive in dist/, without a network
	$(UV) build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist

docs: install ## the documentation site into build/site, every link checked
	$(BIN)/python docs/stage.py
	$(BIN)/zensical build --clean --strict

notebooks: install ## execute docs/notebooks/ and write their pages anew (a minute)
	OMP_NUM_THREADS=1 $(BIN)/python docs/notebook_pages.py

fmt: install ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install ## time the training steps (a GPU; elsewhere small sizes)
	$(BIN)/python -m benchmarks.train $(if $(QUICK),--quick --no-compiled)

fuzz: install ## 100,000 broken requests against a running service (a quarter of an hour)
	FUZZ_REQUESTS=100000 $(BIN)/python -m pytest --timeout 0 tests/service/api/test_fuzz.py

scale: install ## time the training steps on several GPUs (GPUS=1,2; elsewhere DEVICE=cpu QUICK=1)
	$(BIN)/python -m benchmarks.scale --gpus $(GPUS) $(if $(DEVICE),--device $(DEVICE)) \
	  $(if $(QUICK),--quick --no-compiled)

results: install ## the product's runs on the real data of the examples, five seeds (GPUs; PROCESSES=36), and docs/results.md
	$(BIN)/python -m benchmarks.results --out runs/results --processes $(or $(PROCESSES),8) --page

life: install ## SIGTERM under load, overload and clients that leave, in full, with and without HTTP processes
	for workers in 0 2; do for experiment in sigterm overload cancelled; do \
	  $(BIN)/python -m benchmarks.life $$experiment --workers $$workers || exit 1; done; done

soak: install ## chaos for ten minutes (SOAK_SECONDS=60 for two), broken inputs and requests, loads, large data, make life
	SOAK_SECONDS=$(or $(SOAK_SECONDS),300) $(BIN)/python -m pytest -s -m soak tests/soak
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak --ignore tests/soak
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.service.swapping --swaps 1000
	FUZZ_REQUESTS=20000 $(BIN)/python -m pytest --timeout 0 tests/service/api/test_fuzz.py
	$(MAKE) --no-print-directory life

mutants: install ## small faults, drawn by SEED=0: whether a test notices each of COUNT=100 (minutes)
	$(UV) tool run --python $(BIN)/python --from cosmic-ray==8.7.0 python -m benchmarks.mutants \
	  --python $(BIN)/python --count $(or $(COUNT),100) --seed $(or $(SEED),0)

statistics: install ## the tables of docs/statistics.md (a quarter of an hour); with make demo's folder live traffic too
	$(BIN)/python -m benchmarks.statistics
	if test -d $(DEMO_OUT)/store; then $(BIN)/python -m benchmarks.statistics --demo $(DEMO_OUT) \
	  && $(BIN)/python -m benchmarks.withdrawal $(DEMO_OUT); fi

counting: install ## what live counts cost: reading windows, and requests per second with and without (wrk, make demo)
	$(BIN)/python -m benchmarks.ledger
	$(BIN)/python -m benchmarks.ledger --model $(DEMO_OUT)/digits/model --kind image/png \
	  --body $$(ls $(DEMO_OUT)/digits/images/*.png | head -1)

audit: install ## known vulnerabilities of the locked packages, and a software bill of materials (sbom.json)
	$(UV) tool run --from cyclonedx-bom cyclonedx-py requirements requirements.lock --output-format JSON -o sbom.json
	$(UV) tool run pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

lock: install ## resolve requirements.lock anew from pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-emit-index-url \
	  --no-header --no-annotate --all-extras pyproject.toml --output-file requirements.lock

clean: ## remove what the demo and the tests made, not .venv
	rm -rf $(DEMO_OUT) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
