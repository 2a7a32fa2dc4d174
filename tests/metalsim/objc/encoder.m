/* SPDX-License-Identifier: MIT */
/*
 * Encoders: what Metal's validation says of a binding, a dispatch, a copy is said here,
 * when it is encoded. Grids have one dimension.
 */
#include "objects.h"

#include <stdlib.h>
#include <string.h>

/* Whether the encoder still encodes. */
static bool open(bool ended, const char *what)
{
    if (ended)
        metalsim_report("encoder-ended", "%s after endEncoding", what);
    return !ended;
}

static void end(SimCommandBuffer *commands, bool *ended)
{
    if (!open(*ended, "endEncoding"))
        return;
    *ended = true;
    commands->encoder = nil;
}

static void abandon(SimCommandBuffer *commands, bool ended)
{
    if (ended)
        return;
    metalsim_report("encoder-open", "an encoder is deallocated before endEncoding");
    commands->encoder = nil;
}

@implementation SimComputeEncoder
SIM_LABEL

- (id<MTLDevice>)device
{
    return commands->queue->device;
}

- (void)setComputePipelineState:(id<MTLComputePipelineState>)state
{
    if (!open(ended, "setComputePipelineState:"))
        return;
    if (!state) {
        metalsim_report("pipeline", "setComputePipelineState: nil");
        return;
    }
    SimPipeline *p = (SimPipeline *)state;
    if (p->function->library->device != commands->queue->device) {
        metalsim_report("pipeline", "a pipeline of another device");
        return;
    }
    [p retain];
    [pipeline release];
    pipeline = p;
}

- (bool)mayBind:(NSUInteger)index as:(const char *)what
{
    if (!open(ended, what))
        return false;
    if (index >= SIM_MAX_BINDINGS) {
        metalsim_report("binding-index", "%s: index %lu, the last is %d", what, index,
                        SIM_MAX_BINDINGS - 1);
        return false;
    }
    return true;
}

- (void)unbind:(NSUInteger)index
{
    free(binding[index].bytes);
    [binding[index].buffer release];
    memset(&binding[index], 0, sizeof binding[index]);
}

- (void)setBytes:(const void *)bytes length:(NSUInteger)length atIndex:(NSUInteger)index
{
    if (![self mayBind:index as:"setBytes:length:atIndex:"])
        return;
    if (!bytes || length == 0 || length > 4096) {
        metalsim_report(
            "bytes-length",
            "setBytes: %lu bytes%s; it takes 1 to 4096, more needs a buffer", length,
            bytes ? "" : " at NULL");
        return;
    }
    [self unbind:index];
    binding[index].bytes = aligned_alloc(16, (length + 15) / 16 * 16);
    if (!binding[index].bytes)
        abort();
    memcpy(binding[index].bytes, bytes, length);
    binding[index].length = length;
}

- (void)setBuffer:(id<MTLBuffer>)buffer
           offset:(NSUInteger)offset
          atIndex:(NSUInteger)index
{
    SimBuffer *b = (SimBuffer *)buffer;
    if (![self mayBind:index as:"setBuffer:offset:atIndex:"])
        return;
    if (b && offset >= b->memory->bytes) {
        metalsim_report("binding-offset", "index %lu: offset %lu in %s of %zu bytes",
                        index, offset, b->name, b->memory->bytes);
        return;
    }
    if (b && b->device != commands->queue->device) {
        metalsim_report("binding-device", "index %lu: a buffer of another device",
                        index);
        return;
    }
    [b retain];
    [self unbind:index];
    binding[index].buffer = b;
    binding[index].offset = offset;
}

- (void)setBufferOffset:(NSUInteger)offset atIndex:(NSUInteger)index
{
    if (![self mayBind:index as:"setBufferOffset:atIndex:"])
        return;
    const bound *b = &binding[index];
    if (!b->buffer) {
        metalsim_report("binding-offset",
                        "setBufferOffset: at index %lu, where no buffer is bound",
                        index);
        return;
    }
    if (offset >= b->buffer->memory->bytes) {
        metalsim_report("binding-offset", "index %lu: offset %lu in %s of %zu bytes",
                        index, offset, b->buffer->name, b->buffer->memory->bytes);
        return;
    }
    binding[index].offset = offset;
}

