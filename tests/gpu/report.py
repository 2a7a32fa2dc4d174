# SPDX-License-Identifier: MIT
"""report.md, figures.csv and the charts from what the steps found."""
import json
import os
import shutil
import subprocess
import time

from kit import machine
from steps import LEAST

PEERS = [("torch-eager", "PyTorch eager"), ("torch-graph", "PyTorch, CUDA graph"),
         ("jax-scan", "JAX, one jit")]
NETS = [("mlp", "MLP"), ("lenet", "LeNet")]


def figures(kit):
    """{(what, name, batch, who): row}; who is the device, a thread, or a peer."""
    found = {}
    for step in ("bench.device", "bench.thread", "peers.torch", "peers.jax"):
        for row in kit.state.get(step, {}).get("rows", []):
            who = {"bench.device": "device", "bench.thread": "thread"}.get(
                step, row["backend"])
            found[row["what"], row["name"], int(row["batch"]), who] = row
    return found


def number(x):
    """Three digits, with a letter for thousands and more."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= size:
            return f"{x / size:.3g} {letter}"
    return f"{x:.3g}"


def table(head, rows):
    if not rows:
        return []
    return (["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
            + ["| " + " | ".join(row) + " |" for row in rows] + [""])


def value(found, key, field="median_s", scale=1e3, form="{:.3g}"):
    row = found.get(key)
    return form.format(float(row[field]) * scale) if row else "-"


def ratio(a, b, field):
    """Times that a is better than b."""
    if not a or not b:
        return "-"
    x, y = float(a[field]), float(b[field])
    return f"{y / x:.2f}" if field == "median_s" else f"{x / y:.2f}"


def steps_table(kit):
    rows = []
    for name, s in kit.state.items():
        text = s["text"].replace("|", "/").replace("\n", " ")
        rows.append([name, s["result"], f"{s['seconds']:.0f} s", text])
    return table(["step", "result", "time", "what"], rows)


def sanitize_table(kit):
    rows = []
    for tool in ("memcheck", "initcheck", "synccheck", "racecheck"):
        row = [tool]
        for name in ("planted", "reduced", "whole"):
            s = kit.state.get(f"sanitize.{tool}.{name}")
            if not s:
                row.append("not run")
            elif name == "planted":
                row.append("reported" if s["result"] == "ok" else s["result"])
            elif "cases" in s:
                left = f", {s['left']} left over" if s["left"] else ""
                row.append(f"{s['reports']} reports, {s['cases']} cases{left}")
            else:
                row.append(s["result"])
        rows.append(row)
    if not any(name.startswith("sanitize") for name in kit.state):
        return []
    return table(["tool", "planted fault",
                  "reduced list, every configuration (racecheck: a case a kernel)",
                  "whole list, own choice of kernels"], rows)


def epochs_table(found):
    rows = []
    for net, title in NETS:
        for batch in (256, 512):
            key = ("epoch", net, batch)
            ours = found.get(key + ("device",))
            if not ours:
                continue
            peers = [found[key + (who,)] for who, _ in PEERS if key + (who,) in found]
            best = min(peers, key=lambda r: float(r["median_s"])) if peers else None
            rows.append([f"{title}, {batch}", value(found, key + ("device",)),
                         value(found, ("queued", net, batch, "device"))]
                        + [value(found, key + (who,)) for who, _ in PEERS]
                        + [ratio(ours, best, "median_s"),
                           ratio(ours, found.get(key + ("thread",)), "median_s")])
    return table(["ms an epoch", "libmnt", "libmnt, queued"] + [t for _, t in PEERS]
                 + ["best peer / libmnt", "one CPU thread / libmnt"], rows)


def flight_table(found):
    rows = []
    for net, title in NETS:
        for batch in (1, 16, 256, 1024, 8192):
            key = ("flight", net, batch)
            ours = found.get(key + ("device",))
            if not ours:
                continue
            rates = [number(float(found[key + (who,)]["rate"]))
                     if key + (who,) in found else "-"
                     for who in ["device"] + [w for w, _ in PEERS] + ["thread"]]
            rows.append([f"{title}, {batch}"] + rates
                        + [ratio(ours, found.get(key + ("thread",)), "rate")])
    return table(["images/s", "libmnt"] + [t for _, t in PEERS]
                 + ["one CPU thread", "libmnt / thread"], rows)


def latency_table(found):
    rows = []
    for net, title in NETS:
        for batch in (1, 16, 256, 1024, 8192):
            cells = []
            for what, who in (("latency", "device"), ("host", "device"),
                              ("latency", "torch-graph"), ("latency", "jax-scan"),
                              ("latency", "thread")):
                key = (what, net, batch, who)
                cells.append(f"{value(found, key, 'median_s', 1e6)} / "
                             f"{value(found, key, 'p95_s', 1e6)}"
                             if key in found else "-")
            if cells[0] != "-":
                rows.append([f"{title}, {batch}"] + cells)
    return table(["us, median / 95 %", "libmnt, data on the device",
                  "libmnt, host to host", "PyTorch, CUDA graph", "JAX", "one CPU thread"],
                 rows)


def product_table(found):
    rows = []
    for (what, name, _, who), ours in found.items():
        if what != "matmul" or who != "device":
            continue
        theirs = found.get((what, name, int(ours["batch"]), "cublas"))
        rows.append([name, number(float(ours["rate"])) + "FLOP/s",
                     number(float(theirs["rate"])) + "FLOP/s" if theirs else "-",
                     ratio(ours, theirs, "rate")])
    return table(["m x n x k", "libmnt", "cuBLAS f32", "libmnt / cuBLAS"], rows)


def bench_table(kit):
    rows = []
    for net, title in NETS:
        data = kit.state.get(f"bench.{net}", {}).get("rows", [])
        base = {(r["mode"], r["batch"]): r for r in data
                if r["backend"] == "cpu" and r["threads"] == "1"}
        for r in data:
            if r["backend"] != "cpu":
                thread = base[r["mode"], r["batch"]]
                rows.append([f"{title}, {r['mode']}, {r['batch']}",
                             number(float(r["images_per_second"])),
                             number(float(thread["images_per_second"])),
                             f"{float(r['ratio']):.2f}"])
    return table(["images/s, batch", "device", "one CPU thread", "ratio"], rows)


def reached(epochs, least):
    """Training time at the end of the first epoch with so many right."""
    seconds = 0.0
    for e in epochs:
        seconds += float(e["seconds"])
        if float(e["test_accuracy"]) >= least:
            return f"{1e3 * seconds:.1f} ms"
    return "-"


def training_table(kit):
    rows = []
    for net, title in NETS:
        s = kit.state.get(f"train.{net}", {})
        if "sha256" in s:
            seconds = sum(float(e["seconds"]) for e in s["epochs"])
            rows.append([title, f"{100 * s['accuracy']:.2f} %", f"{1e3 * seconds:.1f} ms",
                         f"{reached(s['epochs'], LEAST[net])} to {100 * LEAST[net]:g} %",
                         s["sha256"]])
    return table(["three epochs", "test accuracy", "training", "of it",
                  "sha256, as on cpu"], rows)


def commands(kit):
    lines = ["```"]
    for name, s in kit.state.items():
        if s.get("commands"):
            lines += [f"# {name}"] + s["commands"][:2]
    return lines + ["```", ""]


def built(kit):
    path = kit.packed("BUILD.txt")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        return [x.strip() for x in f if x.strip()]


def section(title, lines, text=""):
    return ["## " + title] + ([text, ""] if text else []) + lines if lines else []


def write(kit):
    found = figures(kit)
    bad = sum(s["result"] not in ("ok", "skipped") for s in kit.state.values())
    seconds = sum(s["seconds"] for s in kit.state.values())
    page = ["# Run on a GPU", "",
            f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, backend {kit.backend}, "
            f"{len(kit.state)} steps in {seconds:.0f} s, "
            + ("all held." if not bad else f"**{bad} did not hold.**"), ""]
    page += [f"- {k}: {v}" for k, v in remembered(kit).items()]
    page += ["- " + x for x in built(kit)] + [""]
    page += section("Steps", steps_table(kit))
    page += section("compute-sanitizer", sanitize_table(kit))
    page += section("Training", training_table(kit))
    page += section("An epoch of 60,000 images", epochs_table(found),
                    "f32, TF32 off, u8 data on the device, the shuffle included, whole "
                    "batches, one epoch of warm-up, medians of 7 or more. Queued: epochs "
                    "one behind the other without a wait.")
    page += section("Inference, many batches in flight", flight_table(found),
                    "u8 rows gathered on the device, logits left there; medians.")
    page += section("Inference, one batch and a wait", latency_table(found))
    page += section("Matrix products", product_table(found),
                    "f32, data on the device, many queued; rates over the median time.")
    page += section("`mlp bench` and `lenet bench`", bench_table(kit),
                    "Rounds of both sides in turn.")
    page += section("Commands", commands(kit))
    with open(os.path.join(kit.out, "report.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(page))
    write_csv(kit, found)
    charts(kit, found)


def remembered(kit):
    """The machine of the run, also when the report is written elsewhere."""
    path = os.path.join(kit.out, "machine.json")
    if kit.args.report and os.path.exists(path):
        return kit.read_json(path)
    facts = machine()
    with open(path, "w", encoding="utf-8") as f:
        json.dump(facts, f, indent=1)
    return facts


def write_csv(kit, found):
    head = ["what", "name", "batch", "who", "median_s", "p95_s", "least_s", "rounds",
            "rate"]
    with open(os.path.join(kit.out, "figures.csv"), "w", encoding="utf-8") as f:
        f.write(",".join(head) + "\n")
        for (what, name, batch, who), r in found.items():
            f.write(",".join([what, name, str(batch), who] + [r[k] for k in head[4:]])
                    + "\n")


# ---- charts ----

def plot(kit, name, script):
    path = os.path.join(kit.out, name)
    text = (f"set terminal svg size 720,400 font 'sans,12' background '#ffffff'\n"
            f"set output '{path}'\n{script}\n")
    subprocess.run(["gnuplot", "-"], input=text, universal_newlines=True, check=False,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def charts(kit, found):
    if not shutil.which("gnuplot"):
        return
    who = [("device", "libmnt")] + PEERS
    lines = []
    for net, title in NETS:
        for batch in (256, 512):
            cells = [value(found, ("epoch", net, batch, w)) for w, _ in who]
            if cells[0] != "-":
                lines.append(f'"{title} {batch}" ' + " ".join(
                    "?" if c == "-" else c for c in cells))
    if lines:
        bars = ", ".join(f"$d using {i + 2}{':xtic(1)' if i == 0 else ''} title "
                         f"'{t}'" for i, (_, t) in enumerate(who))
        plot(kit, "epochs.svg", "$d << E\n" + "\n".join(lines) + "\nE\n"
             "set datafile missing '?'\nset style data histograms\n"
             "set style fill solid 0.8\nset logscale y\nset yrange [0.5:]\nset grid y\n"
             "set key top right\nset ylabel 'ms an epoch of 60,000 images'\n"
             "plot " + bars)
    series = []
    blocks = ""
    for net, title in NETS:
        for w, t in [("device", "libmnt")] + PEERS[1:]:
            points = [(b, found["flight", net, b, w]["rate"])
                      for b in (1, 16, 256, 1024, 8192) if ("flight", net, b, w) in found]
            if points:
                name = f"$s{len(series)}"
                blocks += f"{name} << E\n" + "\n".join(f"{b} {r}" for b, r in points)
                blocks += "\nE\n"
                series.append(f"{name} with linespoints title '{title}, {t}'")
    if series:
        plot(kit, "inference.svg", blocks + "set logscale xy\nset grid\nset key left top\n"
             "set xlabel 'batch'\nset ylabel 'images/s, many batches in flight'\nplot "
             + ", ".join(series))
