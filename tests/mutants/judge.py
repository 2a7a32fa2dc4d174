# SPDX-License-Identifier: MIT
"""Judging: mnt-conformance, and the library's own tests, on one built mutant."""
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# Lines of mnt-conformance that begin so give the command which shows a failure again.
REPRODUCER = "    "
# The suite's ops whose programs hold a row of ops.def, where the names differ.
OPS = {
    "advance": ["uniform", "normal"],
    "batch_index": ["batch"],
    "bias_grad": ["bias_add"],
    "conv2d_block": ["conv_block"],
    "conv2d_dw": ["conv2d"],
    "conv2d_dx": ["conv2d"],
    "conv2d_pool_db": ["conv_block"],
    "conv2d_pool_dw": ["conv_block"],
    "conv2d_pool_dx": ["conv_block"],
    "adam": ["adam", "guarded_update"],
    "cross_entropy_both": ["cross_entropy"],
    "cross_entropy_grad": ["cross_entropy"],
    "max_pool2d_grad": ["max_pool2d"],
    "optimizer_step": ["sgd", "adam", "guarded_update"],
    "relu_grad": ["relu"],
    "sgd": ["sgd", "guarded_update"],
    "softmax_grad": ["softmax"],
}
# On the simulated device: checks of far addresses get buffers, of which they touch little.
DEVICE = {"METALSIM_WORKERS": "1", "METALSIM_MEMORY": "200000000000",
          "METALSIM_MAX_BUFFER": "40000000000"}
HUNG = 20 # seconds without a sign of life after which a case counts as hung
HUNG_DEVICE = 200 # on the simulated device
# Cases that take a simulated device long: they come last.
FEW = 40
LONG = re.compile(r"=(65535|65536|65537)|=\d{6}")


@dataclass
class Verdict:
    outcome: str  # killed, time-out, survived
    by: str = ""  # the command
    says: str = ""  # its first sentence
    seconds: float = 0
    again: list = None  # the arguments that show the failure again


