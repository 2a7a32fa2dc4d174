# SPDX-License-Identifier: MIT
"""The packed folder, the report's folder with its state, and commands under a limit."""
import glob
import json
import os
import platform
import random
import shlex
import signal
import struct
import subprocess
import time


class Kit:
    def __init__(self, args):
        self.args = args
        self.home = os.path.dirname(os.path.realpath(__file__))
        self.out = os.path.abspath(args.out)
        self.tiny, self.backend = args.tiny, args.backend
        cores = os.cpu_count() or 1
        self.jobs = args.jobs or max(1, min(12, cores - 1))
        os.makedirs(self.out, exist_ok=True)
        self.env = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1")
        path = [os.path.join(self.home, "lib"), self.env.get("LD_LIBRARY_PATH", "")]
        self.env["LD_LIBRARY_PATH"] = ":".join(p for p in path if p)
        self.path = os.path.join(self.out, "state.json")
        self.state = self.read_json(self.path) if os.path.exists(self.path) else {}
        self.commands, self.step, self.until = [], "", 0.0

    # ---- places ----

    def program(self, name):
        return os.path.join(self.home, "bin", name)

    def packed(self, *parts):
        return os.path.join(self.home, *parts)

    def data(self):
        """The folder of MNIST, or drawn digits; for --tiny a few files of noise."""
        if self.tiny:
            return self.noise(self.folder("data"))
        folder = self.packed("data")
        there = glob.glob(os.path.join(folder, "train-images*"))
        return folder if there else "synth"

    @staticmethod
    def noise(folder):
        draw = random.Random(1)
        for name, n in (("train", 512), ("t10k", 128)):
            images = struct.pack(">IIII", 2051, n, 28, 28) + draw.randbytes(784 * n)
            labels = struct.pack(">II", 2049, n) + bytes(i % 10 for i in range(n))
            for kind, data in (("images-idx3", images), ("labels-idx1", labels)):
                with open(os.path.join(folder, f"{name}-{kind}-ubyte"), "wb") as f:
                    f.write(data)
        return folder

    def folder(self, *parts):
        path = os.path.join(self.out, *parts)
        os.makedirs(path, exist_ok=True)
        return path

    @staticmethod
    def read_json(path):
        with open(path, encoding="utf-8") as f:
            return json.load(f)

    # ---- state ----

    def begin(self, name, limit):
        self.step, self.commands, self.until = name, [], time.monotonic() + limit

    def left(self):
        return max(1.0, self.until - time.monotonic())

    def keep(self, name, result):
        self.state[name] = result
        temp = self.path + ".tmp"
        with open(temp, "w", encoding="utf-8") as f:
            json.dump(self.state, f, indent=1)
        os.replace(temp, self.path)

    # ---- commands ----

    def shown(self, command):
        """A command as one would type it in the packed folder."""
        words = [w.replace(self.home + "/", "").replace(self.out, "OUT") for w in command]
        return " ".join(shlex.quote(w) for w in words)

    def start(self, command, log, show=True):
        if show:
            self.commands.append(self.shown(command))
        path = os.path.join(self.folder("logs"), log)
        with open(path, "wb") as f:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=f,
                                       stderr=subprocess.STDOUT, env=self.env,
                                       cwd=self.home, start_new_session=True)
        return Job(process, path)

    def run(self, command, log, show=True):
        job = self.start(command, log, show)
        self.wait([job])
        return job

    def wait(self, jobs):
        """Until all end; those that are there when time is over are killed."""
        beat = time.monotonic() + 30
        while any(job.running() for job in jobs):
            time.sleep(0.02)
            if time.monotonic() > self.until:
                for job in jobs:
                    job.kill()
            elif time.monotonic() > beat:
                beat += 30
                print(f"[{self.step}] {self.left():.0f} s left: {jobs[0].last()}",
                      flush=True)

    def crew(self, commands, width):
        """Many commands, `width` at a time: [(command, log)]; the jobs in their order."""
        jobs, waiting = [], list(commands)
        while waiting or any(job.running() for job in jobs):
            while waiting and sum(job.running() for job in jobs) < width:
                if time.monotonic() > self.until:
                    waiting = []
                    break
                jobs.append(self.start(*waiting.pop(0), show=not jobs))
            time.sleep(0.005)
            if time.monotonic() > self.until:
                for job in jobs:
                    job.kill()
        return jobs


class Job:
    def __init__(self, process, log):
        self.process, self.log, self.late = process, log, False

    def running(self):
        return self.process.poll() is None

    @property
    def status(self):
        return self.process.wait()

    def kill(self):
        if self.running():
            self.late = True
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def last(self):
        lines = [x for x in self.text().replace("\r", "\n").split("\n") if x.strip()]
        return lines[-1].strip()[:200] if lines else ""


def first_line(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=20, check=False,
                              stderr=subprocess.DEVNULL, universal_newlines=True)
        return done.stdout.strip().split("\n")[0]
    except (OSError, subprocess.TimeoutExpired):
        return ""


def machine():
    """What the figures were measured on."""
    processor = ""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            names = [x.split(":")[1].strip() for x in f if x.startswith("model name")]
        processor = names[0] if names else ""
    gpu = first_line(["nvidia-smi", "--query-gpu=name,driver_version,memory.total",
                      "--format=csv,noheader"])
    return {"GPU, driver, memory": gpu or "none that nvidia-smi shows",
            "processor": f"{processor or platform.machine()}, {os.cpu_count()} threads",
            "system": f"{platform.system()} {platform.release()}"}
