/* SPDX-License-Identifier: MIT */
/*
 * Recording: failures are sticky and say what is wrong, NULL is tolerated everywhere,
 * calls out of order get a status.
 */
#include "../support/support.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static mnt_device *dev;

static int open_device(void **state)
{
    (void)state;
    dev = sup_open("", 1);
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    mnt_device_close(dev);
    return 0;
}

typedef struct bench {
    mnt_graph *g;
    mnt_model *m;
    mnt_tensor *a, *b, *c, *image, *labels, *bytes, *scalar;
} bench;

static bench setup(void)
{
    bench t = { 0 };
    MUST(dev, mnt_model_create(&t.m, dev, NULL));
    MUST(dev, mnt_graph_create(&t.g, dev, t.m, NULL));
    t.a = mnt_input(t.g, MNT_F32, MNT_SHAPE(2, 3));
    t.b = mnt_input(t.g, MNT_F32, MNT_SHAPE(4, 5));
    t.c = mnt_input(t.g, MNT_F32, MNT_SHAPE(6));
    t.image = mnt_input(t.g, MNT_F32, MNT_SHAPE(2, 3, 4, 4));
    t.labels = mnt_input(t.g, MNT_I32, MNT_SHAPE(7));
    t.bytes = mnt_input(t.g, MNT_U8, MNT_SHAPE(2, 3));
    t.scalar = mnt_sum(t.g, t.a, MNT_ALL_AXES);
    assert_non_null(t.scalar);
    return t;
}

static void teardown(bench *t)
{
    mnt_graph_destroy(t->g);
    mnt_model_destroy(t->m);
}

/*
 * One bad call: the op returns NULL, the graph keeps that status through good calls,
 * compile reports it, and the sentence names op and what is wrong.
 */
static void expect(bench *t, mnt_tensor *result, mnt_status want, const char *part1,
                   const char *part2)
{
    assert_null(result);
    assert_int_equal(mnt_graph_status(t->g), want);
    assert_null(mnt_relu(t->g, t->a));
    assert_null(mnt_matmul(t->g, t->a, t->labels));
    MUST_FAIL(dev, want, part1, mnt_graph_compile(t->g));
    MUST_FAIL(dev, want, part2, mnt_graph_compile(t->g));
    teardown(t);
}

#define BAD(status, part1, part2, call)                                                \
    do {                                                                               \
        bench t = setup();                                                             \
        expect(&t, (call), (status), (part1), (part2));                                \
    } while (0)

/* The same for a call that returns nothing. */
#define BAD_VOID(status, part1, part2, call)                                           \
    do {                                                                               \
        bench t = setup();                                                             \
        (call);                                                                        \
        expect(&t, NULL, (status), (part1), (part2));                                  \
    } while (0)

