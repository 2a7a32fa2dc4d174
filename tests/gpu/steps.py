# SPDX-License-Identifier: MIT
"""The steps of a run. Each returns what it found: {"result", "text", figures ...}."""
import csv
import hashlib
import os
import re
import shutil
import sys

TOOLS = {"memcheck": "outside", "initcheck": "unset", "synccheck": "barrier",
         "racecheck": "race"}
LEAST = {"mlp": 0.97, "lenet": 0.985}  # accuracy after three epochs
REPEATS = 100


class Skip(Exception):
    """A step that cannot be made here, with the reason."""


class Fail(Exception):
    """A step that did not hold, with the reason."""


def ok(text, **figures):
    return dict(figures, result="ok", text=text)


def need(job, what):
    if job.late:
        raise Fail(f"{what}: time was over")
    if job.status != 0:
        raise Fail(f"{what}: exit status {job.status}: {job.last()}")


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


# ---- suite ----

def part_of_suite(kit):
    return ["--share", "1/400", "--generated", "5"] if kit.tiny else []


def suite(kit):
    program, out = kit.program("mnt-conformance"), kit.folder("suite")
    part = part_of_suite(kit)
    listed = kit.run([program, "--list"] + part, "suite.list", show=False)
    need(listed, "mnt-conformance --list")
    names = [line.split(" ")[0] for line in listed.text().splitlines() if line]
    cases, checks = len(names), names.count("contract")
    job = kit.run([program, "--backend", kit.backend, "--jobs", str(kit.jobs), "--out",
                   out] + part, "suite.log")
    if job.late:
        raise Fail("time was over: " + job.last())
    page = kit.read_json(os.path.join(out, f"conformance-{kit.backend}.json"))
    total = page["totals"]
    bad = {k: total[k] for k in ("mismatches", "crashes", "contract", "thin",
                                 "unsupported") if total[k]}
    if total["cases"] != cases or len(page["contract"]) != checks:
        bad["not judged"] = cases - total["cases"]
    text = (f"{total['tuples']} tuples of {total['cases']} cases in {total['ops']} ops "
            f"(the list has {cases}, {checks} of them contract checks), "
            f"{total['mismatches']} mismatches, {total['unsupported']} unsupported")
    if job.status != 0 or bad:
        raise Fail(f"{text}; exit status {job.status}; {bad}")
    return ok(text, totals=total)


# ---- sanitize ----

def sanitizer(kit):
    if kit.backend != "cuda":
        raise Skip("compute-sanitizer judges the cuda backend")
    for place in (shutil.which("compute-sanitizer"),
                  "/usr/local/cuda/bin/compute-sanitizer"):
        if place and os.path.exists(place):
            return place
    raise Skip("compute-sanitizer is not here")


def reports_in(text):
    """Sum of the tool's summary lines; None where there is none."""
    found = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", text)
    return sum(int(n) for n in found) if found else None


def planted(kit, tool):
    """Whether the tool reports the fault that is planted for it, inside a graph."""
    program = kit.program("gpu_planted")
    found = {}
    for fault in (TOOLS[tool], "none"):
        job = kit.run([sanitizer(kit), "--tool", tool, program, fault],
                      f"planted.{tool}.{fault}")
        found[fault] = reports_in(job.text())
    if not found[TOOLS[tool]] or found["none"] != 0:
        raise Fail(f"reports on a planted fault and on none: {found}")
    return ok("the planted fault is reported, a kernel without one is not")


def filtered(kit, tool):
    """racecheck looks at shared memory only; kernels without any are left alone."""
    path = kit.packed("shared-kernels.txt")
    if tool != "racecheck" or not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        return [w for name in f.read().split() for w in ("--kernel-name", "kne=" + name)]


def judged(kit, tool, name, which):
    """Shards of a list of cases, each under its own tool."""
    tool_path, jobs = sanitizer(kit), []
    budget = max(5, int(kit.left()) - 60)
    for i in range(kit.jobs):
        out = kit.folder("sanitize", f"{tool}.{name}", str(i + 1))
        command = [tool_path, "--tool", tool, "--target-processes", "all",
                   "--require-cuda-init", "no", "--print-limit", "20"]
        command += filtered(kit, tool)
        command += [kit.program("mnt-conformance"), "--backend", kit.backend, "--warm",
                    "--jobs", "1", "--quiet", "--limit", "600", "--budget", str(budget),
                    "--share", f"{i + 1}/{kit.jobs}", "--out", out] + which
        jobs.append(kit.start(command, f"{tool}.{name}.{i + 1}", show=i == 0))
    kit.wait(jobs)
    return summed(jobs, tool)


