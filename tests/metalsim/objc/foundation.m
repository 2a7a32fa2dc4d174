/* SPDX-License-Identifier: MIT */
/*
 * Foundation on the bare GCC runtime: reference counts, autorelease pools, strings,
 * errors, URLs, arrays. A count lies before its object, because the compiler lays out
 * constant strings itself. Objects that died keep their memory for a while and their
 * class becomes SimDead, so that a message to one is reported by name.
 */
#include "objects.h"

#include "blocks.h"

#include <objc/message.h>
#include <objc/runtime.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct header {
    struct header *next, *previous; /* of all that live */
    Class class;                    /* also when it is dead */
    long count;
} header;

#define HEADER(object) ((header *)(void *)(object)-1)
#define DEAD_KEPT 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static header living = { &living, &living, Nil, 0 };
static long living_count;
static header *dead[DEAD_KEPT];
static unsigned dead_next;

__attribute__((objc_root_class))
@interface SimDead {
    Class isa;
}
@end
@implementation SimDead
@end

/* ---- what nobody answers ---- */
static id no_answer(id self, SEL selector, ...)
{
    const char *name = sel_getName(selector);
    if (object_getClass(self) == objc_getClass("SimDead"))
        metalsim_report("dead-object", "%s is sent to a %s that was deallocated", name,
                        class_getName(HEADER(self)->class));
    else
        metalsim_report("selector", "%s does not know %s",
                        class_getName(object_getClass(self)), name);
    return nil;
}

static IMP find_no_answer(id self, SEL selector)
{
    (void)self, (void)selector;
    return (IMP)no_answer;
}

void metalsim_object_retain(void *object)
{
    [(id)object retain];
}

void metalsim_object_release(void *object)
{
    [(id)object release];
}

__attribute__((constructor)) static void begin(void)
{
    __objc_msg_forward2 = find_no_answer;
}

/* ---- life ---- */
typedef struct class_count {
    const char *name;
    long count;
} class_count;

long metalsim_alive(char *text, size_t size)
{
    class_count kind[32];
    int kinds = 0;
    pthread_mutex_lock(&lock);
    for (header *h = living.next; h != &living; h = h->next) {
        const char *name = class_getName(h->class);
        int i = 0;
        while (i < kinds && strcmp(kind[i].name, name) != 0)
            i++;
        if (i == kinds && kinds < 32)
            kind[kinds++] = (class_count){ name, 0 };
        if (i < 32)
            kind[i].count++;
    }
    long all = living_count;
    pthread_mutex_unlock(&lock);
    size_t at = 0;
    if (size > 0)
        text[0] = '\0';
    for (int i = 0; i < kinds && at < size; i++) {
        int n = snprintf(text + at, size - at, "%s%ld %s", i ? ", " : "", kind[i].count,
                         kind[i].name);
        at += n > 0 ? (size_t)n : 0;
    }
    return all;
}

static void check_at_exit(void)
{
    char text[512];
    long n = metalsim_alive(text, sizeof text);
    if (n > 0)
        metalsim_report("leak", "%ld objects are alive at exit: %s", n, text);
}

static void enlist(header *h)
{
    static bool exits;
    pthread_mutex_lock(&lock);
    if (!exits)
        atexit(check_at_exit);
    exits = true;
    h->next = &living;
    h->previous = living.previous;
    living.previous->next = h;
    living.previous = h;
    living_count++;
    pthread_mutex_unlock(&lock);
}

static void bury(header *h)
{
    pthread_mutex_lock(&lock);
    h->next->previous = h->previous;
    h->previous->next = h->next;
    living_count--;
    free(dead[dead_next]);
    dead[dead_next] = h;
    dead_next = (dead_next + 1) % DEAD_KEPT;
    pthread_mutex_unlock(&lock);
    object_setClass((id)(void *)(h + 1), objc_getClass("SimDead"));
}

/* ---- pools ---- */
static _Thread_local NSAutoreleasePool *innermost;

@interface NSAutoreleasePool (Sim)
- (void)add:(id)it;
@end

@implementation NSAutoreleasePool
- (instancetype)init
{
    outer = innermost;
    innermost = self;
    return self;
}