static void test_shapes(void **state)
{
    (void)state;
    BAD(MNT_SHAPE, "matmul: x is [2,3], w is [4,5]", "inner sizes 3 and 4 differ",
        mnt_matmul(t.g, t.a, t.b));
    BAD(MNT_SHAPE, "matmul", "[6]", mnt_matmul(t.g, t.c, t.b));
    BAD(MNT_SHAPE, "matmul", "leading",
        mnt_matmul_ex(t.g, t.image, t.image, true, 0)
            ? mnt_matmul(t.g, mnt_input(t.g, MNT_F32, MNT_SHAPE(2, 2, 3)),
                         mnt_input(t.g, MNT_F32, MNT_SHAPE(3, 3, 4)))
            : NULL);
    BAD(MNT_SHAPE, "add: a is [2,3], b is [4,5]", "[4,5]", mnt_add(t.g, t.a, t.b));
    BAD(MNT_SHAPE, "sub", "[6]", mnt_sub(t.g, t.a, t.c));
    BAD(MNT_SHAPE, "mul", "[4,5]", mnt_mul(t.g, t.a, t.b));
    BAD(MNT_SHAPE, "bias_add", "[6]", mnt_bias_add(t.g, t.a, t.c));
    BAD(MNT_SHAPE, "cross_entropy", "[7]", mnt_cross_entropy(t.g, t.a, t.labels));
    BAD(MNT_SHAPE, "accuracy_count", "[7]", mnt_accuracy_count(t.g, t.a, t.labels));
    BAD(MNT_SHAPE, "reshape", "[2,3]", mnt_reshape(t.g, t.a, MNT_SHAPE(7)));
    BAD(MNT_SHAPE, "reshape", "[2,3]", mnt_reshape(t.g, t.a, MNT_SHAPE(-1, 4)));
    BAD(MNT_SHAPE, "reshape", "one dim may be -1",
        mnt_reshape(t.g, t.a, MNT_SHAPE(-1, -1)));
    BAD(MNT_SHAPE, "input", "7 dims",
        mnt_input(t.g, MNT_F32, (mnt_shape){ .ndim = 7 }));
    BAD(MNT_SHAPE, "broadcast", "[2,3]", mnt_broadcast(t.g, t.a, MNT_SHAPE(2, 4)));
    BAD(MNT_SHAPE, "conv2d", "[2,3]", mnt_conv2d(t.g, t.a, t.image, NULL));
    BAD(MNT_SHAPE, "conv2d", "[2,2,3,3]",
        mnt_conv2d(t.g, t.image, mnt_input(t.g, MNT_F32, MNT_SHAPE(2, 2, 3, 3)), NULL));
    BAD(MNT_SHAPE, "conv2d", "[2,3,5,5]",
        mnt_conv2d(t.g, t.image, mnt_input(t.g, MNT_F32, MNT_SHAPE(2, 3, 5, 5)), NULL));
    BAD(MNT_SHAPE, "max_pool2d", "[2,3]", mnt_max_pool2d(t.g, t.a, NULL));
    BAD(MNT_SHAPE, "argmax", "[0,3]",
        mnt_argmax(t.g, mnt_input(t.g, MNT_F32, MNT_SHAPE(0, 3)), 0));
    BAD(MNT_SHAPE, "softmax", "z", mnt_softmax(t.g, t.scalar));
    BAD(MNT_SHAPE, "dense", "fc", mnt_dense(t.g, t.image, 4, "fc"));
    BAD(MNT_SHAPE, "conv", "[2,3]", mnt_conv_layer(t.g, t.a, 4, 3, 3, "cv", NULL));
    BAD(MNT_SHAPE, "col2im", "[2,3]",
        mnt_col2im(t.g, t.a, MNT_SHAPE(1, 1, 4, 4), NULL));
    BAD(MNT_SHAPE, "im2col", "[2,3]", mnt_im2col(t.g, t.a, NULL));
    BAD(MNT_SHAPE, "shape", "", mnt_input(t.g, MNT_F32, MNT_SHAPE(INT64_MAX, 3)));
    BAD(MNT_SHAPE, "shape", "", mnt_fill(t.g, MNT_SHAPE(-2, 3), 1));
    BAD_VOID(MNT_SHAPE, "backward", "[2,3]",
             mnt_backward(t.g, mnt_dense(t.g, t.a, 3, "f"), NULL));
    BAD_VOID(MNT_SHAPE, "backward", "[4,5]",
             mnt_backward(t.g, mnt_dense(t.g, t.a, 3, "f"), t.b));
}

/* A layer that cannot be leaves nothing behind: the next graph may use its name. */
static void test_failed_layer(void **state)
{
    (void)state;
    bench b = setup();
    assert_null(mnt_conv_layer(b.g, b.image, 4, 11, 11, "c", NULL));
    assert_int_equal(mnt_graph_status(b.g), MNT_SHAPE);
    assert_int_equal(mnt_model_param_count(b.m), 0);
    teardown(&b);
    b = setup();
    assert_null(mnt_dense(b.g, mnt_input(b.g, MNT_U8, MNT_SHAPE(2, 3)), 4, "d"));
    assert_int_equal(mnt_graph_status(b.g), MNT_DTYPE);
    assert_int_equal(mnt_model_param_count(b.m), 0);
    teardown(&b);
    BAD(MNT_INVALID, "dense", "name", mnt_dense(t.g, t.a, 4, ""));
}

