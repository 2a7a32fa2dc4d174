/* SPDX-License-Identifier: MIT */
/*
 * The ground types of Objective-C as 64-bit Apple systems on ARM have them.
 */
#ifndef DARWIN_OBJC_H
#define DARWIN_OBJC_H

#include <stdbool.h>

typedef struct objc_class *Class;
struct objc_object {
    Class isa;
};
typedef struct objc_object *id;
typedef struct objc_selector *SEL;
typedef void (*IMP)(void);
typedef bool BOOL;

#define YES ((BOOL)1)
#define NO  ((BOOL)0)
#define nil ((id)0)
#define Nil ((Class)0)

#endif