- (void)add:(id)it
{
    if (count == room) {
        room = room ? 2 * room : 32;
        object = realloc(object, room * sizeof *object);
        if (!object)
            abort();
    }
    object[count++] = it;
}

- (void)drain
{
    [self release];
}

- (void)dealloc
{
    if (innermost != self)
        metalsim_report("pool", "autorelease pools are drained out of order");
    /* Objects that are released may autorelease others, into this pool. */
    while (count > 0)
        [object[--count] release];
    innermost = outer;
    free(object);
    [super dealloc];
}
@end

/* ---- the root ---- */
@implementation NSObject
+ (instancetype)alloc
{
    header *h = calloc(1, sizeof *h + class_getInstanceSize(self));
    if (!h)
        abort();
    h->class = self;
    h->count = 1;
    enlist(h);
    id object = (id)(void *)(h + 1);
    object_setClass(object, self);
    return object;
}

+ (instancetype)new
{
    return [[self alloc] init];
}

- (instancetype)init
{
    return self;
}

- (void)dealloc
{
    bury(HEADER(self));
}

- (instancetype)retain
{
    __atomic_add_fetch(&HEADER(self)->count, 1, __ATOMIC_RELAXED);
    return self;
}

- (oneway void)release
{
    if (__atomic_sub_fetch(&HEADER(self)->count, 1, __ATOMIC_ACQ_REL) == 0)
        [self dealloc];
}

- (instancetype)autorelease
{
    if (!innermost)
        metalsim_report("pool", "%s is autoreleased and there is no pool",
                        class_getName(object_getClass(self)));
    [innermost add:self];
    return self;
}

- (NSUInteger)retainCount
{
    return (NSUInteger)HEADER(self)->count;
}

- (Class)class
{
    return object_getClass(self);
}

- (BOOL)isEqual:(id)object
{
    return self == object;
}

- (NSUInteger)hash
{
    return (NSUInteger)self >> 4;
}

- (BOOL)respondsToSelector:(SEL)selector
{
    return class_respondsToSelector(object_getClass(self), selector);
}

- (NSString *)description
{
    char text[128];
    snprintf(text, sizeof text, "<%s>", class_getName(object_getClass(self)));
    return [metalsim_string(text) autorelease];
}
@end

/* ---- strings ---- */
/* What @"..." is; the compiler makes its objects, which never die. */
@interface NSConstantString : NSString {
  @public
    char *bytes;
    unsigned int count;
}
@end

@interface SimString : NSString {
  @public
    char *bytes;
    NSUInteger count;
}
@end

@implementation NSString
+ (instancetype)stringWithUTF8String:(const char *)text
{
    return [metalsim_string(text) autorelease];
}

- (instancetype)initWithUTF8String:(const char *)text
{
    return [self initWithBytes:text length:strlen(text) encoding:NSUTF8StringEncoding];
}

- (instancetype)initWithBytes:(const void *)bytes
                       length:(NSUInteger)length
                     encoding:(NSStringEncoding)encoding
{
    [self release];
    if (encoding != NSUTF8StringEncoding && encoding != NSASCIIStringEncoding)
        return nil;
    SimString *s = [SimString alloc];
    s->bytes = malloc(length + 1);
    if (!s->bytes)
        abort();
    memcpy(s->bytes, bytes, length);
    s->bytes[length] = '\0';
    s->count = length;
    return s;
}

- (const char *)UTF8String
{
    return NULL;
}

- (NSUInteger)length
{
    return strlen([self UTF8String]);
}

- (BOOL)isEqualToString:(NSString *)string
{
    return string && strcmp([self UTF8String], [string UTF8String]) == 0;
}

- (BOOL)isEqual:(id)object
{
    return [object respondsToSelector:@selector(isEqualToString:)] &&
           [self isEqualToString:object];
}

- (id)copy
{
    return [self retain];
}

- (NSString *)description
{
    return self;
}
@end

@implementation SimString
- (const char *)UTF8String
{
    return bytes;
}

- (void)dealloc
{
    free(bytes);
    [super dealloc];
}
@end

@implementation NSConstantString
- (const char *)UTF8String
{
    return bytes;
}

