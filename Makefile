# SPDX-License-Identifier: Apache-2.0
#
# make help explains. One build folder per variant: build/<release|debug|asan|tsan|fuzz>/.

VARIANT   ?= release
BUILD     := build/$(VARIANT)
MULTIARCH := $(shell $(CC) -print-multiarch)
PYTHON    := /usr/bin/python3
SECONDS   ?=
STATIC    ?=
TIME      ?= 60
JOBS      ?= $(shell nproc)

# BoringSSL: Debian's android-libboringssl-dev, or any other build: make BORINGSSL=DIR with
# DIR/include and DIR/lib.
ifdef BORINGSSL
TLS_CPPFLAGS := -I$(BORINGSSL)/include
TLS_LDFLAGS  := -L$(BORINGSSL)/lib -Wl,-rpath,$(BORINGSSL)/lib
else
TLS_CPPFLAGS := -I/usr/include/android
TLS_LDFLAGS  := -L/usr/lib/$(MULTIARCH)/android -Wl,-rpath,/usr/lib/$(MULTIARCH)/android
endif

VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
CPPFLAGS += -Iinclude $(TLS_CPPFLAGS) -D_GNU_SOURCE
WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wvla -Wformat=2 -Wundef -Werror=return-type
HARDEN   := -fstack-protector-strong -fPIE -fno-strict-aliasing
CFLAGS   += -std=gnu17 -g $(WARNINGS) -Wstrict-prototypes -Wmissing-prototypes $(HARDEN)
CXXFLAGS += -std=c++17 -g $(WARNINGS) $(HARDEN)
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(TLS_LDFLAGS)
LDLIBS   += -lssl -lcrypto -lev -lcares -lhiredis -lstdc++ -lpthread

ifeq ($(VARIANT),release)
CFLAGS   += -O2 -D_FORTIFY_SOURCE=2
CXXFLAGS += -O2 -D_FORTIFY_SOURCE=2
else ifeq ($(VARIANT),debug)
CFLAGS   += -O0
else ifeq ($(VARIANT),asan)
CFLAGS   += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
CXXFLAGS += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined
LDFLAGS  += -fsanitize=address,undefined
else ifeq ($(VARIANT),tsan)
CFLAGS   += -O1 -fsanitize=thread
CXXFLAGS += -O1 -fsanitize=thread
LDFLAGS  += -fsanitize=thread
else ifeq ($(VARIANT),fuzz)
CC       := clang
CXX      := clang++
CFLAGS   += -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
CXXFLAGS += -O1 -fsanitize=fuzzer-no-link,address,undefined
LDFLAGS  += -fsanitize=address,undefined
endif