/* What a function's parameter asks of its binding. */
- (bool)suits:(const sim_param *)p of:(const char *)function
{
    const bound *b = &binding[p->index];
    size_t bytes = b->buffer ? b->buffer->memory->bytes - b->offset : b->length;
    if (!b->buffer && !b->bytes)
        metalsim_report("binding-missing", "%s: nothing is bound at index %u (%s)",
                        function, p->index, p->name);
    else if (bytes < p->bytes)
        metalsim_report("binding-small", "%s: index %u (%s) has %zu bytes, %s needs %u",
                        function, p->index, p->name, bytes,
                        p->reference ? "the struct" : "an element", p->bytes);
    else if (b->offset % p->alignment != 0)
        metalsim_report("binding-alignment",
                        "%s: index %u (%s) has offset %zu, no multiple of %u", function,
                        p->index, p->name, b->offset, p->alignment);
    else if (b->buffer && p->reference && b->offset % 4 != 0)
        metalsim_report("binding-alignment",
                        "%s: index %u (%s) is constant: offset %zu, no multiple of 4",
                        function, p->index, p->name, b->offset);
    else if (b->bytes && p->writable)
        metalsim_report("binding-bytes",
                        "%s: index %u (%s) is written, setBytes: gives a constant",
                        function, p->index, p->name);
    else
        return true;
    return false;
}

- (bool)mayDispatch:(MTLSize)groups threads:(MTLSize)threads
{
    if (!open(ended, "dispatchThreadgroups:"))
        return false;
    if (!pipeline) {
        metalsim_report("pipeline", "a dispatch without a pipeline");
        return false;
    }
    const sim_entry *e = sim_function_entry(pipeline->function->function);
    if (groups.width == 0 || threads.width == 0 || groups.height != 1 ||
        groups.depth != 1 || threads.height != 1 || threads.depth != 1 ||
        groups.width > UINT32_MAX) {
        metalsim_report("dispatch-size",
                        "%s: %lu x %lu x %lu threadgroups of %lu x %lu x %lu threads "
                        "(one dimension is simulated)",
                        e->name, groups.width, groups.height, groups.depth,
                        threads.width, threads.height, threads.depth);
        return false;
    }
    if (threads.width > pipeline->limit) {
        metalsim_report("dispatch-threads",
                        "%s: %lu threads a threadgroup, the pipeline runs %u", e->name,
                        threads.width, pipeline->limit);
        return false;
    }
    for (unsigned i = 0; i < e->params; i++)
        if (![self suits:&e->param[i] of:e->name])
            return false;
    return true;
}

- (void)dispatchThreadgroups:(MTLSize)groups threadsPerThreadgroup:(MTLSize)threads
{
    if (![self mayDispatch:groups threads:threads]) {
        commands->invalid = true;
        return;
    }
    const sim_entry *e = sim_function_entry(pipeline->function->function);
    int count = 0;
    for (unsigned i = 0; i < e->params; i++)
        if ((int)e->param[i].index >= count)
            count = (int)e->param[i].index + 1;
    command *c = calloc(1, sizeof *c + (size_t)count * sizeof c->binding[0]);
    if (!c)
        abort();
    c->kind = COMMAND_DISPATCH;
    c->pipeline = [pipeline retain];
    c->groups = (uint32_t)groups.width;
    c->threads = (uint32_t)threads.width;
    c->bindings = count;
    for (unsigned i = 0; i < e->params; i++) {
        unsigned index = e->param[i].index;
        const bound *b = &binding[index];
        c->binding[index] = *b;
        if (b->buffer) {
            metalsim_uses(commands, b->buffer);
            continue;
        }
        c->binding[index].bytes = aligned_alloc(16, (b->length + 15) / 16 * 16);
        if (!c->binding[index].bytes)
            abort();
        memcpy(c->binding[index].bytes, b->bytes, b->length);
    }
    metalsim_append(commands, c);
}

