#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PyTorch on the same work as bench_device: eager, and with a CUDA graph of a whole step.

  bench/peers_torch.py [--data DIR|synth] [--net mlp,lenet] [--what epoch,infer,matmul]
                       [--quick] [--device cuda|cpu]

f32 with TF32 off, u8 data resident on the device, SGD with momentum. An epoch is a new
permutation, every whole batch, and a wait. Exit status 77 without PyTorch or a device.
"""
import peers

try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
except ImportError as error:
    peers.absent("PyTorch", error)


def network(name):
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(),
                             nn.Linear(128, 10))
    return nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(256, 10))


class Work:
    """A network, the data, and a step that takes its rows at a cursor on the device."""

    def __init__(self, args, name, batch, train):
        torch.manual_seed(1)
        images, labels = peers.digits(args)
        device = args.device
        self.images = torch.from_numpy(images.copy()).reshape(-1, 1, 28, 28).to(device)
        self.labels = torch.from_numpy(labels.copy()).long().to(device)
        self.count, self.batch, self.device = len(labels), batch, device
        self.order = torch.randperm(self.count, device=device)
        self.cursor = torch.zeros(1, dtype=torch.long, device=device)
        self.span = torch.arange(batch, device=device)
        self.net = network(name).to(device)
        self.train = train
        if train:
            self.opt = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)

    def step(self):
        rows = self.order[(self.cursor + self.span) % self.count]
        self.cursor += self.batch
        x = self.images[rows].float() / 255.0
        if not self.train:
            with torch.no_grad():
                self.out = self.net(x)
            return
        loss = F.cross_entropy(self.net(x), self.labels[rows])
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        self.opt.step()

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def capture(self):
        """The step as a graph; a few steps first, beside, as PyTorch wants it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(11):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        if self.train:
            self.opt.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self.step()
        return graph.replay

    def epoch(self, step):
        self.order.copy_(torch.randperm(self.count, device=self.device))
        self.cursor.zero_()
        for _ in range(self.count // self.batch):
            step()
        self.wait()

    def many(self, step, n):
        for _ in range(n):
            step()
        self.wait()


def modes(args, work):
    yield "torch-eager", work.step
    if args.device == "cuda":
        yield "torch-graph", work.capture()


def epochs(args, name, batch):
    work = Work(args, name, batch, True)
    for backend, step in modes(args, work):
        work.epoch(step)
        seconds = peers.timed(lambda: work.epoch(step), 2 if args.quick else 7)
        peers.line("epoch", name, batch, backend, seconds,
                   work.count // batch * batch)


def inference(args, name, batch):
    work = Work(args, name, batch, False)
    for backend, step in list(modes(args, work))[-1:]:  # the faster
        n = peers.replays_for(lambda n: work.many(step, n), 0.001 if args.quick else 0.05)
        seconds = peers.timed(lambda: work.many(step, n), 2 if args.quick else 7, n)
        peers.line("flight", name, batch, backend, seconds, batch)
        seconds = peers.timed(lambda: work.many(step, 1), 5 if args.quick else 200)
        peers.line("latency", name, batch, backend, seconds, batch)


PRODUCTS = [(256, 128, 784, ""), (784, 128, 256, "tn"), (256, 784, 128, "nt"),
            (147456, 8, 25, ""), (16384, 16, 200, ""), (1024, 1024, 1024, ""),
            (2048, 2048, 2048, ""), (4096, 4096, 4096, "")]


def products(args):
    for m, n, k, kind in PRODUCTS[:2] if args.quick else PRODUCTS:
        a = torch.rand((k, m) if kind == "tn" else (m, k), device=args.device) * 2 - 1
        b = torch.rand((n, k) if kind == "nt" else (k, n), device=args.device) * 2 - 1
        a, b = a.T if kind == "tn" else a, b.T if kind == "nt" else b
        out = torch.empty(m, n, device=args.device)

        def once(count=1):
            for _ in range(count):
                torch.matmul(a, b, out=out)

        inside, run = 1, once
        once()
        if args.device == "cuda":
            torch.cuda.synchronize()
            inside, graph = 20, torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                once(inside)

        def many(count):
            for _ in range(count):
                graph.replay() if inside > 1 else run()
            if args.device == "cuda":
                torch.cuda.synchronize()

        count = peers.replays_for(many, 0.001 if args.quick else 0.05)
        seconds = peers.timed(lambda: many(count), 2 if args.quick else 7, count * inside)
        name = f"{m}x{n}x{k}" + (f"_{kind}" if kind else "")
        peers.line("matmul", name, m, "cublas" if args.device == "cuda" else "torch-cpu",
                   seconds, 2.0 * m * n * k)


def main():
    args = peers.options(__doc__)
    if args.device == "cuda" and not torch.cuda.is_available():
        peers.absent("a CUDA device", "torch.cuda.is_available() is false")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    where = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    peers.say(f"PyTorch {torch.__version__} on {where}; f32, TF32 off, cudnn.benchmark on; "
              "an epoch includes its permutation; one epoch of warm-up, medians")
    print(peers.HEAD)
    for name in args.net.split(","):
        for batch in peers.TRAIN[:1 if args.quick else 2]:
            if "epoch" in args.what:
                epochs(args, name, batch)
        for batch in peers.INFER[:2 if args.quick else 5]:
            if "infer" in args.what:
                inference(args, name, batch)
    if "matmul" in args.what:
        products(args)


if __name__ == "__main__":
    main()
