# The one door to building, testing and trying tickcast. Each target does its own set-up.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# ONNX Runtime reports its use to its maker unless this is set before it loads.
export ORT_DISABLE_TELEMETRY := 1
export ORT_TELEMETRY_DISABLED := 1

# The daemon as it ships, without the trainer. Its profile has a folder of its own, target/dist: only
# `cargo build --release` and `cargo run --release` write to target/release.
PROFILE := dist
DAEMON := --locked --profile $(PROFILE) --no-default-features --features kafka
TRAINER := --release --locked

# Every package by its version and hashes, and nothing that would be built here.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --require-hashes \
  --only-binary=:all: --requirement

# Where setup.sh has put ONNX Runtime and the recorded data.
ENVIRONMENT := eval "$$(deploy/setup.sh env)"

.PHONY: help setup demo demo-kafka test test-kafka test-arm test-promotions test-api test-deploy \
  test-kubernetes test-models autobahn sim sim-mutations fuzz deb check audit sbom bench bench-kernel \
  bench-parts bench-stream bench-promotions bench-history bench-verdict bench-python bench-kafka \
  bench-kafka-group bench-train soak train backtest smoke clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s  %s\n", $$1, $$2 }' Makefile
	@printf '\nVariables: PROFILE=dev builds without optimization, TICKCAST=PATH takes a built tickcast.\n'

setup: ## Check the prerequisites, fetch ONNX Runtime and the recorded data into .cache
	@deploy/setup.sh all

demo: ## Forecast recorded stock days live in this terminal (DEMO_SECONDS=20 ends by itself)
	@deploy/demo.sh

demo-kafka: ## The same through topics of a Kafka broker, read back with kcat
	@deploy/demo.sh kafka

# The integration tests wait for daemons and brokers more than they compute, so there are more of
# them at once than processors.
TEST_THREADS ?= $(shell echo $$((5 * $$(nproc) / 2)))

# Begins with a build without any feature, whose binary the second build replaces in target/debug.
test: ## Run all tests but the long ones of test-kafka
	@deploy/setup.sh all --for test
	$(ENVIRONMENT); cargo test --locked --no-default-features --test it -- command_line config_corpus
	$(ENVIRONMENT); cargo test --locked --lib --bins --examples --bench parts --test sim
	$(ENVIRONMENT); cargo test --locked --doc
	$(ENVIRONMENT); cargo test --locked --test it -- --skip kafka_long:: --test-threads $(TEST_THREADS)

test-kafka: ## Kill daemons and brokers at random (TICKCAST_TEST_KILLS=200 for as many of each)
	@deploy/setup.sh all --for test
	$(ENVIRONMENT); cargo test --locked --test it -- --nocapture kafka_long::

test-promotions: ## Swap and promote under load (TICKCAST_TEST_SWAPS=100 TICKCAST_TEST_PROMOTIONS=20)
	@deploy/setup.sh all --for test
	$(ENVIRONMENT); cargo test --locked --test it -- --nocapture promotions::

autobahn: ## Have the Autobahn test suite judge the WebSocket server and client (fetches it)
	@deploy/setup.sh prerequisites --for test-api
	cargo build --locked --features echo --example echo
	python3 tests/autobahn/judge.py target/debug/examples/echo

sim: ## Simulate whole lives with faults, by seeds (SIM_SEEDS=100000 for a night)
	SIM_SEEDS=$${SIM_SEEDS:-5000} cargo test --locked --release --test sim -- --nocapture

# A copy with every mutation is built once; each of them then has 1,000 seeds to be found.
sim-mutations: ## Break the program on purpose and let the simulation find it (SIM_SEEDS at most)
	tests/sim/mutations.py

# Not under cargo's own runner: these drive a Prometheus, systemd's judge and a packager.
test-deploy: ## Test what is in deploy/ against a real Prometheus, systemd, dpkg and schemas
	@deploy/setup.sh all --for deploy
	@deploy/setup.sh auditor
	cargo build --locked
	$(ENVIRONMENT); PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$$TICKCAST_TOOLS/python" \
	  python3 -m unittest discover --start-directory tests/deploy --verbose