def summed(jobs, tool):
    reports = cases = left = wrong = 0
    for job in jobs:
        text = job.text()
        total = re.search(r"conformance: \w+: \d+ tuples of (\d+) cases in \d+ ops, "
                          r"(\d+) mismatches", text)
        found = reports_in(text)
        if job.late or not total or found is None:
            raise Fail(f"{job.log}: {'time was over' if job.late else job.last()}")
        cut = re.search(r"--budget \d+: (\d+) of (\d+) cases", text)
        reports += found
        cases += int(total.group(1))
        left += int(cut.group(2)) - int(cut.group(1)) if cut else 0
        wrong += int(total.group(2)) + (1 if job.status not in (0,) and not cut else 0)
    text = f"{reports} reports, {cases} cases, {left} left over when time was over"
    if reports or wrong or cases == 0:
        raise Fail(f"{text}; {wrong} mismatches or bad ends")
    return ok(text, tool=tool, reports=reports, cases=cases, left=left)


def reduced_list(kit):
    path = kit.packed("reduced.cases")
    if kit.tiny or not os.path.exists(path):
        return ["--share", "1/400", "--generated", "5"] if kit.tiny else None
    return ["--cases", path]


def reduced(kit, tool):
    """One case a kernel and tail, under every configuration."""
    which = reduced_list(kit)
    if which is None:
        raise Skip("there is no reduced.cases in the pack")
    return judged(kit, tool, "reduced", which)


def whole(kit, tool):
    """Every case under the backend's own choice of kernels."""
    return judged(kit, tool, "whole", ["--force", "", "--mode", "fused"]
                  + part_of_suite(kit))


# ---- repeat ----

def repeat_net(kit, net):
    count = 2 if kit.tiny else REPEATS
    folder = kit.folder("repeat", net)
    base = [kit.program(net), "train", "--data", kit.data(), "--steps",
            "2" if kit.tiny else "40", "--batch", "64" if kit.tiny else "256"]
    want = os.path.join(folder, "cpu")
    need(kit.run(base + ["--backend", "cpu", "--ckpt", want], f"repeat.{net}.cpu"), "cpu")
    jobs = kit.crew([(base + ["--backend", kit.backend, "--ckpt",
                              os.path.join(folder, str(i))], f"repeat.{net}.{i}")
                     for i in range(count)], min(8, kit.jobs))
    for i, job in enumerate(jobs):
        need(job, f"repeat {i}")
    sums = {sha256(os.path.join(folder, str(i))) for i in range(len(jobs))}
    text = f"{len(jobs)} runs, {len(sums)} sha256"
    if len(jobs) != count or sums != {sha256(want)}:
        raise Fail(f"{text}; cpu {sha256(want)}: {sorted(sums)}")
    for i in range(count):
        os.remove(os.path.join(folder, str(i)))
    return ok(f"{text}, that of cpu: {sums.pop()}", runs=count)


def repeat_cases(kit):
    count = 2 if kit.tiny else REPEATS
    which = reduced_list(kit) or ["--generated", "5", "--share", "1/20"]
    share = [] if "--share" in which else ["--share", "1/6"]
    jobs = kit.crew([([kit.program("mnt-conformance"), "--backend", kit.backend, "--warm",
                       "--jobs", "1", "--quiet", "--force", "", "--mode", "fused", "--out",
                       kit.folder("repeat", "cases")] + which + share,
                      f"repeat.cases.{i}") for i in range(count)], min(8, kit.jobs))
    for i, job in enumerate(jobs):
        need(job, f"repeat {i}")
    found = {re.sub(r", \d+ s;.*", "", job.last()) for job in jobs}
    if len(jobs) != count or len(found) != 1:
        raise Fail(f"{len(jobs)} runs: {sorted(found)}")
    return ok(f"{count} runs of the same cases, each with the bits of cpu: {found.pop()}",
              runs=count)


# ---- train ----

