# SPDX-License-Identifier: Apache-2.0
# One file, not recursive. `make help` lists the targets.
#
#   CC=clang  SANITIZE=address,undefined|thread|memory  WERROR=1  V=1  BUILD=dir  CROSS=aarch64-linux-gnu-
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:

CROSS ?=
ifeq ($(origin CC),default)
CC := $(CROSS)gcc
endif
AR := $(CROSS)ar
PKG_CONFIG ?= pkg-config
BUILD ?= build

CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wundef -Wvla -Wformat=2 -Wcast-qual -Wstrict-prototypes \
            -Wmissing-prototypes -Wswitch-enum -Wwrite-strings -Wpointer-arith $(if $(WERROR),-Werror)
HARDENING := -fPIE -fstack-protector-strong $(if $(SANITIZE),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
SANITIZERS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
# -ffp-contract=off: a fused multiply-add would change bits.
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Isrc $(WARNINGS) $(HARDENING) $(SANITIZERS) \
              -ffp-contract=off -pthread $(CFLAGS)
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now $(SANITIZERS) -pthread $(LDFLAGS)

library_flags = $(shell $(PKG_CONFIG) --$(1) $(2) 2>/dev/null || echo $(if $(filter libs,$(1)),$(3)))
ifeq ($(CROSS),)
LIBS := $(call library_flags,libs,libcjson,-lcjson) $(call library_flags,libs,libcrypto,-lcrypto) \
        $(call library_flags,libs,zlib,-lz) -lm
endif

OBJ := $(BUILD)/obj/$(shell printf '%s' '$(CC) $(ALL_CFLAGS)' | cksum | cut -d' ' -f1)
Q := $(if $(V),,@)

PROGRAMS := llavamed-apply
PROGRAM_SRC := $(patsubst llavamed-%,src/%.c,$(PROGRAMS))
LIB_SRC := $(sort $(filter-out src/cli/%,$(wildcard src/*/*.c src/kernel/*/*.c)))
CLI_SRC := $(sort $(wildcard src/cli/*.c))
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
TOOL_SRC := $(sort $(wildcard tests/tools/*.c))
BENCH_SRC := $(sort $(wildcard tests/bench/*.c))
KERNEL_TEST_SRC := $(sort $(wildcard tests/kernel/*.c))

objects = $(patsubst %.c,$(OBJ)/%.o,$(1))
LIB := $(OBJ)/libllavamed.a

## all: the programs, in build/ (the default)
.PHONY: all
all: $(addprefix $(BUILD)/,$(PROGRAMS))

# One instruction set per file, its flags set by the file's suffix.
$(OBJ)/%_avx2.o: ISA_CFLAGS := -mavx2 -mf16c -mno-fma
$(OBJ)/%_avx512.o: ISA_CFLAGS := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mf16c -mno-fma

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC    $<')
	$(Q)$(CC) $(ALL_CFLAGS) $(ISA_CFLAGS) -Itests -MMD -MP -c -o $@ $<

$(LIB): $(call objects,$(LIB_SRC))
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(OBJ)/llavamed-%: $(OBJ)/src/%.o $(call objects,$(CLI_SRC)) $(LIB)
	$(if $(V),,@echo '  LINK  $@')
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/llavamed-%: $(OBJ)/llavamed-%
	$(Q)cp -f $< $@

$(OBJ)/tests/%: $(OBJ)/tests/%.o $(LIB)
	$(if $(V),,@echo '  LINK  $@')
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# `make unit-json` builds and runs tests/unit/test_json.c alone.
unit-%: $(OBJ)/tests/unit/test_%
	./$<

## unit: build and run the unit tests
.PHONY: unit
unit: $(patsubst %.c,$(OBJ)/%,$(UNIT_SRC))
	@set -e; for test in $^; do echo "== $$(basename $$test)"; ./$$test; done

## tools: the makers of synthetic models and the like, in build/tools/
.PHONY: tools
tools: $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(TOOL_SRC)) $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_SRC))
$(BUILD)/tools/%: $(OBJ)/tests/tools/%
	@mkdir -p $(@D)
	$(Q)cp -f $< $@
$(BUILD)/bench/%: $(OBJ)/tests/bench/%
	@mkdir -p $(@D)
	$(Q)cp -f $< $@

## clean: remove everything built
.PHONY: clean
clean:
	rm -rf $(BUILD)

## help: this list
.PHONY: help
help:
	@sed -n 's/^## \([a-z-]*\): /\1\t/p' Makefile | expand -t 16

.SECONDARY:
-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
