# `make help` explains every target. Set-up happens by itself, once.
SHELL := /bin/bash
BIN := .venv/bin
STORE ?= folder
export DEMO_SECONDS STORE

.PHONY: help demo test check client browser screenshots bench bench-ingest bench-scale bench-catalogue bench-live bench-browser bench-profile fuzz fuzz-api clocks crash-points kills store-faults disk-faults database-away soak power neighbours wall-soak live-loss clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 26

demo: ## six simulated cameras, recorded, shown, exported (STORE=folder|seaweedfs|minio, DEMO_SECONDS=60 ends by itself)
	@scripts/setup demo
	@scripts/client || echo "the demo goes on without pages in the browser"
	@[ "$(STORE)" != minio ] || scripts/setup minio
	@exec $(BIN)/vms demo --store $(STORE) $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

test: ## all tests, against real servers
	@scripts/setup test
	@scripts/client
	$(BIN)/pytest -n 2 --dist loadgroup -q

check: ## lint, types, import directions; the client's too, and its unit tests
	@scripts/setup test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@scripts/client check

client: ## the web client, built into web/client/dist where its sources changed
	@scripts/client

browser: ## the client in Chromium against a running site, by itself
	@scripts/setup test
	@scripts/client
	$(BIN)/pytest -q tests/browser

screenshots: ## every screen of the client, both languages and themes, two sizes (SHOTS="--languages pl --themes noc"), into build/screenshots
	@scripts/setup test
	@scripts/client
	$(BIN)/python -m tests.support.screenshots build/screenshots $(SHOTS)

bench: ## all benchmarks; nothing else may run meanwhile (BENCH_ARGS=--force tries them out)
	@$(MAKE) --no-print-directory --keep-going bench-ingest bench-scale bench-catalogue bench-live bench-browser

bench-ingest: ## CPU per MB recorded: ours beside ffmpeg, PyAV and the floor, 40 cameras
	@scripts/setup test
	$(BIN)/python -m bench.ingest $(BENCH_ARGS)

bench-scale: ## 190 cameras into MinIO, 95 into SeaweedFS, 3 minutes each
	@scripts/setup test
	$(BIN)/python -m bench.scale $(BENCH_ARGS)

bench-catalogue: ## rebuild from 100 000 objects; timelines over 25 million segments, SQLite and PostgreSQL
	@scripts/setup test
	$(BIN)/python -m bench.catalogue $(BENCH_ARGS)

bench-live: ## CPU per RTP packet and viewer, ours beside stock aiortc: 1 to 64 viewers of a camera, a wall of 24
	@scripts/setup test
	$(BIN)/python -m bench.live $(BENCH_ARGS)

bench-browser: ## in Chromium: age of pictures on the screen, time to picture of 1 and 16 tiles, the spot tile
	@scripts/setup test
	@scripts/client
	$(BIN)/python -m bench.browser $(BENCH_ARGS)

bench-profile: ## where the recorder's time goes, by function and by native symbol
	@scripts/setup test
	$(BIN)/python -m bench.profile_ingest $(BENCH_ARGS)

fuzz: ## fuzz the parsers (FUZZ_SECONDS=60 for each target)
	@scripts/setup test
	$(BIN)/python -m tests.fuzz.run --seconds $(or $(FUZZ_SECONDS),60)

fuzz-api: ## the HTTP interface against its own description (FUZZ_EXAMPLES=300 requests of each operation)
	@scripts/setup test
	FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),300) $(BIN)/pytest -q -s tests/unit/web/test_schema_fuzz.py

clocks: ## 10 000 random histories of clocks, networks and cameras (CLOCK_ARGS="--first 20001 --json FILE")
	@scripts/setup test
	$(BIN)/python -m tests.support.clock_run $(CLOCK_ARGS)

crash-points: ## archiver, deleter and salvage killed at every step, all stores and catalogues (CRASH_ARGS="--share 1/8")
	@scripts/setup test
	$(BIN)/python -m tests.support.crashes.run --json bench/results/crash-points.json $(CRASH_ARGS)

kills: ## kill -9 of recorder workers, 200 times, 20 cameras (KILL_ARGS="--up --kills 40 --json FILE")
	@scripts/setup test
	$(BIN)/python -m tests.support.kill_run $(KILL_ARGS)

store-faults: ## the store away, failing, cutting, losing, doubling, 10 minutes each, 40 cameras (STORE_ARGS="--seconds 60 --json FILE")
	@scripts/setup test
	$(BIN)/python -m tests.support.store_run $(STORE_ARGS)

disk-faults: ## every call to the disk refused, by ENOSPC and by EIO (DISK_ARGS="--most 5 recording --json FILE")
	@scripts/setup test
	$(BIN)/python -m tests.support.disk_faults --most 1000 $(DISK_ARGS)

database-away: ## PostgreSQL stopped for ten minutes under a running site (AWAY_SECONDS=600)
	@scripts/setup test
	AWAY_SECONDS=$(or $(AWAY_SECONDS),600) $(BIN)/pytest -q tests/system/test_database_away.py

power: ## power lost at every call of a recorder's run, nothing or all or some of what was not flushed left
	@scripts/setup test
	$(BIN)/python -m tests.support.power_run $(POWER_ARGS)

neighbours: ## cameras that harm beside ten that must lose nothing (NEIGHBOUR_ARGS="--seconds 60 --together --json FILE")
	@scripts/setup test
	$(BIN)/python -m tests.support.neighbours_run $(NEIGHBOUR_ARGS)

soak: ## an hour of 40 cameras under all faults at random (SOAK_ARGS="--minutes 20 --seed 7 --json FILE")
	@scripts/setup test
	$(BIN)/python -m tests.support.soak $(SOAK_ARGS)

wall-soak: ## a wall of 16 tiles in Chromium for two hours (WALL_MINUTES=120)
	@scripts/setup test
	@scripts/client
	$(BIN)/python -m tests.support.wall_run --minutes $(or $(WALL_MINUTES),120) --json bench/results/wall.json

live-loss: ## freezes and repeats of a viewer in Chromium that loses packets (LOSS_ARGS="--seconds 60")
	@scripts/setup test
	$(BIN)/python -m tests.support.loss_run --json bench/results/live-loss.json $(LOSS_ARGS)

clean: ## remove .venv, caches and demo data
	rm -rf web/client/node_modules web/client/dist .venv .venv-fuzz .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build demo-data
	find vms recorder -name '*.so' -delete; rm -f *__mypyc.*.so
