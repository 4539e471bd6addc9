# What a contributor types. Needs Rust (rust-version in Cargo.toml), Python 3.11 or newer with pip
# (for models/pull and models/onnx) and, on Debian, `apt-get install build-essential`; the tests need `redis-server` too. `mold` makes
# linking faster if it is there.

CARGO  := $(if $(shell command -v mold),mold -run )cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
TARGET_ABSOLUTE := $(abspath $(TARGET))
KILLS  ?= 200
FUZZ_S ?= 600
# Material for the extended checks.
DATA   ?= ../shared/data
DOCKER ?= docker

.DEFAULT_GOAL := help
.PHONY: help run build model onnx test check deny kills fuzz extended long image clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target what; do printf '  make %-9s %s\n' "$$target" "$$what"; done

run: model build ## pull the default model if it is missing, build, serve on 127.0.0.1:7272
	$(TARGET)/release/ragstone serve --listen 127.0.0.1:7272

build: ## build the release binary
	$(CARGO) build --release

model: ## pull the default embedding model if it is missing
	models/pull

onnx: model ## write the default model's ONNX graph; fetch ONNX Runtime if it is missing
	models/onnx --runtime

test: onnx ## run all tests
	$(CARGO) test --workspace

check: ## formatting, lints, documentation; warnings are errors
	cargo fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

deny: ## licences, duplicate versions and sources of the dependencies (needs cargo-deny)
	cargo deny check licenses bans sources

kills: model build ## kill -9 the release build at 200 random moments (KILLS=n for another number)
	RAGSTONE="$(TARGET_ABSOLUTE)/release/ragstone" RAGSTONE_KILLS=$(KILLS) $(CARGO) test --test kill -- --nocapture

ifneq ($(wildcard $(DATA)/.),)
extended: model build ## end-to-end checks on real material, if ../shared/data is there
	RAGSTONE="$(TARGET)/release/ragstone" tests/extended/run.sh "$(DATA)"
else
extended:
	@echo "$(DATA) is not there: the extended checks are left out"
endif

long: model build ## the long runs: kills, faults at every call, power cuts, fuzzing, soak, load, corruption, full disks; a day
	$(MAKE) kills KILLS=2000
	$(CARGO) run --release -p ragstone-index --example power_cuts -- 500
	$(MAKE) fuzz
	RAGSTONE="$(TARGET)/release/ragstone" CHECKS="syscalls corruption full_disk tenants api_fuzz soak load gateway_overhead" \
	  STEP=1 STATES=500 ROUNDS=20 OPERATIONS=20000 EXAMPLES=1000 SOAK_S=1800 DURATION=600 LONG=1 tests/extended/run.sh "$(DATA)"

fuzz: ## damaged input for FUZZ_S seconds each (600): every parser, stored values, views, backups, filters, the configuration
	for target in values views backup filter; do \
	  $(CARGO) run --release -p ragstone-index --example fuzz_stored -- $$target $(FUZZ_S) || exit 1; done
	RAGSTONE_FUZZ_S=$(FUZZ_S) $(CARGO) test --bin ragstone -- config::tests::a_damaged_file --nocapture
	$(CARGO) build --release -p ragstone-ingest --example fuzz_parsers
	FUZZER="$(TARGET)/release/examples/fuzz_parsers" FUZZ_S=$(FUZZ_S) tests/extended/fuzz_parsers.sh "$(DATA)"

image: ## build the container image
	$(DOCKER) build --tag ragstone .

clean: ## remove what was built; models and data stay
	cargo clean
