# What people and CI run here; every target is quick and safe to repeat. `make` alone lists them.

ARCHITECTURE := $(shell dpkg --print-architecture 2>/dev/null)
PLATFORM ?= $(ARCHITECTURE)
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)

# What the tests and the demo find by their environment.
export ETCD_CHARM := $(CURDIR)/etcd_$(ARCHITECTURE).charm
export TEST_CHARMS := $(CURDIR)/.cache/charms
export ETCD_BINARIES := $(CURDIR)/.cache/etcd
export ETCD_PACKAGES := $(CURDIR)/.cache/debs
export CHARMCRAFT := $(CURDIR)/.cache/venv/bin/charmcraft
export JUJU_SIM := $(TARGET_DIR)/debug/juju-sim
export JUJU_SIM_SNAPS := $(CURDIR)/.cache/snaps

.PHONY: help setup charm sim demo test lint clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.* ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## install what is missing on this machine
	@scripts/setup

charm: setup ## build and pack the charm: etcd_<platform>.charm (PLATFORM=amd64, arm64, ppc64el or s390x)
	@scripts/pack $(PLATFORM)

# With the features of the whole workspace, so that the tests need not build its libraries again.
sim: setup ## build juju-sim, the small local Juju
	@cargo build --locked --quiet --workspace --bin juju-sim

demo: sim ## a three-unit TLS cluster on this machine
	@$(MAKE) --no-print-directory charm PLATFORM=$(ARCHITECTURE)
	@scripts/demo

lint: setup ## formatting and clippy, warnings are errors
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets -- -D warnings

test: lint sim ## all tests, against real etcd
	@$(MAKE) --no-print-directory charm PLATFORM=$(ARCHITECTURE)
	@scripts/test

clean: ## remove what was built and downloaded
	rm -rf target .cache etcd_*.charm
