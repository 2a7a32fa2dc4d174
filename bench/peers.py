# SPDX-License-Identifier: MIT
"""What the yardsticks share: the data, the clock, and lines as bench_device prints them."""
import argparse
import gzip
import os
import sys
import time

HEAD = "what,name,batch,backend,threads,median_s,p95_s,least_s,rounds,rate"
INFER = [1, 16, 256, 1024, 8192]
TRAIN = [256, 512]


def absent(name, error):
    print(f"{name} is not here: {error}", file=sys.stderr)
    sys.exit(77)


try:
    import numpy
except ImportError as error:
    absent("NumPy", error)


def options(about):
    p = argparse.ArgumentParser(description=about.strip().split("\n")[0])
    p.add_argument("--data", default="synth", help="folder of MNIST, or synth")
    p.add_argument("--net", default="mlp,lenet")
    p.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    p.add_argument("--what", default="epoch,infer,matmul")
    p.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    return p.parse_args()


def member(folder, name, skip):
    path = os.path.join(folder, name)
    opened = open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz", "rb")
    with opened as f:
        return numpy.frombuffer(f.read(), numpy.uint8)[skip:]


def digits(args):
    """u8 images [n, 784] and labels [n]."""
    if args.data == "synth":
        random = numpy.random.default_rng(1)
        n = 2048 if args.quick else 60000
        return (random.integers(0, 256, (n, 784), numpy.uint8),
                random.integers(0, 10, n, numpy.uint8))
    images = member(args.data, "train-images-idx3-ubyte", 16)
    return images.reshape(-1, 784), member(args.data, "train-labels-idx1-ubyte", 8)


def say(text):
    """A remark about how the figures were made."""
    print("# " + text, flush=True)


def line(what, name, batch, backend, seconds, work):
    """A row; work is images or floating-point operations in the time of one sample."""
    s = sorted(seconds)
    median, p95 = s[len(s) // 2], s[(len(s) * 95 - 1) // 100]
    print(f"{what},{name},{batch},{backend},0,{median:.9f},{p95:.9f},{s[0]:.9f},{len(s)},"
          f"{work / median:.6g}", flush=True)


def timed(function, rounds, replays=1):
    """Seconds of each of `rounds` calls, which wait for the device, over `replays`."""
    out = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        out.append((time.perf_counter() - start) / replays)
    return out


def replays_for(function, seconds):
    """How many calls of function(n) make `seconds`."""
    n = 1
    while n < 1 << 20:
        start = time.perf_counter()
        function(n)
        took = time.perf_counter() - start
        if took >= seconds:
            break
        n *= 8 if took < seconds / 16 else 2
    return n
