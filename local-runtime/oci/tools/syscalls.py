#!/usr/bin/env python3
"""Makes src/seccomp/syscalls.rs from the kernel's exported headers.

    python3 tools/syscalls.py HEADERS VERSION > src/seccomp/syscalls.rs

HEADERS is a folder that holds `x86/asm`, `arm64/asm` and `arm/asm`, as Debian's linux-libc-dev has them under
usr/lib/linux/uapi, or as three runs of the kernel's `make headers_install` leave them. VERSION is the kernel's, such
as 7.2, for the file to say.
"""
import pathlib
import re
import sys

ABIS = ["x86_64", "x86", "x32", "aarch64", "arm"]
FILES = {
    "x86_64": ["x86/asm/unistd_64.h"],
    "x86": ["x86/asm/unistd_32.h"],
    "x32": ["x86/asm/unistd_x32.h"],
    "aarch64": ["arm64/asm/unistd_64.h"],
    "arm": ["arm/asm/unistd-eabi.h", "arm/asm/unistd.h"],
}
NUMBER = re.compile(r"#define\s+__NR_([a-z_]\w*)\s+\(?\s*(?:(?:__NR_SYSCALL_BASE|__X32_SYSCALL_BIT)\s*\+\s*)?(\d+)\)?\s*$")
ALIAS = re.compile(r"#define\s+__NR_(\w+)\s+__NR_(\w+)\s*$")
ARM_PRIVATE = re.compile(r"#define\s+__ARM_NR_(\w+)\s+\(__ARM_NR_BASE\+(\d+)\)")
HEAD = '''//! Names and numbers of the system calls, one row a name and one column an ABI.
//!
//! The numbers are the kernel's (headers of Linux {version}); this file is made by `tools/syscalls.py`, which says
//! how. The x32 column leaves out the bit that marks x32 calls; ARM's private calls start at 0x0f_0000.

/// Stands for "this ABI has no such call".
pub(super) const NONE: u32 = u32::MAX;

/// A name with its number in each ABI, in the order {order}.
pub(super) type Row = (&'static str, [u32; {count}]);

const X: u32 = NONE;

/// Sorted by name.
#[rustfmt::skip]
pub(super) static SYSCALLS: &[Row] = &['''


def read(root, abi):
    numbers, aliases = {}, {}
    for file in FILES[abi]:
        for line in (root / file).read_text().splitlines():
            if m := NUMBER.match(line):
                numbers[m[1]] = int(m[2])
            elif m := ALIAS.match(line):
                aliases[m[1]] = m[2]
            elif m := ARM_PRIVATE.match(line):
                numbers[m[1]] = 0xF0000 + int(m[2])
    for name, target in aliases.items():
        if target in numbers:
            numbers[name] = numbers[target]
    return numbers


def main():
    root = pathlib.Path(sys.argv[1])
    version = sys.argv[2]
    tables = {abi: read(root, abi) for abi in ABIS}
    names = sorted(set().union(*tables.values()))
    print(HEAD.format(version=version, order=", ".join(ABIS), count=len(ABIS)))
    for name in names:
        row = ", ".join(str(tables[abi].get(name, "X")) for abi in ABIS)
        print(f'    ("{name}", [{row}]),')
    print("];")


if __name__ == "__main__":
    main()