- (instancetype)retain
{
    return self;
}

- (oneway void)release
{
}

- (instancetype)autorelease
{
    return self;
}

- (NSUInteger)retainCount
{
    return NSUIntegerMax;
}
@end

NSString *metalsim_string(const char *text)
{
    return [[NSString alloc] initWithUTF8String:text];
}

const char *metalsim_describe(const char *kind, NSString *label, char *text,
                              size_t size)
{
    if (label)
        snprintf(text, size, "%s '%s'", kind, [label UTF8String]);
    else
        snprintf(text, size, "%s", kind);
    return text;
}

/* ---- errors ---- */
@interface NSError (Sim)
- (instancetype)initDomain:(NSErrorDomain)domain
                      code:(NSInteger)code
                      text:(const char *)text;
@end

@implementation NSError
- (instancetype)initDomain:(NSErrorDomain)domain
                      code:(NSInteger)code
                      text:(const char *)text
{
    _domain = [domain copy];
    _code = code;
    _text = metalsim_string(text);
    return self;
}

- (NSErrorDomain)domain
{
    return _domain;
}

- (NSInteger)code
{
    return _code;
}

- (NSString *)localizedDescription
{
    return _text;
}

- (void)dealloc
{
    [_domain release];
    [_text release];
    [super dealloc];
}
@end

NSError *metalsim_error(NSErrorDomain domain, NSInteger code, const char *text)
{
    return [[NSError alloc] initDomain:domain code:code text:text];
}

void metalsim_give_error(NSError **out, NSErrorDomain domain, NSInteger code,
                         const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (out)
        *out = [metalsim_error(domain, code, text) autorelease];
}

/* ---- URLs and arrays ---- */
@interface NSURL (Sim)
- (instancetype)initPath:(NSString *)path;
@end

@implementation NSURL
+ (NSURL *)fileURLWithPath:(NSString *)path
{
    return [[[NSURL alloc] initPath:path] autorelease];
}

- (instancetype)initPath:(NSString *)path
{
    _path = [path copy];
    return self;
}

- (NSString *)path
{
    return _path;
}

- (void)dealloc
{
    [_path release];
    [super dealloc];
}
@end

@interface NSArray (Sim)
- (instancetype)initObjects:(id const *)objects count:(NSUInteger)count;
@end

@implementation NSArray
- (instancetype)initObjects:(id const *)objects count:(NSUInteger)count
{
    _object = calloc(count + 1, sizeof *_object);
    if (!_object)
        abort();
    for (NSUInteger i = 0; i < count; i++)
        _object[i] = [objects[i] retain];
    _count = count;
    return self;
}

- (NSUInteger)count
{
    return _count;
}

- (id)objectAtIndex:(NSUInteger)index
{
    if (index < _count)
        return _object[index];
    metalsim_report("array", "element %lu of an array of %lu", index, _count);
    return nil;
}

- (void)dealloc
{
    for (NSUInteger i = 0; i < _count; i++)
        [_object[i] release];
    free(_object);
    [super dealloc];
}
@end

NSArray *metalsim_array(id const *objects, NSUInteger count)
{
    return [[NSArray alloc] initObjects:objects count:count];
}

/* ---- data ---- */
@interface SimData : NSObject <OS_dispatch_data> {
  @public
    void *bytes;
    size_t count;
}
@end

@implementation SimData
- (void)dealloc
{
    free(bytes);
    [super dealloc];
}
@end

dispatch_data_t dispatch_data_create(const void *buffer, size_t size,
                                     dispatch_queue_t queue,
                                     dispatch_block_t destructor)
{
    (void)queue;
    if (destructor)
        metalsim_report("dispatch-data", "only the default destructor is simulated");
    SimData *d = [SimData new];
    d->bytes = malloc(size + 1);
    if (!d->bytes)
        abort();
    memcpy(d->bytes, buffer, size);
    d->count = size;
    return d;
}

size_t dispatch_data_get_size(dispatch_data_t data)
{
    return ((SimData *)data)->count;
}

const void *metalsim_data_bytes(dispatch_data_t data)
{
    return ((SimData *)data)->bytes;
}
