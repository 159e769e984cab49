# Builds, shows, checks and tests orlop. Each target does its own set-up on a
# Debian or Ubuntu machine with Rust; see README.md.

PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo

# One static binary: musl, which starts in half the time (docs/performance.md),
# where Rust has that target or rustup can fetch it; else glibc with crt-static
# (.cargo/config.toml). A target is always named: see there.
HOST   := $(shell rustc -vV | sed -n 's/^host: //p')
MUSL   := $(shell sh .ci/musl.sh)
TARGET ?= $(or $(MUSL),$(HOST))
export CARGO_BUILD_TARGET = $(TARGET)

# What `make` makes, whatever the target is called.
BIN := target/release/orlop

all: build pages

build:
	$(CARGO) build --release --locked --package orlop
	@mkdir -p target/release
	@ln -f target/$(TARGET)/release/orlop $(BIN) 2>/dev/null || cp -f target/$(TARGET)/release/orlop $(BIN)

PAGES ?= target/pages

# Man pages and completions, written by a program of its own; dated as the commit.
EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)

pages:
	$(TESTS) $(CARGO) run --quiet --locked --package packaging -- $(PAGES) $$(date -u -d @$(EPOCH) +%F)

demo: build
	@sh .ci/need.sh busybox:busybox-static
	@sh demo/run.sh $(BIN)

# The tests are built for the host's own libc. Theirs are programs with threads
# that fork, which musl's malloc does not survive; orlop has one thread.
TESTS = CARGO_BUILD_TARGET=$(HOST)

# The last line that counts: `N passed, N failed, N skipped`.
test: build
	@sh .ci/need.sh busybox:busybox-static ps:procps /usr/include/seccomp.h:libseccomp-dev
	@$(TESTS) CARGO="$(CARGO)" .ci/test.sh native $(SUITES)

# A machine with systemd and all controllers, for what this one lacks.
vm:
	@runtime-tests/vm/build.sh

# The package is for the suite `packages`, which installs it there.
test-vm: build vm deb
	@$(TESTS) CARGO="$(CARGO)" .ci/test.sh vm $(SUITES)

# The same checks of engines on orlop, crun and runc, and what of it differs.
test-engines: build vm deb
	@$(TESTS) CARGO="$(CARGO)" .ci/engines.sh $(SUITES)

# The OCI validation programs, built from a checkout of opencontainers/runtime-tools,
# and run on orlop. SPEC is a checkout of opencontainers/runtime-spec, for its JSON
# schemas. See docs/conformance.md.
SUITE ?= target/validation

validation-suite:
	@runtime-tests/validation/build.sh "$(RUNTIME_TOOLS)" "$(SUITE)"

validate: build
	@runtime-tests/validation/run.sh "$(SUITE)" $(BIN) "$(SPEC)"

# orlop beside crun and runc; docs/performance.md says how. OPTIONS are bench's
# own, DOC=1 also writes the tables and the chart in docs.
BENCH = target/$(TARGET)/release/bench

bench: build-bench vm
	@runtime-tests/bench/bench.sh native $(BIN) $(BENCH) $(OPTIONS)
	@$(BENCH) show target/bench/native.json --svg target/bench/chart.svg
	@test -z "$(DOC)" || $(BENCH) show target/bench/native.json $$(ls target/bench/vm.json 2>/dev/null) \
		--svg docs/performance.svg --docs docs/performance.md >/dev/null

bench-vm: build-bench vm
	@runtime-tests/bench/bench.sh vm $(BIN) $(BENCH) $(OPTIONS)
	@$(BENCH) show target/bench/vm.json

build-bench: build
	$(CARGO) build --release --locked --package runtime-tests --bin bench

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@command -v cargo-deny >/dev/null || env -u CARGO_BUILD_TARGET $(CARGO) install --target $(HOST) cargo-deny --locked
	# Everything in the lock file, other systems' crates too: cargo-deny reads them all.
	env -u CARGO_BUILD_TARGET $(CARGO) fetch --locked
	$(CARGO) deny --offline check bans licenses sources

# The system calls of all architectures, from the headers of a newer kernel.
syscall-tables:
	@sh .ci/need.sh python3 /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
	@python3 src/seccomp/tables/generate.py

# Where they are looked for; Debian has a place of its own for zsh.
BINDIR   = $(PREFIX)/bin
MANDIR   = $(PREFIX)/share/man/man8
DOCDIR   = $(PREFIX)/share/doc/orlop
BASHDIR  = $(PREFIX)/share/bash-completion/completions
ZSHDIR   = $(PREFIX)/share/zsh/site-functions
FISHDIR  = $(PREFIX)/share/fish/vendor_completions.d

install:
	@test -x $(BIN) -a -d $(PAGES)/man || { echo "run make first"; exit 1; }
	install -D -m 0755 $(BIN) $(DESTDIR)$(BINDIR)/orlop
	install -D -m 0644 -t $(DESTDIR)$(MANDIR) $(PAGES)/man/*.8
	install -D -m 0644 -t $(DESTDIR)$(BASHDIR) $(PAGES)/completions/orlop
	install -D -m 0644 -t $(DESTDIR)$(ZSHDIR) $(PAGES)/completions/_orlop
	install -D -m 0644 -t $(DESTDIR)$(FISHDIR) $(PAGES)/completions/orlop.fish
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR) README.md LICENSE config.example.json
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/docs docs/*.*
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/docs/engines docs/engines/*

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/orlop $(DESTDIR)$(MANDIR)/orlop.8 $(DESTDIR)$(MANDIR)/orlop-*.8
	rm -f $(DESTDIR)$(BASHDIR)/orlop $(DESTDIR)$(ZSHDIR)/_orlop $(DESTDIR)$(FISHDIR)/orlop.fish
	rm -rf $(DESTDIR)$(DOCDIR)

# target/orlop_VERSION_ARCHITECTURE.deb
deb: build pages
	@SOURCE_DATE_EPOCH=$(EPOCH) packaging/deb.sh $(BIN)

clean:
	$(CARGO) clean

.PHONY: all build pages demo test vm test-vm test-engines validation-suite validate bench bench-vm build-bench check syscall-tables install uninstall deb clean
