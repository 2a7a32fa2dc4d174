# SPDX-License-Identifier: MIT
"""The lists: reading them, applying an entry to the sources, what must be covered.

An entry is a block of `key: value` lines; README.md explains the keys. A line that
begins with blanks goes on with the value before it.
"""
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

CLASSES = {
    1: "sizes that no tile divides",
    2: "operands that are not row-major",
    3: "views with gaps, copied as one block",
    4: "start offsets; bytes and elements",
    5: "sizes of zero, empty sums",
    6: "memory taken for zero",
    7: "narrow index arithmetic",
    8: "more than 65,535 units along an axis",
    9: "work that is silently not done",
    10: "a sum over some lanes only",
    11: "a vector width taken for granted",
    12: "softmax and its logarithm at the extremes",
    13: "NaN that gets lost",
    14: "ties",
    15: "an assignment instead of a sum",
    16: "subnormals",
    17: "algebra that floating point forbids",
    18: "precision and order of sums",
    19: "cancellation",
    20: "missing barriers",
    21: "memory reused while in use",
    22: "caches with a weak key",
    23: "upstream gradients ignored",
    24: "labels and indices out of range",
    25: "geometry of windows",
    26: "another compiler's code",
    27: "random numbers",
    28: "results that depend on the past",
}

KEYS = ("id", "class", "bug", "kernel", "part", "file", "find", "nth", "with",
        "compile", "isa", "flags", "run", "tests", "equivalent", "timeout", "image",
        "env")
IMAGES = ("plain", "race", "source")
# Judged on the simulated device; below them every file but those of tables needs an entry.
SHADERS, DEVICE = "shaders/", ("shaders/", "backends/gpu/", "backends/metal/")
TOKEN = re.compile(r"\w+|[^\w\s]")


class ListError(Exception):
    """An entry that cannot be used; the text names it."""


@dataclass
class Edit:
    file: str
    find: str
    nth: int = 0  # 0: the text must occur once
    text: str = ""


@dataclass
class Mutant:
    where: str  # list:line
    id: str = ""
    classes: list = field(default_factory=list)
    bug: str = ""
    kernels: list = field(default_factory=list)  # "op/variant"
    part: str = ""
    edits: list = field(default_factory=list)
    compile: list = field(default_factory=list)
    isa: str = ""
    flags: list = field(default_factory=list)
    run: list = field(default_factory=list)
    tests: list = field(default_factory=list)
    equivalent: str = ""
    timeout: float = 0
    image: str = ""  # of the shaders that the mutant is judged with
    env: list = field(default_factory=list)  # NAME=value

    @property
    def in_image(self):
        return self.compile[0].startswith(SHADERS)

    @property
    def on_device(self):
        return self.compile[0].startswith(DEVICE)

    @property
    def in_library(self):
        return not self.in_image and not self.compile[0].startswith("backends/cpu/")

    @property
    def files(self):
        return [e.file for e in self.edits] + self.compile


