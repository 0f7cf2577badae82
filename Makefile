# What CI runs, by hand. A virtual environment with `pip install maturin '.[dev]'` must be active.

.PHONY: build test lint format docs fuzz

build:
	maturin develop --release

test:
	cargo test --workspace --quiet
	pytest -n auto
	pytest -n auto -m ci

fuzz:
	python tools/fuzz.py --minutes 10

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	ruff check .
	ruff format --check .
	mypy
	python -m mypy.stubtest misfired._core
	lint-imports --no-cache
	python tools/lint_words.py

docs:
	mkdocs build --strict

format:
	cargo fmt --all
	ruff check --fix .
	ruff format .
