# gluon-wan: everything a developer, a CI and a package build run.
# `make` lists the targets. As root on Debian each installs what it needs first.

CARGO ?= cargo

# What `install` puts where. A package build hands in its own BIN and LIB.
BIN = target/release/gluon-wan
LIB = target/preload/libpacketmark.so
DESTDIR =
SBINDIR = /usr/sbin
BINDIR = /usr/bin
LIBDIR = /usr/lib
# Gluon's name for `exec`; empty where a package manager makes the link.
WRAPPER = $(BINDIR)/gluon-wan-dns
INCLUDE = /usr/share/nftables.d/ruleset-post/30-gluon-wan.nft

# What `mutants` breaks: files or patterns.
MUTANTS = src/config/*.rs

# Debian packages, by what they are for. The Rust toolchain (1.88 or newer, with
# rustfmt and clippy) is assumed.
BUILD_DEPS = gcc libc6-dev pkg-config libnftnl-dev libmnl-dev
LAB_DEPS = nftables iproute2 iputils-ping util-linux busybox dnsmasq-base ndisc6 fastd bind9-dnsutils
TEST_DEPS = bats jq python3 libjson-c-dev python3-jsonschema radvd knot knot-dnsutils nsd curl musl-tools gcc libc6-dev \
	binutils conntrack iptables strace tcpdump procps netbase
LINT_DEPS = shellcheck jq git
CROSS_DEPS = $(SMALL_DEPS) gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
	libnftnl-dev:arm64 libmnl-dev:arm64 libgcc-s1:arm64 qemu-system-arm cpio kmod binutils file xz-utils
MIPSEL_DEPS = $(SMALL_DEPS) gcc-mipsel-linux-gnu libc6-dev-mipsel-cross libnftnl-dev:mipsel libmnl-dev:mipsel \
	libgcc-s1:mipsel qemu-system-mips cpio kmod binutils file xz-utils
MIPS_DEPS = $(SMALL_DEPS) gcc-mips-linux-gnu libc6-dev-mips-cross qemu-user-static jq
# Debian's second toolchain comes with the source of the standard library.
SMALL_DEPS = rustc-web cargo-web rust-web-src
# The tools read what the compiler's own LLVM writes.
COVERAGE_DEPS = llvm-$(shell rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
BENCH_DEPS = gcc libc6-dev knot knot-dnsutils dnsperf hyperfine valgrind strace xz-utils squashfs-tools

# How many random inputs of each kind `simulate` tries, and from which seed on.
SEEDS = 10000
SEED = 1

.PHONY: help build library small demo test test-small unit cases simulate soak bench mutants coverage reproducible lint install clean cross-arm64 \
	cross-mipsel check-mips deps deps-build deps-lab deps-test deps-lint deps-bench deps-cross deps-small deps-mips deps-mipsel \
	deps-coverage

help:
	@echo 'make demo     shows a node finding its VPN server over the WAN, in a minute'
	@echo 'make test     runs all tests; make test-small the same with the small build'
	@echo 'make cases    runs a folder of further cases: CASES=DIR'
	@echo 'make simulate  lives through random nights in a simulated world: SEEDS=$(SEEDS), from SEED=$(SEED) on'
	@echo 'make soak     breaks a node in all ways for MINUTES=5, and looks whether it comes back'
	@echo 'make lint     checks format, code, its documentation, shell, licences and sources of crates'
	@echo 'make build    builds $(BIN) and $(LIB)'
	@echo 'make small    builds $(SMALL_BIN), with the standard library made for size as well'
	@echo 'make bench    measures'
	@echo 'make mutants  breaks $(MUTANTS) in every small way; tests should notice each (MUTANTS=...)'
	@echo 'make install  installs what is built; DESTDIR, BIN, LIB, SBINDIR, BINDIR, LIBDIR, WRAPPER'
	@echo 'make coverage  runs all tests and says which lines none of them reached'
	@echo 'make reproducible  builds twice in different places and compares'
	@echo 'make cross-arm64  builds for arm64 with Debian'\''s packages, and shows that it runs there'
	@echo 'make cross-mipsel  the same for little-endian MIPS (24Kc)'
	@echo 'make check-mips  runs the unit tests on 32-bit big-endian MIPS'
	@echo 'make deps     installs all Debian packages that these need (as root)'
	@echo 'make clean    removes what was built'

# What is compiled leaves its path in panic messages. Without those of this machine
# the binary is the same wherever it is built, and smaller (docs/dependencies.md).
# Of the registry's sources there is one folder for each registry.
REMAP = $$(printf -- '--remap-path-prefix=%s/= ' \
	$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/* $(CURDIR) /usr/lib/rustlib/src/rust)
# Relative relocations take 2 bytes in place of 24. glibc knows them since 2.36 (an older one
# says so and does not start the program), musl since 1.2.4. An older musl says nothing and
# jumps into the void, so the library, which programs of all kinds load, is linked without.
RELR = -Clink-arg=-Wl,-z,pack-relative-relocs
FLAGS = $$RUSTFLAGS $(REMAP) -Clink-arg=-Wl,--build-id=none

# Once fetched, nothing needs the network.
build: library
	+RUSTFLAGS="$(FLAGS) $(RELR)" $(CARGO) build --release --locked --offline

library: deps-build
	$(CARGO) fetch --locked
	+RUSTFLAGS="$(FLAGS)" $(CARGO) build --profile preload -p packetmark --locked --offline

# A standard library that is built along, for size, and panics that end the program without a
# word of where: as the package does where OpenWrt's toolchain allows it. These switches are
# unstable, so they go with one compiler, the one that OpenWrt pins or, here, Debian's.
SMALL = RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_PROFILE_RELEASE_OPT_LEVEL=z
SMALL_FLAGS = -Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none -Zfmt-debug=shallow $(REMAP) \
	-Clink-arg=-Wl,--build-id=none
SMALL_CARGO = /usr/bin/cargo build -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size --release --locked
SMALL_BIN = target/small/$(HOST)/release/gluon-wan
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

small: library deps-small
	+$(SMALL) CARGO_TARGET_DIR=target/small RUSTFLAGS="$(SMALL_FLAGS) $(RELR)" $(SMALL_CARGO) --target $(HOST)

demo: deps-lab build
	tests/demo $(BIN)

# The program and cargo's own tests side by side: of one the last step takes a single
# processor. With BIN=$(SMALL_BIN) it is the small build that is made and tested, and
# cargo's tests are built like it, as far as a test can: it has to unwind.
test: deps-lab deps-test
	+@$(MAKE) --no-print-directory -j"$$(nproc)" $(call if_small,small,build) unit
	$(TEST_ENV) GLUON_WAN='$(CURDIR)/$(BIN)' LIBPACKETMARK='$(CURDIR)/$(LIB)' tests/run

test-small:
	+@$(MAKE) --no-print-directory test BIN=$(SMALL_BIN)

# Compiled, not run.
unit: deps-build
	+$(TEST_ENV) $(call if_small,/usr/bin/cargo,$(CARGO)) test --workspace --locked --no-run

if_small = $(if $(filter $(SMALL_BIN),$(BIN)),$(1),$(2))
TEST_ENV = $(call if_small,$(SMALL_TEST),CARGO='$(CARGO)')
SMALL_TEST = RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo CARGO_TARGET_DIR='$(CURDIR)/target/small' \
	CARGO_BUILD_TARGET=$(HOST) CARGO_UNSTABLE_BUILD_STD=std,panic_unwind,test \
	CARGO_UNSTABLE_BUILD_STD_FEATURES=optimize_for_size \
	RUSTFLAGS="-Zunstable-options -Zlocation-detail=none -Zfmt-debug=shallow"

# tests/simulation/README.md. `test` tries the first few hundred.
simulate: deps-build
	SIMULATION_SEEDS='$(SEEDS)' SIMULATION_SEED='$(SEED)' \
		$(CARGO) test --profile simulate --locked --test simulation -- --nocapture

# MINUTES (5), SEED, ONLY and WITHOUT: see tests/soak/README.md.
soak: deps-lab deps-test build
	GLUON_WAN='$(CURDIR)/$(BIN)' tests/soak/run

# The pages are for who works on this: links to private items are meant.
DOC_FLAGS = -Dwarnings -Arustdoc::private_intra_doc_links

lint: deps-build deps-lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='$(DOC_FLAGS)' $(CARGO) doc --workspace --no-deps --document-private-items --locked
	tests/lint/shell
	tests/lint/negated
	CARGO='$(CARGO)' tests/lint/crates
	tests/lint/oldest

# A folder of further cases, programs that end with PASS, FAIL or SKIP, and `run`, which runs
# them. Not part of `test`.
CASES =

cases: $(if $(CASES),deps-lab deps-test build)
ifeq ($(CASES),)
	@echo 'skipped: no folder of further cases (make cases CASES=DIR)'
else
	@[ -x '$(CASES)/run' ] || { echo '$(CASES): no folder of further cases, with its program "run"' >&2; exit 1; }
	GLUON_WAN='$(CURDIR)/$(BIN)' LIBPACKETMARK='$(CURDIR)/$(LIB)' '$(CASES)/run'
endif

# What no test reaches, and why: tests/coverage/README.md.
coverage: deps-build deps-lab deps-test deps-coverage
	CARGO='$(CARGO)' tests/coverage/run

# Two builds from nothing, so not part of `test`.
reproducible: deps-build
	tests/reproducible

bench: deps-lab deps-bench build small
	@for bench in tests/bench/*.sh; do \
		echo "== $$bench"; \
		SMALL='$(CURDIR)/$(SMALL_BIN)' GLUON_WAN='$(CURDIR)/$(BIN)' LIBPACKETMARK='$(CURDIR)/$(LIB)' "$$bench" || exit; \
	done

# Takes some seconds a mutant. What is caught by tests/*.bats alone is reported as
# missed: only cargo's tests are run.
mutants: deps-build
	@command -v cargo-mutants >/dev/null || { echo 'cargo-mutants is missing: cargo install --locked cargo-mutants' >&2; exit 1; }
	CARGO_PROFILE_TEST_DEBUG=0 $(CARGO) mutants --output target $(foreach files,$(MUTANTS),--file '$(files)')

# Builds nothing by itself: a package build has done that its own way.
install:
	set -e; root='$(abspath $(DESTDIR))'; \
	put() { install -D -m "$$1" "$$2" "$$root$$3"; }; \
	link() { install -d "$$root$${2%/*}"; ln -sfn "$$1" "$$root$$2"; }; \
	put 0755 $(BIN) $(SBINDIR)/gluon-wan; \
	put 0644 $(LIB) $(LIBDIR)/libpacketmark.so; \
	$(if $(WRAPPER),link $(SBINDIR)/gluon-wan $(WRAPPER);) \
	link /var/run/gluon-wan/redirect.nft $(INCLUDE); \
	cd package/gluon-wan/files; \
	find . -type l | while read -r file; do link "$$(readlink "$$file")" "$${file#.}"; done; \
	find . -type f | while read -r file; do \
		mode=0644; [ ! -x "$$file" ] || mode=0755; put $$mode "$$file" "$${file#.}"; \
	done

# What the package builds for a processor, shown to run there. CROSS is a directory of its
# own, because the compiler is another one.
CROSS = target/cross
cross-arm64: TARGET = aarch64-unknown-linux-gnu
cross-arm64: GNU = aarch64-linux-gnu
cross-arm64: CROSS_FLAGS = $(RELR)
cross-arm64: deps-lab deps-cross
	$(cross)
	tests/cross/boot arm64 $(CROSS)/node $(CROSSED)/release/gluon-wan $(CROSSED)/preload/libpacketmark.so

# Addresses are fixed at link time there: position-independent code costs every function of
# MIPS a few instructions, 40 kB in all.
cross-mipsel: TARGET = mipsel-unknown-linux-gnu
cross-mipsel: GNU = mipsel-linux-gnu
cross-mipsel: CROSS_FLAGS = -Crelocation-model=static
cross-mipsel: deps-lab deps-mipsel
	$(cross)
	tests/cross/boot mipsel $(CROSS)/node-mipsel $(CROSSED)/release/gluon-wan $(CROSSED)/preload/libpacketmark.so

CROSSED = $(CROSS)/$(TARGET)
CROSS_ENV = CARGO_TARGET_DIR=$(CROSS) PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_LIBDIR=/usr/lib/$(GNU)/pkgconfig \
	CARGO_TARGET_$(shell echo $(TARGET) | tr a-z- A-Z_)_LINKER=$(GNU)-gcc
define cross
$(SMALL) $(CROSS_ENV) RUSTFLAGS="$(SMALL_FLAGS) $(CROSS_FLAGS)" $(SMALL_CARGO) --target $(TARGET)
RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc $(CROSS_ENV) /usr/bin/cargo build -Zbuild-std=core --profile preload \
	-p packetmark --locked --target $(TARGET)
endef

# Big-endian, 32 bits, no 64-bit atomics: the unit tests, as far as Debian has the libraries.
check-mips: deps-build deps-mips
	tests/cross/big-endian target/mips

clean:
	$(CARGO) clean

deps: deps-build deps-lab deps-test deps-lint deps-bench
deps-build:
	@tests/deps $(BUILD_DEPS)
deps-lab:
	@tests/deps $(LAB_DEPS)
deps-test:
	@tests/deps $(TEST_DEPS)
deps-lint:
	@tests/deps $(LINT_DEPS)
deps-bench:
	@tests/deps $(BENCH_DEPS)
deps-cross:
	@dpkg --print-foreign-architectures | grep -qx arm64 || dpkg --add-architecture arm64
	@tests/deps $(CROSS_DEPS)
deps-coverage:
	@tests/deps $(COVERAGE_DEPS)
deps-small:
	@tests/deps $(SMALL_DEPS)
deps-mips:
	@tests/deps $(MIPS_DEPS)
deps-mipsel:
	@dpkg --print-foreign-architectures | grep -qx mipsel || dpkg --add-architecture mipsel
	@tests/deps $(MIPSEL_DEPS)
