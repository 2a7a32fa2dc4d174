# SPDX-License-Identifier: MIT
"""The steps of a run. Each returns what it found: {"result", "text", figures ...}."""
import csv
import hashlib
import os
import re
import shutil
import subprocess
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
    jobs = kit.jobs if kit.backend == "cpu" else 1  # processes take turns on a GPU
    job = kit.run([program, "--backend", kit.backend, "--jobs", str(jobs), "--out", out]
                  + part, "suite.log")
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
    """The tool; MNT_SANITIZER names another, for any backend: to test this program."""
    if os.environ.get("MNT_SANITIZER"):
        return os.environ["MNT_SANITIZER"]
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


def connection(kit, i):
    """Tools side by side must not look for their processes at the same ports."""
    text = help_of(sanitizer(kit))
    if "--port" not in text or "--max-connections" not in text:
        return []
    return ["--port", str(50000 + 64 * i), "--max-connections", "64"]


def help_of(path, known={}):
    if path not in known:
        known[path] = subprocess.run([path, "--help"], stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, check=False,
                                     universal_newlines=True).stdout
    return known[path]


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


def shard_command(kit, tool, i, out, which):
    """One tool over some cases. Devices stay open, no case has a process of its own."""
    command = [sanitizer(kit), "--tool", tool, "--target-processes", "all",
               "--require-cuda-init", "no", "--print-limit", "20"] + connection(kit, i)
    if tool == "memcheck":  # the contract asks for allocations that fail
        command += ["--report-api-errors", "no"]
    if tool == "racecheck":
        command += ["--racecheck-num-workers", "1"]
    budget = max(5, int(kit.left()) - 30)
    return command + [kit.program("mnt-conformance"), "--backend", kit.backend, "--warm",
                      "--jobs", "1", "--quiet", "--limit", "600", "--budget",
                      str(budget), "--out", out] + which


def judged(kit, tool, name, shards):
    """Each shard, the options of its cases, under a tool of its own."""
    jobs = []
    for i, which in enumerate(shards):
        out = kit.folder("sanitize", f"{tool}.{name}", str(i + 1))
        jobs.append(kit.start(shard_command(kit, tool, i, out, which),
                              f"{tool}.{name}.{i + 1}", show=i == 0))
    kit.wait(jobs)
    return summed(jobs, tool)


def width(kit, tool):
    """Processes take turns on a GPU and lose more than they gain, except where the tool
    itself does most of the work on the processor."""
    return kit.jobs if tool == "racecheck" else 1


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


def once(line):
    """The case with one replay; racecheck notes every access of every one."""
    plain = line.split(" ")[0] not in ("graph", "contract") and "replays=" not in line
    return line.rstrip("\n") + " replays=1\n" if plain else line


def listed(kit, name, part, parts, change=str):
    """The options for every parts-th line of a packed list of cases, as a file."""
    path = kit.packed(name)
    if kit.tiny or not os.path.exists(path):
        return ["--generated", "5", "--share", f"{part + 1}/{parts * 400}"]
    with open(path, encoding="utf-8") as f:
        lines = [x for x in f if x.strip() and not x.startswith("#")]
    name = os.path.join(kit.folder("cases", kit.step), f"{part + 1}.cases")
    with open(name, "w", encoding="utf-8") as f:
        f.writelines(change(x) for x in lines[part::parts])
    return ["--cases", name]


def reduced(kit, tool):
    """A case for each kernel and each edge of it, under every configuration. Racecheck
    takes some 40 ms a launch: a case for each kernel."""
    sanitizer(kit)
    if tool == "racecheck":
        return judged(kit, tool, "kernels",
                      [listed(kit, "kernels.cases", i, kit.jobs, once)
                       for i in range(kit.jobs)])
    return judged(kit, tool, "reduced", [listed(kit, "reduced.cases", 0, 1)])


def whole(kit, tool):
    """Every case under the backend's own choice of kernels."""
    sanitizer(kit)
    n = width(kit, tool)
    few = ["--generated", "5"] if kit.tiny else []
    return judged(kit, tool, "whole",
                  [few + ["--force", "", "--mode", "fused", "--share",
                          f"{i + 1}/{n * (400 if kit.tiny else 1)}"] for i in range(n)])


# ---- repeat ----

def repeat_net(kit, net):
    """In one process, each time a new model and graph; then in processes of their own."""
    job = kit.run([kit.program("gpu_repeat"), kit.backend, net]
                  + (["64", "2", "2"] if kit.tiny else ["256", "40", str(REPEATS)]),
                  f"repeat.{net}")
    need(job, "gpu_repeat")
    count = 2 if kit.tiny else 10
    folder = kit.folder("repeat", net)
    base = [kit.program(net), "train", "--data", kit.data(), "--steps",
            "2" if kit.tiny else "40", "--batch", "64" if kit.tiny else "256"]
    want = os.path.join(folder, "cpu")
    need(kit.run(base + ["--backend", "cpu", "--ckpt", want], f"repeat.{net}.cpu"), "cpu")
    jobs = kit.crew([(base + ["--backend", kit.backend, "--ckpt",
                              os.path.join(folder, str(i))], f"repeat.{net}.{i}")
                     for i in range(count)], min(4, kit.jobs))
    for i, one in enumerate(jobs):
        need(one, f"process {i}")
    sums = {sha256(os.path.join(folder, str(i))) for i in range(len(jobs))}
    text = f"{job.last()}; {len(jobs)} processes, {len(sums)} sha256"
    if len(jobs) != count or sums != {sha256(want)}:
        raise Fail(f"{text}; cpu {sha256(want)}: {sorted(sums)}")
    for i in range(count):
        os.remove(os.path.join(folder, str(i)))
    return ok(f"{text}, that of cpu: {sums.pop()}")


def repeat_cases(kit):
    job = kit.run([kit.program("mnt-conformance"), "--backend", kit.backend, "--warm",
                   "--jobs", "1", "--quiet", "--force", "", "--mode", "fused", "--repeat",
                   "2" if kit.tiny else str(REPEATS), "--out",
                   kit.folder("repeat", "cases")] + listed(kit, "reduced.cases", 0, 3),
                  "repeat.cases")
    need(job, "mnt-conformance")
    return ok(f"each of the cases so often, with the bits of cpu: {job.last()}")


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
    STEPS.append((f"sanitize.{_tool}.whole", of(whole, _tool), 540))
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
        ["--threads", "1", "--rounds", "1", "--what", "epoch,infer"]), 120),
    ("peers.torch", of(peers, "peers_torch.py"), 240),
    ("peers.jax", of(peers, "peers_jax.py"), 300),
]
