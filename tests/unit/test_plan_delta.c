/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of a delta: the plan of a merge in other words, and nothing else. */
#include "merge/plan.h"
#include "unit/harness.h"
#include "unit/make_set.h"

#define EMBED "model.embed_tokens.weight"
#define NORM "model.norm.weight"
#define PROJECTOR "model.mm_projector.bias"

static struct llavamed_error error;

static enum llavamed_status build(const struct tensor_set *base, const struct tensor_set *other,
                                  enum plan_operation operation, struct plan *plan)
{
    const struct plan_options options = {.operation = operation, .max_shard_bytes = 1000000};
    memset(&error, 0, sizeof error);
    return plan_build(base, "BASE", other, "OTHER", &options, plan, &error);
}

static void same_plan_in_other_words(void)
{
    static const char *const actions[] = {"subtract-top-left", "subtract", "copy-target"};
    struct tensor_set base = {0};
    struct tensor_set other = {0};
    set_put(&base, EMBED, DTYPE_F16, 2, 8, 4);
    set_put(&base, NORM, DTYPE_F32, 1, 4, 0);
    set_put(&other, EMBED, DTYPE_F16, 2, 9, 4);
    set_put(&other, NORM, DTYPE_F16, 1, 4, 0);
    set_put(&other, PROJECTOR, DTYPE_F16, 1, 4, 0);
    set_seal(&base);
    set_seal(&other);
    struct plan merge;
    struct plan delta;
    EXPECT(build(&base, &other, PLAN_MERGE, &merge) == LLAVAMED_OK);
    EXPECT(build(&base, &other, PLAN_MAKE_DELTA, &delta) == LLAVAMED_OK);
    EXPECT(merge.operation == PLAN_MERGE && delta.operation == PLAN_MAKE_DELTA);
    EXPECT_U64(delta.n_tensors, merge.n_tensors);
    for (size_t i = 0; i < delta.n_tensors; i++) {
        EXPECT_TEXT(delta.tensors[i].out.name, merge.tensors[i].out.name);
        EXPECT(delta.tensors[i].action == merge.tensors[i].action);
        EXPECT(delta.tensors[i].out.dtype == DTYPE_F16);
        EXPECT_TEXT(plan_action_name(delta.operation, delta.tensors[i].action), actions[i]);
    }
    plan_deinit(&merge);
    plan_deinit(&delta);
    tensor_set_deinit(&base);
    tensor_set_deinit(&other);
}

static void problems_speak_of_the_target(void)
{
    struct tensor_set base = {0};
    struct tensor_set other = {0};
    struct plan plan;
    set_put(&base, EMBED, DTYPE_F16, 2, 8, 4);
    set_put(&base, "left", DTYPE_F16, 1, 4, 0);
    set_put(&other, EMBED, DTYPE_F16, 2, 7, 4);
    set_put(&other, "right", DTYPE_F16, 1, 4, 0);
    set_seal(&base);
    set_seal(&other);
    EXPECT(build(&base, &other, PLAN_MAKE_DELTA, &plan) == LLAVAMED_STATUS_PAIR_MISMATCH);
    EXPECT_TEXT(error.message, "base BASE and target OTHER do not belong together (3 problems)");
    EXPECT_TEXT(error.problems[0], EMBED ": the vocabulary is smaller in the target (base [8, 4], target [7, 4])");
    EXPECT_TEXT(error.problems[2], "left: in the base, but not in the target");
    EXPECT_TEXT(error.problems[1], "right: in the target, but not in the base");
    EXPECT(strstr(error.hint, "were base and target exchanged?") != NULL);
    tensor_set_deinit(&base);
    tensor_set_deinit(&other);
}

int main(void)
{
    CASE(same_plan_in_other_words);
    CASE(problems_speak_of_the_target);
    return harness_end();
}