/* A tensor marked after an op has used it would have no gradient through that op. */
static void test_marked_too_late(void **state)
{
    (void)state;
    bench t = setup();
    mnt_tensor *x = mnt_input(t.g, MNT_F32, MNT_SHAPE(2, 3));
    assert_non_null(mnt_relu(t.g, x));
    mnt_tensor_require_grad(x);
    expect(&t, NULL, MNT_STATE, "require_grad", "before the ops");
}

static void test_dtypes(void **state)
{
    (void)state;
    BAD(MNT_DTYPE, "matmul", "u8", mnt_matmul(t.g, t.bytes, t.b));
    BAD(MNT_DTYPE, "add", "i32", mnt_add(t.g, t.labels, t.c));
    BAD(MNT_DTYPE, "relu", "u8", mnt_relu(t.g, t.bytes));
    BAD(MNT_DTYPE, "scale", "i32", mnt_scale(t.g, t.labels, 2));
    BAD(MNT_DTYPE, "sum", "u8", mnt_sum(t.g, t.bytes, 0));
    BAD(MNT_DTYPE, "softmax", "u8", mnt_softmax(t.g, t.bytes));
    BAD(MNT_DTYPE, "cross_entropy", "f32", mnt_cross_entropy(t.g, t.a, t.c));
    BAD(MNT_DTYPE, "gather", "f32", mnt_gather(t.g, t.a, t.c, MNT_F32, false));
    BAD(MNT_DTYPE, "cast", "u32",
        mnt_cast(t.g, mnt_input(t.g, MNT_U32, MNT_SHAPE(3)), MNT_F32, false));
    BAD(MNT_DTYPE, "accumulate", "u8", mnt_accumulate(t.g, t.bytes));
}

static void backward_twice(bench *t)
{
    mnt_tensor *y = mnt_sum(t->g, mnt_dense(t->g, t->a, 2, "f"), MNT_ALL_AXES);
    mnt_backward(t->g, y, NULL);
    mnt_backward(t->g, y, NULL);
}

