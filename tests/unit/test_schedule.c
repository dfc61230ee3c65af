/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the work of several plans with one base: what must hold of it, against trying all orders. */
#include "merge/schedule.h"

#include "unit/harness.h"

#define PLANS_MAX 4
#define TENSORS_MAX 8 /* of a plan */
#define KEYS_MAX 32
#define BASE_MAX 5

static uint64_t random_state;

static size_t draw(size_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(random_state >> 33) % n;
}

/* ---- Plans, made by hand: only what a schedule is made from. ---- */

struct case_plan {
    struct plan plan;
    struct plan_tensor tensors[TENSORS_MAX];
    struct plan_shard shards[TENSORS_MAX + 1];
    size_t members[TENSORS_MAX]; /* tensors by shard... */
    size_t orders[TENSORS_MAX];  /* ...and file order within each */
    size_t keys[TENSORS_MAX];    /* tensors with one key are made in one step */
};

static struct case_plan cases[PLANS_MAX];
static const struct plan *plans[PLANS_MAX];

static void shuffle(size_t *values, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t other = draw(i);
        size_t value = values[i - 1];
        values[i - 1] = values[other];
        values[other] = value;
    }
}

/* The first result of a base tensor in each plan is made with those of the other plans; all others are alone. */
static size_t give_keys(size_t n_plans)
{
    size_t of_base[BASE_MAX];
    size_t n_keys = 0;
    for (size_t b = 0; b < BASE_MAX; b++) {
        of_base[b] = SIZE_MAX;
    }
    for (size_t p = 0; p < n_plans; p++) {
        bool used[BASE_MAX] = {false};
        for (size_t t = 0; t < cases[p].plan.n_tensors; t++) {
            const struct plan_tensor *tensor = &cases[p].tensors[t];
            size_t b = tensor->base_index;
            if (b == TENSOR_NOT_FOUND || tensor->action == PLAN_COPY_DELTA || used[b]) {
                cases[p].keys[t] = n_keys++;
                continue;
            }
            used[b] = true;
            if (of_base[b] == SIZE_MAX) {
                of_base[b] = n_keys++;
            }
            cases[p].keys[t] = of_base[b];
        }
    }
    return n_keys;
}

/* `mix`: how often neighbours change places; 0 keeps all plans in the base's order. */
static void make_plan(size_t p, size_t mix)
{
    struct case_plan *made = &cases[p];
    memset(made, 0, sizeof *made);
    plans[p] = &made->plan;
    made->plan.tensors = made->tensors;
    made->plan.shards = made->shards;
    size_t n = 0;
    for (size_t b = 0; b < BASE_MAX && n + 2 < TENSORS_MAX; b++) {
        if (draw(4) == 0) {
            made->tensors[n++] = (struct plan_tensor){.base_index = TENSOR_NOT_FOUND, .action = PLAN_COPY_DELTA};
        }
        if (draw(5) > 0) {
            made->tensors[n++] =
                (struct plan_tensor){.base_index = b, .action = draw(7) > 0 ? PLAN_ADD : PLAN_COPY_DELTA};
        }
        if (draw(12) == 0) { /* a base tensor under two names */
            made->tensors[n++] = (struct plan_tensor){.base_index = draw(BASE_MAX), .action = PLAN_ADD};
        }
    }
    for (size_t i = 0; n > 1 && i < mix; i++) {
        size_t at = draw(n - 1);
        struct plan_tensor tensor = made->tensors[at];
        made->tensors[at] = made->tensors[at + 1];
        made->tensors[at + 1] = tensor;
    }
    made->plan.n_tensors = n;
    size_t at = 0;
    do { /* the shard that comes first may be empty */
        size_t n_left = n - at;
        size_t n_here = n_left == 0 ? 0 : made->plan.n_shards == 0 && draw(8) == 0 ? 0 : 1 + draw(n_left);
        struct plan_shard *shard = &made->shards[made->plan.n_shards];
        *shard = (struct plan_shard){.tensors = &made->members[at], .n_tensors = n_here};
        shard->layout.order = &made->orders[at];
        shard->layout.n_data = n_here;
        /* Members in any order, which `order` undoes, but for what `mix` leaves. */
        size_t places[TENSORS_MAX];
        for (size_t i = 0; i < n_here; i++) {
            places[i] = i;
        }
        shuffle(places, n_here);
        for (size_t i = 0; i < n_here; i++) {
            made->members[at + places[i]] = at + i;
            made->orders[at + i] = places[i];
            made->tensors[at + i].shard = made->plan.n_shards;
        }
        at += n_here;
        made->plan.n_shards++;
    } while (at < n);
}

static size_t tensor_of(size_t p, size_t shard, size_t position)
{
    const struct plan_shard *planned = &cases[p].shards[shard];
    return planned->tensors[planned->layout.order[position]];
}

/* ---- What must come of it ---- */

