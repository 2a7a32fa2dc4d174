/* SPDX-License-Identifier: MIT */
/*
 * The switch saves what a called function has to keep and changes the stack pointer; no
 * signal mask, no rounding mode, for all fibers of a thread have the same. Stacks lie in
 * one mapping with a guard page below each; their tops differ by some cache lines, since
 * 256 stacks at one offset of a page would share a few sets of the cache.
 */
#define _GNU_SOURCE
#include "fiber.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef METALSIM_ASAN
void __sanitizer_start_switch_fiber(void **fake, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake, const void **bottom, size_t *size);
void __asan_unpoison_memory_region(const volatile void *p, size_t bytes);
#define FIBER_STACK ((size_t)512 << 10)
#else
#define FIBER_STACK ((size_t)128 << 10)
#endif
#define FIBER_GUARD ((size_t)4096)
#define FIBER_STEP  (FIBER_STACK + FIBER_GUARD)

void metalsim_switch(void **save, void *to);

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl metalsim_switch\n"
        ".type metalsim_switch,@function\n"
        "metalsim_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size metalsim_switch,.-metalsim_switch\n");
#define FIBER_SAVED  8 /* six registers, the return address, one word of padding */
#define FIBER_RETURN 6
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl metalsim_switch\n"
        ".type metalsim_switch,%function\n"
        "metalsim_switch:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldp x19, x20, [sp]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size metalsim_switch,.-metalsim_switch\n");
#define FIBER_SAVED  20
#define FIBER_RETURN 11
#else
#error "no fiber switch for this processor"
#endif

struct fiber_pool {
    void (*start)(void);
    char *memory;
    unsigned most, made, idle;
    fiber *fiber; /* most */
    fiber **free; /* most; the first `idle` are in the pool */
};

fiber_pool *fiber_pool_create(unsigned most, void (*start)(void))
{
    fiber_pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->start = start;
    p->most = most;
    p->fiber = calloc(most, sizeof *p->fiber);
    p->free = calloc(most, sizeof *p->free);
    p->memory = mmap(NULL, most * FIBER_STEP, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p->memory == MAP_FAILED)
        p->memory = NULL;
    if (!p->fiber || !p->free || !p->memory) {
        fiber_pool_destroy(p);
        return NULL;
    }
    return p;
}

void fiber_pool_destroy(fiber_pool *p)
{
    if (!p)
        return;
    if (p->memory)
        munmap(p->memory, p->most * FIBER_STEP);
    free(p->fiber);
    free(p->free);
    free(p);
}

/* A frame from which metalsim_switch() returns into start. */
static void fiber_prepare(fiber_pool *p, fiber *f)
{
    uintptr_t start = (uintptr_t)p->start;
    size_t number = (size_t)(f - p->fiber);
    char *top = f->stack + f->size - number % 61 * 192;
    uintptr_t *sp = (uintptr_t *)(void *)top - FIBER_SAVED;
    for (int i = 0; i < FIBER_SAVED; i++)
        sp[i] = 0;
    sp[FIBER_RETURN] = start;
    f->sp = sp;
#ifdef METALSIM_ASAN
    __asan_unpoison_memory_region(f->stack, f->size);
    f->fake = NULL;
#endif
}

fiber *fiber_take(fiber_pool *p)
{
    if (p->idle > 0)
        return p->free[--p->idle];
    if (p->made == p->most)
        return NULL;
    fiber *f = &p->fiber[p->made];
    char *low = p->memory + p->made * FIBER_STEP;
    if (mprotect(low, FIBER_GUARD, PROT_NONE) != 0)
        return NULL;
    p->made++;
    f->stack = low + FIBER_GUARD;
    f->size = FIBER_STACK;
    fiber_prepare(p, f);
    return f;
}

void fiber_give(fiber_pool *p, fiber *f)
{
    p->free[p->idle++] = f;
}

void fiber_pool_reset(fiber_pool *p)
{
    p->idle = 0;
    for (unsigned i = p->made; i-- > 0;) {
        fiber_prepare(p, &p->fiber[i]);
        fiber_give(p, &p->fiber[i]);
    }
}

bool fiber_overflowed(const fiber_pool *p, const char *at)
{
    uintptr_t offset = (uintptr_t)at - (uintptr_t)p->memory;
    return offset < p->made * FIBER_STEP && offset % FIBER_STEP < FIBER_GUARD;
}

void fiber_switch(fiber *from, fiber *to)
{
#ifdef METALSIM_ASAN
    __sanitizer_start_switch_fiber(&from->fake, to->stack, to->size);
#endif
    metalsim_switch(&from->sp, to->sp);
#ifdef METALSIM_ASAN
    __sanitizer_finish_switch_fiber(from->fake, NULL, NULL);
#endif
}

void fiber_started(fiber *from)
{
#ifdef METALSIM_ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(NULL, &bottom, &size);
    if (!from->stack) { /* the thread's own stack, known only now */
        from->stack = (char *)(uintptr_t)bottom;
        from->size = size;
    }
#else
    (void)from;
#endif
}
