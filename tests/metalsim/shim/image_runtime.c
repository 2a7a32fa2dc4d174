/* SPDX-License-Identifier: MIT */
/*
 * The part of every image that is not made from shaders: the pointer to the simulator's
 * services. Images that are watched for races link race_runtime.c as well.
 */
#include "sim_abi.h"

const sim_services *metalsim_services;

void metalsim_bind(const sim_services *services);
void metalsim_bind(const sim_services *services)
{
    metalsim_services = services;
}
