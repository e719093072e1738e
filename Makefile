# Everything sets itself up: `make demo` and `make test` need Python 3.11 or newer, pip and make.
VENV := .venv
BIN := $(VENV)/bin
XDIST := -n auto --dist loadfile --no-loadscope-reorder
# With this variable each process compiles all modules and all assertions of the tests again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo quick test check format bench soak autobahn fuzz clean

demo: $(VENV)/.demo  ## See the frames of a real app behind a real proxy, and a script that waits for one
	@$(BIN)/wirewright demo

test: $(VENV)/.dev  ## The whole test suite; ARGS="-k name" for a part of it
	$(BIN)/python -m pytest $(XDIST) $(ARGS)

quick: $(VENV)/.dev  ## The fast tests: those that start no program, no browser and no proxy
	$(BIN)/python -m pytest $(XDIST) -m "not slow" $(ARGS)

check: $(VENV)/.dev  ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## Put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench  ## Wirewright beside what else carries WebSockets; ARGS="--quick" for a first look
	$(BIN)/python -m bench $(ARGS)
	@test -n "$(ARGS)" || $(BIN)/python -m bench.masking
	@test -n "$(ARGS)" || $(BIN)/python -m bench.compression_cost
	@test -n "$(ARGS)" || $(BIN)/python -m bench.export_command
	@test -n "$(ARGS)" || $(BIN)/python -m bench.show_command
	@test -n "$(ARGS)" || $(BIN)/python -m bench.remote
	@test -n "$(ARGS)" || $(BIN)/python -m bench.killed_processes
	@test -n "$(ARGS)" || $(BIN)/python -m bench.back_pressure
	@test -n "$(ARGS)" || $(BIN)/python -m bench.fairness
	@test -n "$(ARGS)" || $(BIN)/python -m bench.soak

soak: $(VENV)/.bench  ## A proxy under an even load for 15 minutes: whether its memory grows; ARGS="--minutes 2"
	$(BIN)/python -m bench.soak $(ARGS)

autobahn: $(VENV)/.dev  ## The Autobahn suite, direct and through the proxy; needs a Python 2.7
	PYTHONPATH=tests $(BIN)/python -m conformance $(ARGS)

fuzz: $(VENV)/.dev  ## Ten minutes of hostile traffic and hostile files; ARGS="--minutes 1" for less
	PYTHONPATH=tests $(BIN)/python -m fuzzing $(ARGS)

clean:  ## Take back all that was set up
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.demo: pyproject.toml
	@.ci/setup $(VENV) demo
	@touch $@

$(VENV)/.dev: pyproject.toml
	@.ci/setup $(VENV) dev
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: pyproject.toml
	@.ci/setup $(VENV) bench
	@touch $@ $(VENV)/.dev $(VENV)/.demo
