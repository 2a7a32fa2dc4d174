/* SPDX-License-Identifier: MIT */
/*
 * Queues, command buffers, and the device's thread that runs what was committed.
 *
 * Work begins as late as Metal allows: when somebody waits for it, or a queue is full.
 * So a program that forgets to wait reads old data every time, not just sometimes.
 * Buffers in flight are closed to the host meanwhile.
 */
#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocks.h"

NSErrorDomain const MTLCommandBufferErrorDomain = @"MTLCommandBufferErrorDomain";

@implementation MTLCommandBufferDescriptor
- (instancetype)init
{
    _retainedReferences = YES;
    return self;
}

- (BOOL)retainedReferences
{
    return _retainedReferences;
}

- (void)setRetainedReferences:(BOOL)retained
{
    _retainedReferences = retained;
}

- (MTLCommandBufferErrorOption)errorOptions
{
    return _errorOptions;
}

- (void)setErrorOptions:(MTLCommandBufferErrorOption)options
{
    _errorOptions = options;
}
@end

/* ---- what a command buffer holds ---- */
void metalsim_append(SimCommandBuffer *commands, command *c)
{
    *commands->tail = c;
    commands->tail = &c->next;
}

void metalsim_uses(SimCommandBuffer *commands, SimBuffer *buffer)
{
    for (size_t i = commands->used_count; i-- > 0;)
        if (commands->used[i] == buffer)
            return;
    if (commands->used_count == commands->used_room) {
        commands->used_room = commands->used_room ? 2 * commands->used_room : 16;
        commands->used =
            realloc(commands->used, commands->used_room * sizeof *commands->used);
        if (!commands->used)
            abort();
    }
    __atomic_add_fetch(&buffer->users, 1, __ATOMIC_RELAXED);
    commands->used[commands->used_count++] =
        commands->retains ? [buffer retain] : buffer;
}

static void free_commands(SimCommandBuffer *commands)
{
    command *c = commands->head;
    commands->head = NULL;
    commands->tail = &commands->head;
    while (c) {
        command *next = c->next;
        for (int i = 0; i < c->bindings; i++)
            free(c->binding[i].bytes);
        [c->pipeline release];
        free(c);
        c = next;
    }
    for (size_t i = 0; i < commands->used_count; i++) {
        __atomic_sub_fetch(&commands->used[i]->users, 1, __ATOMIC_RELAXED);
        if (commands->retains)
            [commands->used[i] release];
    }
    free(commands->used);
    commands->used = NULL;
    commands->used_count = commands->used_room = 0;
}

/* ---- running ---- */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(SimCommandBuffer *commands, NSInteger code, const char *text)
{
    if (!commands->failure)
        commands->failure = metalsim_error(MTLCommandBufferErrorDomain, code, text);
}

static void run_dispatch(SimCommandBuffer *commands, const command *c)
{
    sim_binding binding[SIM_MAX_BINDINGS] = { 0 };
    char error[512];
    for (int i = 0; i < c->bindings; i++) {
        const bound *b = &c->binding[i];
        if (b->buffer)
            binding[i] = (sim_binding){ b->buffer->memory->data,
                                        b->buffer->memory->bytes, b->offset };
        else
            binding[i] = (sim_binding){ .base = b->bytes, .length = b->length };
    }
    sim_dispatch d = { .function = c->pipeline->function->function,
                       .groups = c->groups,
                       .threads = c->threads,
                       .bindings = c->bindings,
                       .binding = binding };
    metalsim_count_run(true, false, c->groups, (uint64_t)c->groups * c->threads);
    if (sim_run(commands->queue->device->engine, &d, error, sizeof error))
        return;
    bool outside = strstr(error, "past the end of") || strstr(error, "far from all") ||
                   strstr(error, "touches memory");
    fail(commands,
         outside ? MTLCommandBufferErrorPageFault : MTLCommandBufferErrorInternal,
         error);
}

static void run_commands(SimCommandBuffer *commands)
{
    for (const command *c = commands->head; c && !commands->failure; c = c->next) {
        const bound *b = c->binding;
        if (c->kind == COMMAND_DISPATCH) {
            run_dispatch(commands, c);
            continue;
        }
        metalsim_count_run(false, c->kind == COMMAND_COPY, 0, 0);
        if (c->kind == COMMAND_COPY)
            memmove(b[1].buffer->memory->data + b[1].offset,
                    b[0].buffer->memory->data + b[0].offset, c->size);
        else
            memset(b[0].buffer->memory->data + b[0].offset, c->value, c->size);
    }
}

static void check_slack(SimCommandBuffer *commands)
{
    for (size_t i = 0; i < commands->used_count; i++)
        if (!guard_intact(commands->used[i]->memory)) {
            metalsim_report("out-of-bounds", "a command buffer wrote just outside %s",
                            commands->used[i]->name);
            fail(commands, MTLCommandBufferErrorPageFault,
                 "a write outside of a buffer");
        }
}

