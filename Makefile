# SPDX-License-Identifier: Apache-2.0
# One file, not recursive. `make help` lists the targets.
#
#   CC=clang  SANITIZE=address,undefined|thread|memory  WERROR=1  V=1  BUILD=dir  CROSS=aarch64-linux-gnu-  JOBS=2
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:

CROSS ?=
ifeq ($(origin CC),default)
CC := $(CROSS)gcc
endif
ifeq ($(origin AR),default)
AR := $(CROSS)ar
endif
OBJCOPY ?= $(CROSS)objcopy
PKG_CONFIG ?= pkg-config
PYTHON ?= python3
BUILD ?= build
# Where `make install` puts what it puts, below DESTDIR; STATIC=1: the programs of `make static`, and no library.
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
STATIC ?=
# A directory with cJSON.c and cJSON.h, for `make static`.
CJSON ?= $(BUILD)/cjson
# What runs a program built for another machine (check-aarch64).
EMULATOR ?=
# Seconds for each fuzzer.
FUZZ_SECONDS ?= 20
AFL_SECONDS ?= 20
# Of the thousands of allocations of a run, torture fails every N-th (1: all).
TORTURE_STRIDE ?= 16

CFLAGS ?= -O2 -g
comma := ,
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wundef -Wvla -Wformat=2 -Wcast-qual -Wstrict-prototypes \
            -Wmissing-prototypes -Wswitch-enum -Wwrite-strings -Wpointer-arith $(if $(WERROR),-Werror)
# The first of some flags that the compiler takes without a warning, with its C library's headers.
accepted = $(firstword $(foreach flag,$(1),$(shell \
    $(CC) -Werror $(CFLAGS) -U_FORTIFY_SOURCE $(flag) -include stdlib.h -x c -c -o /dev/null /dev/null 2>/dev/null && \
    echo '$(flag)')))
# One set of objects for programs and libraries; what no public header declares is no symbol of the shared library.
HARDENING := -fPIC -fvisibility=hidden -fstack-protector-strong $(call accepted,-fstack-clash-protection) \
             $(call accepted,-fcf-protection=full -mbranch-protection=standard) \
             $(if $(SANITIZE),,-U_FORTIFY_SOURCE $(call accepted,-D_FORTIFY_SOURCE=3 -D_FORTIFY_SOURCE=2))
SANITIZERS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
# -ffp-contract=off: a fused multiply-add would change bits.
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Isrc $(WARNINGS) $(HARDENING) $(SANITIZERS) \
              -ffp-contract=off -pthread $(CFLAGS)
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack $(SANITIZERS) -pthread $(LDFLAGS)

# pkg-config speaks for this machine alone; a cross compiler finds its own libraries by name.
library_flags = $(shell $(if $(CROSS),false,$(PKG_CONFIG)) --libs $(1) 2>/dev/null || echo $(2))
LIBS := $(call library_flags,libcjson,-lcjson) $(call library_flags,libcrypto,-lcrypto) \
        $(call library_flags,zlib,-lz) -lm

OBJ := $(BUILD)/obj/$(shell printf '%s' '$(CC) $(ALL_CFLAGS)' | cksum | cut -d' ' -f1)
Q := $(if $(V),,@)