static void test_arguments(void **state)
{
    (void)state;
    const int twice[] = { 0, 0 }, high[] = { 0, 2 };
    mnt_conv2d_desc stride = MNT_CONV2D_DESC(.stride_h = 0);
    mnt_conv2d_desc groups = MNT_CONV2D_DESC(.groups = 0);
    mnt_conv2d_desc split = MNT_CONV2D_DESC(.groups = 2);
    mnt_window_desc pad = MNT_WINDOW_DESC(.pad_h = 2);
    mnt_window_desc none = MNT_WINDOW_DESC(.kernel_w = 0);
    mnt_sgd_desc lr = MNT_SGD_DESC(.lr = -1);
    mnt_init init = { .kind = MNT_INIT_ZERO };
    char huge[200];
    memset(huge, 'n', sizeof huge);
    huge[199] = '\0';
    BAD(MNT_INVALID, "sum", "axis 2", mnt_sum(t.g, t.a, 2));
    BAD(MNT_INVALID, "mean", "axis -3", mnt_mean(t.g, t.a, -3));
    BAD(MNT_INVALID, "argmax", "axis", mnt_argmax(t.g, t.a, INT_MIN));
    BAD(MNT_INVALID, "permute", "order[1] is 0", mnt_permute(t.g, t.a, twice));
    BAD(MNT_INVALID, "permute", "order[1] is 2", mnt_permute(t.g, t.a, high));
    BAD(MNT_INVALID, "permute", "NULL", mnt_permute(t.g, t.a, NULL));
    BAD(MNT_INVALID, "slice", "axis", mnt_slice(t.g, t.a, 2, 0, 1));
    BAD(MNT_INVALID, "conv2d", "stride", mnt_conv2d(t.g, t.image, t.image, &stride));
    BAD(MNT_INVALID, "conv2d", "groups", mnt_conv2d(t.g, t.image, t.image, &groups));
    BAD(MNT_SHAPE, "conv2d", "[2,3,4,4]", mnt_conv2d(t.g, t.image, t.image, &split));
    BAD(MNT_INVALID, "max_pool2d", "pad", mnt_max_pool2d(t.g, t.image, &pad));
    BAD(MNT_INVALID, "max_pool2d", "kernel", mnt_max_pool2d(t.g, t.image, &none));
    mnt_window_desc wide = MNT_WINDOW_DESC(.kernel_h = 3, .kernel_w = 3, .pad_h = 1,
                                           .pad_w = 1, .stride_h = 1, .stride_w = 1);
    BAD(MNT_SHAPE, "max_pool2d", "no pixels",
        mnt_max_pool2d(t.g, mnt_input(t.g, MNT_F32, MNT_SHAPE(2, 3, 1, 0)), &wide));
    BAD(MNT_INVALID, "param", "name", mnt_param(t.g, "", MNT_SHAPE(2), init));
    BAD(MNT_INVALID, "param", "name", mnt_param(t.g, huge, MNT_SHAPE(2), init));
    BAD(MNT_INVALID, "param", "0x0a", mnt_param(t.g, "a\nb", MNT_SHAPE(2), init));
    BAD(MNT_INVALID, "batch", "NULL", mnt_batch_input(t.g, NULL, 4).x);
    BAD_VOID(MNT_STATE, "sgd", "backward", mnt_sgd(t.g, NULL));
    BAD_VOID(MNT_STATE, "adam", "backward", mnt_adam(t.g, NULL));
    BAD_VOID(MNT_INVALID, "sgd", "lr",
             (mnt_backward(t.g, mnt_sum(t.g, mnt_dense(t.g, t.a, 2, "f"), MNT_ALL_AXES),
                           NULL),
              mnt_sgd(t.g, &lr)));
    BAD_VOID(MNT_STATE, "backward", "before", backward_twice(&t));
    BAD(MNT_SHAPE, "param: w", "[3]",
        (mnt_param(t.g, "w", MNT_SHAPE(2), init),
         mnt_param(t.g, "w", MNT_SHAPE(3), init)));
}

/* A slice may have any start and length inside the axis, and no other. */
static void test_slice_bounds(void **state)
{
    (void)state;
    static const struct {
        int64_t start, length;
    } bad[] = { { -1, 1 }, { 0, 4 }, { 3, 1 }, { 1, -1 }, { 2, INT64_MAX } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bench t = setup();
        assert_null(mnt_slice(t.g, t.a, 1, bad[i].start, bad[i].length));
        assert_int_not_equal(mnt_graph_compile(t.g), MNT_OK);
        assert_non_null(strstr(mnt_last_error(dev), "slice"));
        teardown(&t);
    }
}

static void test_foreign_tensors(void **state)
{
    (void)state;
    bench other = setup();
    mnt_device *dev2 = sup_open("", 1);
    mnt_graph *g2 = NULL;
    MUST(dev2, mnt_graph_create(&g2, dev2, NULL, NULL));
    mnt_tensor *far = mnt_input(g2, MNT_F32, MNT_SHAPE(2, 3));
    BAD(MNT_INVALID, "add", "graph", mnt_add(t.g, t.a, other.a));
    BAD(MNT_INVALID, "add", "device", mnt_add(t.g, t.a, far));
    BAD(MNT_INVALID, "relu", "NULL", mnt_relu(t.g, NULL));
    assert_null(mnt_dense(g2, far, 3, "fc"));
    MUST_FAIL(dev2, MNT_STATE, "model", mnt_graph_compile(g2));
    mnt_graph_destroy(g2);
    mnt_device_close(dev2);
    teardown(&other);
}

