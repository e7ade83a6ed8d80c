# A thin front of CMake. `make demo` and `make test` need nothing else on a fresh Debian 12.
BUILD := build
JOBS  := $(shell nproc)
export CTEST_OUTPUT_ON_FAILURE := 1

.PHONY: all build packages demo test unit chaos bench asan tsan format check install clean

all: build

packages:
	@scripts/install-packages

$(BUILD)/build.ninja: | packages
	cmake --preset dev

build: packages $(BUILD)/build.ninja
	cmake --build $(BUILD) -j $(JOBS)

# The whole project at work on private servers: no configuration, no question, under a minute.
demo: build
	scripts/private-servers $(BUILD)/bin/celeriac demo

test: build
	ctest --test-dir $(BUILD) --no-tests=error -j $(JOBS)

unit: build
	ctest --test-dir $(BUILD) --no-tests=error -j $(JOBS) -L unit

# Everything is killed, paused and cut: tests/chaos/README.md. About an hour; `make chaos CHAOS=crashpoints` runs one.
CHAOS := crashpoints randomkills interruptions $(filter etas cronday revokes mixed canvases outbox once,$(basename $(notdir $(wildcard tests/chaos/*.py))))
chaos: build
	@for harness in $(CHAOS); do \
	    CELERIAC_BUILD=$(CURDIR)/$(BUILD) /usr/bin/python3 -B tests/chaos/$$harness.py --output $(BUILD)/chaos/$$harness.txt || failed=1; \
	done; test -z "$$failed"

bench: packages
	cmake --preset release
	cmake --build build-release -j $(JOBS)
	CELERIAC_BUILD=$(CURDIR)/build-release bench/run

# The suite with clang under address and undefined behaviour sanitizers.
asan: packages
	cmake --preset asan
	cmake --build build-asan -j $(JOBS)
	ctest --test-dir build-asan --no-tests=error -j $(JOBS)

# Several handles in several threads, under the thread sanitizer.
tsan: packages
	cmake --preset tsan
	cmake --build build-tsan -j $(JOBS) --target test_integration_client_send test_integration_client_await
	ctest --test-dir build-tsan --no-tests=error -R 'integration/client/(send|await)'

format: packages
	git ls-files '*.c' '*.h' '*.cpp' | xargs clang-format-14 -i

check: packages
	scripts/check

install: build
	cmake --install $(BUILD)

clean:
	rm -rf build build-*
