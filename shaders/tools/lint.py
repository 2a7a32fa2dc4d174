#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What C++ allows in a rewritten shader and Metal does not, found in clang's syntax tree.

    lint.py [--clang clang++-19] -- COMPILER-FLAGS... FILE.cpp

Casts that change the address space; casts that keep the bits of a vector and change its
type; comparisons of vectors, which are vectors of bool in Metal and of int in clang;
lambdas. Only places in shaders count, not those in the shim or in what the rewriter adds.
"""
import argparse
import re
import subprocess
import sys

PLACE = re.compile(r"line:(\d+):(\d+)|col:(\d+)|([^<>, ][^<>,]*?):(\d+):(\d+)|<invalid sloc>"
                   r"|<built-in>|<scratch space>")
NODE = re.compile(r"^[ |`-]*([A-Z]\w+) 0x[0-9a-f]+ (?:(?:parent|prev) 0x[0-9a-f]+ )*"
                  r"<((?:[^<>]|<[a-z -]+>(?::\d+:\d+)?)*)> ?(.*)")
AFTER = re.compile(r"(?:line:\d+:\d+|col:\d+|[^ ']+:\d+:\d+)")
VECTOR = re.compile(r"ext_vector_type|^'(?:const )?(?:bool|u?char|u?short|u?int|half|float)"
                    r"[234]'")


class Tree:
    """Yields (kind, rest of the line, file, line, column) of every node; the dump gives
    of a place only what has changed since the one before."""

    def __init__(self, lines):
        self.lines = lines
        self.file, self.line, self.column = "", 0, 0

    def move(self, text):
        first = None
        for m in PLACE.finditer(text):
            if m.group(1):
                self.line, self.column = int(m.group(1)), int(m.group(2))
            elif m.group(3):
                self.column = int(m.group(3))
            elif m.group(4):
                self.file = m.group(4).strip()
                self.line, self.column = int(m.group(5)), int(m.group(6))
            else:
                continue
            first = first or (self.file, self.line, self.column)
        return first

    def __iter__(self):
        for text in self.lines:
            m = NODE.match(text)
            if not m:
                continue
            first = self.move(m.group(2)) or (self.file, self.line, self.column)
            rest = m.group(3)
            if AFTER.match(rest):
                self.move(rest.split(" ", 1)[0])
            yield m.group(1), rest, first


def fault(kind, rest):
    if kind == "LambdaExpr":
        return "MSL has no lambdas"
    if kind in ("CStyleCastExpr", "CXXFunctionalCastExpr"):
        if "<AddressSpaceConversion>" in rest and "mtl_t_" not in rest:
            return "a cast from one address space into another"
        if "<BitCast>" in rest and VECTOR.search(rest):
            return "a cast that keeps a vector's bits: use as_type or a constructor"
    if kind == "BinaryOperator" and VECTOR.search(rest) and \
            re.search(r"'(?:<|>|<=|>=|==|!=|&&|\|\|)'$", rest):
        return "a comparison of vectors, which is a vector of bool in Metal"
    return None


def faults(dump):
    """Sentences about the faults in a tree that clang has written."""
    found = {}
    for kind, rest, (file, line, column) in Tree(dump.splitlines()):
        text = fault(kind, rest)
        if text and not file.startswith("entry-points") and \
                not file.endswith((".cpp", "/metal_stdlib", "/atomic.h", "/target.h")):
            found[(file, line, column)] = text
    return [f"{file}:{line}:{column}: error: {text}"
            for (file, line, column), text in sorted(found.items())]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--clang", default="clang++-19")
    ap.add_argument("flags", nargs="+")
    a = ap.parse_args()
    run = subprocess.run([a.clang, "-fsyntax-only", "-Xclang", "-ast-dump",
                          "-fno-color-diagnostics", *a.flags],
                         capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(run.stderr)
    said = faults(run.stdout)
    if said:
        sys.exit("\n".join(said))


if __name__ == "__main__":
    main()
