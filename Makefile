# Two commands set everything up: `make quickstart` and `make test`. Both rest on `make install`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install gguf quickstart test check lint types pytest docs trust bench-smoke dist lock docs-lock sbom clean

install: $(VENV)/.installed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mwalimu needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch comes first, apart from the lock: everything else would pull its CUDA build.
# The index that pip is set up with is asked before PyTorch's own.
$(VENV)/.installed: pyproject.toml requirements/lock.txt | $(VENV)/bin/python
	$(BIN)/python -c 'import torch' 2>/dev/null || \
	  $(BIN)/pip install -q --no-deps -r requirements/torch-cpu.txt 2>/dev/null || \
	  $(BIN)/pip install -q --no-deps --index-url https://download.pytorch.org/whl/cpu -r requirements/torch-cpu.txt
	$(BIN)/pip install -q --no-deps --require-hashes -r requirements/lock.txt
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# llama-cpp-python has no wheels on PyPI and is built here; without the parts nobody calls.
gguf: install
	CMAKE_ARGS="-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF" \
	  $(BIN)/pip install -q "llama-cpp-python>=0.3.36" "gguf>=0.19" "sentencepiece>=0.2"

quickstart: install
	$(BIN)/mwalimu quickstart

# Types are checked while the tests run: one core would have nothing to do.
test: lint
	@$(MAKE) --no-print-directory -j2 types pytest

check: lint types

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# All spell paths from here, so that the first one's cache serves the others.
types: install
	$(BIN)/mypy
	MYPYPATH=src:. $(BIN)/mypy -p recipes -p docs._tools --explicit-package-bases --exclude recipes/customer-service
	MYPYPATH=src:.:recipes/customer-service $(BIN)/mypy --explicit-package-bases recipes/customer-service/*.py

# One process more than there are cores: a test that waits leaves its core to another. They start
# hundreds of others, of which each would compile what is imported if none might keep it.
pytest: WORKERS = $(shell $(BIN)/python -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')
pytest: install
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# The documentation as static files in build/site; a broken link or a page without a place is an error.
docs: install $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(VENV)/.docs: requirements/docs.txt | install
	$(BIN)/pip install -q --no-deps --require-hashes -r requirements/docs.txt
	@touch $@

# The figures of reliability and security in their long form; writes docs/trust.md.
trust: install
	$(BIN)/python -m benchmarks.trust

# Whether the benchmarks still run, in their smallest forms; no figure of it counts.
bench-smoke: install
	$(BIN)/python benchmarks/smoke.py

# Wheel and sdist: the same bytes from the same commit, wherever they are built.
dist: install
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m hatchling build -d dist
	cd dist && sha256sum *.whl *.tar.gz | tee SHA256SUMS

lock:
	$(BIN)/pip install -q uv
	mkdir -p build
	sed 's/+cpu//' requirements/torch-cpu.txt > build/torch.txt
	$(BIN)/uv pip compile -q --generate-hashes --python-version 3.11 --extra all --extra dev \
	  --no-emit-package torch -c build/torch.txt --custom-compile-command "make lock" \
	  -o requirements/lock.txt pyproject.toml

# What mkdocs needs beyond the lock, in the versions of the lock where both have a package.
docs-lock:
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q --generate-hashes --python-version 3.11 -c requirements/lock.txt \
	  --custom-compile-command "make docs-lock" -o requirements/docs.txt requirements/docs.in

# What the product is made of, out of the lock: docs/sbom.cdx.json, docs/licences.md. After each `make lock`.
sbom: install
	$(BIN)/python -m benchmarks.trust.sbom

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
