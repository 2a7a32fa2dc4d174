/* SPDX-License-Identifier: MIT */
/*
 * Copies of blocks, for the simulator itself; code under test has no need of them.
 */
#ifndef METALSIM_BLOCKS_H
#define METALSIM_BLOCKS_H

void *metalsim_block_copy(const void *block);
void metalsim_block_release(const void *block);
/* Of foundation.m. */
void metalsim_object_retain(void *object);
void metalsim_object_release(void *object);

#endif
