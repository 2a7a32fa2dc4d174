/* SPDX-License-Identifier: MIT */
/* Which digit do 28x28 grey bytes on standard input show: infer CHECKPOINT < image */
#include <mnt/mnt.h>
#include <stdio.h>

#define TRY(call)                                                                      \
    if ((st = (call)) != MNT_OK)                                                       \
    goto done

static mnt_status infer(mnt_device *dev, const char *ckpt, const uint8_t image[784],
                        int32_t *digit)
{
    mnt_status st;
    mnt_model *model = NULL;
    mnt_graph *g = NULL;
    TRY(mnt_model_load(&model, dev, ckpt));
    TRY(mnt_graph_create(&g, dev, model, NULL));
    mnt_tensor *in = mnt_input(g, MNT_U8, MNT_SHAPE(1, 784));
    mnt_tensor *x = mnt_cast(g, in, MNT_F32, true);
    x = mnt_relu(g, mnt_dense(g, x, 128, "fc1"));
    x = mnt_argmax(g, mnt_dense(g, x, 10, "fc2"), 1);
    mnt_tensor_keep(x);
    TRY(mnt_graph_compile(g));
    TRY(mnt_tensor_write(in, image, 784));
    TRY(mnt_graph_run(g, 1));
    TRY(mnt_tensor_read(x, digit, sizeof *digit));
done:
    mnt_graph_destroy(g);
    mnt_model_destroy(model);
    return st;
}

int main(int argc, char **argv)
{
    uint8_t image[784];
    int32_t digit;
    mnt_device *dev = NULL;
    if (argc != 2 || fread(image, 1, sizeof image, stdin) != sizeof image) {
        fprintf(stderr, "usage: infer CHECKPOINT < 784 bytes\n");
        return 2;
    }
    mnt_status st = mnt_device_open(&dev, NULL);
    if (st == MNT_OK)
        st = infer(dev, argv[1], image, &digit);
    if (st == MNT_OK)
        printf("%d\n", digit);
    else
        fprintf(stderr, "infer: %s\n", mnt_last_error(dev));
    mnt_device_close(dev);
    return st == MNT_OK ? 0 : 1;
}
