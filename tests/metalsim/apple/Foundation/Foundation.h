/* SPDX-License-Identifier: MIT */
/*
 * As much of Foundation as the metal backend may use, for the simulator: a subset of
 * Apple's, with its names, types and nullability (facts.tsv lists them all). No more
 * may be declared here than Apple has, but for the instance variables that the old
 * runtime wants to see.
 */
#ifndef METALSIM_FOUNDATION_H
#define METALSIM_FOUNDATION_H

#include <objc/objc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef long NSInteger;
typedef unsigned long NSUInteger;
typedef double NSTimeInterval;
typedef double CFTimeInterval;

#define NS_ENUM(type, name)                                                            \
    enum name : type name;                                                             \
    enum name : type
#define NS_OPTIONS(type, name)                                                         \
    enum name : type name;                                                             \
    enum name : type
#define NS_ASSUME_NONNULL_BEGIN _Pragma("clang assume_nonnull begin")
#define NS_ASSUME_NONNULL_END _Pragma("clang assume_nonnull end")
#define NS_RETURNS_RETAINED __attribute__((ns_returns_retained))
/* As in API_AVAILABLE(macos(14.0)); only what is newer than macOS 13 says so. */
#define API_AVAILABLE(since) METALSIM_SINCE_##since
#define METALSIM_SINCE_macos(version)                                                  \
    __attribute__((availability(macos, introduced = version)))
#define NSIntegerMax ((NSInteger)(~(NSUInteger)0 >> 1))
#define NSUIntegerMax (~(NSUInteger)0)
#define NSNotFound NSIntegerMax

typedef struct _NSRange {
    NSUInteger location;
    NSUInteger length;
} NSRange;

static inline NSRange NSMakeRange(NSUInteger location, NSUInteger length)
{
    NSRange r = { location, length };
    return r;
}

NS_ASSUME_NONNULL_BEGIN

@class NSString;

@protocol NSObject
- (instancetype)retain;
- (oneway void)release;
- (instancetype)autorelease;
- (NSUInteger)retainCount;
- (Class)class;
- (BOOL)isEqual:(nullable id)object;
- (NSUInteger)hash;
- (BOOL)respondsToSelector:(SEL)selector;
@property(readonly, copy) NSString *description;
@end

__attribute__((objc_root_class))
@interface NSObject<NSObject> {
    Class isa;
}
+ (instancetype)alloc;
+ (instancetype)new;
- (instancetype)init;
- (void)dealloc;
@end

@interface NSAutoreleasePool : NSObject {
    NSAutoreleasePool *_Nullable outer;
    id _Nullable *_Nullable object;
    size_t count, room;
}
- (void)drain;
@end

typedef NSUInteger NSStringEncoding;
enum { NSASCIIStringEncoding = 1, NSUTF8StringEncoding = 4 };

@interface NSString : NSObject
+ (nullable instancetype)stringWithUTF8String:(const char *)nullTerminatedCString;
- (nullable instancetype)initWithUTF8String:(const char *)nullTerminatedCString;
- (nullable instancetype)initWithBytes:(const void *)bytes
                                length:(NSUInteger)length
                              encoding:(NSStringEncoding)encoding;
- (BOOL)isEqualToString:(NSString *)string;
- (id)copy;
@property(nullable, readonly) const char *UTF8String;
@property(readonly) NSUInteger length;
@end

typedef NSString *NSErrorDomain;

@interface NSError : NSObject {
    NSErrorDomain _domain;
    NSInteger _code;
    NSString *_text;
}
@property(readonly, copy) NSErrorDomain domain;
@property(readonly) NSInteger code;
@property(readonly, copy) NSString *localizedDescription;
@end

@interface NSURL : NSObject {
    NSString *_path;
}
+ (NSURL *)fileURLWithPath:(NSString *)path;
@property(nullable, readonly, copy) NSString *path;
@end

@interface NSArray<__covariant ObjectType> : NSObject {
    id _Nullable *_Nullable _object;
    NSUInteger _count;
}
@property(readonly) NSUInteger count;
- (ObjectType)objectAtIndex:(NSUInteger)index;
@end

NS_ASSUME_NONNULL_END

#endif
