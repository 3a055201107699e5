# `make run` and `make test` do all set-up by themselves. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The machine, the guest in which `make shell` runs one, and further options (see `make run ARGS=--help`).
CONFIG ?= qemu/configs/two-guests.toml
VM ?= vm1
ARGS ?=
RUN ?=
# Seconds of `make guest-fuzz` and `make fuzz`.
TIME ?= 60

BARE_METAL := aarch64-unknown-none-softfloat
BARE_METAL_PACKAGES := floor hypervisor guest-shim
# What is documented: this project's own, its private parts included.
DOC := --no-deps --document-private-items
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CURDIR)/.cache/tools/bin/cargo-deny --locked --config $(CURDIR)/deny.toml
LLVM_COV_VERSION := 0.9.1
MUTANTS_VERSION := 27.1.0
# What takes seconds where all else takes tenths: changes that nothing else catches meet it.
SLOW_TESTS := attack:: random:: a_search_for_a_worse_order no_more_sessions_open stages:: a_thousand_buffers creation_ends_when
COVERAGE := $(CURDIR)/.cache/tools/bin/cargo-llvm-cov llvm-cov
# For programs of Linux guests.
LINUX := aarch64-unknown-linux-gnu

# rustup puts cargo here; a shell that was open before does not know yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help run xtest fetch test format-check lint deny advisories cargo-deny test-host fuzz fuzz-corpus conformance test-e2e guest-fuzz bench drm shell ssh restarts clean setup setup-cxx coverage cargo-llvm-cov verify verify-short faults hostile mutants cargo-mutants

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup ## run a machine: two guests that share one OP-TEE, or CONFIG=FILE
	cargo run --release -p qemu -- run --config $(CONFIG) $(ARGS)

xtest: setup ## the whole of xtest in every guest with a TEE at the same time; CONFIG=FILE for another machine
	cargo run --release -p qemu -- xtest --config $(CONFIG) $(ARGS)

shell: setup ## a shell in a guest at this terminal, VM=NAME (vm1), until Control-]; CONFIG=FILE for another machine
	cargo run --release -p qemu -- shell --config $(CONFIG) $(VM) $(ARGS)

ssh: setup ## a shell in a guest by ssh, VM=NAME (vm1), or RUN='COMMAND' in it; a machine that does not run is started and left running
	cargo run --release -p qemu -- ssh --config $(CONFIG) $(ARGS) $(VM) $(RUN)

fetch: setup ## download and build all that make run, test, xtest, hostile, bench and drm need, so that they need no network
	cargo run --release -p qemu -- fetch
	cargo run --release -p qemu -- fetch --config qemu/configs/four-guests.toml
	cargo run --release -p qemu -- fetch --config qemu/configs/conformance-tee-debian.toml
	cd workloads && cargo fetch --locked
	cd fuzz && cargo fetch --locked
	cd verify && cargo fetch --locked
	cargo run --release -p qemu -- bench --fetch

test: format-check lint test-host fuzz-corpus verify-short conformance test-e2e ## format-check, lint, test-host, fuzz-corpus, verify-short, conformance and test-e2e, one after the other

format-check: setup ## check that the code is formatted
	cargo fmt --all --check
	cd workloads && cargo fmt --all --check
	cd fuzz && cargo fmt --all --check
	cd verify && cargo fmt --all --check

lint: setup ## clippy and rustdoc without warnings, for the host and for the bare machine
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy $(BARE_METAL_PACKAGES:%=-p %) --target $(BARE_METAL) -- -D warnings
	cd workloads && cargo clippy --target-dir ../target/workloads --all-targets -- -D warnings
	cd workloads && cargo clippy --target-dir ../target/workloads -p drm-playback-ta --features optee-utee/doc -- -D warnings
	cd fuzz && cargo clippy --locked --target-dir ../target/fuzz -- -D warnings
	cd verify && cargo clippy --locked --target-dir ../target/verify --workspace --exclude races --all-targets -- -D warnings
	cd verify && cargo clippy --locked --target-dir ../target/verify -p races --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(DOC) --workspace $(BARE_METAL_PACKAGES:%=--exclude %)
	RUSTDOCFLAGS='-D warnings' cargo doc $(DOC) $(BARE_METAL_PACKAGES:%=-p %) --target $(BARE_METAL)
	cd workloads && RUSTDOCFLAGS='-D warnings' cargo doc $(DOC) --target-dir ../target/workloads

deny: cargo-deny ## hold the dependencies' licences, versions and sources against deny.toml
	$(CARGO_DENY) check licenses bans sources
	cd workloads && $(CARGO_DENY) check licenses bans sources
	cd fuzz && $(CARGO_DENY) check licenses bans sources
	cd verify && $(CARGO_DENY) check licenses bans sources

advisories: cargo-deny ## look for dependencies that are known to be unsafe or were taken back; needs RustSec's database from the network
	$(CARGO_DENY) check advisories
	cd workloads && $(CARGO_DENY) check advisories
	cd fuzz && $(CARGO_DENY) check advisories
	cd verify && $(CARGO_DENY) check advisories

# Built once, into .cache. Only these two targets use it.
cargo-deny: setup
	@if [ "$$($(CURDIR)/.cache/tools/bin/cargo-deny --version 2>/dev/null)" != 'cargo-deny $(CARGO_DENY_VERSION)' ]; then \
		cargo install --locked --root .cache/tools --target-dir target/tools --version '=$(CARGO_DENY_VERSION)' cargo-deny; \
	fi

