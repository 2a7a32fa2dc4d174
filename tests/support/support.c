/* SPDX-License-Identifier: MIT */
/*
 * Devices, random numbers, bit comparison and files for the tests. See support.h.
 */
#include "support.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void sup_must(const mnt_device *dev, mnt_status status, const char *what,
              const char *file, int line)
{
    if (status == MNT_OK)
        return;
    print_error("%s: %s: %s\n", what, mnt_status_name(status), mnt_last_error(dev));
    _fail(file, line);
}

void sup_must_fail(const mnt_device *dev, mnt_status want, const char *part,
                   mnt_status got, const char *what, const char *file, int line)
{
    const char *sentence = mnt_last_error(dev);
    if (got == want && strstr(sentence, part))
        return;
    print_error("%s: want %s and \"%s\", got %s and \"%s\"\n", what,
                mnt_status_name(want), part, mnt_status_name(got),
                got == MNT_OK ? "" : sentence);
    _fail(file, line);
}

mnt_device *sup_try_open(const char *force, int threads)
{
    mnt_device *dev = NULL;
    mnt_device_desc desc =
        MNT_DEVICE_DESC(.backend = "cpu", .force = force, .threads = threads);
    return mnt_device_open(&dev, &desc) == MNT_OK ? dev : NULL;
}

mnt_device *sup_open(const char *force, int threads)
{
    mnt_device *dev = sup_try_open(force, threads);
    if (!dev)
        fail_msg("device '%s' does not open: %s", force, mnt_last_error(NULL));
    return dev;
}

int sup_isas(const char *names[SUP_MAX_ISA])
{
    static const char *const all[SUP_MAX_ISA] = { "generic", "avx2", "avx512", "neon" };
    int n = 0;
    for (int i = 0; i < SUP_MAX_ISA; i++) {
        char force[32];
        snprintf(force, sizeof force, "isa=%s", all[i]);
        mnt_device *dev = sup_try_open(force, 1);
        if (dev)
            names[n++] = all[i];
        mnt_device_close(dev);
    }
    return n;
}

