# Vectoll: `make demo` shows it, `make run` starts it, `make test` checks everything, `make bench` measures.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tools that are built once and kept outside the checkout, by version.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vectoll
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny

# For looking at it: built quickly, and all that the demo needs at once, so that everything is built once.
QUICK := --profile quick --locked -p vectoll-operator -p vectoll-sidecar -p vectoll-pair --bin vectoll-operator --bin vectoll-sidecar --bin vectoll-demo
PAIR := --release --locked -p vectoll-operator --bin vectoll-operator --bin kubectl-vectoll -p vectoll-sidecar --bin vectoll-sidecar
TARGET := $(or $(CARGO_TARGET_DIR),target)
# .cargo/config.toml names the host as the target, so that what is built is static; see there.
BUILT = $(TARGET)/$(shell rustc -vV | sed -n 's/^host: //p')
PROGRAMS = $(BUILT)/release
QUICK_PROGRAMS = $(BUILT)/quick
VERSION = $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)

NEEDS_OF_TESTS := images cluster-programs test-programs need-curl need-openssl need-python3 need-node need-npm

# The errors of the tests tell where they come from; backtraces beside them bury the cause.
export RUST_BACKTRACE := 0

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.PHONY: need-%
need-%:
	@command -v $* >/dev/null || { echo "missing: $* (install it, then run make again)" >&2; exit 1; }

.PHONY: need-root
need-root:
	@[ "$$(id -u)" = 0 ] || { echo "missing: root (a node needs network namespaces and mounts; run make as root)" >&2; exit 1; }

.PHONY: doctor
doctor: ## Say what is missing on this machine, for which target, and the command that brings it
	@tests/doctor

.PHONY: build
build: need-cargo ## Build operator, sidecar and the plugin of kubectl
	cargo build $(PAIR)

.PHONY: images
images: build need-readelf ## Make the images of operator and sidecar: OCI archives in target/images
	tests/cluster/needs buildah
	tests/images/build "$(VERSION)" "$(PROGRAMS)" "$(TARGET)/images"

.PHONY: quick
quick: need-cargo
	cargo build $(QUICK)

.PHONY: run
run: quick need-curl ## Start the pair on the quickstart and stay; prints a key and a curl line to paste
	tests/run.sh "$(QUICK_PROGRAMS)"

.PHONY: demo
demo: quick ## Start the pair, call it as each key and user, show what it did and what it cost
	VECTOLL_PROGRAMS="$(QUICK_PROGRAMS)" "$(QUICK_PROGRAMS)/vectoll-demo"

.PHONY: test
test: fmt-check deny cluster-programs test-programs ## Run everything: format, lints, dependencies, unit, contract, end to end, official clients, demo
	$(MAKE) --jobs=2 compiled
	$(MAKE) whole

# What ships beside what is tested with: while one of them links, the other compiles.
.PHONY: compiled
compiled: images compiled-tests

.PHONY: compiled-tests
compiled-tests: lint
	cargo test --locked --workspace --no-run

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
	cargo test --locked --no-fail-fast --workspace --exclude vectoll-tests

.PHONY: e2e
e2e: $(NEEDS_OF_TESTS) ## Both programs as users run them: without a cluster, against an API server, on a node
	cargo test --locked --no-fail-fast -p vectoll-tests -- --show-output

# All of the workspace at once: apart, its parts would ask for other features of the same dependencies, and build them once more.
WHOLE := cargo test --locked --no-fail-fast --workspace
# Programs that start a Kubernetes, or an API server of it, and the one whose sidecars cross the minutes' ends of a shared store: both wait a lot, so
# they run beside each other and beside all others.
CLUSTER_TESTS := cel chart controllers e2e rules
TOGETHER_TESTS := together
OTHER_TESTS = $(filter-out $(CLUSTER_TESTS) $(TOGETHER_TESTS),$(shell cargo metadata --locked --no-deps --format-version 1 | jq -r '.packages[].targets[] | select(.kind == ["test"]) | .name'))

CLUSTER_LOG = $(TARGET)/cluster-tests.log
TOGETHER_LOG = $(TARGET)/together-tests.log
OTHER_LOG = $(TARGET)/other-tests.log
LOGS = "$(CLUSTER_LOG)" "$(TOGETHER_LOG)" "$(OTHER_LOG)"

