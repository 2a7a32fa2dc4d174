/* SPDX-License-Identifier: MIT */
/*
 * Views of strided operands: dims are merged on the host, once, so that a kernel makes
 * as few divisions an element as the strides allow.
 */
#include "launch.h"

#include <string.h>

const mnt_operand gpu_absent = { 0 };

/* Whether dim d can be walked by the strides of the dim d' before it. */
static bool joins(const mnt_view_args *v, int operands, int64_t dim,
                  const int64_t (*stride)[MNT_MAX_DIMS], int d)
{
    int last = v->ndim - 1;
    for (int k = 0; k < operands; k++)
        if (v->stride[k][last] != stride[k][d] * dim)
            return false;
    return true;
}

void gpu_view_merge(mnt_view_args *v, int ndim, const int64_t *dim, int operands,
                    const int64_t (*stride)[MNT_MAX_DIMS])
{
    memset(v, 0, sizeof *v);
    v->count = 1;
    for (int d = 0; d < ndim; d++) {
        v->count *= dim[d];
        if (dim[d] == 1)
            continue;
        bool merged = v->ndim > 0 && joins(v, operands, dim[d], stride, d);
        int at = merged ? v->ndim - 1 : v->ndim++;
        v->dim[at] = merged ? v->dim[at] * dim[d] : dim[d];
        for (int k = 0; k < operands; k++)
            v->stride[k][at] = stride[k][d];
    }
}

void gpu_view(mnt_view_args *v, const mnt_operand *const o[], int operands)
{
    int64_t stride[4][MNT_MAX_DIMS];
    for (int k = 0; k < operands; k++)
        memcpy(stride[k], o[k]->stride, sizeof stride[k]);
    gpu_view_merge(v, o[0]->ndim, o[0]->dim, operands,
                   (const int64_t(*)[MNT_MAX_DIMS])stride);
}

bool gpu_view_flat(const mnt_view_args *v, int operands)
{
    if (v->ndim > 1)
        return false;
    for (int k = 0; k < operands && v->ndim == 1; k++) {
        int64_t step = v->stride[k][0];
        if (step != 1 && (step != 0 || k == operands - 1))
            return false;
    }
    return true;
}

void gpu_dispatch_view(gpu_emit *e, gpu_kernel kernel, const mnt_view_args *v,
                       const mnt_operand *const o[], int operands)
{
    gpu_dispatch *d =
        gpu_dispatch_add(e, kernel, gpu_groups(v->count, MNT_GROUP * MNT_ITEMS));
    for (int k = 0; k < operands; k++)
        gpu_bind(d, o[k]);
    gpu_args(d, v, sizeof *v);
}
