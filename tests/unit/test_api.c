/* SPDX-License-Identifier: Apache-2.0 */
/* What docs/api.md promises of settings: what initialised ones hold, and that what is not known is refused by all. */
#include "llavamed.h"
#include "llavamed_diff.h"
#include "unit/harness.h"

static void test_api_version(void)
{
    EXPECT_TEXT(llavamed_version(), LLAVAMED_VERSION);
    EXPECT(strstr(llavamed_libraries(), "cJSON ") != NULL);
}

/* Bytes of another kind first: an initialiser that forgets a field is seen. Of what is not listed all is 0. */
#define POISONED(type, name)                                                                                           \
    type name;                                                                                                         \
    memset(&(name), 0xa5, sizeof(name))

static bool is_clear(const uint64_t reserved[LLAVAMED_RESERVED])
{
    uint64_t all = 0;
    for (size_t i = 0; i < LLAVAMED_RESERVED; i++) {
        all |= reserved[i];
    }
    return all == 0;
}

static void test_api_initialised(void)
{
    const uint64_t memory = 268435456;
    POISONED(struct llavamed_settings, merge);
    llavamed_settings_init(&merge);
    EXPECT(merge.base == NULL && merge.sign == NULL && merge.stop_signal == NULL);
    EXPECT(merge.max_memory_bytes == 0 && merge.n_threads == 0 && !merge.force && is_clear(merge.reserved));
    POISONED(struct llavamed_verify_settings, verify);
    llavamed_verify_settings_init(&verify);
    EXPECT(verify.dir == NULL && verify.max_memory_bytes == 0 && is_clear(verify.reserved));
    POISONED(struct llavamed_inspect_settings, inspect);
    llavamed_inspect_settings_init(&inspect);
    EXPECT(inspect.source == NULL && inspect.max_memory_bytes == memory && is_clear(inspect.reserved));
    POISONED(struct llavamed_identify_settings, identify);
    llavamed_identify_settings_init(&identify);
    EXPECT(identify.source == NULL && identify.n_threads == 0 && is_clear(identify.reserved));
    POISONED(struct llavamed_diff_settings, diff);
    llavamed_diff_settings_init(&diff);
    EXPECT(diff.source == NULL && diff.max_memory_bytes == memory && is_clear(diff.reserved));
}

/* USAGE that tells of the version; without the reserved value these settings would fail in another way. */
static void want_refusal(enum llavamed_status got, const struct llavamed_error *error)
{
    EXPECT_U64(got, LLAVAMED_STATUS_USAGE);
    EXPECT(strstr(error->message, "libllavamed " LLAVAMED_VERSION " does not know") != NULL);
}

static void test_api_unknown_settings(void)
{
    struct llavamed_error error = {0};
    struct llavamed_settings merge;
    llavamed_settings_init(&merge);
    merge.base = merge.delta = merge.target = "nowhere";
    merge.out = "nowhere-either";
    struct llavamed_result result = {0};
    EXPECT(llavamed_merge(&merge, NULL, &result, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    llavamed_result_free(&result);
    merge.reserved[LLAVAMED_RESERVED - 1] = 1;
    want_refusal(llavamed_merge(&merge, NULL, &result, &error), &error);
    llavamed_result_free(&result);
    want_refusal(llavamed_make_delta(&merge, NULL, &result, &error), &error);
    llavamed_result_free(&result);

    struct llavamed_verify_settings verify;
    llavamed_verify_settings_init(&verify);
    verify.dir = "nowhere";
    verify.reserved[0] = 1;
    struct llavamed_verify_result verified = {0};
    want_refusal(llavamed_verify(&verify, NULL, &verified, &error), &error);
    llavamed_verify_result_free(&verified);

    struct llavamed_inspect_settings inspect;
    llavamed_inspect_settings_init(&inspect);
    inspect.source = "nowhere";
    inspect.reserved[1] = UINT64_MAX;
    struct llavamed_inspect_result inspected = {0};
    want_refusal(llavamed_inspect(&inspect, NULL, &inspected, &error), &error);
    llavamed_inspect_result_free(&inspected);

    struct llavamed_identify_settings identify;
    llavamed_identify_settings_init(&identify);
    identify.source = "nowhere";
    identify.reserved[2] = 1;
    struct llavamed_identify_result identified = {0};
    want_refusal(llavamed_identify(&identify, NULL, &identified, &error), &error);
    llavamed_identify_result_free(&identified);

    struct llavamed_diff_settings diff;
    llavamed_diff_settings_init(&diff);
    diff.source = diff.other = "nowhere";
    diff.reserved[3] = 1;
    struct llavamed_diff_result differed = {0};
    want_refusal(llavamed_diff(&diff, NULL, &differed, &error), &error);
    llavamed_diff_result_free(&differed);
}

int main(void)
{
    CASE(test_api_version);
    CASE(test_api_initialised);
    CASE(test_api_unknown_settings);
    return harness_end();
}
