#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Training steps of libmnt and PyTorch in turn, in one run: medians and their ratio.

  bench/compare_torch.py BUILD/bin/bench_train [--net mlp|lenet] [--batch 256]
                         [--threads 1] [--rounds 9] [--steps 16]

A step is gather (u8 rows by a permutation, scaled to f32), forward, backward and update
(SGD with momentum 0.9). Needs python3-torch.
"""
import argparse
import statistics
import subprocess
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


def network(name):
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    return nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(256, 10))


class Torch:
    def __init__(self, args):
        torch.set_num_threads(args.threads)
        torch.manual_seed(1)
        self.images = torch.randint(0, 256, (4096, 1, 28, 28), dtype=torch.uint8)
        self.labels = torch.randint(0, 10, (4096,))
        self.order = torch.randperm(4096)
        self.net = network(args.net)
        self.opt = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)
        self.args, self.at = args, 0

    def step(self):
        if self.at + self.args.batch > len(self.order):
            self.at = 0
        rows = self.order[self.at:self.at + self.args.batch]
        self.at += self.args.batch
        x = self.images[rows].float() / 255.0
        loss = F.cross_entropy(self.net(x), self.labels[rows])
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()

    def round(self):
        start = time.perf_counter()
        for _ in range(self.args.steps):
            self.step()
        return time.perf_counter() - start


class Mnt:
    def __init__(self, args):
        command = [args.program, args.net, str(args.batch), str(args.steps),
                   str(args.threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("program")
    p.add_argument("--net", choices=["mlp", "lenet"], default="lenet")
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--steps", type=int, default=16)
    args = p.parse_args()
    ours, theirs = Mnt(args), Torch(args)
    ours.round(), theirs.round()  # warm-up, not counted
    pairs = [(ours.round(), theirs.round()) for _ in range(args.rounds)]
    epoch = 60000 / args.batch / args.steps
    a, b = (statistics.median(x) for x in zip(*pairs))
    ratio = statistics.median(t / m for m, t in pairs)
    print(f"{args.net}, batch {args.batch}, {args.threads} thread(s), "
          f"{args.rounds} rounds of {args.steps} steps in turn, medians")
    print(f"libmnt          {a * epoch:8.3f} s for 60,000 images")
    print(f"PyTorch {torch.__version__:8s}{b * epoch:8.3f} s for 60,000 images")
    print(f"PyTorch / libmnt {ratio:7.2f}")


if __name__ == "__main__":
    main()