/* Every op takes NULL for graph and tensors. */
static void test_null(void **state)
{
    (void)state;
    const int order[] = { 0 };
    const mnt_shape s = MNT_SHAPE(2);
    const mnt_init init = { .kind = MNT_INIT_ZERO };
    bench t = setup();
    mnt_graph *graphs[] = { NULL, t.g };
    for (int i = 0; i < 2; i++) {
        mnt_graph *g = graphs[i];
        assert_null(mnt_matmul(g, NULL, NULL));
        assert_null(mnt_matmul_ex(g, NULL, NULL, true, false));
        assert_null(mnt_bias_add(g, NULL, NULL));
        assert_null(mnt_add(g, NULL, NULL));
        assert_null(mnt_sub(g, NULL, NULL));
        assert_null(mnt_mul(g, NULL, NULL));
        assert_null(mnt_scale(g, NULL, 1));
        assert_null(mnt_relu(g, NULL));
        assert_null(mnt_sum(g, NULL, 0));
        assert_null(mnt_mean(g, NULL, 0));
        assert_null(mnt_argmax(g, NULL, 0));
        assert_null(mnt_softmax(g, NULL));
        assert_null(mnt_cross_entropy(g, NULL, NULL));
        assert_null(mnt_accuracy_count(g, NULL, NULL));
        assert_null(mnt_conv2d(g, NULL, NULL, NULL));
        assert_null(mnt_im2col(g, NULL, NULL));
        assert_null(mnt_col2im(g, NULL, s, NULL));
        assert_null(mnt_max_pool2d(g, NULL, NULL));
        assert_null(mnt_reshape(g, NULL, s));
        assert_null(mnt_flatten(g, NULL));
        assert_null(mnt_permute(g, NULL, order));
        assert_null(mnt_slice(g, NULL, 0, 0, 1));
        assert_null(mnt_broadcast(g, NULL, s));
        assert_null(mnt_contiguous(g, NULL));
        assert_null(mnt_cast(g, NULL, MNT_F32, false));
        assert_null(mnt_gather(g, NULL, NULL, MNT_F32, false));
        assert_null(mnt_accumulate(g, NULL));
        assert_null(mnt_dense(g, NULL, 3, "d"));
        assert_null(mnt_conv_layer(g, NULL, 3, 2, 2, "c", NULL));
        assert_null(mnt_batch_input(g, NULL, 3).x);
        mnt_backward(g, NULL, NULL);
        mnt_sgd(g, NULL);
        mnt_adam(g, NULL);
    }
    assert_null(mnt_input(NULL, MNT_F32, s));
    assert_null(mnt_constant(NULL, MNT_F32, s, NULL));
    assert_null(mnt_fill(NULL, s, 1));
    assert_null(mnt_uniform(NULL, s, 0, 1, 1, 1));
    assert_null(mnt_normal(NULL, s, 0, 1, 1, 1));
    assert_null(mnt_param(NULL, "w", s, init));
    teardown(&t);
}

