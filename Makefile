# A thin face over meson: every target works on a fresh Debian machine, installs what it misses
# (scripts/packages) and says what it does. `make help` lists them.

PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 600
INSTALL_PACKAGES = scripts/install-packages

.DEFAULT_GOAL := all
.PHONY: all build demo check bench soak fuzz lint format install clean help

all: build ## the same as build

build: build/build.ninja ## compile everything into build/
	ninja -C build

build/build.ninja:
	$(INSTALL_PACKAGES) build
	meson setup build --prefix $(PREFIX)

demo: build ## watch a machine go to sleep and wake
	$(INSTALL_PACKAGES) lab
	demo/run

check: ## all that a change has to pass: warnings, tests, sanitizers, fuzzers, lab
	$(INSTALL_PACKAGES) build check lab
	tests/check $(CHECK_FLAGS)

bench: build ## measure beside QEMU, and draw it (BENCH=quick|default|full)
	$(INSTALL_PACKAGES) lab
	bench/run

soak: build ## sleep and wake for hours in the lab (PART=sleep|moment|devices, HOST_KERNEL=6.1|6.12: only that)
	$(INSTALL_PACKAGES) lab
	tests/lab/run-soak $(or $(PART),all) $(HOST_KERNEL)

fuzz: ## each fuzzer for FUZZ_SECONDS (600)
	$(INSTALL_PACKAGES) build check
	tests/fuzz/run $(FUZZ_SECONDS) $(FUZZERS)

lint: build/build.ninja ## form, clang-tidy, cppcheck, shellcheck
	$(INSTALL_PACKAGES) check
	tests/lint

format: ## rewrite all C files as .clang-format says
	git ls-files -z '*.c' '*.h' | xargs -0 clang-format -i

install: build ## into PREFIX (/usr/local), below DESTDIR
	meson configure build --prefix $(PREFIX)
	DESTDIR=$(DESTDIR) meson install -C build

# Kernels that were downloaded stay in build/cache: they cost minutes.
clean: ## remove what was built
	rm -rf build-asan build-clang build-fuzz
	test ! -d build || find build -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} +

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