class Judge:
    def __init__(self, tree, limit, generated):
        self.program = tree.build / "bin/mnt-conformance"
        self.bin = tree.build / "bin"
        self.limit, self.generated = limit, generated
        self.passed = set() # tests that the unmutated library passed
        self.device = tree.device
        self.lists, self.lock = {}, threading.Lock()

    def lines(self, ops, folder):
        """Files with the cases of ops, in the order in which a simulated device should
        see them: a few from all over, the rest, those that take long."""
        with self.lock:
            if tuple(ops) not in self.lists:
                done = subprocess.run([str(self.program), "--list", "--generated",
                                       str(self.generated), *ops],
                                      capture_output=True, text=True, check=True)
                all_ = done.stdout.splitlines(keepends=True)
                short = [line for line in all_ if not LONG.search(line)]
                few = set(short[::max(1, len(short) // FEW)])
                files = []
                for part in (few, set(short) - few, set(all_) - set(short)):
                    name = f"{len(self.lists)}.{len(files)}.cases"
                    path = Path(folder).parent.parent / name
                    path.write_text("".join(line for line in all_ if line in part))
                    files += [str(path)] if part else []
                self.lists[tuple(ops)] = files
            return self.lists[tuple(ops)]

    def split(self, args, folder):
        """On the simulated device: the same run as several, one after the other."""
        ops, rest, words = [], [], iter(args)
        for word in words:
            if word == "--op":
                ops += [word, next(words)]
            else:
                rest.append(word)
        return [["--cases", file, *rest] for file in self.lines(ops, folder)] \
            if ops else [args]

    def environment(self, m, built):
        """What the mutant's runs find in their environment; built None: the control's."""
        env = {"LD_PRELOAD": str(built)} if built and not m.in_image and m.in_library \
            else {}
        if not m.on_device:
            return env
        env.update(DEVICE)
        if m.in_image and built:
            env["MNT_METALLIB"] = str(built)
        elif m.image == "race":
            env["MNT_METALLIB"] = self.device["libmnt_race.IMAGE"][0]
        elif m.image == "source":
            env["METALSIM_LIBRARIES"] = self.device["libmnt.IMAGE"][0]
        env.update(word.split("=", 1) for word in m.env)
        return env

    def conformance(self, subject, args, env, out, hung=HUNG):
        """One run of the program; it is ended at the first failure it reports."""
        command = [str(self.program), *subject, *args, "--quiet", "--jobs", "1",
                   "--out", str(out)]
        if "--generated" not in args:
            command += ["--generated", str(self.generated)]
        return self.watch(command + ["--limit", str(hung)], env, out)

    def test(self, name, env, out):
        images = []
        if name.startswith("metal_"):
            images = self.device["libmnt.IMAGE"] + self.device["others"]
            env = {k: v for k, v in env.items() if k not in DEVICE}
        return self.watch([str(self.bin / name)] + images, env, out)

    def watch(self, command, env, out):
        start = time.monotonic()
        env = dict(os.environ, TMPDIR=str(out), **env)
        p = subprocess.Popen(command, env=env, cwd=out, start_new_session=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        late = threading.Event()

        def stop(flag=None):
            if flag:
                flag.set()
            try:
                os.killpg(p.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

        timer = threading.Timer(self.limit, stop, [late])
        timer.start()
        lines, again = [], None
        for raw in p.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            if line.startswith(REPRODUCER) and "--case" in line:
                again = shlex.split(line)[1:]
                stop()
                break
            lines.append(line)
        p.stdout.close()
        status = p.wait()
        timer.cancel()
        seconds = time.monotonic() - start
        text = " ".join(command)
        says = [s for s in lines if s.strip()]
        if again:
            said = says[-1] if says else ""
            slow = "sign of life" in said or said.endswith("hung")
            return Verdict("time-out" if slow else "killed", text, said, seconds,
                           again)
        if late.is_set():
            return Verdict("time-out", text, f"after {self.limit:.0f} s", seconds)
        if status == 0:
            return Verdict("survived", text, "", seconds)
        unopened = status > 0 and says and "device_open:" in says[-1]
        if command[0] == str(self.program) and (status == 2 or unopened):
            return Verdict("error", text, "\n".join(says[-5:]), seconds)
        return Verdict("killed", text, says[-1] if says else f"status {status}", seconds)

    def runs(self, m, isa, folder):
        """The program's arguments: of each kernel a list of runs, one of which must
        kill. The contract's checks are made under the backend's own choice."""
        if not m.kernels:
            return [self.split(m.run, folder) if m.on_device else [m.run]] if m.run else []
        out = []
        for kernel in m.kernels:
            op, variant = kernel.split("/")
            force = f"{op}={variant}"
            if m.isa:
                force = f"isa={isa}," + force
            ops = [a for name in OPS.get(op, [op]) for a in ("--op", name)]
            runs = [ops + ["--row", op, "--force", force] + m.run]
            if m.on_device:
                runs = self.split(runs[0], folder)
            contract = [["--case", f"contract {kind}-{op}"] for kind in ("row", "far")]
            runs = runs[:1] + contract[:1] + runs[1:] + contract[1:]
            if len(m.kernels) == 1 and not m.on_device: # otherwise another one's failure might be seen
                runs.append(["--op", "contract"])
            out.append(runs)
        return out

    def cases(self, m, isa, subject, env, out, hung):
        """Verdicts of runs, until a kernel's survive."""
        for runs in self.runs(m, isa, out):
            for args in runs:
                v = self.conformance(subject, args, env, out, hung)
                yield v
                if v.outcome != "survived":
                    break
            if v.outcome in ("survived", "error"):
                return

    def tests(self, m, isa, subject, env, out, hung):
        for name in m.tests:
            v = self.test(name, env, out)
            yield v
            if v.outcome != "survived":
                return

    def judge(self, m, built, isa, out):
        """Killed only if each kernel's run kills it; of a part, if any run does."""
        shutil.rmtree(out, ignore_errors=True)
        Path(out).mkdir(parents=True)
        hung = int(m.timeout) or (HUNG_DEVICE if m.on_device else HUNG)
        env = self.environment(m, built)
        subject = ["--plugin", str(built)]
        if m.on_device or m.in_library:
            subject = ["--backend", "metal" if m.on_device else "cpu"]
        total, last = 0, None
        # On the simulated device the tests take less time than cases do.
        for phase in (self.tests, self.cases) if m.on_device else (self.cases, self.tests):
            for last in phase(m, isa, subject, env, out, hung):
                total += last.seconds
            if last and last.outcome != "survived":
                break
        last.seconds = total
        return last

    def control(self, m, v, built, base, out):
        """None if the unmutated copy passes what killed the mutant, else why not. base:
        the plugin and the library without a mutation; the latter where `built` is one."""
        plugin, library = base
        env = self.environment(m, library if m.in_library else None)
        args = v.again or v.by.split(" ")[1:]
        if Path(v.by.split(" ")[0]) != self.program:
            name = Path(v.by.split(" ")[0]).name
            if name in self.passed:
                return None
            c = self.test(name, env, out)
            self.passed |= {name} if c.outcome == "survived" else set()
        else:
            args = [str(plugin) if a == str(built) else a for a in args]
            c = self.watch([str(self.program), *args, "--quiet", "--jobs", "1",
                            "--limit", str(2 * HUNG_DEVICE), "--out", str(out)],
                           env, out)
        if c.outcome == "survived":
            return None
        return f"the unmutated copy fails too: {c.by}\n  {c.says}"
