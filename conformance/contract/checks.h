/* SPDX-License-Identifier: MIT */
/*
 * How a check is defined, and the list of all of them: CONTRACT_CHECKS(X) has
 * X(name in C, name in words) for each, by file. Those made of ops.def are not in it.
 */
#ifndef CONTRACT_CHECKS_H
#define CONTRACT_CHECKS_H

#include "sample.h"

/* Defines contract_<id> from a body that gets an open context. */
#define CHECK(id)                                                                      \
    static void body_##id(rig *r);                                                     \
    contract_outcome contract_##id(const contract_subject *s, char *text, size_t size) \
    {                                                                                  \
        return rig_run(s, text, size, body_##id);                                      \
    }                                                                                  \
    static void body_##id(rig *r)

/* The same; the body opens for itself. */
#define CHECK_CLOSED(id)                                                               \
    static void body_##id(rig *r);                                                     \
    contract_outcome contract_##id(const contract_subject *s, char *text, size_t size) \
    {                                                                                  \
        return rig_run_closed(s, text, size, body_##id);                               \
    }                                                                                  \
    static void body_##id(rig *r)

#define CONTRACT_CHECKS(X)                                                             \
    X(info, "info-is-filled-and-stays")                                                \
    X(index, "open-refuses-a-device-that-does-not-exist")                              \
    X(force_malformed, "open-refuses-a-malformed-force-string")                        \
    X(force_unknown_op, "open-refuses-an-unknown-op-in-force")                         \
    X(force_unknown_variant, "open-refuses-an-unknown-variant-in-force")               \
    X(open_close_50, "open-and-close-50-times")                                        \
    X(two_contexts, "two-contexts-at-once")                                            \
    X(variant_list, "the-list-of-variants-is-well-formed")                             \
    X(variants_chosen, "every-variant-of-the-list-is-accepted-and-chosen")             \
    X(open_no_memory, "open-without-host-memory")                                      \
    X(prepare_no_memory, "prepare-without-host-memory")                                \
    X(calls_no_memory, "memory-calls-and-submit-without-host-memory")                  \
    X(alloc_nothing, "alloc-of-0-bytes")                                               \
    X(alloc_too_much, "alloc-of-more-than-there-is")                                   \
    X(memory_starts_zeroed, "memory-starts-zeroed")                                    \
    X(every_offset, "write-and-read-at-every-offset")                                  \
    X(buffers_apart, "buffers-lie-apart")                                              \
    X(write_waits_its_turn, "write-waits-its-turn")                                    \
    X(write_takes_its_data, "write-takes-its-data")                                    \
    X(read_waits, "read-waits")                                                        \
    X(release_while_queued, "release-while-work-is-queued")                            \
    X(empty_program, "an-empty-program")                                               \
    X(submit_counts, "submit-counts-replays")                                          \
    X(two_programs_interleaved, "two-programs-interleaved")                            \
    X(discard_unsubmitted, "discard-without-submit")                                   \
    X(discard_at_once, "discard-right-after-submit")                                   \
    X(commands_in_the_same_place, "other-commands-in-the-same-place")                  \
    X(supports_and_prepare_agree, "supports-and-prepare-agree")                        \
    X(op_outside_the_list, "an-op-outside-the-list-is-refused")                        \
    X(wrong_dtype_refused, "a-wrong-dtype-is-refused")                                 \
    X(wrong_rank_refused, "a-wrong-rank-is-refused")                                   \
    X(refused_program_leaves_nothing, "a-refused-program-leaves-nothing-behind")       \
    X(interrupted_before_the_first_step, "interrupted-before-the-first-step")          \
    X(interrupted_between_steps, "interrupted-between-steps")                          \
    X(levels, "levels-of-commands")                                                    \
    X(levels_in_other_orders, "commands-in-another-order")                             \
    X(memory_reused_in_a_chain, "memory-reused-in-a-chain-of-commands")                \
    X(write_waits_for_reads, "a-write-waits-for-reads")                                \
    X(write_waits_for_writes, "a-write-waits-for-writes")                              \
    X(old_programs_still_run, "old-programs-still-run")                                \
    X(replays_keep_no_memory, "replays-keep-no-host-memory")                           \
    X(version_changed, "a-parameters-version-changes")                                 \
    X(no_version, "an-operand-without-version-is-read-afresh")                         \
    X(written_in_the_program, "a-parameter-written-in-the-program")                    \
    X(two_programs_one_parameter, "two-programs-share-a-parameter")                    \
    X(another_parameter_same_address, "another-parameter-at-the-same-address")         \
    X(version_of_every_row, "a-parameters-version-in-every-row")                       \
    X(fault_cross_entropy, "fault-word-of-cross-entropy")                              \
    X(fault_cross_entropy_both, "fault-word-of-cross-entropy-with-gradient")           \
    X(fault_rows_have_no_gradient, "a-bad-label-has-no-gradient")                      \
    X(fault_gather, "fault-word-of-gather")                                            \
    X(fault_of_the_first_command, "the-first-of-two-faults-is-named")                  \
    X(fault_stops_optimizers, "a-fault-stops-the-optimizers")                          \
    X(timing_off, "timing-is-off-until-asked-for")                                     \
    X(timing_adds_up, "timing-adds-up")                                                \
    X(timing_switched_behind_the_queue, "timing-switched-behind-the-queue")            \
    X(timing_forgets, "timing-forgets")                                                \
    X(timing_kernel_names_stay, "kernel-names-stay")                                   \
    X(timing_of_some_rows, "timing-of-some-rows")                                      \
    X(timing_same_bits, "timing-changes-no-bit")                                       \
    X(environment, "the-callers-floating-point-environment")                           \
    X(far_table_f32, "far-table-of-f32")                                               \
    X(far_table_u8, "far-table-of-u8")                                                 \
    X(big_relu, "big-relu")                                                            \
    X(big_sum, "big-sum")                                                              \
    X(big_copy, "big-copy")                                                            \
    X(twins_in_one_program, "like-commands-in-one-program")                            \
    X(twins_in_successive_programs, "like-commands-in-successive-programs")            \
    X(twins_eager, "like-commands-executed-at-once")                                   \
    X(inputs_start_zeroed, "inputs-start-zeroed")                                      \
    X(ones_of_every_length, "ones-of-every-length")                                    \
    X(upstream_gradient, "the-upstream-gradient-counts")                               \
    X(fault_reported_once, "a-fault-is-reported-once")                                 \
    X(train_as_reference, "training-as-the-reference")                                 \
    X(train_again, "training-again")                                                   \
    X(train_in_pieces, "training-in-pieces")                                           \
    X(train_one_by_one, "training-one-by-one")                                         \
    X(train_watched, "training-watched")                                               \
    X(train_on_two_devices, "training-on-two-devices")                                 \
    X(train_two_models, "training-beside-another-model")                               \
    X(train_profiled, "training-profiled")                                             \
    X(train_guarded, "training-guarded")                                               \
    X(train_keeping_all, "training-keeping-all")                                       \
    X(train_unfused, "training-unfused")                                               \
    X(train_in_another_order, "training-created-in-another-order")                     \
    X(train_interrupted, "training-interrupted")                                       \
    X(train_on_a_used_device, "training-on-a-used-device")                             \
    X(train_beside_destroyed_graphs, "training-beside-destroyed-graphs")               \
    X(train_destroyed_at_once, "training-destroyed-at-once")

#define DECLARE_CHECK(id, words)                                                       \
    contract_outcome contract_##id(const contract_subject *s, char *text, size_t size);
CONTRACT_CHECKS(DECLARE_CHECK)
#undef DECLARE_CHECK

#define MNT_OP(name, n_in, n_out, args, flags)                                         \
    contract_outcome contract_row_##name(const contract_subject *s, char *text,        \
                                         size_t size);                                 \
    contract_outcome contract_far_##name(const contract_subject *s, char *text,        \
                                         size_t size);
#include <mnt/ops.def>
#undef MNT_OP

#endif
