# SPDX-License-Identifier: MIT
"""Judging: mnt-conformance, and the library's own tests, on one built mutant."""
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# Lines of mnt-conformance that begin so give the command which shows a failure again.
REPRODUCER = "    "


@dataclass
class Verdict:
    outcome: str  # killed, time-out, survived
    by: str = ""  # the command
    says: str = ""  # its first sentence
    seconds: float = 0


class Judge:
    def __init__(self, tree, limit, generated):
        self.program = tree.build / "bin/mnt-conformance"
        self.bin = tree.build / "bin"
        self.limit, self.generated = limit, generated

    def conformance(self, subject, args, preload, limit, out):
        """One run of the program; it is ended at the first failure it reports."""
        command = [str(self.program), *subject, *args, "--quiet", "--jobs", "1",
                   "--out", str(out)]
        if "--generated" not in args:
            command += ["--generated", str(self.generated)]
        if "--limit" not in args:
            command += ["--limit", "15"] # of a case
        return self.watch(command, preload, limit, out)

    def test(self, name, preload, limit, out):
        return self.watch([str(self.bin / name)], preload, limit, out)

    def watch(self, command, preload, limit, out):
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

        timer = threading.Timer(limit, stop, [late])
        timer.start()
        lines, found = [], False
        for raw in p.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            if line.startswith(REPRODUCER) and "--case" in line:
                found = True
                stop()
                break
            lines.append(line)
        p.stdout.close()
        status = p.wait()
        timer.cancel()
        seconds = time.monotonic() - start
        text = " ".join(command)
        says = [s for s in lines if s.strip()]
        if found:
            said = says[-1] if says else ""
            slow = "sign of life" in said or "hung" in said
            return Verdict("time-out" if slow else "killed", text, said, seconds)
        if late.is_set():
            return Verdict("time-out", text, f"after {limit:.0f} s", seconds)
        if status == 0:
            return Verdict("survived", text, "", seconds)
        if command[0] == str(self.program) and status == 2:
            return Verdict("error", text, "\n".join(says[-5:]), seconds)
        return Verdict("killed", text, says[-1] if says else f"status {status}", seconds)

    def runs(self, m, isa):
        """The program's arguments, one set a run; all of them must kill."""
        if not m.kernels:
            return [m.run] if m.run else []
        out = []
        for kernel in m.kernels:
            op, variant = kernel.split("/")
            force = f"{op}={variant}"
            if m.isa:
                force = f"isa={isa}," + force
            out.append(["--row", op, "--force", force] + m.run)
        return out

    def judge(self, m, built, isa, out):
        """Killed only if each kernel's run kills it; of a part, if any run does."""
        shutil.rmtree(out, ignore_errors=True)
        Path(out).mkdir(parents=True)
        limit = m.timeout or self.limit
        preload = built if m.in_library else None
        subject = ["--backend", "cpu"] if m.in_library else ["--plugin", str(built)]
        total, last = 0, None
        for args in self.runs(m, isa):
            last = self.conformance(subject, args, preload, limit, out)
            total += last.seconds
            if last.outcome in ("survived", "error"):
                break
        if last is None or last.outcome == "survived":
            for name in m.tests:
                v = self.test(name, preload, limit, out)
                total += v.seconds
                last = v
                if v.outcome != "survived":
                    break
        last.seconds = total
        return last