static const char *failure_text(long code)
{
    switch (code) {
    case MTLCommandBufferErrorTimeout:
        return "Caused GPU Timeout Error";
    case MTLCommandBufferErrorPageFault:
        return "Caused GPU Address Fault Error";
    case MTLCommandBufferErrorOutOfMemory:
        return "Insufficient Memory";
    case MTLCommandBufferErrorDeviceRemoved:
        return "The device was removed";
    default:
        return "Internal Error";
    }
}

static void execute(SimCommandBuffer *commands)
{
    SimDevice *device = commands->queue->device;
    long code = MTLCommandBufferErrorDeviceRemoved;
    commands->state = MTLCommandBufferStatusScheduled;
    for (size_t i = 0; i < commands->used_count; i++)
        guard_run(commands->used[i]->memory, true);
    commands->begin = now();
    if (device->lost || metalsim_fails(METALSIM_FAIL_EXECUTION, &code)) {
        device->lost = device->lost || code == MTLCommandBufferErrorDeviceRemoved;
        fail(commands, code, failure_text(code));
    } else if (commands->invalid) {
        fail(commands, MTLCommandBufferErrorInvalidResource,
             "a command was refused when it was encoded");
    } else {
        run_commands(commands);
        check_slack(commands);
    }
    commands->end = now();
    if (device->config.command_ns > 0)
        commands->end = commands->begin + 1e-9 * (double)device->config.command_ns;
    metalsim_count_command_buffer();
    for (size_t i = 0; i < commands->used_count; i++) {
        guard_run(commands->used[i]->memory, false);
        if (!device->config.host_access)
            guard_open(commands->used[i]->memory);
    }
    commands->state = commands->failure ? MTLCommandBufferStatusError
                                        : MTLCommandBufferStatusCompleted;
    commands->ended = true;
}

/* Before anybody who waits may go on. */
static void call_handlers(SimCommandBuffer *commands)
{
    handler_list *h = commands->handlers;
    commands->handlers = NULL;
    while (h) {
        handler_list *next = h->next;
        h->block(commands);
        metalsim_block_release(h->block);
        free(h);
        h = next;
    }
}

void *metalsim_device_thread(void *argument)
{
    SimDevice *device = argument; /* not retained: it joins this thread */
    pthread_mutex_lock(&device->lock);
    for (;;) {
        SimCommandBuffer *next = device->first;
        if (!next && device->stop)
            break;
        bool may = next && (device->config.eager || next->number <= device->wanted);
        if (!may) {
            pthread_cond_wait(&device->changed, &device->lock);
            continue;
        }
        device->first = next->next;
        if (!device->first)
            device->last = nil;
        pthread_mutex_unlock(&device->lock);
        execute(next);
        call_handlers(next);
        free_commands(next);
        pthread_mutex_lock(&device->lock);
        next->done = true;
        next->queue->unfinished--;
        next->queue->flying--;
        next->next = device->finished;
        device->finished = next;
        pthread_cond_broadcast(&device->changed);
    }
    pthread_mutex_unlock(&device->lock);
    return NULL;
}

static void release_finished(SimDevice *device)
{
    [device retain];
    pthread_mutex_lock(&device->lock);
    SimCommandBuffer *c = device->finished;
    device->finished = nil;
    pthread_mutex_unlock(&device->lock);
    while (c) {
        SimCommandBuffer *following = c->next;
        [c release];
        c = following;
    }
    [device release];
}

/* Runs everything committed up to number n, and returns when `done` holds. */
static void run_until(SimDevice *device, uint64_t n, SimCommandBuffer *commands)
{
    pthread_mutex_lock(&device->lock);
    if (device->wanted < n)
        device->wanted = n;
    pthread_cond_broadcast(&device->changed);
    while (!commands->done)
        pthread_cond_wait(&device->changed, &device->lock);
    pthread_mutex_unlock(&device->lock);
    release_finished(device);
}

@implementation SimCommandBuffer
SIM_LABEL

- (id<MTLDevice>)device
{
    return queue->device;
}

- (id<MTLCommandQueue>)commandQueue
{
    return queue;
}

- (BOOL)retainedReferences
{
    return retains;
}

- (MTLCommandBufferStatus)status
{
    return ended || state < MTLCommandBufferStatusScheduled
               ? state
               : MTLCommandBufferStatusScheduled;
}

- (NSError *)error
{
    return ended ? failure : nil;
}

- (CFTimeInterval)GPUStartTime
{
    return ended ? begin : 0;
}

- (CFTimeInterval)GPUEndTime
{
    return ended ? end : 0;
}

