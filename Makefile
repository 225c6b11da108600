# SPDX-License-Identifier: BSD-3-Clause
# A short front for daily use; Meson does the work. `make help` lists it.

MESON  ?= meson
B      := build/release
TARGET := src/app/iscsi_tgt
PREFIX ?= /usr/local
MESON_FLAGS ?=

.PHONY: build run test test-long bench install clean help

build: $(B)/build.ninja
	@$(MESON) compile -C $(B)
	@ln -sf release/$(TARGET) build/iscsi_tgt

$(B)/build.ninja:
	@$(MESON) setup $(B) -Doptimization=3 -Ddebug=true $(MESON_FLAGS)

run:
	@scripts/run.sh $(ARGS)

test:
	@scripts/test.sh $(ARGS)

test-long:
	@scripts/test.sh --long $(ARGS)

bench: build
	@/usr/bin/python3 bench/bench.py --build $(B) $(ARGS)

install: build
	@$(MESON) configure $(B) -Dprefix=$(PREFIX)
	@$(MESON) install -C $(B)

clean:
	@rm -rf build

help:
	@echo 'make build    builds build/iscsi_tgt'
	@echo 'make run      starts a target with a RAM disk on 127.0.0.1:3260'
	@echo 'make test     all tests; ARGS=--quick for the release build only'
	@echo 'make test-long  those that take long'
	@echo 'make bench    measures; ARGS=--quick for less, ARGS=--help for more'
	@echo 'make install  to PREFIX=$(PREFIX), under DESTDIR if set'
	@echo 'make clean    removes build/'
