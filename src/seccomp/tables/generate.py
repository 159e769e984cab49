#!/usr/bin/env python3
"""Writes data.rs, the system calls of each architecture, beside this file.

Their numbers are read from the unistd headers of Linux, which Debian packages
for all architectures at once. `make syscall-tables` runs this; without an
argument it fetches that package, with one it reads the .deb named.

VM_MIRROR names a Debian mirror, as for the tests' VM; without it, it is the
one apt uses here. Nothing of the machine's own apt is changed.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = "forky"
PACKAGE = "linux-libc-dev"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
HERE = Path(__file__).resolve().parent

# The columns, in the order of `Arch`, and the header each is read from.
COLUMNS = {
    "X86_64": "x86/asm/unistd_64.h",
    "X86": "x86/asm/unistd_32.h",
    "X32": "x86/asm/unistd_x32.h",
    "Aarch64": "arm64/asm/unistd_64.h",
    "Arm": "arm/asm/unistd-eabi.h",
    "Riscv64": "riscv/asm/unistd_64.h",
    "Ppc64le": "powerpc/asm/unistd_64.h",
    "S390x": "s390/asm/unistd_64.h",
}
# Arm's own calls are 0x0f0000 and up; in 16 bits they are written 0xf000 and up.
ARM_BASE, ARM_STORED = 0x0F0000, 0xF000

# A number is plain, or on top of x32's bit or arm's base, which is 0 for EABI.
CALL = re.compile(r"#define __NR_(\w+) (?:(\d+)|\((?:__X32_SYSCALL_BIT|__NR_SYSCALL_BASE) \+ (\d+)\))")
ARM_CALL = re.compile(r"^#define __ARM_NR_(\w+)\s+\(__ARM_NR_BASE\+(\d+)\)$", re.M)
ARM_ALIAS = re.compile(r"^#define __NR_(\w+)\s+__NR_([a-z]\w*)$", re.M)


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def mirror():
    """The mirror as the host's apt has it; the one for security has other suites."""
    if "VM_MIRROR" in os.environ:
        return os.environ["VM_MIRROR"]
    listing = ["apt-get", "indextargets", "--format", "$(SUITE) $(REPO_URI)", "Created-By: Packages"]
    # Without `apt-get update` apt doesn't know origins: take what the sources say.
    for known, like in ((["Origin: Debian"], ""), ([], "/debian")):
        for line in run(*listing, *known).splitlines():
            suite, url = line.split(" ", 1)
            if not suite.endswith("-security") and url.rstrip("/").endswith(like):
                return url
    sys.exit("apt has no Debian mirror here; name one with VM_MIRROR")


def fetch(work):
    """The package, by an apt whose state is all in `work`."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources").write_text(f"deb [signed-by={KEYS}] {mirror()} {SUITE} main\n")
    (work / "conf").write_text(
        f'Dir::State "{work}/state"; Dir::State::status "{work}/status"; Dir::Cache "{work}/cache";\n'
        f'Dir::Etc::SourceList "{work}/sources"; Dir::Etc::SourceParts "-";\n'
        # A frozen mirror's lists are out of date by definition.
        'Acquire::Check-Valid-Until "false"; Acquire::Languages "none"; APT::Sandbox::User "";\n'
    )
    apt = {**os.environ, "APT_CONFIG": str(work / "conf")}
    run("apt-get", "update", "-qq", env=apt)
    run("apt-get", "download", "-qq", PACKAGE, env=apt, cwd=work)
    return next(work.glob("*.deb"))


def column(headers, name):
    """An architecture's calls, as {name: number}. A line not understood is an error."""
    calls = {}
    for line in (headers / COLUMNS[name]).read_text().splitlines():
        if not line.startswith("#define __NR_"):
            continue
        match = CALL.fullmatch(line)
        if not match or match[1] in calls:
            sys.exit(f"{COLUMNS[name]}: {line}")
        calls[match[1]] = int(match[2] or match[3])
    if name == "Arm":
        calls |= arms_own(headers, calls)
    if len(calls) < 300:
        sys.exit(f"{COLUMNS[name]} has but {len(calls)} calls")
    return calls


def arms_own(headers, calls):
    """What arm has outside its table: its private calls, and a second name for one."""
    text = (headers / "arm/asm/unistd.h").read_text()
    if f"(__NR_SYSCALL_BASE+0x{ARM_BASE:06x})" not in text:
        sys.exit("arm/asm/unistd.h: another __ARM_NR_BASE")
    private = {name: ARM_STORED + int(number) for name, number in ARM_CALL.findall(text)}
    aliases = {name: calls[other] for name, other in ARM_ALIAS.findall(text)}
    if len(private) < 6 or len(aliases) < 1:
        sys.exit(f"arm/asm/unistd.h has but {sorted(private)} and {sorted(aliases)}")
    return private | aliases


def kernel(tree):
    text = (tree / "usr/include/linux/version.h").read_text()
    parts = (re.search(rf"LINUX_VERSION_{part} (\d+)", text)[1] for part in ("MAJOR", "PATCHLEVEL", "SUBLEVEL"))
    return ".".join(parts)


def row(name, numbers):
    cells = ("NO" if number is None else hex(number) if number >= ARM_STORED else str(number) for number in numbers)
    quoted = f'"{name}",'
    return f"    ({quoted:29} [{', '.join(cell.rjust(3) for cell in cells)}]),"


def source(version, package, columns):
    """data.rs: one line for each name, one column for each architecture."""
    names = sorted(set().union(*columns.values()), key=str.encode)
    lines = [
        "//! The system calls of each architecture. Made by generate.py: do not edit.",
        "//!",
        f"//! From the headers of Linux {version} (Debian's {PACKAGE} {package}).",
        "",
        "/// The kernel these numbers are of.",
        f'pub const KERNEL: &str = "{version}";',
        "",
        "/// Not a call of this architecture.",
        "pub const NO: u16 = u16::MAX;",
        "",
        f"/// {', '.join(columns)}.",
        "/// Sorted by name. x32's are without its bit, arm's private ones have 0xf000 for 0xf0000.",
        "#[rustfmt::skip]",
        f"pub const CALLS: [(&str, [u16; {len(columns)}]); {len(names)}] = [",
    ]
    lines += (row(name, [calls.get(name) for calls in columns.values()]) for name in names)
    return "\n".join([*lines, "];", ""])


def main():
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        deb = sys.argv[1] if len(sys.argv) > 1 else fetch(work)
        package = run("dpkg-deb", "--field", deb, "Version").strip()
        tree = work / "tree"
        run("dpkg-deb", "--extract", deb, tree)
        columns = {name: column(tree / "usr/lib/linux/uapi", name) for name in COLUMNS}
        version = kernel(tree)
    (HERE / "data.rs").write_text(source(version, package, columns))
    counts = ", ".join(f"{name} {len(calls)}" for name, calls in columns.items())
    print(f"Linux {version}: {counts}")


main()
