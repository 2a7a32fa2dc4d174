/* SPDX-License-Identifier: MIT */
/*
 * Loading of images: shared objects with one exported struct sim_library, sealed by
 * tools/seal with a format number and a checksum. An image in memory becomes a file that
 * only this process has (memfd) and is loaded from there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <zlib.h>

#include "group.h"

struct sim_function {
    const sim_entry *entry;
    const sim_image *image;
    size_t array_bytes;
    unsigned arrays;
    sim_array array[SIM_MAX_ARRAYS];
};

struct sim_image {
    void *handle;
    const sim_library *library;
    int functions;
    sim_function function[];
};

static void function_init(sim_function *f, const sim_image *image,
                          const sim_entry *entry)
{
    f->image = image;
    f->entry = entry;
    f->arrays = entry->arrays ? entry->arrays(f->array) : 0;
    /* Without the gaps that watched images have. */
    for (unsigned i = 0; i < f->arrays; i++)
        f->array_bytes += (f->array[i].bytes + 15) / 16 * 16;
}

static sim_image *image_from(void *handle, char *error, size_t size)
{
    const sim_library *library = dlsym(handle, SIM_LIBRARY_SYMBOL);
    if (!library || library->abi != SIM_ABI_VERSION) {
        if (library)
            snprintf(error, size, "library has format %u, this simulator takes %u",
                     library->abi, SIM_ABI_VERSION);
        else
            snprintf(error, size, "not a library of the simulator");
        dlclose(handle);
        return NULL;
    }
    sim_image *image =
        calloc(1, sizeof *image + library->entries * sizeof image->function[0]);
    if (!image) {
        snprintf(error, size, "out of memory");
        dlclose(handle);
        return NULL;
    }
    image->handle = handle;
    image->library = library;
    image->functions = (int)library->entries;
    library->bind(&group_services);
    for (unsigned i = 0; i < library->entries; i++)
        function_init(&image->function[i], image, &library->entry[i]);
    return image;
}

static sim_image *image_load(const char *path, char *error, size_t size)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        snprintf(error, size, "%s", dlerror());
        return NULL;
    }
    return image_from(handle, error, size);
}

static bool write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        bytes -= (size_t)n;
    }
    return true;
}

/* The seal: "METALSIM", the format in 8 digits, the crc32 of all before in 8 hexadecimal
 * digits. */
#define SEAL_BYTES 24

static bool seal_holds(const char *data, size_t bytes, char *error, size_t size)
{
    char seal[SEAL_BYTES + 1] = "";
    if (bytes > SEAL_BYTES)
        memcpy(seal, data + bytes - SEAL_BYTES, SEAL_BYTES);
    unsigned format;
    unsigned long crc;
    if (sscanf(seal, "METALSIM%8u%8lx", &format, &crc) != 2) {
        snprintf(error, size, "not a library of the simulator, or cut short");
        return false;
    }
    if (format != SIM_ABI_VERSION) {
        snprintf(error, size, "library has format %u, this simulator takes %u", format,
                 SIM_ABI_VERSION);
        return false;
    }
    uLong sum = crc32_z(0, (const Bytef *)data, bytes - SEAL_BYTES);
    if (sum != crc) {
        snprintf(error, size, "library is damaged: checksum %08lx, expected %08lx", sum,
                 crc);
        return false;
    }
    return true;
}

sim_image *sim_image_open_memory(const void *data, size_t bytes, char *error,
                                 size_t size)
{
    if (!seal_holds(data, bytes, error, size))
        return NULL;
    int fd = memfd_create("metallib", MFD_CLOEXEC);
    if (fd < 0 || !write_all(fd, data, bytes)) {
        snprintf(error, size, "no memory for a library of %zu bytes", bytes);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    sim_image *image = image_load(path, error, size);
    close(fd);
    return image;
}

sim_image *sim_image_open(const char *path, char *error, size_t size)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        snprintf(error, size, "%s: %s", path, strerror(errno));
        return NULL;
    }
    char *data = NULL;
    long bytes = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    if (bytes > 0 && bytes < LONG_MAX) /* what a folder says */
        data = malloc((size_t)bytes);
    rewind(f);
    bool read = data && fread(data, 1, (size_t)bytes, f) == (size_t)bytes;
    fclose(f);
    if (!read)
        snprintf(error, size, "%s: cannot be read", path);
    bool holds = read && seal_holds(data, (size_t)bytes, error, size);
    free(data);
    char local[4096];
    if (holds && !strchr(path, '/')) { /* dlopen() would search its own folders */
        snprintf(local, sizeof local, "./%s", path);
        path = local;
    }
    return holds ? image_load(path, error, size) : NULL;
}

void sim_image_close(sim_image *image)
{
    if (!image)
        return;
    dlclose(image->handle);
    free(image);
}

const sim_library *sim_image_library(const sim_image *image)
{
    return image->library;
}

enum sim_kind sim_image_kind(const sim_image *image)
{
    return (enum sim_kind)image->library->kind;
}

const char *sim_image_source_hash(const sim_image *image)
{
    return image->library->source_hash;
}

int sim_image_count(const sim_image *image)
{
    return image->functions;
}

const sim_function *sim_image_at(const sim_image *image, int i)
{
    return i >= 0 && i < image->functions ? &image->function[i] : NULL;
}

const sim_function *sim_image_find(const sim_image *image, const char *name)
{
    for (int i = 0; i < image->functions; i++)
        if (strcmp(image->function[i].entry->name, name) == 0)
            return &image->function[i];
    return NULL;
}

const char *sim_function_name(const sim_function *f)
{
    return f->entry->name;
}

const sim_entry *sim_function_entry(const sim_function *f)
{
    return f->entry;
}

const sim_param *sim_function_param(const sim_function *f, unsigned index)
{
    for (unsigned i = 0; i < f->entry->params; i++)
        if (f->entry->param[i].index == index)
            return &f->entry->param[i];
    return NULL;
}

size_t sim_function_threadgroup_bytes(const sim_function *f)
{
    return f->array_bytes;
}

const sim_image *sim_function_image(const sim_function *f)
{
    return f->image;
}

const sim_array *sim_function_arrays(const sim_function *f, unsigned *count)
{
    *count = f->arrays;
    return f->array;
}
