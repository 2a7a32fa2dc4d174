#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""JAX on the same work as bench_device, a whole epoch in one jit (lax.scan).

  bench/peers_jax.py [--data DIR|synth] [--net mlp,lenet] [--what epoch,infer]
                     [--quick] [--device cuda|cpu]

f32 with TF32 off, u8 data resident on the device, SGD with momentum; the permutation is
drawn inside the jit. Inference scans over many batches in one jit; at batch 1 over one, too.
Exit status 77 without JAX or a device.
"""
import os

import peers

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
try:
    import jax
    import jax.numpy as jnp
    from jax import lax
except ImportError as error:
    peers.absent("JAX", error)


def parameters(name, key):
    shapes = {"mlp": [(784, 128), (128,), (128, 10), (10,)],
              "lenet": [(5, 5, 1, 8), (8,), (5, 5, 8, 16), (16,), (256, 10), (10,)]}[name]
    keys = jax.random.split(key, len(shapes))
    return [jax.random.uniform(k, s, jnp.float32, -0.05, 0.05)
            for k, s in zip(keys, shapes)]


def pool(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def convolve(x, w, b):
    return lax.conv_general_dilated(x, w, (1, 1), "VALID",
                                    dimension_numbers=("NHWC", "HWIO", "NHWC")) + b


def forward(name, p, x):
    if name == "mlp":
        return jax.nn.relu(x @ p[0] + p[1]) @ p[2] + p[3]
    x = x.reshape(-1, 28, 28, 1)
    x = pool(jax.nn.relu(convolve(x, p[0], p[1])))
    x = pool(jax.nn.relu(convolve(x, p[2], p[3])))
    return x.reshape(x.shape[0], -1) @ p[4] + p[5]


def loss(name, p, x, y):
    logits = forward(name, p, x)
    return (jax.nn.logsumexp(logits, 1)
            - jnp.take_along_axis(logits, y[:, None], 1)[:, 0]).mean()


def rows_of(images, rows):
    return images[rows].astype(jnp.float32) / 255.0


def epochs(args, name, batch, images, labels):
    steps = len(labels) // batch

    def epoch(p, v, key):
        key, sub = jax.random.split(key)
        order = jax.random.permutation(sub, len(labels))[:steps * batch]

        def step(state, rows):
            p, v = state
            g = jax.grad(lambda q: loss(name, q, rows_of(images, rows), labels[rows]))(p)
            v = [0.9 * a + b for a, b in zip(v, g)]
            return ([a - 0.01 * b for a, b in zip(p, v)], v), None

        (p, v), _ = lax.scan(step, (p, v), order.reshape(steps, batch))
        return p, v, key

    run = jax.jit(epoch, donate_argnums=(0, 1))
    p = parameters(name, jax.random.key(1))
    state = [p, [jnp.zeros_like(a) for a in p], jax.random.key(2)]

    def once():
        state[:] = run(*state)
        jax.block_until_ready(state)

    once()
    seconds = peers.timed(once, 2 if args.quick else 7)
    peers.line("epoch", name, batch, "jax-scan", seconds, steps * batch)


def inference(args, name, batch, images):
    p = parameters(name, jax.random.key(1))
    many = max(64, (1 << 14) // batch)

    def scan(p, order):
        def step(carry, rows):
            return carry, forward(name, p, rows_of(images, rows))
        return lax.scan(step, 0, order)[1]

    order = jax.random.randint(jax.random.key(3), (many, batch), 0, len(images))
    for what, rows in (("flight", order), ("latency", order[:1]))[:2 if batch == 1 else 1]:
        run = jax.jit(scan)

        def once():
            run(p, rows).block_until_ready()

        once()
        n = len(rows)
        rounds = (2 if args.quick else 9) if what == "flight" else 5 if args.quick else 200
        peers.line(what, name, batch, "jax-scan", peers.timed(once, rounds, n), batch)


def main():
    args = peers.options(__doc__)
    if args.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if args.device == "cuda" and jax.default_backend() != "gpu":
        peers.absent("a CUDA device", f"JAX runs on {jax.default_backend()}")
    jax.config.update("jax_default_matmul_precision", "highest")
    images, labels = (jnp.asarray(a) for a in peers.digits(args))
    labels = labels.astype(jnp.int32)
    peers.say(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}; f32, matmul "
              "precision highest (TF32 off); a whole epoch with its permutation is one "
              "jit; one epoch of warm-up, medians")
    print(peers.HEAD)
    for name in args.net.split(","):
        for batch in peers.TRAIN[:1 if args.quick else 2]:
            if "epoch" in args.what:
                epochs(args, name, batch, images, labels)
        for batch in peers.INFER[:2 if args.quick else 5:2]:  # compiling takes longest
            if "infer" in args.what:
                inference(args, name, batch, images)


if __name__ == "__main__":
    main()