def rows(path):
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(x for x in f if not x.startswith("#")))


def train(kit, net):
    sums, found = {}, {}
    for backend in (kit.backend, "cpu"):
        side = "device" if backend == kit.backend and not found else "cpu"
        out = kit.folder("train", f"{net}-{side}")
        ckpt = os.path.join(out, "ckpt")
        steps = ["--steps", "2", "--batch", "64"] if kit.tiny else []
        need(kit.run([kit.program(net), "train", "--data", kit.data(), "--epochs", "3",
                      "--backend", backend, "--out", out, "--ckpt", ckpt] + steps,
                     f"train.{net}.{side}"), f"{net} on {backend}")
        sums[side] = sha256(ckpt)
        found[side] = kit.read_json(os.path.join(out, "summary.json"))
    accuracy = found["device"]["test_accuracy"]
    data = "MNIST" if kit.data() == kit.packed("data") else "drawn digits"
    epochs = rows(os.path.join(kit.out, "train", f"{net}-device", "metrics_train.csv"))
    text = f"{data}, {100 * accuracy:.2f} %, sha256 {sums['device'][:16]}..."
    if sums["device"] != sums["cpu"]:
        raise Fail(f"{text}, but on cpu {sums['cpu'][:16]}...")
    if data == "MNIST" and accuracy < LEAST[net]:
        raise Fail(f"{text}, below {100 * LEAST[net]} %")
    return ok(text + ", that of cpu", accuracy=accuracy, sha256=sums["device"],
              epochs=epochs)


# ---- bench and peers ----

def bench_net(kit, net):
    out = kit.folder("bench", net)
    part = ["--batch", "16"] if kit.tiny else []
    need(kit.run([kit.program(net), "bench", "--backend", kit.backend, "--out", out]
                 + part, f"bench.{net}"), f"{net} bench")
    return ok("images a second beside one thread of the processor",
              rows=rows(os.path.join(out, "bench.csv")))


def bench_device(kit, backend, name, options):
    command = [kit.program("bench_device"), "--backend", backend, "--data", kit.data()]
    job = kit.run(command + options + (["--quick"] if kit.tiny else []), name)
    need(job, name)
    return ok("epochs, latencies, products", rows=rows(job.log))


def peers(kit, script):
    python = os.environ.get("MNT_PYTHON", sys.executable)
    device = "cuda" if kit.backend == "cuda" else "cpu"
    job = kit.run([python, kit.packed("bench", script), "--data", kit.data(), "--device",
                   device] + (["--quick"] if kit.tiny else []), script)
    if not job.late and job.status == 77:
        raise Skip(job.last())
    need(job, script)
    said = [x[2:] for x in job.text().splitlines() if x.startswith("# ")]
    text = "\n".join(x for x in job.text().splitlines()
                     if x.count(",") == 9 and not x.startswith("#"))
    return ok("; ".join(said), rows=list(csv.DictReader(text.splitlines())))


def of(function, *more):
    return lambda kit: function(kit, *more)


STEPS = [("suite", suite, 560)]
for _tool in TOOLS:
    STEPS.append((f"sanitize.{_tool}.planted", of(planted, _tool), 60))
for _tool in TOOLS:
    STEPS.append((f"sanitize.{_tool}.reduced", of(reduced, _tool), 300))
for _tool in TOOLS:
    STEPS.append((f"sanitize.{_tool}.whole", of(whole, _tool), 300))
STEPS += [
    ("repeat.mlp", of(repeat_net, "mlp"), 120),
    ("repeat.lenet", of(repeat_net, "lenet"), 120),
    ("repeat.cases", repeat_cases, 180),
    ("train.mlp", of(train, "mlp"), 120),
    ("train.lenet", of(train, "lenet"), 120),
    ("bench.lenet", of(bench_net, "lenet"), 120),
    ("bench.mlp", of(bench_net, "mlp"), 120),
    ("bench.device", lambda kit: bench_device(kit, kit.backend, "bench.device", []), 120),
    ("bench.thread", lambda kit: bench_device(
        kit, "cpu", "bench.thread",
        ["--threads", "1", "--rounds", "3", "--what", "epoch,infer"]), 120),
    ("peers.torch", of(peers, "peers_torch.py"), 240),
    ("peers.jax", of(peers, "peers_jax.py"), 300),
]
