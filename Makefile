# Highgate's chores. `make` or `make help` lists them with the minutes that they take on two
# cores, the first time in a fresh clone / later: estimates until CI has told.

.DEFAULT_GOAL := help
.PHONY: help demo check test bench release soak fix manual \
        setup setup-soak fmt-check lint house docs deny unit manual-check fuzz-smoke doc-tests all-tests advisories

# Debian keeps servers where the path of an ordinary user does not lead.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin:$(CURDIR)/target/tools/bin
# A golden is accepted by a person, never by a run.
export INSTA_UPDATE := no

CARGO_TARGET_DIR ?= target
DENY_VERSION     := 0.20.2
PROFILE          := $(if $(CI),ci,default)
HAS_NEXTEST       = cargo nextest --version >/dev/null 2>&1
# Tests that need no database, browser, namespace or hours.
LIGHT            := not package(highgate-testkit) and (kind(lib) or kind(bin) or binary(/^(cost|golden|wire)_/))

help:
	@echo 'make demo     6 / 2   a cluster, Highgate in front, a switchover and a kill -9, to watch'
	@echo 'make check    6 / 2   formatting, lints, imports, sizes, docs, unit tests, goldens; writes nothing'
	@echo 'make test    30 / 15  check, and all that needs real databases, a browser, namespaces, fuzzing'
	@echo 'make bench   40 / 35  CPU, latency and memory beside HAProxy and a bare relay; QUICK=1: 20 / 15'
	@echo 'make release 15 / 12  the program as it is shipped: built by a profile of its own work'
	@echo 'make soak   240       what takes hours: tests marked as soak (one is an hour of full load), every fuzz'
	@echo '                      target for ten minutes, and the suites of real clients, which it fetches; suites'
	@echo '                      whose language is not there (go, java, perl, php) are left out, and named'
	@echo 'make fix      1       format, and apply what lints suggest; the only one that edits sources'
	@echo 'make manual   2 / 1   write docs/manual.md from the declarations of the settings'
	@echo
	@echo 'The numbers are minutes on two cores (estimates): in a fresh clone / later.'
	@echo 'What is missing is installed from Debian by demo, test, bench, release and soak (scripts/setup), where'
	@echo 'root or sudo is there; else they say what to install.'

# ---- what people run --------------------------------------------------------------------------

demo:
	@scripts/setup demo
	cargo build --release --bin highgate
	$(CARGO_TARGET_DIR)/release/highgate demo $(DEMO)

check: fmt-check house lint docs deny manual-check unit

# The tests come last, so that what they close on is what one reads.
test: setup fmt-check house lint docs deny manual-check fuzz-smoke doc-tests all-tests

# What is measured is what is shipped.
bench:
	@scripts/setup bench
	cargo build --release --bin highgate-bench
	program=$$(scripts/release) && \
	    $(CARGO_TARGET_DIR)/release/highgate-bench run --highgate "$$program" $(if $(QUICK),--quick) $(BENCH)

release:
	@scripts/setup release
	@scripts/release

soak: setup-soak
	@if $(HAS_NEXTEST); then cargo nextest run --workspace --profile soak --run-ignored only; \
	else cargo test --workspace -- --ignored; fi
	scripts/fuzz 600
	cargo build --release --bin highgate
	scripts/clients/run --install --binary $(CARGO_TARGET_DIR)/release/highgate

fix:
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

manual:
	cargo run --quiet --bin highgate -- manual > $(CARGO_TARGET_DIR)/manual.md
	mv $(CARGO_TARGET_DIR)/manual.md docs/manual.md

# ---- their parts ------------------------------------------------------------------------------

setup:
	@scripts/setup test

setup-soak:
	@scripts/setup soak

fmt-check:
	cargo fmt --all --check

house:
	cargo xtask check

# Tests may fail by panicking, print, read the environment and wait: the rest of the rules hold for them.
IN_TESTS := -A clippy::unwrap_used -A clippy::expect_used -A clippy::panic -A clippy::print_stderr \
            -A clippy::print_stdout -A clippy::disallowed_methods \
            -A clippy::indexing_slicing -A clippy::iter_over_hash_type -A clippy::allow_attributes -A unreachable_pub -A missing_docs

lint:
	cargo clippy --workspace -- -D warnings
	cargo clippy --workspace --all-targets -- -D warnings $(IN_TESTS)

docs:
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps --document-private-items

# Building cargo-deny takes two to three minutes, so only CI does it unasked.
deny:
	@if ! cargo deny --version >/dev/null 2>&1 && [ -n "$(CI)" ]; then \
	    cargo install --quiet --locked --root target/tools cargo-deny@$(DENY_VERSION); fi
	@if cargo deny --version >/dev/null 2>&1; then \
	    echo cargo deny check bans licenses sources; \
	    cargo deny --locked --log-level error check bans licenses sources; \
	else \
	    echo 'deny: left out; `cargo install --locked cargo-deny` to have licences and bans checked'; fi

# Needs the database of advisories from the network, so it is no part of `test`.
advisories:
	cargo deny --locked check advisories

manual-check:
	@mkdir -p $(CARGO_TARGET_DIR)
	cargo run --quiet --bin highgate -- manual > $(CARGO_TARGET_DIR)/manual.md
	@diff -u docs/manual.md $(CARGO_TARGET_DIR)/manual.md \
	    || { echo 'docs/manual.md is not what the declarations say: run `make manual`'; exit 1; }

unit:
	@if $(HAS_NEXTEST); then cargo nextest run --workspace --profile $(PROFILE) -E '$(LIGHT)'; \
	else cargo test --workspace --exclude highgate-testkit --lib --bins; fi

fuzz-smoke:
	FUZZ_RUNS=100000 scripts/fuzz 60

doc-tests:
	cargo test --quiet --workspace --doc

all-tests:
	@if $(HAS_NEXTEST); then cargo nextest run --workspace --profile $(PROFILE); \
	else echo 'cargo-nextest is not installed: cargo test instead'; \
	     cargo test --workspace --all-targets; fi