static void test_null_objects(void **state)
{
    (void)state;
    mnt_graph_destroy(NULL);
    mnt_model_destroy(NULL);
    mnt_dataset_close(NULL);
    mnt_device_close(NULL);
    mnt_free(NULL, NULL);
    mnt_free(dev, NULL);
    mnt_tensor_keep(NULL);
    mnt_tensor_require_grad(NULL);
    mnt_tensor_set_name(NULL, "x");
    mnt_graph_memory(NULL, NULL, NULL);
    mnt_graph_timing_reset(NULL);
    mnt_device_interrupt(NULL);
    assert_null(mnt_tensor_grad(NULL));
    assert_int_equal(mnt_tensor_count(NULL), 0);
    assert_string_equal(mnt_tensor_name(NULL), "");
    assert_int_equal(mnt_tensor_shape(NULL).ndim, 0);
    (void)mnt_tensor_dtype(NULL);
    assert_int_equal(mnt_graph_command_count(NULL), 0);
    assert_int_not_equal(mnt_graph_status(NULL), MNT_OK);
    assert_int_not_equal(mnt_graph_compile(NULL), MNT_OK);
    assert_int_not_equal(mnt_graph_run(NULL, 1), MNT_OK);
    assert_int_not_equal(mnt_graph_check_guards(NULL), MNT_OK);
    assert_int_not_equal(mnt_tensor_write(NULL, "", 1), MNT_OK);
    assert_int_not_equal(mnt_tensor_read(NULL, NULL, 1), MNT_OK);
    assert_int_not_equal(mnt_device_wait(NULL), MNT_OK);
    assert_int_not_equal(mnt_graph_create(NULL, dev, NULL, NULL), MNT_OK);
    assert_int_not_equal(mnt_model_create(NULL, NULL, NULL), MNT_OK);
    assert_int_not_equal(mnt_model_save(NULL, "x"), MNT_OK);
    assert_int_not_equal(mnt_model_load(NULL, dev, "x"), MNT_OK);
    assert_int_not_equal(mnt_device_open(NULL, NULL), MNT_OK);
    assert_int_not_equal(mnt_device_get_info(dev, NULL), MNT_OK);
    assert_int_equal(mnt_model_param_count(NULL), 0);
    assert_null(mnt_model_param(NULL, 0));
    assert_null(mnt_model_find(NULL, "w"));
    assert_null(mnt_model_get_meta(NULL, "k"));
    assert_int_equal(mnt_dataset_count(NULL), 0);
    (void)mnt_graph_replays(NULL);
    (void)mnt_model_step(NULL);
    (void)mnt_model_seed(NULL);
}

static void test_order_of_calls(void **state)
{
    (void)state;
    bench t = setup();
    float v[6] = { 0 };
    mnt_tensor *y = mnt_relu(t.g, t.a), *kept = mnt_scale(t.g, y, 2);
    mnt_tensor *last = mnt_sum(t.g, kept, MNT_ALL_AXES);
    mnt_tensor_keep(kept);
    mnt_tensor_keep(last);
    MUST_FAIL(dev, MNT_STATE, "compile", mnt_graph_run(t.g, 1));
    MUST_FAIL(dev, MNT_STATE, "", mnt_tensor_read(kept, v, sizeof v));
    mnt_op_timing row = { .size = sizeof row };
    MUST_FAIL(dev, MNT_STATE, "compile", mnt_graph_timing(t.g, 0, &row));
    MUST(dev, mnt_graph_compile(t.g));
    MUST_FAIL(dev, MNT_STATE, "compile", mnt_graph_compile(t.g));
    MUST_FAIL(dev, MNT_INVALID, "-1", mnt_graph_run(t.g, -1));
    MUST(dev, mnt_graph_run(t.g, 0));
    MUST(dev, mnt_graph_run(t.g, 3));
    assert_int_equal(mnt_graph_replays(t.g), 3);
    MUST_FAIL(dev, MNT_SHAPE, "[2,3]", mnt_tensor_read(kept, v, sizeof v - 4));
    MUST_FAIL(dev, MNT_SHAPE, "[2,3]", mnt_tensor_write(t.a, v, sizeof v + 4));
    MUST_FAIL(dev, MNT_INVALID, "NULL", mnt_tensor_read(kept, NULL, sizeof v));
    MUST_FAIL(dev, MNT_STATE, "guard", mnt_graph_check_guards(t.g));
    MUST(dev, mnt_tensor_read(kept, v, sizeof v));
    assert_null(mnt_relu(t.g, t.a));
    teardown(&t);
}

