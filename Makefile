# Every command does the set-up that it needs. `make` alone lists them.
CARGO ?= cargo
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Named, so that flags for the static binary reach neither build scripts nor procedural macros.
HOST := $(shell PATH='$(PATH)' rustc -vV 2>/dev/null | sed -n 's/^host: //p')
HOST_VARIABLE := CARGO_TARGET_$(shell echo '$(HOST)' | tr 'a-z-' 'A-Z_')_RUSTFLAGS

.PHONY: help setup build release test demo bench-record bench-format bench-query bench-dissect clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## install what builds, demo and tests need (Debian 12 and 13, Ubuntu)
	@.ci/setup test

build: ## build everything without optimisation
	@.ci/setup build
	$(CARGO) build --workspace

release: ## leave kcap and a statically linked kcap-record in target/release
	@.ci/setup build
	$(CARGO) build --release -p kcap-query
	$(HOST_VARIABLE)='-C target-feature=+crt-static' $(CARGO) build --release --target $(HOST) -p kcap-recorder
	install -m 755 $(TARGET)/$(HOST)/release/kcap-record $(TARGET)/release/kcap-record

demo: ## make traffic, record it, show who talked to whom
	@.ci/setup demo
	@$(MAKE) --no-print-directory release
	@tests/demo.sh $(TARGET)/release

test: ## format, lints, docs, dependencies, unit tests and, as root, the end-to-end tests on this kernel
	@.ci/setup test
	@.ci/test

bench-record: ## what recording costs, beside tcpdump (root)
	@.ci/setup test
	@$(MAKE) --no-print-directory release
	$(CARGO) build --release -p kcap-tests --bin bench-record
	@$(TARGET)/release/bench-record

bench-format: ## speed and size of the segment format
	$(CARGO) run --release -p kcap-format --example bench_format

bench-query: ## speed of queries, beside tshark, tcpdump and DuckDB (KCAP_BENCH_MB=100,1000,4000)
	@.ci/setup test
	$(CARGO) build --release -p kcap-query
	python3 tests/bench_query $(TARGET)/release/kcap

bench-dissect: ## transactions a second of each protocol, beside tshark
	@.ci/setup test
	$(CARGO) build --release -p kcap-query
	$(CARGO) build --release -p kcap-tests --bin bench-dissect
	@$(TARGET)/release/bench-dissect

clean: ## remove what was built
	$(CARGO) clean