- (void)memoryBarrierWithScope:(MTLBarrierScope)scope
{
    if (!open(ended, "memoryBarrierWithScope:"))
        return;
    if (scope != MTLBarrierScopeBuffers)
        metalsim_report("barrier-scope", "a memory barrier of scope %lu",
                        (unsigned long)scope);
}

- (void)endEncoding
{
    end(commands, &ended);
}

- (void)dealloc
{
    abandon(commands, ended);
    for (NSUInteger i = 0; i < SIM_MAX_BINDINGS; i++)
        [self unbind:i];
    [pipeline release];
    [_label release];
    [commands release];
    [super dealloc];
}
@end

@implementation SimBlitEncoder
SIM_LABEL

- (id<MTLDevice>)device
{
    return commands->queue->device;
}

/* Says what is wrong, and the command buffer will fail. */
- (bool)holds:(SimBuffer *)b from:(NSUInteger)offset size:(NSUInteger)size
{
    if (!b)
        metalsim_report("blit", "a blit command with a nil buffer");
    else if (size == 0)
        metalsim_report("blit-size", "a blit command over 0 bytes of %s", b->name);
    else if (offset > b->memory->bytes || size > b->memory->bytes - offset)
        metalsim_report("blit-bounds", "bytes %lu to %lu of %s, which has %zu", offset,
                        offset + size, b->name, b->memory->bytes);
    else if (offset % 4 != 0 || size % 4 != 0)
        metalsim_report("blit-alignment",
                        "offset %lu and size %lu have to be multiples of 4", offset,
                        size);
    else if (b->device != commands->queue->device)
        metalsim_report("binding-device", "a buffer of another device");
    else
        return true;
    commands->invalid = true;
    return false;
}

- (void)copyFromBuffer:(id<MTLBuffer>)source
          sourceOffset:(NSUInteger)sourceOffset
              toBuffer:(id<MTLBuffer>)destination
     destinationOffset:(NSUInteger)destinationOffset
                  size:(NSUInteger)size
{
    SimBuffer *from = (SimBuffer *)source, *to = (SimBuffer *)destination;
    if (!open(ended, "copyFromBuffer:") ||
        ![self holds:from from:sourceOffset size:size] ||
        ![self holds:to from:destinationOffset size:size])
        return;
    if (from == to && sourceOffset < destinationOffset + size &&
        destinationOffset < sourceOffset + size) {
        metalsim_report("blit-overlap", "a copy within %s whose ranges overlap",
                        from->name);
        commands->invalid = true;
        return;
    }
    command *c = calloc(1, sizeof *c + 2 * sizeof c->binding[0]);
    if (!c)
        abort();
    c->kind = COMMAND_COPY;
    c->size = size;
    c->bindings = 2;
    c->binding[0] = (bound){ .buffer = from, .offset = sourceOffset };
    c->binding[1] = (bound){ .buffer = to, .offset = destinationOffset };
    metalsim_uses(commands, from);
    metalsim_uses(commands, to);
    metalsim_append(commands, c);
}

- (void)fillBuffer:(id<MTLBuffer>)buffer range:(NSRange)range value:(uint8_t)value
{
    SimBuffer *b = (SimBuffer *)buffer;
    if (!open(ended, "fillBuffer:") || ![self holds:b
                                               from:range.location
                                               size:range.length])
        return;
    command *c = calloc(1, sizeof *c + sizeof c->binding[0]);
    if (!c)
        abort();
    c->kind = COMMAND_FILL;
    c->size = range.length;
    c->value = value;
    c->bindings = 1;
    c->binding[0] = (bound){ .buffer = b, .offset = range.location };
    metalsim_uses(commands, b);
    metalsim_append(commands, c);
}

- (void)endEncoding
{
    end(commands, &ended);
}

- (void)dealloc
{
    abandon(commands, ended);
    [_label release];
    [commands release];
    [super dealloc];
}
@end