/* Whether some order of all keys has the tensors of every shard in file order: tried one by one. */
static bool some_order_fits(size_t n_plans, size_t n_keys, size_t *order, bool *used, size_t n_placed)
{
    if (n_placed < n_keys) {
        for (size_t key = 0; key < n_keys; key++) {
            if (used[key]) {
                continue;
            }
            used[key] = true;
            order[key] = n_placed;
            bool fits = some_order_fits(n_plans, n_keys, order, used, n_placed + 1);
            used[key] = false;
            if (fits) {
                return true;
            }
        }
        return false;
    }
    for (size_t p = 0; p < n_plans; p++) {
        for (size_t s = 0; s < cases[p].plan.n_shards; s++) {
            for (size_t i = 1; i < cases[p].shards[s].n_tensors; i++) {
                if (order[cases[p].keys[tensor_of(p, s, i - 1)]] >= order[cases[p].keys[tensor_of(p, s, i)]]) {
                    return false;
                }
            }
        }
    }
    return true;
}

static size_t group_of_step(const struct schedule *schedule, size_t step)
{
    for (size_t g = 0; g < schedule->n_groups; g++) {
        if (step - schedule->groups[g].first_step < schedule->groups[g].n_steps) {
            return g;
        }
    }
    return SIZE_MAX;
}

static size_t group_of_shard(const struct schedule *schedule, size_t p, size_t shard)
{
    for (size_t g = 0; g < schedule->n_groups; g++) {
        for (size_t i = 0; i < schedule->groups[g].n_shards; i++) {
            const struct schedule_shard *found = &schedule->shards[schedule->groups[g].first_shard + i];
            if (found->plan == p && found->shard == shard) {
                return g;
            }
        }
    }
    return SIZE_MAX;
}

/* Steps one by one: parts by plan, all of one key and the key's all, each shard's from front to back. */
static void check_steps(const struct schedule *schedule, size_t n_plans, size_t n_keys)
{
    size_t filled[PLANS_MAX][TENSORS_MAX + 1] = {{0}};
    bool seen_key[KEYS_MAX] = {false};
    size_t n_parts = 0;
    EXPECT_U64(schedule->n_steps, n_keys); /* a base tensor is read once */
    for (size_t i = 0; i < schedule->n_steps; i++) {
        const struct schedule_step *step = &schedule->steps[i];
        EXPECT_U64(step->first_part, n_parts);
        EXPECT(step->n_parts > 0);
        size_t key = SIZE_MAX;
        for (size_t k = 0; k < step->n_parts; k++) {
            const struct schedule_part *part = &schedule->parts[n_parts++];
            EXPECT(part->plan < n_plans && (k == 0 || part->plan > part[-1].plan));
            size_t shard = cases[part->plan].tensors[part->tensor].shard;
            EXPECT_U64(part->position, filled[part->plan][shard]++);
            EXPECT_U64(part->tensor, tensor_of(part->plan, shard, part->position));
            EXPECT(k == 0 || cases[part->plan].keys[part->tensor] == key);
            key = cases[part->plan].keys[part->tensor];
            EXPECT_U64(group_of_step(schedule, i), group_of_shard(schedule, part->plan, shard));
        }
        EXPECT(key < n_keys && !seen_key[key]);
        seen_key[key < n_keys ? key : 0] = true;
    }
    for (size_t p = 0; p < n_plans; p++) {
        for (size_t s = 0; s < cases[p].plan.n_shards; s++) {
            EXPECT_U64(filled[p][s], cases[p].shards[s].n_tensors);
        }
    }
}

/* Groups follow each other, have all shards once, and none could be cut in two. */
static void check_groups(const struct schedule *schedule, size_t n_plans)
{
    size_t n_steps = 0;
    size_t n_shards = 0;
    size_t n_all = 0;
    for (size_t p = 0; p < n_plans; p++) {
        n_all += cases[p].plan.n_shards;
    }
    for (size_t g = 0; g < schedule->n_groups; g++) {
        const struct schedule_group *group = &schedule->groups[g];
        EXPECT_U64(group->first_step, n_steps);
        EXPECT_U64(group->first_shard, n_shards);
        n_steps += group->n_steps;
        n_shards += group->n_shards;
        bool reached[PLANS_MAX * (TENSORS_MAX + 1)] = {true};
        for (size_t round = 0; round < group->n_shards; round++) {
            for (size_t i = 0; i < group->n_steps; i++) { /* what shares a step with one that is reached */
                const struct schedule_step *step = &schedule->steps[group->first_step + i];
                bool any = false;
                for (size_t pass = 0; pass < 2; pass++) {
                    for (size_t k = 0; k < step->n_parts; k++) {
                        const struct schedule_part *part = &schedule->parts[step->first_part + k];
                        for (size_t s = 0; s < group->n_shards; s++) {
                            const struct schedule_shard *shard = &schedule->shards[group->first_shard + s];
                            bool is_it = shard->plan == part->plan &&
                                         shard->shard == cases[part->plan].tensors[part->tensor].shard;
                            any = any || (is_it && reached[s]);
                            reached[s] = reached[s] || (is_it && any && pass == 1);
                        }
                    }
                }
            }
        }
        for (size_t s = 0; s < group->n_shards; s++) {
            const struct schedule_shard *shard = &schedule->shards[group->first_shard + s];
            EXPECT(reached[s]);
            EXPECT_U64(shard->n_steps, cases[shard->plan].shards[shard->shard].n_tensors);
            if (shard->n_steps > 0) {
                const struct schedule_step *first = &schedule->steps[group->first_step + shard->first_step];
                size_t tensor = tensor_of(shard->plan, shard->shard, 0);
                bool found = false;
                for (size_t k = 0; k < first->n_parts; k++) {
                    const struct schedule_part *part = &schedule->parts[first->first_part + k];
                    found = found || (part->plan == shard->plan && part->tensor == tensor);
                }
                EXPECT(found);
            }
        }
    }
    EXPECT_U64(n_steps, schedule->n_steps);
    EXPECT_U64(n_shards, schedule->n_shards);
    EXPECT_U64(n_shards, n_all);
    for (size_t p = 0; p < n_plans; p++) {
        for (size_t s = 0; s < cases[p].plan.n_shards; s++) {
            EXPECT(group_of_shard(schedule, p, s) < schedule->n_groups);
        }
    }
}

