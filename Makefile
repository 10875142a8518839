# Two commands: `make demo` shows it working, `make test` is the whole check. Both set up everything they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

FILM := $(VENV)/film/usr/share/doc/opencv-doc/examples/data/vtest.avi

.PHONY: demo test pedestrians format hooks bench clean

demo: $(VENV)/.ready
	$(BIN)/halfseen demo

test: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --cov=halfseen --cov-report=term:skip-covered --cov-fail-under=90

# A real street, indexed and searched: OpenCV's sample film, out of Debian's package, which is not installed.
pedestrians: $(VENV)/.ready $(FILM)
	HALFSEEN_FILM=$(FILM) $(BIN)/python -m pytest -m slow tests/gallery/test_pedestrians.py

$(FILM):
	mkdir -p $(VENV)/film
	cd $(VENV)/film && apt-get download opencv-doc && dpkg-deb -x opencv-doc_*.deb . && rm opencv-doc_*.deb

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

hooks: $(VENV)/.ready
	$(BIN)/pre-commit install

bench: $(VENV)/.ready
	for name in metrics distance coarse_to_fine large rerank loading world train encode heap query_cost search indexing service; do $(BIN)/python benchmarks/$$name.py || exit 1; done

# The registry's newest torch, timm's partner torchvision and all: about 6 GB. uv halves the time where it is present.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("halfseen needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	if command -v uv >/dev/null; then uv pip install --python $(BIN)/python -e '.[dev]'; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; fi
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
