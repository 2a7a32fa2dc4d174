/* SPDX-License-Identifier: MIT */
/* Trains a perceptron 784-128-10 on MNIST and saves it: train_mlp DIR CHECKPOINT */
#include <mnt/mnt.h>
#include <stdio.h>

#define TRY(call)                                                                      \
    if ((st = (call)) != MNT_OK)                                                       \
    goto done

static mnt_tensor *mlp(mnt_graph *g, mnt_tensor *x) /* [N,1,28,28] -> logits [N,10] */
{
    x = mnt_relu(g, mnt_dense(g, mnt_flatten(g, x), 128, "fc1"));
    return mnt_dense(g, x, 10, "fc2");
}

static mnt_status train(mnt_device *dev, const char *dir, const char *ckpt)
{
    mnt_status st;
    mnt_model *model = NULL;
    mnt_graph *step = NULL;
    mnt_dataset *data = NULL;
    TRY(mnt_model_create(&model, dev, &MNT_MODEL_DESC(.seed = 1)));
    TRY(mnt_mnist_open(&data, dev, dir, MNT_TRAIN));
    TRY(mnt_graph_create(&step, dev, model, NULL));

    mnt_batch b = mnt_batch_input(step, data, 256); /* f32 [256,1,28,28], i32 [256] */
    mnt_tensor *loss = mnt_cross_entropy(step, mlp(step, b.x), b.y);
    mnt_tensor_keep(loss);
    mnt_backward(step, loss, NULL);
    mnt_sgd(step, &MNT_SGD_DESC(.lr = 0.1f, .momentum = 0.9f));
    TRY(mnt_graph_compile(step)); /* the first error of all of the above */

    for (int epoch = 1; epoch <= 3; epoch++) { /* one submission an epoch */
        float last;
        TRY(mnt_dataset_shuffle(data, 1, epoch));
        TRY(mnt_graph_run(step, mnt_dataset_batches(data, 256)));
        TRY(mnt_tensor_read(loss, &last, sizeof last));
        printf("epoch %d: loss of the last batch %.4f\n", epoch, (double)last);
    }
    TRY(mnt_model_save(model, ckpt));
done:
    mnt_graph_destroy(step);
    mnt_dataset_close(data);
    mnt_model_destroy(model);
    return st;
}

int main(int argc, char **argv)
{
    mnt_device *dev = NULL;
    mnt_status st;
    if (argc != 3)
        return fputs("usage: train_mlp DIR CHECKPOINT\n", stderr), 2;
    if ((st = mnt_device_open(&dev, NULL)) == MNT_OK)
        st = train(dev, argv[1], argv[2]);
    if (st != MNT_OK)
        fprintf(stderr, "train_mlp: %s\n", mnt_last_error(dev));
    mnt_device_close(dev);
    return st == MNT_OK ? 0 : 1;
}