# Lines that the host tests run, of all that is built for the host; less than these shares is an error. What earlier
# builds left would count as never run.
coverage: setup cargo-llvm-cov ## line coverage of mediator/, optee-abi/ and hypervisor/ from host tests
	$(COVERAGE) clean --workspace
	$(COVERAGE) --summary-only -p mediator -p optee-abi --fail-under-lines 95
	$(COVERAGE) --summary-only -p hypervisor --fail-under-lines 60

# Built once, into .cache. Only `make coverage` uses it.
cargo-llvm-cov:
	@if command -v rustup >/dev/null; then rustup component list --installed | grep -q '^llvm-tools' || rustup component add llvm-tools >&2; fi
	@if [ "$$($(CURDIR)/.cache/tools/bin/cargo-llvm-cov llvm-cov --version 2>/dev/null)" != 'cargo-llvm-cov $(LLVM_COV_VERSION)' ]; then \
		cargo install --locked --root .cache/tools --target-dir target/tools --version '=$(LLVM_COV_VERSION)' cargo-llvm-cov; \
	fi

test-host: setup ## tests that need no machine
	cargo test --workspace --exclude end-to-end
	cd workloads && cargo test --target-dir ../target/workloads --target host-tuple -p cenc -p drm-protocol -p drm-playback

fuzz: setup-cxx ## look for inputs that break the mediator, the parsers or the devices, for TIME=SECONDS (60) in all
	fuzz/run $(TIME) $(ARGS)

fuzz-corpus: setup-cxx ## the same with the inputs in fuzz/corpus, and few more
	fuzz/run --corpus $(ARGS)

verify: setup ## Miri, races in many orders, a model of calls with all its states, whose memory is whose; ARGS=--short leaves out what takes minutes
	verify/run verify $(ARGS)

faults: fetch ## OP-TEE's answers replaced, an exhausted heap, guests killed a thousand times; ARGS=--short leaves the machine out
	verify/run faults $(ARGS)

verify-short: setup ## the short forms of verify and faults
	verify/run verify --short
	verify/run faults --short

hostile: setup ## a guest attacks OP-TEE beside another one: each trial with the answer that it must get, and with nothing left
	cargo run --release -p qemu -- hostile $(ARGS)

# A test build for each change, on one CPU: hours. Changes that fast tests do not catch meet the others in the end.
mutants: setup cargo-mutants ## small changes to the mediator, each of which some host test is to catch: 90 % at least
	verify/mutants $(SLOW_TESTS:%=--skip %)

# Built once, into .cache. Only `make mutants` uses it.
cargo-mutants: setup
	@if [ "$$($(CURDIR)/.cache/tools/bin/cargo-mutants mutants --version 2>/dev/null)" != 'cargo-mutants $(MUTANTS_VERSION)' ]; then \
		cargo install --locked --root .cache/tools --target-dir target/tools --version '=$(MUTANTS_VERSION)' cargo-mutants; \
	fi

conformance: setup ## what guests are owed when they issue SMCs and HVCs, case by case
	cargo run --release -p qemu -- conformance

test-e2e: fetch ## tests that boot machines
	cargo test --release --no-fail-fast -p end-to-end -- --test-threads=1

guest-fuzz: setup ## a guest that does at random what a guest can do, beside a witness, for TIME=SECONDS (60)
	cargo run --release -p qemu -- guest-fuzz --seconds $(TIME) $(ARGS)

bench: setup ## what calls to OP-TEE cost, with target and measured side by side
	cargo run --release -p qemu -- bench

drm: CONFIG = qemu/configs/drm.toml
drm: setup ## protected streams in two guests at the same time; CONFIG=FILE for another machine
	cargo run --release -p qemu -- drm --config $(CONFIG) $(ARGS)

restarts: fetch ## of test-e2e, the guests that start again and again: 200 restarts beside another one's xtest, reboots, panics
	RESTARTS=200 cargo test --release --no-fail-fast -p end-to-end --test restarts -- --test-threads=1

clean: ## remove what was built; what was downloaded stays, in .cache
	cargo clean

# rustup installs what rust-toolchain.toml names at the first call of cargo, unless it was told not to; here it is asked to.
# Rust programs are linked by the C compiler, and one library is C. Everything else the host tool installs itself.
setup:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust with rustup' >&2; exit 1; }
	@if command -v rustup >/dev/null; then \
		rustc --version >/dev/null 2>&1 || rustup toolchain install >&2; \
		for target in $(BARE_METAL) $(LINUX); do \
			rustup target list --installed | grep -qx "$$target" || rustup target add "$$target" >&2; \
		done; \
		for component in clippy rustfmt; do \
			rustup component list --installed | grep -q "^$$component" || rustup component add "$$component" >&2; \
		done; \
	fi
	$(call package,cc,gcc libc6-dev,C compiler)

# libFuzzer is C++.
setup-cxx: setup
	$(call package,c++,g++,C++ compiler)

# Installs packages of Debian's where a command is missing: $(1) the command, $(2) the packages, $(3) what it is.
define package
	@if ! command -v $(1) >/dev/null; then \
		if [ "$$(id -u)" = 0 ]; then \
			echo 'Installing the $(3) ...' >&2; \
			apt-get -q update >&2 && apt-get -q install -y --no-install-recommends $(2) >&2; \
		else \
			echo 'The $(3) is missing. As root, run: apt-get install $(2)' >&2; exit 1; \
		fi; \
	fi
endef