uint64_t sup_next(sup_rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double sup_unit(sup_rng *r)
{
    return (double)(sup_next(r) >> 11) * 0x1p-53;
}

float sup_float(sup_rng *r)
{
    return (float)((double)(sup_next(r) >> 40) * 0x1p-23 - 1.0);
}

int64_t sup_below(sup_rng *r, int64_t n)
{
    return n > 0 ? (int64_t)(sup_next(r) % (uint64_t)n) : 0;
}

uint64_t sup_hash(const void *p, size_t n)
{
    const unsigned char *b = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static bool same_f32(uint32_t a, uint32_t b)
{
    bool nan_a = (a & 0x7fffffffu) > 0x7f800000u;
    bool nan_b = (b & 0x7fffffffu) > 0x7f800000u;
    return a == b || (nan_a && nan_b);
}

int64_t sup_difference(mnt_dtype dtype, const void *want, const void *got,
                       int64_t count)
{
    if (dtype == MNT_F32) {
        const uint32_t *a = want, *b = got;
        for (int64_t i = 0; i < count; i++)
            if (!same_f32(a[i], b[i]))
                return i;
        return -1;
    }
    const unsigned char *a = want, *b = got;
    size_t step = mnt_dtype_size(dtype);
    for (int64_t i = 0; i < count; i++)
        if (memcmp(a + (size_t)i * step, b + (size_t)i * step, step) != 0)
            return i;
    return -1;
}

const char *sup_shape_text(char *buf, size_t size, mnt_shape shape)
{
    size_t at = (size_t)snprintf(buf, size, "[");
    for (int i = 0; i < shape.ndim && at < size; i++)
        at += (size_t)snprintf(buf + at, size - at, "%s%" PRId64, i ? "," : "",
                               shape.dim[i]);
    if (at < size)
        snprintf(buf + at, size - at, "]");
    return buf;
}

const char *sup_index_text(char *buf, size_t size, mnt_shape shape, int64_t element)
{
    mnt_shape at = { .ndim = shape.ndim };
    for (int i = shape.ndim - 1; i >= 0; i--) {
        at.dim[i] = element % shape.dim[i];
        element /= shape.dim[i];
    }
    return sup_shape_text(buf, size, at);
}

const char *sup_element_text(char *buf, size_t size, mnt_dtype dtype, const void *want,
                             const void *got, int64_t i)
{
    if (dtype == MNT_U8) {
        snprintf(buf, size, "want %u, got %u", ((const uint8_t *)want)[i],
                 ((const uint8_t *)got)[i]);
        return buf;
    }
    uint32_t a, b;
    memcpy(&a, (const uint32_t *)want + i, 4);
    memcpy(&b, (const uint32_t *)got + i, 4);
    float fa, fb;
    memcpy(&fa, &a, 4);
    memcpy(&fb, &b, 4);
    if (dtype == MNT_F32)
        snprintf(buf, size, "want %.9g (%08" PRIx32 "), got %.9g (%08" PRIx32 ")",
                 (double)fa, a, (double)fb, b);
    else
        snprintf(buf, size, "want %" PRId32 ", got %" PRId32, (int32_t)a, (int32_t)b);
    return buf;
}

void sup_assert_bits(const char *what, mnt_dtype dtype, mnt_shape shape,
                     const void *want, const void *got)
{
    int64_t i = sup_difference(dtype, want, got, mnt_shape_count(shape));
    if (i < 0)
        return;
    char s[96], at[96], text[128];
    fail_msg("%s %s differs first at %s: %s", what, sup_shape_text(s, sizeof s, shape),
             sup_index_text(at, sizeof at, shape, i),
             sup_element_text(text, sizeof text, dtype, want, got, i));
}

void *sup_alloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    assert_non_null(p);
    return p;
}

void *sup_read(mnt_device *dev, mnt_tensor *t)
{
    size_t bytes = (size_t)mnt_tensor_count(t) * mnt_dtype_size(mnt_tensor_dtype(t));
    void *p = sup_alloc(bytes);
    MUST(dev, mnt_tensor_read(t, p, bytes));
    return p;
}

void sup_write_random(mnt_device *dev, mnt_tensor *t, sup_rng *r)
{
    int64_t n = mnt_tensor_count(t);
    float *p = sup_alloc((size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i++)
        p[i] = sup_float(r);
    MUST(dev, mnt_tensor_write(t, p, (size_t)n * sizeof *p));
    free(p);
}

void *sup_file(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f)
        return NULL;
    if (fstat(fileno(f), &st) != 0 || st.st_size < 0) {
        fclose(f);
        return NULL;
    }
    *bytes = (size_t)st.st_size;
    void *p = sup_alloc(*bytes);
    size_t got = fread(p, 1, *bytes, f);
    fclose(f);
    if (got != *bytes) {
        free(p);
        return NULL;
    }
    return p;
}

void sup_temp_path(char *buf, size_t size, const char *name)
{
    static atomic_int serial; /* devices are tested on threads of their own */
    const char *dir = getenv("TMPDIR");
    snprintf(buf, size, "%s/mnt_%ld_%d_%s", dir ? dir : "/tmp", (long)getpid(),
             atomic_fetch_add(&serial, 1), name);
}

void sup_model_hash(mnt_device *dev, mnt_model *m, char hex[65])
{
    char path[256];
    size_t bytes = 0;
    sup_temp_path(path, sizeof path, "hash.safetensors");
    MUST(dev, mnt_model_save(m, path));
    void *data = sup_file(path, &bytes);
    assert_non_null(data);
    sup_sha256(data, bytes, hex);
    free(data);
    remove(path);
}

static bool has_mnist(const char *dir)
{
    static const char *const ends[] = { "", ".gz" };
    for (int i = 0; dir && i < 2; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/train-images-idx3-ubyte%s", dir, ends[i]);
        if (access(path, R_OK) == 0)
            return true;
    }
    return false;
}

const char *sup_mnist_dir(void)
{
    static char near_tree[1024];
    const char *dir = getenv("MNT_MNIST_DIR");
    if (has_mnist(dir))
        return dir;
#ifdef TESTS_SOURCE_DIR
    snprintf(near_tree, sizeof near_tree, "%s/../../shared/mnist", TESTS_SOURCE_DIR);
#endif
    return has_mnist(near_tree) ? near_tree : NULL;
}
