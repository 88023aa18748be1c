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
export JUJU_SIM_IMAGE := $(CURDIR)/.cache/image
# What the machines of the demo are: light (namespaces) or full (booted, with systemd and snapd).
MACHINES ?= light

.PHONY: help setup basics charm sim image demo lint check doc test test-one test-full faults clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: basics ## install what is missing on this machine
	@scripts/setup tests

# What builds and shows the charm needs none of the etcd versions that only the tests run.
basics:
	@scripts/setup

charm: basics ## build and pack the charm: etcd_<platform>.charm (PLATFORM=amd64, arm64, ppc64el or s390x)
	@scripts/pack $(PLATFORM)

# With the features of the whole workspace, so that the tests need not build its libraries again.
sim: basics ## build juju-sim, the small local Juju
	@cargo build --locked --quiet --workspace --bin juju-sim

image: sim ## make the image that booted machines start from (about 4 minutes, once)
	@scripts/as-root $(JUJU_SIM) image

demo: sim $(if $(filter full,$(MACHINES)),image) ## a three-unit TLS cluster on this machine (MACHINES=full: on booted ones)
	@$(MAKE) --no-print-directory charm PLATFORM=$(ARCHITECTURE)
	@scripts/demo $(MACHINES)

lint: basics ## formatting and clippy, warnings are errors
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets -- -D warnings

# What needs neither root nor etcd, with fewer generated cases than `make test` has, from the same seed each time.
check: export PROPTEST_RNG_SEED := 1
check: export PROPTEST_CASES := 30
check: lint ## while you write: lint, unit tests and house rules, under a minute once built
	@cargo test --locked --quiet --workspace --lib --test tidy -- --skip against_etcd

# No link may lead nowhere; private items have pages too.
doc: export RUSTDOCFLAGS := -D warnings -A rustdoc::private_intra_doc_links
doc: basics ## the code's own documentation: target/doc/etcd_charm/index.html
	@cargo doc --locked --quiet --no-deps --workspace --document-private-items

test: setup lint doc sim image ## all tests, against real etcd
	@$(MAKE) --no-print-directory charm PLATFORM=$(ARCHITECTURE)
	@scripts/test

test-one: setup sim ## one test with whole models: make test-one TEST=health_tells_the_truth
	@$(MAKE) --no-print-directory charm PLATFORM=$(ARCHITECTURE)
	@scripts/test --test it -- $(TEST)

test-full: setup lint sim image ## the long scenarios on booted machines, with a table at the end
	@$(MAKE) --no-print-directory charm PLATFORM=$(ARCHITECTURE)
	@scripts/test-full

faults: setup lint sim ## hooks killed at every call, cut and broken machines under writers, with a table at the end
	@$(MAKE) --no-print-directory charm PLATFORM=$(ARCHITECTURE)
	@scripts/faults

clean: ## remove what was built and downloaded
	rm -rf target .cache etcd_*.charm
