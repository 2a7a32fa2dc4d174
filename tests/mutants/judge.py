# SPDX-License-Identifier: MIT
"""Judging: mnt-conformance, and the library's own tests, on one built mutant."""
import os
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
HUNG = 20 # seconds without a sign of life after which a case counts as hung


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

    def conformance(self, subject, args, preload, out, hung=HUNG):
        """One run of the program; it is ended at the first failure it reports."""
        command = [str(self.program), *subject, *args, "--quiet", "--jobs", "1",
                   "--out", str(out)]
        if "--generated" not in args:
            command += ["--generated", str(self.generated)]
        return self.watch(command + ["--limit", str(hung)], preload, out)

    def test(self, name, preload, out):
        return self.watch([str(self.bin / name)], preload, out)

    def watch(self, command, preload, out):
        start = time.monotonic()
        env = dict(os.environ, TMPDIR=str(out))
        if preload:
            env["LD_PRELOAD"] = str(preload)
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
        if command[0] == str(self.program) and status == 2:
            return Verdict("error", text, "\n".join(says[-5:]), seconds)
        return Verdict("killed", text, says[-1] if says else f"status {status}", seconds)

    def runs(self, m, isa):
        """The program's arguments: of each kernel a list of runs, one of which must
        kill. The contract's checks are made under the backend's own choice."""
        if not m.kernels:
            return [[m.run]] if m.run else []
        out = []
        for kernel in m.kernels:
            op, variant = kernel.split("/")
            force = f"{op}={variant}"
            if m.isa:
                force = f"isa={isa}," + force
            ops = [a for name in OPS.get(op, [op]) for a in ("--op", name)]
            runs = [ops + ["--row", op, "--force", force] + m.run]
            runs += [["--case", f"contract {kind}-{op}"] for kind in ("row", "far")]
            if len(m.kernels) == 1: # otherwise another one's failure might be seen
                runs.append(["--op", "contract"])
            out.append(runs)
        return out

    def judge(self, m, built, isa, out):
        """Killed only if each kernel's run kills it; of a part, if any run does."""
        shutil.rmtree(out, ignore_errors=True)
        Path(out).mkdir(parents=True)
        hung = int(m.timeout) or HUNG
        preload = built if m.in_library else None
        subject = ["--backend", "cpu"] if m.in_library else ["--plugin", str(built)]
        total, last = 0, None
        for runs in self.runs(m, isa):
            for args in runs:
                last = self.conformance(subject, args, preload, out, hung)
                total += last.seconds
                if last.outcome != "survived":
                    break
            if last.outcome in ("survived", "error"):
                break
        if last is None or last.outcome == "survived":
            for name in m.tests:
                last = self.test(name, preload, out)
                total += last.seconds
                if last.outcome != "survived":
                    break
        last.seconds = total
        return last

    def control(self, v, built, base, out):
        """None if the unmutated copy passes what killed the mutant, else why not. base:
        the plugin and the library without a mutation; the latter where `built` is one."""
        plugin, library = base
        preload = library if built.name == library.name else None
        args = v.again or v.by.split(" ")[1:]
        if Path(v.by.split(" ")[0]) != self.program:
            name = Path(v.by).name
            if name in self.passed:
                return None
            c = self.test(name, preload, out)
            self.passed |= {name} if c.outcome == "survived" else set()
        else:
            args = [str(plugin) if a == str(built) else a for a in args]
            c = self.watch([str(self.program), *args, "--quiet", "--jobs", "1", "--out",
                            str(out)], preload, out)
        if c.outcome == "survived":
            return None
        return f"the unmutated copy fails too: {c.by}\n  {c.says}"