# Outside of continuous integration: the API server takes ten minutes or more to build.
test-kubernetes: ## Have a real API server admit every manifest of deploy/kubernetes and deploy/helm
	@deploy/setup.sh prerequisites --for kubernetes
	@deploy/setup.sh all
	@deploy/setup.sh tools
	@deploy/setup.sh kubernetes
	$(ENVIRONMENT); PYTHONDONTWRITEBYTECODE=1 \
	  PYTHONPATH="$$TICKCAST_TOOLS/python:tests/deploy" \
	  python3 -m unittest discover --start-directory tests/kubernetes --verbose

deb: ## Build the Debian package into target/debian
	@deploy/setup.sh all
	@deploy/setup.sh tools
	cargo build $(DAEMON)
	deploy/debian/build.sh $(PROFILE)

test-api: ## Hold docs/api and the examples to a running daemon (fetches Python and Node packages)
	@deploy/setup.sh prerequisites --for test-api
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo build --locked --bin tickcast --example subscribe
	test -x .cache/api/bin/python || python3 -m venv .cache/api
	.cache/api/bin/python $(PIP_INSTALL) tests/api/requirements.txt
	mkdir -p .cache/api/node
	cp tests/api/package.json tests/api/package-lock.json .cache/api/node
	npm ci --silent --no-audit --no-fund --ignore-scripts --prefix .cache/api/node
	$(ENVIRONMENT); TICKCAST=target/debug/tickcast EXAMPLE=target/debug/examples/subscribe \
	  STOCKS="$$TICKCAST_TEST_DATA" NODE_PATH="$$PWD/.cache/api/node/node_modules" \
	  SPECIFICATIONS="$$PWD/.cache/api/node/node_modules/@asyncapi/specs" \
	  .cache/api/bin/python tests/api/check.py

# Outside of continuous integration: PyTorch for Linux, as PyPI has it, brings libraries of CUDA along.
test-models: ## Seal models of Keras, PyTorch, LightGBM, all fetched; serve them (MODELS=--list)
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo build --locked --bin tickcast
	test -x .cache/models-python/bin/python || python3 -m venv .cache/models-python
	.cache/models-python/bin/python $(PIP_INSTALL) tests/exporters/requirements.txt
	$(ENVIRONMENT); TICKCAST=target/debug/tickcast STOCKS="$$TICKCAST_TEST_DATA" \
	  MODELS_FOLDER=target/exported-models PYTHONDONTWRITEBYTECODE=1 \
	  .cache/models-python/bin/python tests/exporters/check.py $(MODELS)

# With every feature, with none, and as the daemon ships: the first two find what is dead with one
# feature off, the last what names code of the trainer. It needs no tests, so it is quick.
check: ## Check format, lints and house rules
	@deploy/setup.sh prerequisites --for check
	for script in deploy/*.sh deploy/*/*.sh fuzz/run.sh .ci/run; do bash -n "$$script"; done
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	cargo clippy --locked --no-default-features --features kafka -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	cargo test --locked --test it tidy
	$(MAKE) --no-print-directory audit

audit: ## Check licenses, sources and known vulnerabilities of all crates (part of make check)
	@deploy/setup.sh auditor
	deploy/audit.sh

sbom: ## List all parts of the daemon in the format CycloneDX: target/sbom/tickcast.cdx.json
	@deploy/setup.sh onnxruntime
	@deploy/setup.sh inventory
	deploy/sbom.sh target/sbom/tickcast.cdx.json

bench: ## Measure beside raw ONNX Runtime (BENCH='--seconds 0.02'; BENCH=inference for one bench)
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo run $(DAEMON) -- bench $(BENCH)

test-arm: ## Test the native kernels for ARM64 by emulation (qemu-user, an ARM64 linker and std)
	tests/arm64.sh

bench-kernel: ## Measure the native kernels; fails where they miss their marks (BENCH='--seconds 0.2 --no-fail')
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo run $(DAEMON) -- bench kernel $(BENCH)

bench-parts: ## Measure decoding, features, windows, the engine, encoding (BENCH=--test: each once)
	cargo bench $(DAEMON) --bench parts -- $(BENCH)

bench-stream: ## Measure from WebSocket tick to WebSocket forecast (BENCH_SECONDS=0.2)
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo bench $(DAEMON) --bench stream

# Each turn has five phases of BENCH_SECONDS: 150 s by default, with about 150 changes of each kind.
bench-promotions: ## Measure forecasts during swaps and promotions (BENCH_SECONDS=0.2 BENCH_TURNS=1)
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo bench $(DAEMON) --bench promotions

