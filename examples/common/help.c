/* SPDX-License-Identifier: MIT */
/* The text of --help. The manual pages in docs/man say the same at more length. */
#include "common/options.h"

#include <stdio.h>

static const char commands[] =
    "Commands\n"
    "  train        train and report the test accuracy (the default)\n"
    "  eval         test accuracy, per-class table and confusion matrix of --ckpt\n"
    "  bench        images a second, each backend against one CPU thread\n"
    "  bench relu   device and wall time of one dispatch\n"
    "  help         this text\n\n";

static const char machine[] =
    "Where it runs\n"
    "  --backend NAME      auto (default) or one of those below\n"
    "  --plugin FILE       load a backend from a shared object; --backend names it\n"
    "  --device N          which device of that backend, 0 the first\n"
    "  --threads T         worker threads of the cpu backend, 0 one per processor\n"
    "  --force VARIANTS    kernel variants by name, \"isa=avx2,matmul=ref\"\n\n";

static const char training[] =
    "Training\n"
    "  --data DIR|synth    MNIST files, plain or .gz; synth draws digits. Default:\n"
    "                      $MNT_MNIST_DIR, then data/mnist\n"
    "  --epochs N          3\n"
    "  --steps N           stop after step N, counted from the start of training\n"
    "  --batch B           256\n"
    "  --seed S            1; of first values, order of samples, synth\n"
    "  --optimizer O       sgd or adam; default: %s\n"
    "  --lr X              peak learning rate; default by network, optimizer, batch\n"
    "  --momentum X        0.9; given alone it implies sgd\n"
    "  --weight-decay X    0\n"
    "  --dtype T           f32; f16 is not in this version\n\n";

static const char output[] =
    "What it leaves behind\n"
    "  --out DIR           metrics_train.csv, metrics_log.csv, op_timings.csv,\n"
    "                      trace.json, summary.json, loss and throughput charts\n"
    "  --log-every STEPS   spacing of metrics_log.csv and of the live line\n"
    "  --ckpt FILE         checkpoint (safetensors); with --out: "
    "DIR/<name>.safetensors\n"
    "  --ckpt-every STEPS  how often; default: each epoch\n"
    "  --ckpt-best FILE    the epoch with the best test accuracy\n"
    "  --resume            go on from --ckpt, bit for bit\n\n";

static const char looking[] =
    "Looking closer\n"
    "  --profile           print the share of time of each op over an epoch\n"
    "  --compare NAME      train on two backends and name the first tensor and\n"
    "                      element that differs (--force applies to the first)\n"
    "  -h, --help          this text\n"
    "  -V, --version       versions\n\n";

static const char status[] =
    "Exit status: 0; 1 bad input or failure (one sentence on standard error); 2 "
    "usage;\n"
    "130 interrupted by Ctrl-C (the step was finished, the checkpoint written).\n";

void help_print(const run_app *app)
{
    printf("Usage: %s [train|eval|bench [relu]|help] [options]\n\n"
           "Trains and runs %s on MNIST with libmnt %s.\n\n",
           app->name, app->network, mnt_version());
    printf("%s%s", commands, machine);
    printf(training, app->optimizer == OPT_SGD ? "sgd" : "adam");
    printf("%s%s", output, looking);
    printf("Backends here:");
    for (int i = 0; i < mnt_backend_count(); i++)
        printf(" %s", mnt_backend_name(i));
    printf("\n%s", status);
}