PROGRAM_SRC := $(sort $(wildcard src/*.c))
# src/make_delta.c is llavamed-make-delta.
PROGRAMS := $(subst _,-,$(patsubst src/%.c,llavamed-%,$(PROGRAM_SRC)))
LIB_SRC := $(sort $(filter-out src/cli/%,$(wildcard src/*/*.c src/kernel/*/*.c)))
CLI_SRC := $(sort $(wildcard src/cli/*.c))
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
TOOL_SRC := $(sort $(wildcard tests/tools/*.c))
BENCH_SRC := $(sort $(wildcard tests/bench/*.c))
KERNEL_TEST_SRC := $(sort $(wildcard tests/kernel/*.c))
FAULT_SRC := $(sort $(wildcard tests/fault/shim*.c))
FUZZ_SRC := $(sort $(filter-out %/fuzz_main.c,$(wildcard tests/fuzz/fuzz_*.c)))

objects = $(patsubst %.c,$(OBJ)/%.o,$(1))
LIB := $(OBJ)/libllavamed.a
UNIT_TESTS := $(patsubst %.c,$(OBJ)/%,$(UNIT_SRC))
KERNEL_TEST := $(OBJ)/tests/kernel/checkkern
FUZZERS := $(patsubst %.c,$(OBJ)/%,$(FUZZ_SRC))

## all: the programs, in build/ (the default)
.PHONY: all
all: $(addprefix $(BUILD)/,$(PROGRAMS))

# One instruction set per file, its flags set by the suffix; the files of another architecture compile to nothing.
# (No -mno-fma with AVX-512: clang takes that as no AVX-512 either.)
ifneq ($(filter x86_64% i%86-%,$(shell $(CC) -dumpmachine)),)
$(OBJ)/%_pclmul.o: ISA_CFLAGS := -mpclmul
$(OBJ)/%_vpclmul.o: ISA_CFLAGS := -mpclmul -mavx512f $(call accepted,-mvpclmulqdq)
$(OBJ)/%_avx2.o: ISA_CFLAGS := -mavx2 -mf16c -mno-fma
$(OBJ)/%_avx512.o: ISA_CFLAGS := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mf16c
endif

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC    $<')
	$(Q)$(CC) $(ALL_CFLAGS) $(ISA_CFLAGS) -Itests -MMD -MP -c -o $@ $<

$(LIB): $(call objects,$(LIB_SRC))
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

# What MemorySanitizer has to be told, in tests and fuzzers: see there.
MSAN_OBJ := $(if $(filter memory,$(SANITIZE)),$(OBJ)/tests/unit/msan_calls.o)
MSAN_LINK := $(if $(MSAN_OBJ),$(addprefix -Wl$(comma)--wrap=,stat64 lstat64 fstat64 fstatat64))

link = $(Q)$(CC) $(ALL_LDFLAGS) $(1) -o $@ $(filter %.o %.a,$^) $(LIBS)

.SECONDEXPANSION:
$(OBJ)/llavamed-%: $(OBJ)/src/$$(subst -,_,$$*).o $(call objects,$(CLI_SRC)) $(LIB)
	$(if $(V),,@echo '  LINK  $@')
	$(call link)

# build/NAME follows the flags of this run, not only the time of the last one.
CONFIGURATION := $(BUILD)/.configuration
ifneq ($(shell cat $(CONFIGURATION) 2>/dev/null),$(OBJ))
.PHONY: $(CONFIGURATION)
endif
$(CONFIGURATION):
	@mkdir -p $(@D)
	@echo '$(OBJ)' > $@
$(BUILD)/llavamed-%: $(OBJ)/llavamed-% $(CONFIGURATION)
	$(Q)cp -f $< $@

$(OBJ)/tests/%: $(OBJ)/tests/%.o $(MSAN_OBJ) $(LIB)
	$(if $(V),,@echo '  LINK  $@')
	$(call link,$(MSAN_LINK))

$(KERNEL_TEST): $(call objects,$(KERNEL_TEST_SRC)) $(LIB)
	$(if $(V),,@echo '  LINK  $@')
	$(call link)

# With FUZZER=libfuzzer (and clang) libFuzzer brings the main(); with FUZZER=afl (and afl-clang-fast) afl_main.c feeds
# what AFL++ makes; else fuzz_main.c runs the files it is given.
FUZZ_MAIN := $(if $(FUZZER),$(filter afl,$(FUZZER)),fuzz)
$(OBJ)/tests/fuzz/fuzz_%: $(OBJ)/tests/fuzz/fuzz_%.o $(FUZZ_MAIN:%=$(OBJ)/tests/fuzz/%_main.o) $(MSAN_OBJ) $(LIB)
	$(if $(V),,@echo '  LINK  $@')
	$(call link,$(if $(filter libfuzzer,$(FUZZER)),-fsanitize=fuzzer) $(MSAN_LINK))

# ---- Tests. Every one ends with "N passed, N failed"; tests/run_check.sh adds these up. --------------------------

# Where tests leave what they counted, for `make promises`.
export COUNTS ?= $(abspath $(BUILD))/counts/check
torture fuzz afl interop valgrind: export COUNTS = $(abspath $(BUILD))/counts/long
sanitize msan check-aarch64 check-static check-packaging: export COUNTS =
RUN_CHECK := BUILD=$(BUILD) MAKE='$(MAKE)' tests/run_check.sh
INSTALL_DEPS := tests/tools/install_deps.sh
# Compilers, and tests, at a time.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
RELEASE_CHECKS := 'hardening=$$MAKE hardening' 'fault=$$MAKE fault' 'calls=$$MAKE calls' 'bounds=$$MAKE bounds' \
                  'install=$$MAKE check-install'
SUITE := 'unit=$$MAKE unit' 'kernel=$$MAKE kernel' 'cli=$$MAKE cli'

## check: all tests that need no network: unit, kernel, programs, fuzzing corpora, lint; a few minutes
.PHONY: check
check:
	@$(INSTALL_DEPS) check
	@$(MAKE) --no-print-directory -j$(JOBS) check-build
	@$(RUN_CHECK) $(SUITE) 'fuzz-regress=$$MAKE fuzz-regress' $(if $(SANITIZE),,$(RELEASE_CHECKS)) \
	    'lint=$$MAKE lint-basic'

## suite: unit, kernel and program tests alone, for any SANITIZE=, CC= and CFLAGS=
.PHONY: suite
suite:
	@$(MAKE) --no-print-directory -j$(JOBS) suite-build
	@$(RUN_CHECK) $(SUITE)

.PHONY: check-build suite-build
check-build: suite-build $(FUZZERS) $(if $(SANITIZE),,libs)
suite-build: all tools $(UNIT_TESTS) $(KERNEL_TEST)

# `make unit-json` builds and runs tests/unit/test_json.c alone.
unit-%: $(OBJ)/tests/unit/test_%
	$(EMULATOR) $(abspath $<)

## unit: build and run the unit tests; under ThreadSanitizer, those that can start a thread
.PHONY: unit
unit: $(UNIT_TESTS)
	@EMULATOR='$(EMULATOR)' JOBS=$(JOBS) tests/run_parallel.sh tests/unit/run.sh \
	    $(if $(filter thread,$(SANITIZE)),$$(tests/unit/threaded.sh $(abspath $^)),$(abspath $^))

## kernel: every kernel against the reference one, bit for bit; kernel-long: on all inputs (an hour)
.PHONY: kernel kernel-long
kernel: $(KERNEL_TEST)
	@$(EMULATOR) $(abspath $<)
kernel-long: $(KERNEL_TEST)
	@$(EMULATOR) $(abspath $<) --long

## check-long: check, then the kernels on all inputs
.PHONY: check-long
check-long:
	@$(RUN_CHECK) 'check=$$MAKE check' 'kernel-long=$$MAKE kernel-long'

## cli: the programs as a user runs them
.PHONY: cli
cli: all tools
	@BUILD=$(BUILD) JOBS=$(JOBS) tests/cli/run.sh

## completions: write contrib/completions anew, from --help-all of the programs, after an option was added
.PHONY: completions
completions: all
	@$(PYTHON) -B tests/texts/make_completions.py $(BUILD)

## check-shells: the completions in bash, zsh and fish: every option and value; installs these
.PHONY: check-shells
check-shells:
	@$(INSTALL_DEPS) shells
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@PYTHON=$(PYTHON) tests/texts/check_shells.sh $(BUILD) bash zsh fish

## sanitize: the suite under AddressSanitizer with UndefinedBehaviorSanitizer, then under ThreadSanitizer
# Half the time of the compiler, and more of what was written is still there to be watched.
SANITIZE_FLAGS := CFLAGS='\''-O1 -g'\''
.PHONY: sanitize
sanitize:
	@$(RUN_CHECK) \
	    'asan=$$MAKE suite fuzz-regress SANITIZE=address,undefined BUILD=$$BUILD/asan $(SANITIZE_FLAGS)' \
	    'tsan=$$MAKE suite SANITIZE=thread BUILD=$$BUILD/tsan $(SANITIZE_FLAGS)'

## msan: under MemorySanitizer, unit tests and fuzzing corpora of what needs no library but libc; needs clang
.PHONY: msan msan-build msan-run
MSAN = $(MAKE) --no-print-directory CC=clang SANITIZE=memory CFLAGS='-O1 -g' BUILD=$(BUILD)/msan
msan:
	@$(MSAN) -j$(JOBS) msan-build
	@$(MSAN) msan-run
msan-build: $(UNIT_TESTS) $(FUZZERS)
msan-run:
	@tests=$$(tests/unit/own.sh 12 $(abspath $(UNIT_TESTS))) && \
	    JOBS=$(JOBS) tests/run_parallel.sh tests/unit/run.sh $$tests
	@fuzzers=$$(tests/unit/own.sh 4 $(FUZZERS)) && JOBS=$(JOBS) tests/fuzz/run.sh regress 0 $(BUILD) $$fuzzers

## valgrind: whole small merges and some unit tests under valgrind, which knows at most AVX2; a minute or two
# Of the unit tests those that end within some seconds there. Others of what reads inputs take longer, as they damage
# files byte by byte (pickle, json, zip_member, shard_index, strided, torch_layout, archive, meta), write and move much
# (content_stream, pipeline_stream, journal), or hold the processor's time against a limit (zip).
VALGRIND_TESTS := $(patsubst %,$(OBJ)/tests/unit/test_%,tile input_hashes content torch run_key source documents \
    tile_fit source_directory recognise pipeline crc32 base_signs args report inflate hub_cache meter error_text \
    record_crc span_crc findings verify_args)
.PHONY: valgrind
valgrind: all tools $(VALGRIND_TESTS)
	@JOBS=$(JOBS) tests/fault/valgrind.sh $(BUILD) $(abspath $(VALGRIND_TESTS))

## hardening: what the program is protected with, by readelf
.PHONY: hardening
hardening: all
	@HARDENING='$(HARDENING)' tests/fault/hardening.sh $(call objects,src/io/input_file.c) \
	    $(addprefix $(BUILD)/,$(PROGRAMS))

# strace and the run-time of a sanitizer do not go together.
## calls: the system calls that planning makes, against limits
.PHONY: calls
calls: all
	@$(PYTHON) -B tests/bench/startup.py --program $(BUILD)/llavamed-apply --calls

# Preloaded before the program, so never with a sanitizer, whose run-time has to come first.
FAULT_SHIM := $(BUILD)/fault/shim.so
$(FAULT_SHIM): $(FAULT_SRC) tests/fault/shim.h
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LINK  $@')
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O2 -g -fno-builtin -fPIC -shared -pthread -o $@ $(FAULT_SRC) -ldl
CRASH_SHIM := $(BUILD)/fault/crash_shim.so
$(CRASH_SHIM): tests/fault/crash_shim.c tests/fault/shim.h
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LINK  $@')
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O2 -g -fno-builtin -fPIC -shared -pthread -o $@ $< -ldl
LIMIT_SHIM := $(BUILD)/fault/limit_shim.so
$(LIMIT_SHIM): tests/fault/limit_shim.c tests/fault/shim.h
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LINK  $@')
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O2 -g -fno-builtin -fPIC -shared -pthread -o $@ $< -ldl
FAULT_RUN = nice -n 10 $(PYTHON) -B tests/fault/$(1) --program $(BUILD)/llavamed-apply --shim $(FAULT_SHIM) \
            --synth $(BUILD)/tools/synth
VERIFY_FAULT_RUN = nice -n 10 $(PYTHON) -B tests/fault/verify_faults.py --apply $(BUILD)/llavamed-apply \
                   --program $(BUILD)/llavamed-verify --shim $(FAULT_SHIM)
INSPECT_FAULT_RUN = nice -n 10 $(PYTHON) -B tests/fault/inspect_faults.py --program $(BUILD)/llavamed-inspect \
                    --shim $(FAULT_SHIM)
PARTS_RUN = $(subst $(FAULT_SHIM),$(CRASH_SHIM),$(call FAULT_RUN,parts.py))
CRASH_RUN = $(subst $(FAULT_SHIM),$(CRASH_SHIM),$(call FAULT_RUN,crash.py))

## fault: a sample of torture, seconds
.PHONY: fault
fault: all tools $(FAULT_SHIM) $(CRASH_SHIM)
	@$(call FAULT_RUN,torture.py) --sample 1 --quick
	@$(call FAULT_RUN,changes.py) --moments 1
	@$(CRASH_RUN) --sample 8 --quick
	@$(PARTS_RUN) --sample 5
	@$(call FAULT_RUN,takeovers.py) --sample 10
	@$(call FAULT_RUN,part_takeovers.py) --sample 2
	@$(INSPECT_FAULT_RUN) --sample 5
	@$(call FAULT_RUN,poor_volumes.py) --quick
	@$(VERIFY_FAULT_RUN) --sample 12

## bounds: what hostile inputs of growing size cost, in memory and time; a minute or so
.PHONY: bounds
bounds: all tools
	@$(PYTHON) -B tests/fault/bounds.py --program $(BUILD)/llavamed-apply \
	    --verify $(BUILD)/llavamed-verify --timed $(BUILD)/bench/timed

## torture: every call that can fail fails once, in merges of all forms; inputs that change while they are read; an hour
.PHONY: torture
torture: all tools $(FAULT_SHIM) $(CRASH_SHIM)
	@$(RUN_CHECK) 'faults=$(call FAULT_RUN,torture.py) --stride $(TORTURE_STRIDE)' \
	    'changes=$(call FAULT_RUN,changes.py)' 'crash=$(CRASH_RUN)' 'parts=$(PARTS_RUN)' \
	    'reuse=$(call FAULT_RUN,reuse.py)' \
	    'signals=$(call FAULT_RUN,signals.py)' 'takeovers=$(call FAULT_RUN,takeovers.py)' \
	    'part-takeovers=$(call FAULT_RUN,part_takeovers.py)' \
	    'poor-volumes=$(call FAULT_RUN,poor_volumes.py)' 'verify-faults=$(VERIFY_FAULT_RUN)' \
	    'inspect-faults=$(INSPECT_FAULT_RUN)'

# The programs of jobs write slowly where a test needs time.
THROTTLE_SHIM := $(BUILD)/slurm/throttle.so
$(THROTTLE_SHIM): tests/slurm/throttle.c
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LINK  $@')
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O2 -g -fPIC -shared -pthread -o $@ $< -ldl

## check-slurm: the scripts of contrib/slurm against a Slurm of its own (slurm-wlm, munge); some four minutes
.PHONY: check-slurm
check-slurm:
	@$(INSTALL_DEPS) slurm
	@$(MAKE) --no-print-directory -j$(JOBS) all tools $(THROTTLE_SHIM)
	@BUILD=$(BUILD) tests/slurm/run.sh

## crash: kills and power failures at every instant, and what the next run keeps; part of torture
.PHONY: crash
crash: all tools $(FAULT_SHIM) $(CRASH_SHIM)
	@$(RUN_CHECK) 'crash=$(CRASH_RUN)' 'reuse=$(call FAULT_RUN,reuse.py)' \
	    'signals=$(call FAULT_RUN,signals.py)'

## scaling: the model of docs/clusters.md against parts that are held to a bandwidth; half a minute
.PHONY: scaling
scaling: all tools $(LIMIT_SHIM)
	@$(PYTHON) -B tests/bench/scaling.py --program $(BUILD)/llavamed-apply --shim $(LIMIT_SHIM) \
	    --synth $(BUILD)/tools/synth

## promises: the figures of the table in docs/reliability.md, from the last check, torture, fuzz and interop
.PHONY: promises
promises:
	@$(PYTHON) -B tests/fault/promises.py $(BUILD)/counts

## fuzz: each fuzzer for FUZZ_SECONDS (20), from its corpus; needs clang
.PHONY: fuzz
fuzz:
	@$(MAKE) --no-print-directory -j$(JOBS) fuzz-run CC=clang FUZZER=libfuzzer BUILD=$(BUILD)/fuzz \
	    SANITIZE=fuzzer-no-link,address,undefined
.PHONY: fuzz-run
fuzz-run: $(FUZZERS)
	@JOBS=$(JOBS) tests/fuzz/run.sh fuzz $(FUZZ_SECONDS) $(BUILD) $^

## afl: the readers of zip, pickle and torch files under AFL++, each for AFL_SECONDS (20); needs afl-clang-fast
AFL_FUZZERS := $(patsubst %,$(OBJ)/tests/fuzz/fuzz_%,zip pickle torch)
.PHONY: afl
afl:
	@$(MAKE) --no-print-directory -j$(JOBS) afl-run CC=afl-clang-fast FUZZER=afl BUILD=$(BUILD)/afl \
	    SANITIZE=address,undefined
.PHONY: afl-run
afl-run: $(AFL_FUZZERS)
	@JOBS=$(JOBS) tests/fuzz/run.sh afl $(AFL_SECONDS) $(BUILD) $^

## fuzz-regress: the fuzzers' corpora once, without a fuzzer
.PHONY: fuzz-regress
fuzz-regress: $(FUZZERS)
	@JOBS=$(JOBS) tests/fuzz/run.sh regress 0 $(BUILD) $^

## check-aarch64: build for aarch64, run kernel and unit tests under qemu-user, merge as this machine does
.PHONY: check-aarch64
check-aarch64:
	@$(INSTALL_DEPS) aarch64
	@BUILD=$(BUILD) MAKE='$(MAKE)' tests/cross/aarch64.sh

## interop: against the real torch, safetensors and transformers, today's and those of 2023, in virtual environments
.PHONY: interop
interop:
	@$(INSTALL_DEPS) interop
	@$(MAKE) --no-print-directory -j$(JOBS) all tools
	@BUILD=$(BUILD) PYTHON=$(PYTHON) tests/interop/run.sh

## lint-basic: the house rules, with a shell and the compiler alone
.PHONY: lint-basic
lint-basic:
	@CC=$(CC) tests/lint/run.sh basic

## check-install: what install puts where, what the library exports, a program that uses it; part of check
.PHONY: check-install
check-install: all libs
	@BUILD=$(BUILD) MAKE='$(MAKE)' CC='$(CC)' tests/install/run.sh

## check-static: the static programs: what they need, and runs with nothing, old processors, kernels, Debian and aarch64
.PHONY: check-static
check-static:
	@$(INSTALL_DEPS) static
	@BUILD=$(BUILD) MAKE='$(MAKE)' tests/install/static.sh

## check-packaging: what contrib/ has for packages and modules, each built or parsed by its own tool where there is one
.PHONY: check-packaging
check-packaging:
	@$(INSTALL_DEPS) packaging
	@BUILD=$(BUILD) MAKE='$(MAKE)' tests/install/packaging.sh

## analyzer: the static analyser of gcc over src/
.PHONY: analyzer
analyzer:
	@JOBS=$(JOBS) tests/lint/check_analyzer.sh

## lint: all of lint: lint-basic, gcc and clang with warnings as errors, analyzer, clang-tidy, cppcheck, shellcheck
.PHONY: lint
lint:
	@BUILD=$(BUILD) MAKE='$(MAKE)' tests/lint/run.sh all

## format: rewrite the sources with clang-format; format-check: tell what it would change. No part of lint
.PHONY: format format-check
format:
	clang-format -i $$(tests/lint/files.sh c)
format-check:
	@tests/lint/check_format.sh

# ---- Showing, measuring ------------------------------------------------------------------------------------------

## demo: make a small base and delta, merge them, check the result
.PHONY: demo
demo:
	@$(INSTALL_DEPS) build
	@$(MAKE) --no-print-directory -j$(JOBS) all tools
	@BUILD=$(BUILD) tests/tools/demo.sh

# How many of 7B's layers; the Python of the interop environments, which has torch, where it is there.
BENCH_LAYERS ?= 2
BENCH_PAIRS ?= 5
BENCH_PYTHON ?= $(firstword $(wildcard $(BUILD)/venv/bin/python) $(PYTHON))
PEERS_SCALE ?= 0.25
PEERS_PAIRS ?= 3

## bench: merges against what their work costs at least: one table with limits, some ten minutes on a quiet machine
.PHONY: bench
bench: all tools
	@$(PYTHON) -B tests/bench/bench.py --build $(BUILD) --layers $(BENCH_LAYERS) --pairs $(BENCH_PAIRS) \
	    --python $(BENCH_PYTHON)

## bench-peers: against the reference script, its bare core and mergekit; wants the environments of make interop
.PHONY: bench-peers
bench-peers: all tools
	@$(PYTHON) -B tests/bench/peers.py --build $(BUILD) --scale $(PEERS_SCALE) --pairs $(PEERS_PAIRS) \
	    --python $(BENCH_PYTHON) --reference $(BUILD)/venv-reference/bin/python \
	    --mergekit $(BUILD)/venv-mergekit/bin/python

## bench-fanout: several deltas of one base in one command against a run for each
.PHONY: bench-fanout
bench-fanout: all tools
	@BUILD=$(BUILD) tests/bench/fanout.sh

## bench-verify: llavamed-verify against hashing the same files
.PHONY: bench-verify
bench-verify: all tools
	@BUILD=$(BUILD) tests/bench/verify.sh

## bench-startup: planning a 65B checkpoint and one of 100,000 tensors, --help: system calls and time
.PHONY: bench-startup
bench-startup: all
	@$(PYTHON) -B tests/bench/startup.py --program $(BUILD)/llavamed-apply

## tools: the makers of synthetic models and the like, in build/tools/
.PHONY: tools
tools: $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(TOOL_SRC)) \
       $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_SRC))
$(BUILD)/tools/%: $(OBJ)/tests/tools/% $(CONFIGURATION)
	@mkdir -p $(@D)
	$(Q)cp -f $< $@
$(BUILD)/bench/%: $(OBJ)/tests/bench/% $(CONFIGURATION)
	@mkdir -p $(@D)
	$(Q)cp -f $< $@

# ---- Libraries, installation -------------------------------------------------------------------------------------

VERSION := $(shell sed -n 's/^\#define LLAVAMED_VERSION "\(.*\)"$$/\1/p' include/llavamed.h)
# Raised when programs built before would no longer run: docs/api.md. Known to tests/install/abi.py, too.
SOVERSION := 0
LIBRARIES := libllavamed.a libllavamed.so.$(VERSION)

## libs: the static and the shared library, in build/
.PHONY: libs
libs: $(addprefix $(BUILD)/,$(LIBRARIES))
$(OBJ)/install/libllavamed.so.$(VERSION): $(call objects,$(LIB_SRC))
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LINK  $@')
	$(Q)$(CC) -shared -Wl,-soname,libllavamed.so.$(SOVERSION) $(if $(SANITIZE),,-Wl,-z,defs) \
	    $(filter-out -pie,$(ALL_LDFLAGS)) -o $@ $^ $(LIBS)
# One object, in which only the names of the API are left: the others could be those of a program's own functions.
$(OBJ)/install/libllavamed.a: $(call objects,$(LIB_SRC))
	@mkdir -p $(@D)
	$(if $(V),,@echo '  AR    $@')
	$(Q)rm -f $@
	$(Q)$(CC) $(CFLAGS) -r -nostdlib -o $(@:.a=.o) $^
	$(Q)$(OBJCOPY) --localize-hidden $(@:.a=.o)
	$(Q)$(AR) rcs $@ $(@:.a=.o)
$(BUILD)/libllavamed.%: $(OBJ)/install/libllavamed.% $(CONFIGURATION)
	$(Q)cp -f $< $@

# Programs that need nothing of the machine they run on, not even its C library.
CJSON_OBJ := $(OBJ)/static/cJSON.o
STATIC_OBJ := $(OBJ)/contrib/static_program.o
STATIC_LIBS = $(patsubst -lcjson,$(CJSON_OBJ),$(call library_flags,libcjson,-lcjson)) \
              $(call library_flags,--static libcrypto,-lcrypto -ldl -pthread) \
              $(call library_flags,--static zlib,-lz) -lm
# GNU ld warns of dlopen() in libc, which static_program.c takes the place of, where it cannot be told not to.
STATIC_QUIET = $(shell $(CC) -nostdlib -shared -Wl,--no-warnings -o /dev/null -x c /dev/null 2>/dev/null && \
                       echo -Wl,--no-warnings)
## static: the programs without any library, for any Linux of the last ten years, in build/static/
.PHONY: static
static: $(addprefix $(BUILD)/static/,$(PROGRAMS))
$(BUILD)/cjson/cJSON.c:
	@contrib/cjson_source.sh $(@D)
$(CJSON_OBJ): $(CJSON)/cJSON.c
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC    $<')
	$(Q)$(CC) -std=c11 $(HARDENING) $(CFLAGS) -c -o $@ $<
$(OBJ)/static/llavamed-%: $(OBJ)/src/$$(subst -,_,$$*).o $(call objects,$(CLI_SRC)) $(STATIC_OBJ) $(LIB) \
                         $(CJSON_OBJ)
	$(if $(V),,@echo '  LINK  $@')
	$(Q)$(CC) -static-pie $(STATIC_QUIET) $(filter-out -pie,$(ALL_LDFLAGS)) -o $@ \
	    $(filter-out $(CJSON_OBJ),$(filter %.o %.a,$^)) $(STATIC_LIBS)
$(BUILD)/static/llavamed-%: $(OBJ)/static/llavamed-% $(CONFIGURATION)
	@mkdir -p $(@D)
	$(Q)cp -f $< $@

INSTALL_RUN = BUILD='$(BUILD)' VERSION='$(VERSION)' SOVERSION='$(SOVERSION)' PROGRAMS='$(PROGRAMS)' STATIC='$(STATIC)' \
          DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' BINDIR='$(BINDIR)' LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' \
          DATADIR='$(DATADIR)' MANDIR='$(MANDIR)' LIBS='$(LIBS)' contrib/install.sh

## install: programs, library, headers, pages, completions, below DESTDIR and PREFIX (/usr/local; $HOME/.local will do)
.PHONY: install
install: $(if $(STATIC),static,all libs)
	@$(INSTALL_RUN) install

## uninstall: remove what install puts there, with the same PREFIX and so on
.PHONY: uninstall
uninstall:
	@$(INSTALL_RUN) uninstall

## install-list: name every file that install puts there, and do nothing
.PHONY: install-list
install-list:
	@$(INSTALL_RUN) list


## clean: remove everything built
.PHONY: clean
clean:
	rm -rf $(BUILD)

## help: this list
.PHONY: help
help:
	@sed -n 's/^## \([a-z0-9-]*\): /\1\t/p' Makefile | expand -t 16

.SECONDARY:
-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
