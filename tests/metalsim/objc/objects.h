/* SPDX-License-Identifier: MIT */
/*
 * The classes behind the protocols of Metal.h, for the files of this folder only. All
 * instance variables are public: the files share them as C structs. Every `id` stored
 * is retained unless a comment says otherwise.
 */
#ifndef METALSIM_OBJECTS_H
#define METALSIM_OBJECTS_H

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <pthread.h>

#include "../control.h"
#include "../guard.h"
#include "../sim.h"

/* device.m: a fault of a kernel, as sim_options.report. */
void metalsim_kernel_fault(void *context, const sim_report *report);

/* ---- foundation.m ---- */
/* A string, an error, an array; all owned by the caller. */
NSString *metalsim_string(const char *text);
NSError *metalsim_error(NSErrorDomain domain, NSInteger code, const char *text);
const void *metalsim_data_bytes(dispatch_data_t data);
NSArray *metalsim_array(id const *objects, NSUInteger count);
/* Stores an autoreleased error where `out` is wanted. */
void metalsim_give_error(NSError **out, NSErrorDomain domain, NSInteger code,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));
/* "MTLBuffer 'weights'" or "MTLBuffer" */
const char *metalsim_describe(const char *kind, NSString *label, char *text,
                              size_t size);

#define SIM_LABEL                                                                      \
    -(NSString *)label                                                                 \
    {                                                                                  \
        return _label;                                                                 \
    }                                                                                  \
    -(void)setLabel : (NSString *)label                                                \
    {                                                                                  \
        NSString *copy = [label copy];                                                 \
        [_label release];                                                              \
        _label = copy;                                                                 \
    }

@class SimCommandBuffer, SimQueue, SimPipeline, SimFunction, SimLibrary;

/* ---- device.m ---- */
@interface SimDevice : NSObject <MTLDevice> {
  @public
    metalsim_config config;
    int number;
    sim_engine *engine;
    bool lost;
    /* Committed command buffers, the oldest first, each retained until it is done. The
     * device's thread runs them up to number `wanted`. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    SimCommandBuffer *first, *last;
    SimCommandBuffer
        *finished; /* still retained; the host's calls release them, since
                      the last release of a device cannot be on its thread */
    uint64_t committed, wanted;
    bool stop;
}
@end

@interface SimBuffer : NSObject <MTLBuffer> {
  @public
    NSString *_label;
    char name[96];
    SimDevice *device;
    MTLResourceOptions options;
    guard *memory;
    int users; /* command buffers that use it, retained or not */
}
@end

/* ---- library.m ---- */
@interface SimLibrary : NSObject <MTLLibrary> {
  @public
    NSString *_label;
    SimDevice *device;
    sim_image *image;
}
@end

@interface SimFunction : NSObject <MTLFunction> {
  @public
    NSString *_label;
    SimLibrary *library;
    const sim_function *function;
}
@end

@interface SimPipeline : NSObject <MTLComputePipelineState> {
  @public
    SimFunction *function;
    unsigned limit;
}
@end

SimLibrary *metalsim_library(SimDevice *device, sim_image *image);
SimPipeline *metalsim_pipeline(SimDevice *device, SimFunction *function,
                               NSError **error);

/* ---- commands.m ---- */
enum command_kind { COMMAND_DISPATCH, COMMAND_COPY, COMMAND_FILL };

typedef struct bound {
    SimBuffer *buffer; /* retained if the command buffer retains references */
    size_t offset;
    void *bytes; /* of setBytes:, when there is no buffer */
    size_t length;
} bound;

typedef struct command {
    struct command *next;
    enum command_kind kind;
    SimPipeline *pipeline;
    uint32_t groups, threads;
    int bindings;
    uint8_t value;
    size_t size; /* of a copy or fill; its buffers are binding[0] and [1] */
    bound binding[];
} command;

typedef struct handler_list {
    struct handler_list *next;
    MTLCommandBufferHandler block;
} handler_list;

@interface SimQueue : NSObject <MTLCommandQueue> {
  @public
    NSString *_label;
    SimDevice *device;
    NSUInteger most;
    NSUInteger unfinished; /* command buffers alive that are not done */
    NSUInteger flying;     /* those of them that were committed */
}
@end

@interface SimCommandBuffer : NSObject <MTLCommandBuffer> {
  @public
    NSString *_label;
    SimQueue *queue;
    bool retains;
    bool invalid; /* a command of it was refused */
    MTLCommandBufferStatus state;
    bool ended; /* state, failure and times are what they will stay */
    bool done;  /* and the handlers have run */
    NSError *failure;
    double begin, end;
    uint64_t number; /* of commits on the device */
    SimCommandBuffer *next;
    command *head, **tail;
    SimBuffer **used; /* each buffer once, as binding does retain */
    size_t used_count, used_room;
    handler_list *handlers, **last_handler;
    NSObject *encoder; /* the open one, not retained */
}
@end

/* Adds a buffer to those that the command buffer uses. */
void metalsim_uses(SimCommandBuffer *commands, SimBuffer *buffer);
void metalsim_append(SimCommandBuffer *commands, command *c);
/* The main function of a device's thread. */
void *metalsim_device_thread(void *device);

/* ---- encoder.m ---- */
@interface SimComputeEncoder : NSObject <MTLComputeCommandEncoder> {
  @public
    NSString *_label;
    SimCommandBuffer *commands;
    bool ended;
    SimPipeline *pipeline;
    bound binding[SIM_MAX_BINDINGS];
}
@end

@interface SimBlitEncoder : NSObject <MTLBlitCommandEncoder> {
  @public
    NSString *_label;
    SimCommandBuffer *commands;
    bool ended;
}
@end

#endif
