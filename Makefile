# The verbs of a working day, each a call of what is in scripts/ or of cargo. `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build test lint dev bench findings

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand --tabs=16

setup: ## install or fetch all that tests need: compilers of guests, PostgreSQL, RabbitMQ
	scripts/guest-toolchain >/dev/null
	scripts/toolchains >/dev/null
	scripts/with-services true

build: ## target/release/wasmill
	cargo build --release --locked --package wasmill

test: ## every test, as CI runs them
	scripts/test

lint: ## format, clippy, documentation, licences
	scripts/lint

dev: ## the whole system in one process, with the sample functions
	cargo run --release --locked --package wasmill -- dev functions

bench: ## the benchmarks of single parts; bench/ has those of whole systems
	cargo bench --locked --package wasmill-bench

findings: ## check what findings/ says of other people's software; needs PyPI and npm
	@failed=; for finding in findings/*.sh; do \
	  echo "$$finding"; "$$finding" || failed="$$failed $$finding"; \
	done; test -z "$$failed" || { echo "not as described:$$failed" >&2; exit 1; }
