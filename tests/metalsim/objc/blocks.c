/* SPDX-License-Identifier: MIT */
/*
 * The runtime of blocks, after the ABI that clang documents: copies on the heap with a
 * count, and what a copied block keeps: objects are retained, __block variables move.
 */
#include "blocks.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_COUNT = 0xffff,
    BLOCK_ON_HEAP = 1 << 24,
    BLOCK_HAS_HELPERS = 1 << 25,
    BLOCK_IS_GLOBAL = 1 << 28,
    FIELD_OBJECT = 3,
    FIELD_BLOCK = 7,
    FIELD_BYREF = 8,
    FIELD_FROM_BYREF = 128,
};

typedef struct block_descriptor {
    unsigned long reserved, size;
    void (*copy)(void *to, const void *from);
    void (*dispose)(const void *block);
} block_descriptor;

typedef struct block {
    void *isa;
    int flags, reserved;
    void (*invoke)(void);
    block_descriptor *descriptor;
} block;

/* A __block variable: the struct its block and the function share. */
typedef struct byref {
    void *isa;
    struct byref *forwarding;
    int flags, size;
    void (*keep)(struct byref *to, struct byref *from);
    void (*drop)(struct byref *it);
} byref;

/* What the compiler writes into isa. */
void *_NSConcreteStackBlock[32];
void *_NSConcreteGlobalBlock[32];
void *_NSConcreteMallocBlock[32];

void *metalsim_block_copy(const void *from)
{
    block *b = (block *)(unsigned long)from;
    if (!b || (b->flags & BLOCK_IS_GLOBAL) != 0)
        return b;
    if ((b->flags & BLOCK_ON_HEAP) != 0) {
        __atomic_add_fetch(&b->flags, 1, __ATOMIC_RELAXED);
        return b;
    }
    block *copy = malloc(b->descriptor->size);
    if (!copy)
        abort();
    memcpy(copy, b, b->descriptor->size);
    copy->isa = _NSConcreteMallocBlock;
    copy->flags = (b->flags & ~BLOCK_COUNT) | BLOCK_ON_HEAP | 1;
    if ((b->flags & BLOCK_HAS_HELPERS) != 0)
        b->descriptor->copy(copy, b);
    return copy;
}

void metalsim_block_release(const void *it)
{
    block *b = (block *)(unsigned long)it;
    if (!b || (b->flags & BLOCK_ON_HEAP) == 0)
        return;
    if ((__atomic_sub_fetch(&b->flags, 1, __ATOMIC_ACQ_REL) & BLOCK_COUNT) != 0)
        return;
    if ((b->flags & BLOCK_HAS_HELPERS) != 0)
        b->descriptor->dispose(b);
    free(b);
}

static byref *byref_copy(byref *from)
{
    byref *b = from->forwarding;
    if ((b->flags & BLOCK_ON_HEAP) != 0) {
        __atomic_add_fetch(&b->flags, 1, __ATOMIC_RELAXED);
        return b;
    }
    byref *copy = malloc((size_t)b->size);
    if (!copy)
        abort();
    memcpy(copy, b, (size_t)b->size);
    /* One count for the function's frame, one for the block. */
    copy->flags = (b->flags & ~BLOCK_COUNT) | BLOCK_ON_HEAP | 2;
    copy->forwarding = copy;
    b->forwarding = copy;
    if ((b->flags & BLOCK_HAS_HELPERS) != 0)
        b->keep(copy, b);
    return copy;
}

static void byref_release(byref *it)
{
    byref *b = it->forwarding;
    if ((b->flags & BLOCK_ON_HEAP) == 0)
        return;
    if ((__atomic_sub_fetch(&b->flags, 1, __ATOMIC_ACQ_REL) & BLOCK_COUNT) != 0)
        return;
    if ((b->flags & BLOCK_HAS_HELPERS) != 0)
        b->drop(b);
    free(b);
}

/* Called by the helpers that the compiler makes. */
void _Block_object_assign(void *to, const void *object, const int flags);
void _Block_object_assign(void *to, const void *object, const int flags)
{
    void **place = to;
    void *it = (void *)(unsigned long)object;
    if ((flags & FIELD_FROM_BYREF) != 0)
        *place = it; /* a __block variable does not retain */
    else if ((flags & FIELD_BYREF) != 0)
        *place = byref_copy(it);
    else if ((flags & FIELD_BLOCK) == FIELD_BLOCK)
        *place = metalsim_block_copy(object);
    else {
        metalsim_object_retain(it);
        *place = it;
    }
}

void _Block_object_dispose(const void *object, const int flags);
void _Block_object_dispose(const void *object, const int flags)
{
    void *it = (void *)(unsigned long)object;
    if ((flags & FIELD_FROM_BYREF) != 0)
        return;
    if ((flags & FIELD_BYREF) != 0)
        byref_release(it);
    else if ((flags & FIELD_BLOCK) == FIELD_BLOCK)
        metalsim_block_release(object);
    else
        metalsim_object_release(it);
}
