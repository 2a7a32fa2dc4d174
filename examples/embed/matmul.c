/* SPDX-License-Identifier: MIT */
/* The product of two arrays on the first device that opens, a GPU if there is one. */
#include <mnt/mnt.h>
#include <stdio.h>

static mnt_status product(mnt_device *dev, const float a[6], const float b[6],
                          float y[4]) /* [2,3] [3,2] -> [2,2] */
{
    mnt_graph *g = NULL;
    mnt_status st = mnt_graph_create(&g, dev, NULL, &MNT_GRAPH_DESC(.eager = true));
    if (st != MNT_OK)
        return st;
    mnt_tensor *x = mnt_constant(g, MNT_F32, MNT_SHAPE(2, 3), a);
    mnt_tensor *w = mnt_constant(g, MNT_F32, MNT_SHAPE(3, 2), b);
    mnt_tensor *p = mnt_matmul(g, x, w);
    st = mnt_graph_status(g);
    if (st == MNT_OK)
        st = mnt_tensor_read(p, y, 4 * sizeof *y);
    mnt_graph_destroy(g);
    return st;
}

int main(void)
{
    const float a[6] = { 1, 2, 3, 4, 5, 6 }, b[6] = { 1, 0, 0, 1, 1, 1 };
    float y[4];
    mnt_device *dev = NULL;
    mnt_status st = mnt_device_open(&dev, NULL);
    if (st == MNT_OK)
        st = product(dev, a, b, y);
    if (st == MNT_OK)
        printf("%g %g\n%g %g\n", (double)y[0], (double)y[1], (double)y[2],
               (double)y[3]);
    else
        fprintf(stderr, "matmul: %s\n", mnt_last_error(dev));
    mnt_device_close(dev);
    return st == MNT_OK ? 0 : 1;
}
