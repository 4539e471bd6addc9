# What a contributor types. Needs Rust (rust-version in Cargo.toml), Python 3.11 or newer with pip
# (for models/pull) and, on Debian, `apt-get install build-essential`. `mold` makes linking faster
# if it is there.

CARGO  := $(if $(shell command -v mold),mold -run )cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Material for the extended checks.
DATA   ?= ../shared/data
DOCKER ?= docker

.DEFAULT_GOAL := help
.PHONY: help run build model test check deny extended long image clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target what; do printf '  make %-9s %s\n' "$$target" "$$what"; done

run: model build ## pull the default model if it is missing, build, serve on 127.0.0.1:7272
	$(TARGET)/release/ragstone serve --listen 127.0.0.1:7272

build: ## build the release binary
	$(CARGO) build --release

model: ## pull the default embedding model if it is missing
	models/pull

test: model ## run all tests
	$(CARGO) test --workspace

check: ## formatting, lints, documentation; warnings are errors
	cargo fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

deny: ## licences, duplicate versions and sources of the dependencies (needs cargo-deny)
	cargo deny check licenses bans sources

ifneq ($(wildcard $(DATA)/.),)
extended: model build ## end-to-end checks on real material, if ../shared/data is there
	RAGSTONE="$(TARGET)/release/ragstone" tests/extended/run.sh "$(DATA)"
else
extended:
	@echo "$(DATA) is not there: the extended checks are left out"
endif

long: model build ## the long runs: kills, faults at every call, soak, load, corruption, full disks; hours
	RAGSTONE_KILLS=2000 $(CARGO) test --test kill
	RAGSTONE="$(TARGET)/release/ragstone" CHECKS="syscalls corruption full_disk soak load" \
	  STEP=1 STATES=500 ROUNDS=20 SOAK_S=1800 DURATION=600 tests/extended/run.sh "$(DATA)"

image: ## build the container image
	$(DOCKER) build --tag ragstone .

clean: ## remove what was built; models and data stay
	cargo clean
