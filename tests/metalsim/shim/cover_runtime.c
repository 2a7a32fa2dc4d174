/* SPDX-License-Identifier: MIT */
/*
 * The part of images of the kind cover that is not made from shaders. The compiler gives
 * each edge a flag, which a thread that takes it sets; behind a dispatch the flags are
 * added to the row of its kernel in the file of cover.h and cleared. Without that file
 * the image runs and says nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cover.h"
#include "sim_abi.h"

const sim_services *metalsim_services;
extern const sim_library mnt_sim_library;

/* What -fsanitize-coverage=pc-table leaves for an edge. */
typedef struct place {
    uintptr_t pc, flags; /* flags 1: the function's beginning */
} place;

static bool *flag_begin, *flag_end;
static const place *place_begin;
static unsigned char *hits; /* NULL: no file */
static uint64_t row_bytes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void metalsim_bind(const sim_services *services);
void metalsim_memory(sim_view *view, void *memory, unsigned long bytes,
                     const sim_array *array, unsigned count);
void metalsim_dispatch(const sim_call *call, const sim_entry *entry, int begins);
void __sanitizer_cov_bool_flag_init(bool *begin, bool *end);
void __sanitizer_cov_pcs_init(const uintptr_t *begin, const uintptr_t *end);

void __sanitizer_cov_bool_flag_init(bool *begin, bool *end)
{
    flag_begin = begin;
    flag_end = end;
}

void __sanitizer_cov_pcs_init(const uintptr_t *begin, const uintptr_t *end)
{
    (void)end;
    place_begin = (const place *)begin;
}

static uint32_t owner_of(uintptr_t pc)
{
    for (unsigned k = 0; k < mnt_sim_library.entries; k++)
        if ((uintptr_t)mnt_sim_library.entry[k].run == pc)
            return k;
    return COVER_NOBODY;
}

static void describe(unsigned char *file, const cover_header *h)
{
    memcpy(file, h, sizeof *h);
    cover_kernel *kernel = (cover_kernel *)(file + sizeof *h);
    cover_edge *edge = (cover_edge *)(kernel + h->kernels);
    for (uint32_t k = 0; k < h->kernels; k++) {
        strncpy(kernel[k].name, mnt_sim_library.entry[k].name, COVER_NAME - 1);
        kernel[k].line = mnt_sim_library.entry[k].line;
    }
    Dl_info info = { 0 };
    dladdr(&mnt_sim_library, &info);
    uint32_t owner = COVER_NOBODY;
    for (uint32_t i = 0; i < h->edges; i++) {
        if (place_begin[i].flags & 1)
            owner = owner_of(place_begin[i].pc);
        edge[i].pc = place_begin[i].pc - (uintptr_t)info.dli_fbase;
        edge[i].owner = owner;
    }
}

void metalsim_bind(const sim_services *services)
{
    metalsim_services = services;
    const char *path = getenv(COVER_FILE_ENV);
    if (hits || !path || !flag_begin || !place_begin)
        return;
    cover_header h = { COVER_MAGIC, mnt_sim_library.entries,
                       (uint32_t)(flag_end - flag_begin) };
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    void *file = MAP_FAILED;
    if (ftruncate(fd, (off_t)cover_file_bytes(&h)) == 0)
        file =
            mmap(NULL, cover_file_bytes(&h), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (file == MAP_FAILED)
        return;
    describe(file, &h);
    row_bytes = cover_row_bytes(&h);
    hits = (unsigned char *)file + cover_hits_offset(&h);
}

void metalsim_memory(sim_view *view, void *memory, unsigned long bytes,
                     const sim_array *array, unsigned count)
{
    (void)view, (void)memory, (void)bytes, (void)array, (void)count;
}

/* Dispatches of several devices may overlap: each takes what all have set so far for its
 * own, but edges belong to one kernel each, so a row's own edges stay right. */
void metalsim_dispatch(const sim_call *call, const sim_entry *entry, int begins)
{
    if (!hits || begins)
        return;
    pthread_mutex_lock(&lock);
    unsigned char *row = hits + (uint64_t)(entry - mnt_sim_library.entry) * row_bytes;
    uint64_t edges = row_bytes - COVER_EXTRA;
    for (uint64_t i = 0; i < edges; i++)
        row[i] |= flag_begin[i];
    memset(flag_begin, 0, edges);
    row[edges + (call->groups > 1)] = 1;
    pthread_mutex_unlock(&lock);
}