static void test_dump_and_format(void **state)
{
    (void)state;
    bench t = setup();
    mnt_tensor *y = mnt_matmul_ex(t.g, t.a, t.a, false, true);
    mnt_tensor_set_name(y, "gram");
    mnt_tensor_keep(y);
    char *text = NULL;
    MUST(dev, mnt_graph_dump(t.g, &text));
    assert_non_null(strstr(text, "matmul"));
    mnt_free(dev, text);
    MUST(dev, mnt_graph_compile(t.g));
    MUST(dev, mnt_graph_run(t.g, 1));
    MUST(dev, mnt_graph_dump(t.g, &text));
    assert_non_null(strstr(text, "gram"));
    assert_non_null(strstr(text, "[2,2]"));
    mnt_free(dev, text);
    MUST(dev, mnt_tensor_format(y, 4, &text));
    assert_non_null(strstr(text, "[2,2]"));
    mnt_free(dev, text);
    uint64_t arena = 0, unplanned = 0;
    mnt_graph_memory(t.g, &arena, &unplanned);
    assert_true(arena > 0 && arena <= unplanned);
    teardown(&t);
}

/* Sizes that would wrap, and operands that a graph cannot use, have a sentence. */
static void test_hostile(void **state)
{
    (void)state;
    const int64_t most = (int64_t)1 << 62;
    const mnt_window_desc wide =
        MNT_WINDOW_DESC(.kernel_h = 1 << 24, .kernel_w = 1 << 24, .pad_h = 1 << 24,
                        .pad_w = 1 << 24);
    for (int i = 0; i < 5; i++) {
        bench t = setup();
        mnt_tensor *deep = mnt_input(t.g, MNT_F32, MNT_SHAPE(1, 65536, 1, 1)),
                   *y = NULL;
        mnt_status want = MNT_SHAPE;
        if (i == 0) {
            y = mnt_reshape(t.g, t.a, MNT_SHAPE(most, most, -1));
        } else if (i == 1) {
            y = mnt_im2col(t.g, deep, &wide);
        } else if (i == 2) {
            y = mnt_conv_layer(t.g, t.image, 1, INT_MAX, INT_MAX, "c", NULL);
        } else if (i == 3) {
            want = MNT_INVALID;
            y = mnt_argmax(t.g, t.a, INT_MAX);
        } else {
            want = MNT_INVALID;
            mnt_param(t.g, "w", MNT_SHAPE(2), (mnt_init){ 0 });
            y = mnt_relu(t.g, mnt_model_find(t.m, "w"));
        }
        assert_null(y);
        assert_int_equal(mnt_graph_status(t.g), want);
        mnt_graph_destroy(t.g);
        mnt_model_destroy(t.m);
    }
}

/* A strided gradient through a broadcast that stretches nothing. */
static void test_strided_gradient(void **state)
{
    (void)state;
    mnt_graph *g = NULL;
    const float dy[6] = { 1, 2, 3, 4, 5, 6 }, want[6] = { 1, 3, 5, 2, 4, 6 };
    float da[6];
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *a = mnt_input(g, MNT_F32, MNT_SHAPE(2, 3));
    mnt_tensor_require_grad(a);
    mnt_tensor *s = mnt_add(g, a, mnt_input(g, MNT_F32, MNT_SHAPE(3)));
    mnt_backward(g, mnt_permute(g, s, (int[]){ 1, 0 }),
                 mnt_constant(g, MNT_F32, MNT_SHAPE(3, 2), dy));
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_graph_run(g, 1));
    MUST(dev, mnt_tensor_read(mnt_tensor_grad(a), da, sizeof da));
    assert_memory_equal(da, want, sizeof want);
    mnt_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),           cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_arguments),        cmocka_unit_test(test_slice_bounds),
        cmocka_unit_test(test_foreign_tensors),  cmocka_unit_test(test_null),
        cmocka_unit_test(test_null_objects),     cmocka_unit_test(test_order_of_calls),
        cmocka_unit_test(test_dump_and_format),  cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_strided_gradient), cmocka_unit_test(test_failed_layer),
        cmocka_unit_test(test_marked_too_late),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