/* Whether an encoder may be made. */
- (bool)opens
{
    if (state != MTLCommandBufferStatusNotEnqueued)
        metalsim_report("encode-after-commit",
                        "an encoder of a command buffer that was committed");
    else if (encoder)
        metalsim_report("encoder-open",
                        "an encoder while another of the command buffer is open");
    else
        return !metalsim_fails(METALSIM_FAIL_ENCODER, NULL);
    return false;
}

- (id<MTLComputeCommandEncoder>)computeCommandEncoder
{
    if (![self opens])
        return nil;
    SimComputeEncoder *e = [SimComputeEncoder new];
    e->commands = [self retain];
    encoder = e;
    return [e autorelease];
}

- (id<MTLBlitCommandEncoder>)blitCommandEncoder
{
    if (![self opens])
        return nil;
    SimBlitEncoder *e = [SimBlitEncoder new];
    e->commands = [self retain];
    encoder = e;
    return [e autorelease];
}

- (void)addCompletedHandler:(MTLCommandBufferHandler)block
{
    if (state != MTLCommandBufferStatusNotEnqueued) {
        metalsim_report("handler-after-commit",
                        "addCompletedHandler: after the command buffer was committed");
        return;
    }
    handler_list *h = calloc(1, sizeof *h);
    if (!h)
        abort();
    h->block = metalsim_block_copy(block);
    *last_handler = h;
    last_handler = &h->next;
}

- (void)commit
{
    SimDevice *device = queue->device;
    if (state != MTLCommandBufferStatusNotEnqueued) {
        metalsim_report("commit-twice", "a command buffer is committed twice");
        return;
    }
    if (encoder) {
        metalsim_report("encoder-open",
                        "a command buffer is committed with an encoder open");
        return;
    }
    for (size_t i = 0; i < used_count && !device->config.host_access; i++)
        guard_close(used[i]->memory);
    release_finished(device);
    [self retain];
    pthread_mutex_lock(&device->lock);
    state = MTLCommandBufferStatusCommitted;
    number = ++device->committed;
    metalsim_count_in_flight(++queue->flying);
    if (device->last)
        device->last->next = self;
    else
        device->first = self;
    device->last = self;
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
}

- (void)waitUntilCompleted
{
    if (state == MTLCommandBufferStatusNotEnqueued) {
        metalsim_report("wait-before-commit",
                        "waitUntilCompleted before commit would wait for ever");
        return;
    }
    run_until(queue->device, number, self);
}

- (void)dealloc
{
    if (encoder)
        metalsim_report("encoder-open",
                        "a command buffer is deallocated with an encoder open");
    if (state == MTLCommandBufferStatusNotEnqueued) {
        pthread_mutex_lock(&queue->device->lock);
        queue->unfinished--;
        pthread_mutex_unlock(&queue->device->lock);
        free_commands(self);
    }
    while (handlers) {
        handler_list *following = handlers->next;
        metalsim_block_release(handlers->block);
        free(handlers);
        handlers = following;
    }
    [failure release];
    [_label release];
    [queue release];
    [super dealloc];
}
@end

@implementation SimQueue
SIM_LABEL

- (id<MTLDevice>)device
{
    return device;
}

/* Metal waits for a place; here the oldest committed work has to make it. */
- (bool)makesRoom
{
    pthread_mutex_lock(&device->lock);
    while (unfinished >= most) {
        SimCommandBuffer *oldest = device->first;
        if (!oldest && device->wanted >= device->committed) {
            pthread_mutex_unlock(&device->lock);
            metalsim_report("queue-full",
                            "%lu command buffers of a queue for %lu are alive and none "
                            "is committed: this would wait for ever",
                            unfinished, most);
            return false;
        }
        if (oldest && device->wanted < oldest->number)
            device->wanted = oldest->number;
        pthread_cond_broadcast(&device->changed);
        pthread_cond_wait(&device->changed, &device->lock);
    }
    unfinished++;
    pthread_mutex_unlock(&device->lock);
    return true;
}

- (id<MTLCommandBuffer>)make:(bool)retains
{
    if (metalsim_fails(METALSIM_FAIL_COMMAND_BUFFER, NULL) || ![self makesRoom])
        return nil;
    SimCommandBuffer *c = [SimCommandBuffer new];
    c->queue = [self retain];
    c->retains = retains;
    c->tail = &c->head;
    c->last_handler = &c->handlers;
    return [c autorelease];
}

- (id<MTLCommandBuffer>)commandBuffer
{
    return [self make:true];
}

- (id<MTLCommandBuffer>)commandBufferWithUnretainedReferences
{
    return [self make:false];
}

- (id<MTLCommandBuffer>)commandBufferWithDescriptor:
    (MTLCommandBufferDescriptor *)descriptor
{
    if (!descriptor) {
        metalsim_report("descriptor", "a command buffer of a nil descriptor");
        return nil;
    }
    return [self make:[descriptor retainedReferences]];
}

- (void)dealloc
{
    [_label release];
    [device release];
    [super dealloc];
}
@end
