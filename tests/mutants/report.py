# SPDX-License-Identifier: MIT
"""What came of a run: a CSV file, a row a mutant, and docs/mutants.md."""
import csv
import datetime
from dataclasses import dataclass

from mutants import CLASSES, Mutant, kernels

KILLED = ("killed", "time-out")


@dataclass
class Row:
    m: Mutant
    outcome: str  # killed, time-out, survived, equivalent
    by: str = ""
    says: str = ""
    seconds: float = 0


@dataclass
class Sum:
    mutants: int = 0
    killed: int = 0
    late: int = 0
    equivalent: int = 0

    def add(self, row):
        self.mutants += 1
        self.killed += row.outcome in KILLED
        self.late += row.outcome == "time-out"
        self.equivalent += row.outcome == "equivalent"

    @property
    def score(self):
        judged = self.mutants - self.equivalent
        return self.killed / judged if judged else 0.0

    def cells(self):
        return (f"{self.mutants} | {self.killed} | {self.late} | {self.equivalent} | "
                f"{100 * self.score:.1f} %")


def sums(rows, key):
    """{key: Sum}; a row may count under several keys."""
    out = {}
    for row in rows:
        for k in key(row.m):
            out.setdefault(k, Sum()).add(row)
    return out


def total(rows):
    return sums(rows, lambda m: [0]).get(0, Sum())


def by_class(rows):
    return sums(rows, lambda m: m.classes)


def write_csv(rows, path):
    with open(path, "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["id", "classes", "where", "files", "bug", "outcome", "seconds", "by",
                    "says"])
        for r in rows:
            w.writerow([r.m.id, " ".join(map(str, r.m.classes)),
                        " ".join(r.m.kernels) or r.m.part, " ".join(r.m.compile),
                        r.m.bug, r.outcome, f"{r.seconds:.1f}", r.by, r.says])


def read_csv(path, mutants, but):
    """Rows of an earlier run: of mutants (by id) that still exist, but for some ids."""
    with open(path, newline="") as f:
        return [Row(mutants[r["id"]], r["outcome"], r["by"], r["says"],
                    float(r["seconds"]))
                for r in csv.DictReader(f) if r["id"] in mutants and r["id"] not in but]


HEAD = "mutants | killed | of these by time-out | equivalent | score |\n"
RULE = "---|---|---|---|---|\n"


def table(title, rows):
    out = f"| {title} | {HEAD}|---|{RULE}"
    for name, s in rows:
        out += f"| {name} | {s.cells()} |\n"
    return out + "\n"


def area(m):
    return m.where.partition(".")[0]


def counted_kernels(rows):
    """op: variant (mutants), ...; a line an op."""
    counts = sums(rows, lambda m: m.kernels)
    ops = {}
    for k in sorted(kernels()):
        op, variant = k.split("/")
        s = counts.get(k, Sum())
        ops.setdefault(op, []).append(f"{variant} {s.mutants - s.equivalent}")
    return "".join(f"| {op} | {', '.join(v)} |\n" for op, v in ops.items())


def markdown(rows, isa, seconds, jobs, date=None):
    date = date or datetime.date.today().isoformat()
    s = total(rows)
    own = sum(r.outcome == "killed" and "mnt-conformance" not in r.by for r in rows)
    out = f"""# Mutants

A conformance suite is worth what it catches. `tests/mutants` holds {s.mutants} small,
deliberate mistakes in the kernels of the cpu backend, its driver and the library above, in
the shaders, in what dispatches them and in the host code of the metal backend, each of a
kind that has hurt real libraries. Each is built into a copy, which `mnt-conformance` then
judges as it judges any backend from outside; a mutant that it lets pass counts against the
suite. The reference beside it stays untouched. Shaders and what is around them run on the
simulated device, where the watcher of races counts, too. Only mutants of the library and
of host code are shown to their own tests besides ({own} were killed there).

**Score: {s.killed} of {s.mutants - s.equivalent}, {100 * s.score:.1f} %**
({s.late} by a time-out; {s.equivalent} more are equivalent: they change no result).
Measured on {date} with the kernel set {isa}, {seconds / 60:.0f} minutes on {jobs} cores.
This page is written by

```sh
tests/mutants/run --build build-metalsim --markdown docs/mutants.md
```

A kill counts only if the unmutated copy passes the very case that shows it. The run fails
when a kernel has fewer than two mutants, a class has none, or the score is below 95 %.
[tests/mutants/README.md](../tests/mutants/README.md) says how an entry is written.

## By class of bug
A mutant may belong to several classes.

"""
    sums_ = by_class(rows)
    out += table("class", [(f"{c}. {n}", sums_.get(c, Sum()))
                           for c, n in CLASSES.items()])
    out += "## By place\n\n"
    out += table("list", sorted(sums(rows, lambda m: [area(m)]).items()))
    out += "## Mutants of each kernel of the cpu\n\n| op | variants |\n|---|---|\n"
    out += counted_kernels(rows)
    out += exceptions(rows)
    return out


def exceptions(rows):
    out = ""
    for title, outcome in (("Survivors", "survived"), ("Equivalent", "equivalent")):
        some = [r for r in rows if r.outcome == outcome]
        if some:
            out += f"\n## {title}\n\n"
        for r in some:
            where = ", ".join(r.m.kernels) or r.m.part
            why = f": {r.m.equivalent}" if r.m.equivalent else ""
            out += f"- `{r.m.id}` ({where}): {r.m.bug}{why}.\n"
    return out
