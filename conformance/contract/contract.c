/* SPDX-License-Identifier: MIT */
/*
 * The table of all checks.
 */
#include "checks.h"

const contract_check contract_checks[] = {
#define ENTRY(id, words) { words, contract_##id },
    CONTRACT_CHECKS(ENTRY)
#undef ENTRY
#define MNT_OP(name, n_in, n_out, args, flags) { "row-" #name, contract_row_##name },
#include <mnt/ops.def>
#undef MNT_OP
#define MNT_OP(name, n_in, n_out, args, flags) { "far-" #name, contract_far_##name },
#include <mnt/ops.def>
#undef MNT_OP
        { 0 }
};