SOURCES      := $(wildcard proxy/*/*.c proxy/*/*.cpp)
PROGRAM_ONLY := proxy/daemon/main.c proxy/daemon/wipe.c
ROOM_OBJECTS := $(patsubst %,$(BUILD)/%.o,$(filter-out $(PROGRAM_ONLY),$(SOURCES)))
MAIN_OBJECT  := $(BUILD)/proxy/daemon/main.c.o
# Sanitizers have a free() of their own.
WIPE_OBJECT  := $(if $(filter release debug,$(VARIANT)),$(BUILD)/proxy/daemon/wipe.c.o)
ROOMS        := $(BUILD)/rooms.a
GATEPOST     := $(BUILD)/gatepost
UNIT_TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
SUPPORT      := $(patsubst %,$(BUILD)/%.o,$(wildcard tests/support/*.c))
FUZZERS      := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS      := $(patsubst %,$(BUILD)/replay/%,$(FUZZERS))
BENCH_TOOLS  := $(patsubst %,$(BUILD)/bench/%,imapload plain_backend tls_memory route_cache directory uncached)

.DEFAULT_GOAL := all
.PHONY: FORCE all help run test programs unit replay integration scan check lint model fuzz bench clean install-deps
.SECONDARY:

all: $(GATEPOST) ## build gatepost (VARIANT=release|debug|asan|tsan)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

install-deps: ## install the Debian packages that are missing
	@deploy/install-deps.sh

run: install-deps ## a whole cluster on this machine: Redis, two Dovecots, gatepost (SECONDS=30, STATIC=1)
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@SECONDS_TO_RUN="$(SECONDS)" STATIC="$(STATIC)" GATEPOST="$(GATEPOST)" deploy/run.sh

test: ## install what is missing, build, and run every test
	@deploy/install-deps.sh --test
	@$(MAKE) --no-print-directory -j$(JOBS) programs
	@$(MAKE) --no-print-directory unit replay integration

programs: $(GATEPOST) $(UNIT_TESTS) $(REPLAYS) ## build all that the tests run

unit: $(UNIT_TESTS) ## unit tests
	@tests/unit/run.sh $(UNIT_TESTS)

replay: $(REPLAYS) ## every fuzz corpus once
	@tests/fuzz/replay.sh $(BUILD)/replay

integration: $(GATEPOST) ## gatepost with real Redis, Dovecot and clients
	@GATEPOST="$(abspath $(GATEPOST))" $(PYTHON) -m pytest -q -p no:cacheprovider tests/integration

scan: $(GATEPOST) ## what testssl.sh has to say of TLS, all of it (minutes)
	@SCAN=1 GATEPOST="$(abspath $(GATEPOST))" $(PYTHON) -m pytest -q -p no:cacheprovider \
		tests/integration/test_tls_scanners.py

check: ## what a change must pass: lint, models, and every test under ASan and UBSan
	@deploy/install-deps.sh --check
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@$(MAKE) --no-print-directory lint
	@$(PYTHON) tests/model/run.py --quick
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=asan programs
	@$(MAKE) --no-print-directory VARIANT=asan unit replay integration

lint: $(GATEPOST) ## floors, headers, globals, sizes, linkage, clang-tidy, cppcheck
	@CPPFLAGS="$(CPPFLAGS)" tests/lint/run.sh $(GATEPOST) $(MAIN_OBJECT) $(ROOM_OBJECTS)

model: ## every schedule of moves, proxies and losses, and each rule taken away (minutes)
	@deploy/install-deps.sh --check
	@$(PYTHON) tests/model/run.py

fuzz: ## libFuzzer on every target (TIME=60 seconds each)
	@deploy/install-deps.sh --check
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=fuzz $(patsubst %,build/fuzz/fuzzers/%,$(FUZZERS))
	@tests/fuzz/run.sh build/fuzz/fuzzers $(TIME)

bench: ## what routing costs, and gatepost beside nginx and HAProxy, on one pinned core
	@deploy/install-deps.sh --bench
	@$(MAKE) --no-print-directory -j$(JOBS) $(GATEPOST) $(BENCH_TOOLS)
	@$(BUILD)/bench/tls_memory
	@$(BUILD)/bench/route_cache
	@$(BUILD)/bench/directory
	@$(PYTHON) tests/bench/routing.py --gatepost $(GATEPOST) --tools $(BUILD)/bench
	@$(PYTHON) tests/bench/run.py --gatepost $(GATEPOST) --tools $(BUILD)/bench

clean: ## remove build/
	rm -rf build

$(GATEPOST): $(MAIN_OBJECT) $(WIPE_OBJECT) $(ROOMS)
	@echo "  LINK $@"
	@$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(ROOMS): $(ROOM_OBJECTS)
	@echo "  AR   $@"
	@rm -f $@
	@$(AR) rcs $@ $^

$(BUILD)/%.c.o: %.c
	@echo "  CC   $<"
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Those that name the version are made anew when it changes.
NAMES_VERSION := $(BUILD)/proxy/daemon/main.c.o $(BUILD)/proxy/daemon/process.c.o
$(NAMES_VERSION): CPPFLAGS += -DGATEPOST_VERSION='"$(VERSION)"'
$(NAMES_VERSION): $(BUILD)/version

$(BUILD)/version: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@

$(BUILD)/%.cpp.o: %.cpp
	@echo "  CXX  $<"
	@mkdir -p $(@D)
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/%: $(BUILD)/tests/unit/%.c.o $(SUPPORT) $(ROOMS)
	@echo "  LINK $@"
	@mkdir -p $(@D)
	@$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

# They make allocations fail.
$(BUILD)/unit/test_session_memory: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=strdup
$(BUILD)/unit/test_roster: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=strdup
$(BUILD)/unit/test_table: LDFLAGS += -Wl,--wrap=calloc
$(BUILD)/unit/test_route_cache: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc

# Time passes in them when they say so.
FROZEN := client_park departure orphan backend_queue backend_failover backend_referral presence
$(FROZEN:%=$(BUILD)/unit/test_%): LDFLAGS += -Wl,--wrap=clock_gettime

# It has a clock of its own.
$(BUILD)/unit/test_resolver: LDFLAGS += -Wl,--wrap=timeouts_now_ms
$(BUILD)/unit/test_member: LDFLAGS += -Wl,--wrap=timeouts_now_ms

$(BUILD)/replay/%: $(BUILD)/tests/fuzz/%.c.o $(BUILD)/tests/fuzz/replay_main.c.o $(ROOMS)
	@echo "  LINK $@"
	@mkdir -p $(@D)
	@$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/fuzzers/%: $(BUILD)/tests/fuzz/%.c.o $(ROOMS)
	@echo "  LINK $@"
	@mkdir -p $(@D)
	@$(CXX) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

$(BUILD)/bench/imapload: $(patsubst %,$(BUILD)/%.o,$(wildcard tests/bench/load_*.c))

# The certificates of the tests are made under cmocka's assertions.
$(BUILD)/bench/tls_memory: LDLIBS += -lcmocka
$(BUILD)/bench/tls_memory: $(BUILD)/tests/support/certified.c.o $(ROOMS)

$(BUILD)/bench/route_cache: $(ROOMS)
$(BUILD)/bench/directory $(BUILD)/bench/uncached: LDLIBS += -lcmocka
$(BUILD)/bench/directory $(BUILD)/bench/uncached: $(BUILD)/tests/support/config_text.c.o $(ROOMS)

$(BUILD)/bench/%: $(BUILD)/tests/bench/%.c.o
	@echo "  LINK $@"
	@mkdir -p $(@D)
	@$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tests/%.c.o: CPPFLAGS += -Itests

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
