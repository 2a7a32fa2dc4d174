/* SPDX-License-Identifier: MIT */
/*
 * Of Grand Central Dispatch only the data objects that newLibraryWithData: takes.
 */
#ifndef METALSIM_DISPATCH_H
#define METALSIM_DISPATCH_H

#import <Foundation/Foundation.h>

@protocol OS_dispatch_data <NSObject>
@end
typedef NSObject<OS_dispatch_data> *dispatch_data_t;
typedef struct dispatch_queue_s *dispatch_queue_t;
typedef void (^dispatch_block_t)(void);

#define DISPATCH_DATA_DESTRUCTOR_DEFAULT ((dispatch_block_t)NULL)

/* With the default destructor the bytes are copied. */
dispatch_data_t _Nonnull dispatch_data_create(const void *_Nonnull buffer, size_t size,
                                              dispatch_queue_t _Nullable queue,
                                              dispatch_block_t _Nullable destructor);
size_t dispatch_data_get_size(dispatch_data_t _Nonnull data);

/* A function for C structs on Apple's systems, too; dispatch objects are NSObjects. */
#define dispatch_release(object) [(object) release]
#define dispatch_retain(object) ((void)[(object) retain])

#endif
