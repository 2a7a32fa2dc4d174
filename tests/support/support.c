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

void sup_assert_bits(const char *what, mnt_dtype dtype, mnt_shape shape,
                     const void *want, const void *got)
{
    int64_t i = kit_difference(dtype, want, got, mnt_shape_count(shape));
    if (i < 0)
        return;
    char s[96], at[96], text[128];
    fail_msg("%s %s differs first at %s: %s", what, kit_shape_text(s, sizeof s, shape),
             kit_index_text(at, sizeof at, shape, i),
             kit_element_text(text, sizeof text, dtype, want, got, i));
}

void *sup_read(mnt_device *dev, mnt_tensor *t)
{
    size_t bytes = (size_t)mnt_tensor_count(t) * mnt_dtype_size(mnt_tensor_dtype(t));
    void *p = kit_alloc(bytes);
    MUST(dev, mnt_tensor_read(t, p, bytes));
    return p;
}

void sup_write_random(mnt_device *dev, mnt_tensor *t, kit_rng *r)
{
    int64_t n = mnt_tensor_count(t);
    float *p = kit_alloc((size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i++)
        p[i] = kit_float(r);
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
    void *p = kit_alloc(*bytes);
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
