# The one door to building, testing and trying tickcast. Each target does its own set-up.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# ONNX Runtime reports its use to its maker unless this is set before it loads.
export ORT_DISABLE_TELEMETRY := 1
export ORT_TELEMETRY_DISABLED := 1

# The daemon as it ships, without the trainer. Its profile has a folder of its own, target/dist: only
# `cargo build --release` and `cargo run --release` write to target/release.
DAEMON := --locked --profile dist --no-default-features --features kafka

# Where setup.sh has put ONNX Runtime and the recorded data.
ENVIRONMENT := eval "$$(deploy/setup.sh env)"

.PHONY: help setup demo demo-kafka test test-api test-deploy deb check bench bench-parts bench-stream bench-python bench-kafka \
  bench-train soak fuzz train clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s  %s\n", $$1, $$2 }' Makefile

setup: ## Check the prerequisites, fetch ONNX Runtime and the recorded data into .cache
	@deploy/setup.sh all

demo: ## Forecast recorded stock days live in this terminal (DEMO_SECONDS=20 ends by itself)
	@deploy/demo.sh

demo-kafka: ## The same through topics of a Kafka broker, read back with kcat
	@deploy/demo.sh kafka

# Begins with a build without any feature, whose binary the second build replaces in target/debug.
test: ## Run all tests
	@deploy/setup.sh all --for test
	$(ENVIRONMENT); cargo test --locked --no-default-features --test it -- command_line config_corpus
	$(ENVIRONMENT); cargo test --locked

# Not under cargo's own runner: these drive a Prometheus, systemd's judge and a packager.
test-deploy: ## Test what is in deploy/ against a real Prometheus, systemd, dpkg and schemas
	@deploy/setup.sh all --for deploy
	cargo build --locked
	$(ENVIRONMENT); PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$$TICKCAST_TOOLS/python" \
	  python3 -m unittest discover --start-directory tests/deploy --verbose

deb: ## Build the Debian package into target/debian
	@deploy/setup.sh all
	@deploy/setup.sh tools
	cargo build $(DAEMON)
	deploy/debian/build.sh

test-api: ## Hold docs/api and the examples to a running daemon (fetches Python and Node packages)
	@deploy/setup.sh prerequisites --for test-api
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo build --locked --bin tickcast --example subscribe
	test -x .cache/api/bin/python || python3 -m venv .cache/api
	.cache/api/bin/python -m pip install --quiet --disable-pip-version-check \
	  jsonschema==4.25.1 openapi-spec-validator==0.7.2 websockets==15.0.1
	npm install --silent --no-audit --no-fund --prefix .cache/api/node ws@8.18.3 @asyncapi/specs@6.10.0
	$(ENVIRONMENT); TICKCAST=target/debug/tickcast EXAMPLE=target/debug/examples/subscribe \
	  STOCKS="$$TICKCAST_TEST_DATA" NODE_PATH="$$PWD/.cache/api/node/node_modules" \
	  SPECIFICATIONS="$$PWD/.cache/api/node/node_modules/@asyncapi/specs" \
	  .cache/api/bin/python tests/api/check.py

# With every feature, with none, and as the daemon ships: the first two find what is dead with one
# feature off, the last what names code of the trainer. It needs no tests, so it is quick.
check: ## Check format, lints and house rules
	@deploy/setup.sh prerequisites --for check
	for script in deploy/*.sh deploy/debian/build.sh fuzz/run.sh .ci/run; do bash -n "$$script"; done
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	cargo clippy --locked --no-default-features --features kafka -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	cargo test --locked --test it tidy

bench: ## Measure beside raw ONNX Runtime (BENCH='inference --models seed' for one bench)
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo run $(DAEMON) -- bench $(BENCH)

bench-parts: ## Measure decoding, features, windows, the engine and encoding one by one
	cargo bench $(DAEMON) --bench parts

bench-stream: ## Measure from WebSocket tick to WebSocket forecast (BENCH_SECONDS=1 for short)
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo bench $(DAEMON) --bench stream

bench-python: ## Measure beside Keras and a Python loop over onnxruntime (fetches both)
	@deploy/setup.sh all
	test -x .cache/reference/bin/python || python3 -m venv .cache/reference
	.cache/reference/bin/python -m pip install --quiet --disable-pip-version-check \
	  keras==3.15.1 tensorflow-cpu==2.21.0 onnxruntime==1.32.0
	$(ENVIRONMENT); .cache/reference/bin/python benches/python_inference.py

bench-kafka: ## Measure Kafka to Kafka beside a bare loop, Python and Quix Streams (fetches all)
	@deploy/setup.sh prerequisites --for test
	@deploy/setup.sh all
	@deploy/setup.sh kafka
	test -x .cache/reference/bin/python || python3 -m venv .cache/reference
	.cache/reference/bin/python -m pip install --quiet --disable-pip-version-check \
	  confluent-kafka==2.12.2 quixstreams==3.28.1 onnxruntime==1.32.0
	$(ENVIRONMENT); .cache/reference/bin/python benches/kafka.py $(BENCH)

bench-train: ## Measure an epoch of the trainer beside one of Keras (fetches Keras)
	test -x .cache/reference/bin/python || python3 -m venv .cache/reference
	.cache/reference/bin/python -m pip install --quiet --disable-pip-version-check \
	  keras==3.15.1 tensorflow-cpu==2.21.0
	.cache/reference/bin/python benches/keras_epoch.py

soak: ## Bursts at ten times the sustainable rate, ten minutes long (SOAK_SECONDS=60 for one)
	@deploy/setup.sh all
	cargo build $(DAEMON)
	$(ENVIRONMENT); python3 benches/soak.py

fuzz: ## Run each fuzz target for FUZZ_SECONDS=60 (FUZZ=frame for one alone)
	fuzz/run.sh

train: ## Train models/aapl-daily on the recorded AAPL days
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo run --release --locked -- train -c config/train/aapl.toml

clean: ## Remove what cargo built (the downloads in .cache stay)
	cargo clean