# What failed is told once more at the end.
.PHONY: whole
whole: $(NEEDS_OF_TESTS) need-jq
	rm -f $(LOGS)
	$(MAKE) --jobs=3 whole-cluster whole-together whole-other || { tests/failures $(LOGS); exit 1; }

# Runs programs whose output comes at its end, and not in the middle of the others'.
quietly = mkdir -p "$(TARGET)"; status=0; $(WHOLE) $(1:%=--test=%) -- --show-output > "$(2)" 2>&1 || status=$$?; cat "$(2)"; exit $$status

.PHONY: whole-cluster
whole-cluster:
	$(call quietly,$(CLUSTER_TESTS),$(CLUSTER_LOG))

.PHONY: whole-together
whole-together:
	$(call quietly,$(TOGETHER_TESTS),$(TOGETHER_LOG))

.PHONY: whole-other
whole-other:
	mkdir -p "$(TARGET)"
	$(WHOLE) --lib --bins $(sort $(OTHER_TESTS:%=--test=%)) -- --show-output 2>&1 | tee "$(OTHER_LOG)"
	$(WHOLE) --doc 2>&1 | tee --append "$(OTHER_LOG)"

.PHONY: cluster-programs
cluster-programs: need-go need-root # Built once and kept outside the checkout, by version.
	tests/cluster/needs buildah
	tests/cluster/tools/build all

.PHONY: test-programs
test-programs: # The store, the Prometheus and the nginx that tests start, what counts instructions, and a browser.
	tests/cluster/needs redis-server prometheus nginx-light valgrind chromium-driver fonts-liberation

.PHONY: cluster
cluster: cluster-programs ## Start a real one-node Kubernetes; prints its kubeconfig
	tests/cluster/up

.PHONY: cluster-down
cluster-down: ## Stop it and remove everything of it
	tests/cluster/down

.PHONY: cluster-check
cluster-check: cluster ## Check the cluster itself, and measure it
	tests/cluster/check

# `make bench ONLY=calls,memory`: these scenarios. ARGUMENTS: further arguments of vectoll-bench.
BENCH = cargo run --release --locked -p vectoll-tests --bin vectoll-bench -- \
  --operator "$(PROGRAMS)/vectoll-operator" --sidecar "$(PROGRAMS)/vectoll-sidecar" $(if $(ONLY),--only $(ONLY)) $(ARGUMENTS)

.PHONY: bench
bench: build test-programs need-openssl ## Compare the sidecar with nginx as a plain reverse proxy, by scenario, and measure the operator
	$(BENCH)
	$(if $(ONLY),,$(MAKE) bench-operator)

.PHONY: evidence
evidence: build test-programs need-openssl ## The same, and write a page for each scenario to tests/evidence
	$(BENCH) --evidence tests/evidence

.PHONY: baseline
baseline: build test-programs ## Count the instructions of a call anew: the baseline that make test holds calls to
	VECTOLL_UPDATE=1 cargo test --locked --workspace --test instructions -- --show-output

.PHONY: bench-operator
bench-operator: build test-programs need-go need-curl need-openssl ## Measure the operator: 1,000 keys in a namespace, 10,000 in 100, 50,000 in 500, beside a hostile namespace, and while 10,000 spend
	VECTOLL_SCALE_KEYS=1000 VECTOLL_SCALE_NAMESPACES=1 cargo test --locked -p vectoll-tests --test controllers scale -- --show-output
	VECTOLL_SCALE_KEYS=10000 VECTOLL_SCALE_NAMESPACES=100 VECTOLL_SCALE_HOSTILE_KEYS=3000 cargo test --locked -p vectoll-tests --test controllers scale -- --show-output
	VECTOLL_SCALE_KEYS=50000 VECTOLL_SCALE_NAMESPACES=500 cargo test --locked -p vectoll-tests --test controllers scale -- --show-output
	VECTOLL_SCALE_SPENDING=1 VECTOLL_SCALE_KEYS=10000 VECTOLL_SCALE_NAMESPACES=100 cargo test --locked -p vectoll-tests --test controllers scale -- --show-output

.PHONY: generate
generate: need-cargo ## Write the CRDs from their types, for kubectl and for the chart, and the pages of their fields
	cargo run --quiet --locked -p vectoll-crds --bin generate crds crds
	cargo run --quiet --locked -p vectoll-crds --bin generate crds charts/vectoll/files/crds
	cargo run --quiet --locked -p vectoll-crds --bin generate field-pages crds/docs
	cp charts/vectoll/values.yaml charts/vectoll/files/defaults.yaml