/* Whether the plans of the case fit. */
static bool check_case(size_t n_plans)
{
    struct schedule schedule = {0};
    struct llavamed_error error = {0};
    bool fits = false;
    size_t n_keys = give_keys(n_plans);
    EXPECT(schedule_build(plans, n_plans, &schedule, &fits, &error) == LLAVAMED_OK);
    if (fits) {
        check_steps(&schedule, n_plans, n_keys);
        check_groups(&schedule, n_plans);
    } else {
        EXPECT(schedule.steps == NULL && schedule.n_steps == 0);
    }
    schedule_deinit(&schedule);
    return fits;
}

/* ---- Cases ---- */

static void plans_in_one_order_always_share(void)
{
    random_state = 1;
    for (int i = 0; i < 3000; i++) {
        size_t n_plans = 1 + draw(PLANS_MAX);
        for (size_t p = 0; p < n_plans; p++) {
            make_plan(p, 0);
            for (size_t t = 0; t < plans[p]->n_tensors; t++) { /* a second name would be in another order */
                for (size_t k = 0; k < t; k++) {
                    struct plan_tensor *tensor = &cases[p].tensors[t];
                    bool late = cases[p].tensors[k].base_index != TENSOR_NOT_FOUND &&
                                cases[p].tensors[k].base_index >= tensor->base_index;
                    tensor->action = late ? PLAN_COPY_DELTA : tensor->action;
                }
            }
        }
        EXPECT(check_case(n_plans));
    }
}

static void a_plan_alone_always_fits(void)
{
    random_state = 2;
    for (int i = 0; i < 1000; i++) {
        struct schedule schedule = {0};
        bool fits = false;
        make_plan(0, draw(30));
        EXPECT(check_case(1));
        EXPECT(schedule_build(plans, 1, &schedule, &fits, NULL) == LLAVAMED_OK && fits);
        EXPECT_U64(schedule.n_groups, plans[0]->n_shards);
        schedule_deinit(&schedule);
    }
}

static void what_contradicts_itself_is_refused(void)
{
    enum { ORDERED_MAX = 7 };
    size_t n_fit = 0;
    size_t n_refused = 0;
    random_state = 3;
    while (n_fit + n_refused < 2000) {
        size_t order[KEYS_MAX];
        bool used[KEYS_MAX] = {false};
        size_t n_plans = 2 + draw(PLANS_MAX - 1);
        for (size_t p = 0; p < n_plans; p++) {
            make_plan(p, draw(6));
        }
        size_t n_keys = give_keys(n_plans);
        if (n_keys > ORDERED_MAX) {
            continue;
        }
        bool fits = check_case(n_plans);
        EXPECT_U64(fits, some_order_fits(n_plans, n_keys, order, used, 0));
        n_fit += fits;
        n_refused += !fits;
    }
    EXPECT(n_fit > 300 && n_refused > 300);
}

static void columns_that_were_added_cannot_share(void)
{
    struct tensor base_tensor = {.rank = 2, .shape = {10, 4}};
    struct tensor_set base = {.tensors = &base_tensor, .n_tensors = 1};
    struct plan_tensor tensor = {.out = {.rank = 2, .shape = {12, 4}}, .action = PLAN_ADD_TOP_LEFT};
    const struct plan plan = {.tensors = &tensor, .n_tensors = 1};
    EXPECT(schedule_can_share(&plan, &base));
    tensor.out.shape[1] = 5;
    EXPECT(!schedule_can_share(&plan, &base));
    tensor =
        (struct plan_tensor){.out = {.rank = 1, .shape = {3}}, .base_index = TENSOR_NOT_FOUND, .action = PLAN_INV_FREQ};
    EXPECT(schedule_can_share(&plan, &base));
}

int main(void)
{
    CASE(plans_in_one_order_always_share);
    CASE(a_plan_alone_always_fits);
    CASE(what_contradicts_itself_is_refused);
    CASE(columns_that_were_added_cannot_share);
    return harness_end();
}