# 14 s at the pace of Binance, and 54 s at that of Kraken, for a tenth of the symbols.
bench-history: ## Measure how long many symbols take to be warm over REST (BENCH_SYMBOLS=20)
	cargo bench $(DAEMON) --bench history

# 160 million scores for the false alarms, and as many at most for the delays: minutes.
bench-verdict: ## Simulate verdicts: false alarms and delays (VERDICT_STREAMS=100 VERDICT_SCORES=3000)
	VERDICT_STREAMS=$${VERDICT_STREAMS:-1000} VERDICT_SCORES=$${VERDICT_SCORES:-20000} \
	  cargo test --locked --release --lib core::verdict::tests::simulation -- --nocapture --test-threads 1

bench-python: ## Measure beside Keras and a Python loop, both fetched (BENCH_SECONDS=0.1)
	@deploy/setup.sh all
	test -x .cache/reference/bin/python || python3 -m venv .cache/reference
	.cache/reference/bin/python $(PIP_INSTALL) benches/requirements-keras.txt
	$(ENVIRONMENT); .cache/reference/bin/python benches/python_inference.py

bench-kafka: ## Measure Kafka to Kafka beside others, all fetched (BENCH='--runs 1 --seconds 1')
	@deploy/setup.sh prerequisites --for test
	@deploy/setup.sh all
	@deploy/setup.sh kafka
	test -x .cache/reference-kafka/bin/python || python3 -m venv .cache/reference-kafka
	.cache/reference-kafka/bin/python $(PIP_INSTALL) benches/requirements-kafka.txt
	$(ENVIRONMENT); .cache/reference-kafka/bin/python benches/kafka.py $(BENCH)

bench-kafka-group: ## Measure restores and rebalances (BENCH='--beside before=/path/to/tickcast')
	@deploy/setup.sh prerequisites --for test
	@deploy/setup.sh all
	@deploy/setup.sh kafka
	test -x .cache/reference-kafka/bin/python || python3 -m venv .cache/reference-kafka
	.cache/reference-kafka/bin/python $(PIP_INSTALL) benches/requirements-kafka.txt
	$(ENVIRONMENT); .cache/reference-kafka/bin/python benches/kafka_group.py $(BENCH)

# Without PyTorch, which PyPI has for Linux with the libraries of CUDA alone: BENCH_PEERS=keras.
BENCH_PEERS ?= keras,torch

bench-train: ## Measure the trainer beside Keras and PyTorch, both fetched (BENCH=sizes BENCH_SEEDS=5)
	@deploy/setup.sh all
	test -x .cache/reference/bin/python || python3 -m venv .cache/reference
	.cache/reference/bin/python $(PIP_INSTALL) benches/requirements-keras.txt
	if [[ '$(BENCH_PEERS)' == *torch* ]]; then \
	  test -x .cache/reference-torch/bin/python || python3 -m venv .cache/reference-torch; \
	  .cache/reference-torch/bin/python $(PIP_INSTALL) benches/requirements-torch.txt; \
	fi
	$(ENVIRONMENT); BENCH_PROFILE=$(PROFILE) BENCH_PEERS='$(BENCH_PEERS)' PYTHONDONTWRITEBYTECODE=1 \
	  TORCH_PYTHON=.cache/reference-torch/bin/python \
	  .cache/reference/bin/python benches/train_peers.py $(or $(BENCH),tasks)

soak: ## Bursts at ten times the sustainable rate, ten minutes long (SOAK_SECONDS=5)
	@deploy/setup.sh all
	cargo build $(DAEMON)
	$(ENVIRONMENT); python3 benches/soak.py

fuzz: ## Run each fuzz target for FUZZ_SECONDS=60 (FUZZ=frame for one alone)
	fuzz/run.sh

train: ## Train models/aapl-daily on the recorded AAPL days (TRAIN='-c FILE' for something else)
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo run $(TRAINER) -- train $(or $(TRAIN),-c config/train/aapl.toml)

backtest: ## Retrain through the recorded stock days, and judge (BACKTEST='-c FILE' for others)
	@deploy/setup.sh all
	$(ENVIRONMENT); cargo run $(TRAINER) -- backtest \
	  $(or $(BACKTEST),-c config/train/stocks-volatility.toml --every 1y --folds 5)

smoke: ## Run each command above for seconds (SMOKE=all: with big downloads; SMOKE='demo soak')
	@deploy/smoke.sh $(SMOKE)

clean: ## Remove what cargo built (the downloads in .cache stay)
	cargo clean
