# `make` lists the targets. Nothing here is needed to build or run Stockroom: that is cargo alone.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# What scripts/setup-test-tools.sh found: stores, servers, grpcurl, kustomize.
WITH_TEST_TOOLS := . target/tools/test.env;

.PHONY: help setup test chaos demo stack image bench bench-quick fmt lint

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## find or install what tests and benches need: PostgreSQL, Redis, Kafka, nginx, grpcurl, kustomize
	@scripts/setup-test-tools.sh

test: setup ## run every test on the real servers (STOCKROOM_TEST_SKIP=kafka,nginx: without some of them)
	@$(WITH_TEST_TOOLS) echo "testing on: $$STOCKROOM_TEST_STORES"; cargo test --locked
	@$(WITH_TEST_TOOLS) if [ -n "$$STOCKROOM_TEST_SKIPPED" ]; then echo "SKIPPED: $$STOCKROOM_TEST_SKIPPED. The tests that need them did not run."; fi

chaos: setup ## break things at every point thirty times over, for hours (STOCKROOM_CHAOS_ROUNDS: 30; STOCKROOM_CHAOS_SEED: a failed run's)
	@$(WITH_TEST_TOOLS) STOCKROOM_CHAOS_ROUNDS=$${STOCKROOM_CHAOS_ROUNDS:-30} cargo test --locked --test it -- faults:: everything:: crash:: outage:: histories::

demo: ## real orders, 100 watchers and a flash sale against an embedded server
	cargo run --release --locked -- demo

stack: setup ## PostgreSQL with a replica, Redis, Kafka, two instances and nginx on this machine, until Ctrl-C
	@$(WITH_TEST_TOOLS) binary=$$(scripts/release-binary.sh); cargo run --locked --quiet --example stack -- "$$binary"

image: ## build the container image with docker, podman or buildah, and start it once
	@scripts/build-image.sh

bench: setup ## all benches in full: planning, orders, watchers, reads, long histories (15 GB of disk) and the sweeper
	@$(WITH_TEST_TOOLS) cargo bench --locked --bench plan
	@$(WITH_TEST_TOOLS) cargo bench --locked --bench create_order -- --markdown target/bench/create_order.md
	@$(WITH_TEST_TOOLS) cargo bench --locked --bench watch -- --markdown target/bench/watch.md
	@$(WITH_TEST_TOOLS) cargo bench --locked --bench read -- --markdown target/bench/read.md
	@$(WITH_TEST_TOOLS) cargo bench --locked --bench history -- --markdown target/bench/history.md
	@$(WITH_TEST_TOOLS) cargo bench --locked --bench sweep -- --markdown target/bench/sweep.md

bench-quick: setup ## orders through a live server, in under three minutes after the build
	@$(WITH_TEST_TOOLS) cargo bench --locked --bench create_order -- --quick

fmt: ## format the code
	cargo fmt --all

lint: ## formatting, clippy, and cargo-deny where it is installed
	cargo fmt --all --check
	cargo clippy --all-targets --locked -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; else echo "cargo-deny is not installed: dependencies were not checked"; fi
