# Vectoll: `make demo` shows it, `make run` starts it, `make test` checks everything, `make bench` measures.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tools that are built once and kept outside the checkout, by version.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vectoll
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny

PAIR := --release --locked -p vectoll-operator --bin vectoll-operator -p vectoll-sidecar --bin vectoll-sidecar
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.PHONY: need-%
need-%:
	@command -v $* >/dev/null || { echo "missing: $* (install it, then run make again)" >&2; exit 1; }

.PHONY: build
build: need-cargo ## Build operator and sidecar
	cargo build $(PAIR)

.PHONY: run
run: build need-curl ## Start the pair on the quickstart and stay; prints a curl line to paste
	tests/run.sh "$(TARGET)/release"

.PHONY: demo
demo: build ## Start the pair, call it as each key and user, show what it did and what it cost
	cargo run --quiet --locked -p vectoll-tests --bin vectoll-demo

.PHONY: test
test: fmt-check lint deny unit e2e ## Run everything: format, lints, dependencies, unit, contract, end to end, official clients, demo
	$(MAKE) demo

.PHONY: fmt
fmt: need-cargo ## Format the code
	cargo fmt --all

.PHONY: fmt-check
fmt-check: need-cargo
	cargo fmt --all --check

.PHONY: lint
lint: need-cargo
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: deny
deny: $(CARGO_DENY)
	$(CARGO_DENY) --locked check --hide-inclusion-graph bans licenses sources

$(CARGO_DENY): | need-cargo
	cargo install --locked --root "$(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)" cargo-deny@$(CARGO_DENY_VERSION)

.PHONY: unit
unit: need-cargo ## Unit and contract tests
	cargo test --locked --workspace --exclude vectoll-tests

.PHONY: e2e
e2e: build need-curl need-python3 need-node need-npm ## Both programs as users run them, and the official clients
	cargo test --locked -p vectoll-tests -- --show-output

.PHONY: bench
bench: build need-nginx ## Compare the sidecar with nginx as a plain reverse proxy
	cargo run --release --locked -p vectoll-tests --bin vectoll-bench -- \
	  --operator "$(TARGET)/release/vectoll-operator" --sidecar "$(TARGET)/release/vectoll-sidecar"

.PHONY: generate
generate: need-cargo ## Write the CRDs from their types
	cargo run --quiet --locked -p vectoll-crds --bin generate-crds crds