def blocks(path):
    """[(line number, [(key, value)])] of a list."""
    out, block = [], []
    for number, line in enumerate(path.read_text().splitlines() + [""], 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if block:
                out.append((start, block))
            block = []
        elif line[0].isspace():
            if not block:
                raise ListError(f"{path.name}:{number}: nothing to go on with")
            block[-1][1] += " " + line.strip()
        else:
            key, colon, value = line.partition(":")
            if not colon or key not in KEYS:
                raise ListError(f"{path.name}:{number}: no key in '{line}'")
            if not block:
                start = number
            block.append([key, value.strip()])
    return out


def edit_key(m, key, value):
    """find, nth and with belong to the file before them; find begins a new edit."""
    if key == "file":
        m.edits.append(Edit(value, ""))
        return
    if not m.edits:
        raise ListError(f"{m.where}: {key} before file")
    last = m.edits[-1]
    if key == "find" and last.find:
        last = Edit(last.file, "")
        m.edits.append(last)
    if key == "find":
        last.find = value
    elif key == "nth":
        last.nth = int(value)
    else:
        last.text = value


def make(where, block):
    m = Mutant(where)
    for key, value in block:
        if key in ("file", "find", "nth", "with"):
            edit_key(m, key, value)
        elif key == "class":
            m.classes = [int(c) for c in value.split()]
        elif key == "kernel":
            m.kernels = value.split()
        elif key in ("compile", "flags", "run", "tests", "env"):
            setattr(m, key, shlex.split(value))
        elif key == "timeout":
            m.timeout = float(value)
        else:
            setattr(m, key, value)
    m.edits = [e for e in m.edits if e.find or not m.flags]
    if not m.compile:
        m.compile = [e.file for e in m.edits]
    check(m)
    return m


def check(m):
    def fail(text):
        raise ListError(f"{m.where}: {m.id}: {text}")

    if not m.id or not m.bug or not m.classes or not m.compile:
        fail("id, class, bug and file (or compile) are needed")
    if any(c not in CLASSES for c in m.classes):
        fail(f"classes are 1 to {len(CLASSES)}")
    if bool(m.kernels) == bool(m.part):
        fail("either kernel or part is needed")
    if m.part and not m.run and not m.tests:
        fail("a part needs run or tests")
    if not m.edits and not m.flags:
        fail("neither find nor flags")
    if any(not e.find for e in m.edits):
        fail("file without find")
    if any(not c.endswith((".c", ".m", ".metal")) for c in m.compile):
        fail("a header needs compile: the sources that are built with it")
    if (m.image or "plain") not in IMAGES or (m.image and not m.on_device):
        fail(f"image is one of {', '.join(IMAGES)}, and for the simulated device")
    m.compile = list(dict.fromkeys(m.compile))


def load(folder=HERE):
    out, ids = [], set()
    for path in sorted(folder.glob("*.list")):
        for number, block in blocks(path):
            m = make(f"{path.name}:{number}", block)
            if m.id in ids:
                raise ListError(f"{m.where}: the id {m.id} exists")
            ids.add(m.id)
            out.append(m)
    return out


def pattern(text):
    """Matches the text whatever blanks and line ends lie between its tokens."""
    tokens = TOKEN.findall(text)
    out = re.escape(tokens[0])
    for before, token in zip(tokens, tokens[1:]):
        both = re.match(r"\w", before[-1]) and re.match(r"\w", token[0])
        out += (r"\s+" if both else r"\s*") + re.escape(token)
    begin = r"\b" if re.match(r"\w", tokens[0]) else ""
    end = r"\b" if re.match(r"\w", tokens[-1]) else ""
    return re.compile(begin + out + end)


def mutated(m, root=ROOT):
    """{file: its text after the entry's edits}; raises ListError."""
    texts = {}
    for e in m.edits:
        if e.file not in texts:
            path = root / e.file
            if not path.is_file():
                raise ListError(f"{m.where}: {m.id}: no file {e.file}")
            texts[e.file] = path.read_text()
        found = list(pattern(e.find).finditer(texts[e.file]))
        if not found:
            raise ListError(f"{m.where}: {m.id}: '{e.find}' is not in {e.file}")
        if len(found) > 1 and not e.nth or e.nth > len(found):
            raise ListError(f"{m.where}: {m.id}: '{e.find}' occurs {len(found)} times "
                            f"in {e.file}, nth is {e.nth or 'not given'}")
        hit = found[(e.nth or 1) - 1]
        text = texts[e.file]
        texts[e.file] = text[:hit.start()] + e.text + text[hit.end():]
        if texts[e.file] == text:
            raise ListError(f"{m.where}: {m.id}: nothing changes in {e.file}")
    return texts


ENTRY = re.compile(r"\{\s*MNT_OP_ID_(\w+),\s*\"(\w+)\"")
MACRO = re.compile(r"^\s*KERNEL\((\w+),\s*\"(\w+)\"", re.M)


def kernels(root=ROOT):
    """Every (op, variant) in the kernel tables of the cpu backend, as op/variant."""
    out = set()
    for path in (root / "backends/cpu").glob("*/*.c"):
        text = path.read_text()
        for op, variant in ENTRY.findall(text) + MACRO.findall(text):
            out.add(f"{op}/{variant}")
    return out


def bare(mutants, root):
    """Sentences about sources for the simulated device that no mutant changes."""
    changed = {f for m in mutants for f in m.files}
    return [f"{name} has no mutant" for folder in DEVICE
            for path in sorted((root / folder).glob("*.*"))
            if path.suffix in (".metal", ".c", ".m")
            and (name := str(path.relative_to(root))) not in changed]


def uncovered(mutants, root=ROOT):
    """Sentences about kernels with fewer than two mutants and classes without one."""
    out = []
    known = kernels(root)
    counts = dict.fromkeys(known, 0)
    out += bare(mutants, root)
    for m in mutants:
        if m.on_device:
            continue # mnt-conformance knows its kernels
        for k in m.kernels:
            if k not in known:
                out.append(f"{m.where}: {m.id}: there is no kernel {k}")
            elif not m.equivalent:
                counts[k] += 1
    out += [f"kernel {k} has {n} mutant{'s' if n != 1 else ''}, two are needed"
            for k, n in sorted(counts.items()) if n < 2]
    for c, name in CLASSES.items():
        if not any(c in m.classes and not m.equivalent for m in mutants):
            out.append(f"class {c} ({name}) has no mutant")
    return out
