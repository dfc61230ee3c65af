/* SPDX-License-Identifier: Apache-2.0 */
/* A merge in parts: sharing out, the plan's line, the record's. */
#include "integrity/crc32.h"
#include "merge/part_plan.h"
#include "merge/part_record.h"
#include "merge/part_share.h"
#include "merge/part_text.h"

#include "unit/harness.h"
#include "unit/make_set.h"

static struct llavamed_error error;

/* ---- A plan of several shards ---- */

static void make_plan(enum shard_format format, uint64_t max_shard_bytes, struct plan *plan)
{
    struct tensor_set set;
    const struct llama_shape shape = {.layers = 3, .hidden = 16, .feed_forward = 40, .rows = 50, .inv_freq = true};
    const struct plan_options options = {.format = format, .max_shard_bytes = max_shard_bytes};
    tensor_set_init(&set);
    set_put(&set, "model.embed_tokens.weight", DTYPE_F16, 2, 50, 16);
    for (unsigned i = 0; i < shape.layers; i++) {
        set_put_layer(&set, &shape, i);
    }
    set_put(&set, "model.norm.weight", DTYPE_F16, 1, 16, 0);
    set_put(&set, "lm_head.weight", DTYPE_F16, 2, 50, 16);
    set_seal(&set);
    memset(plan, 0, sizeof *plan);
    make_set_require(plan_build(&set, "base", &set, "delta", &options, plan, &error) == LLAVAMED_OK);
    tensor_set_deinit(&set);
}

/* ---- Sharing out ---- */

static void every_shard_has_one_part(void)
{
    static const unsigned counts[] = {1, 2, 3, 5, 9, 40};
    struct plan plan;
    make_plan(SHARD_SAFETENSORS, 3000, &plan);
    EXPECT(plan.n_shards > 5);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct part_share share;
        struct part_share again;
        EXPECT(part_share_init(&share, &plan, counts[i], &error) == LLAVAMED_OK);
        EXPECT(part_share_init(&again, &plan, counts[i], &error) == LLAVAMED_OK);
        EXPECT(memcmp(share.owners, again.owners, plan.n_shards * sizeof *share.owners) == 0);
        uint64_t total = 0;
        uint64_t most = 0;
        uint64_t largest = 0;
        for (unsigned part = 0; part < counts[i]; part++) {
            uint64_t load = 0;
            for (size_t k = 0; k < plan.n_shards; k++) {
                uint64_t n_bytes = PART_SHARE_MOVES * plan.shards[k].layout.file_bytes;
                load += share.owners[k] == part ? n_bytes : 0;
                largest = n_bytes > largest ? n_bytes : largest;
            }
            EXPECT_U64(share.loads[part], load);
            total += load;
            most = load > most ? load : most;
        }
        EXPECT_U64(total, PART_SHARE_MOVES * plan.file_bytes);
        /* Nobody has more than the mean and one shard. */
        EXPECT(most <= total / counts[i] + largest);
        EXPECT(counts[i] < plan.n_shards || most == largest);
        part_share_deinit(&share);
        part_share_deinit(&again);
    }
    plan_deinit(&plan);
}

static void items_fill_up(void)
{
    const uint64_t sizes[] = {10, 30, 30, 0, 20};
    unsigned owners[5];
    struct plan none = {0};
    struct part_share share;
    EXPECT(part_share_init(&share, &none, 2, &error) == LLAVAMED_OK);
    EXPECT(part_share_items(&share, sizes, 5, owners, &error) == LLAVAMED_OK);
    EXPECT(owners[1] == 0 && owners[2] == 1 && owners[4] == 0 && owners[0] == 1 && owners[3] == 1);
    EXPECT(share.loads[0] == 50 && share.loads[1] == 40);
    const uint64_t huge[] = {UINT64_MAX, UINT64_MAX};
    EXPECT(part_share_items(&share, huge, 2, owners, &error) == LLAVAMED_OK);
    EXPECT(share.loads[0] == UINT64_MAX && share.loads[1] == UINT64_MAX);
    part_share_deinit(&share);
}

/* The plans of all parts hold the whole, each shard laid out as there. */
static void plans_of_parts_are_the_whole(void)
{
    static const enum shard_format formats[] = {SHARD_SAFETENSORS, SHARD_TORCH_1_13, SHARD_TORCH_2_13};
    for (size_t f = 0; f < 3; f++) {
        struct plan plan;
        struct part_share share;
        make_plan(formats[f], 3000, &plan);
        EXPECT(part_share_init(&share, &plan, 3, &error) == LLAVAMED_OK);
        size_t n_tensors = 0;
        size_t n_shards = 0;
        uint64_t file_bytes = 0;
        for (unsigned part = 0; part < 3; part++) {
            struct plan own = {0};
            size_t *tensor_of = NULL;
            EXPECT(part_share_plan(&share, &plan, part, &own, &tensor_of, &error) == LLAVAMED_OK);
            for (size_t i = 0; i < own.n_shards; i++) {
                const struct plan_shard *shard = &own.shards[i];
                size_t k = 0;
                while (k < plan.n_shards && strcmp(plan.shards[k].name, shard->name) != 0) {
                    k++;
                }
                EXPECT(k < plan.n_shards && share.owners[k] == part);
                EXPECT_U64(shard->layout.file_bytes, plan.shards[k].layout.file_bytes);
                EXPECT_U64(shard->n_tensors, plan.shards[k].n_tensors);
                for (size_t t = 0; t < shard->n_tensors; t++) {
                    EXPECT_U64(tensor_of[shard->tensors[t]], plan.shards[k].tensors[t]);
                    EXPECT_U64(shard->layout.order[t], plan.shards[k].layout.order[t]);
                    EXPECT_U64(shard->layout.file_offsets[t], plan.shards[k].layout.file_offsets[t]);
                    EXPECT_U64(own.tensors[shard->tensors[t]].shard, i);
                }
            }
            for (size_t i = 0; i < own.n_tensors; i++) {
                EXPECT_TEXT(own.tensors[i].out.name, plan.tensors[tensor_of[i]].out.name);
            }
            n_tensors += own.n_tensors;
            n_shards += own.n_shards;
            file_bytes += own.file_bytes;
            free(tensor_of);
            plan_deinit(&own);
        }
        EXPECT_U64(n_tensors, plan.n_tensors);
        EXPECT_U64(n_shards, plan.n_shards);
        EXPECT_U64(file_bytes, plan.file_bytes);
        part_share_deinit(&share);
        plan_deinit(&plan);
    }
}

/* ---- The plan's line ---- */

static void fill_key(struct part_plan_facts *facts)
{
    for (int i = 0; i < JOURNAL_PARTS; i++) {
        memset(facts->key.sha256[i], 'a' + i, SHA256_HEX_BYTES - 1);
    }
    memset(facts->recorded_sha256, '7', SHA256_HEX_BYTES - 1);
}

static void write_plan(const struct plan *plan, enum shard_format format, bool digests, struct buffer *line)
{
    static char name_a[] = "a \"%\\\xff\n.bin";
    static char name_b[] = "b.bin";
    static char warning[] = "100 % of it\x01 \xc3\xa9";
    char *warnings[] = {warning};
    static char sha256[SHA256_HEX_BYTES];
    memset(sha256, '5', SHA256_HEX_BYTES - 1);
    struct source_file files[2] = {{.name = name_a, .n_bytes = UINT64_MAX}, {.name = name_b, .n_bytes = 0}};
    memset(files[1].recorded.md5, 'e', MD5_HEX_BYTES - 1);
    const struct documents_digest digest[2] = {{sha256, false}, {NULL, false}};
    struct part_plan_job job = {
        .plan = plan,
        .facts = {.options = {.format = format, .max_shard_bytes = 3000}, .digests = digests, .n_parts = 3},
        .inputs = {{.format = "torch", .files = files, .n_files = 2, .digests = digest, .n_tensors = 12},
                   {.format = "safetensors", .files = files + 1, .n_files = 1, .digests = digest + 1, .n_tensors = 5}},
        .warnings = warnings,
        .n_warnings = 1,
    };
    fill_key(&job.facts);
    buffer_init(line, PART_PLAN_BYTES_MAX);
    part_plan_append(&job, line);
    make_set_require(buffer_status(line, "x", &error) == LLAVAMED_OK);
}

static void a_plan_comes_back(void)
{
    static const enum shard_format formats[] = {SHARD_SAFETENSORS, SHARD_TORCH_1_13, SHARD_TORCH_2_13};
    for (size_t f = 0; f < 3; f++) {
        struct plan plan;
        struct buffer line;
        struct part_plan got;
        make_plan(formats[f], 3000, &plan);
        write_plan(&plan, formats[f], f == 1, &line);
        EXPECT(memchr(line.data, '\n', line.n_bytes) == line.data + line.n_bytes - 1);
        if (!EXPECT(part_plan_read("x", line.data, line.n_bytes, &got, &error) == LLAVAMED_OK)) {
            printf("    %s\n", error.message);
            continue;
        }
        EXPECT(got.facts.n_parts == 3 && got.facts.digests == (f == 1));
        EXPECT(got.plan.n_tensors == plan.n_tensors && got.plan.n_shards == plan.n_shards);
        EXPECT(got.plan.model_dtype == plan.model_dtype && got.plan.data_bytes == plan.data_bytes);
        EXPECT(got.plan.file_bytes == plan.file_bytes);
        EXPECT(memcmp(&got.plan.reference_total, &plan.reference_total, sizeof plan.reference_total) == 0);
        for (size_t i = 0; i < plan.n_tensors; i++) {
            EXPECT_TEXT(got.plan.tensors[i].out.name, plan.tensors[i].out.name);
            EXPECT(got.plan.tensors[i].action == plan.tensors[i].action);
            EXPECT(got.plan.tensors[i].shard == plan.tensors[i].shard);
            EXPECT(tensor_same_shape(&got.plan.tensors[i].out, &plan.tensors[i].out));
        }
        EXPECT_TEXT(got.inputs[0].files[0].name, "a \"%\\\xff\n.bin");
        EXPECT(got.inputs[0].n_files == 2 && got.inputs[0].files[0].n_bytes == UINT64_MAX);
        EXPECT(got.inputs[0].files[0].recorded.sha256[RECORDED_GIVEN][0] == '5');
        EXPECT(got.inputs[0].files[1].recorded.md5[0] == 'e');
        EXPECT(got.n_warnings == 1);
        EXPECT_TEXT(got.warnings[0], "100 % of it\x01 \xc3\xa9");
        part_plan_deinit(&got);
        buffer_deinit(&line);
        plan_deinit(&plan);
    }
}

/* The line with `from` replaced by `to` once; false when it is not in it. */
static bool replace(const struct buffer *line, const char *from, const char *to, struct buffer *out)
{
    const char *at = strstr(line->data, from);
    buffer_init(out, PART_PLAN_BYTES_MAX);
    if (at != NULL) {
        buffer_append(out, line->data, (size_t)(at - line->data));
        buffer_append_text(out, to);
        buffer_append_text(out, at + strlen(from));
    }
    return at != NULL && !out->failed;
}

static void a_bad_plan_is_refused(void)
{
    static const char *const changes[][2] = {
        {"llavamed-plan", "llavamed-play"},
        {"\"version\":1", "\"version\":2"},
        {"\"version\":1", "\"version\":\"1\""},
        {"\"tool\":\"", "\"tool\":\"9"},
        {"\"parts\":3", "\"parts\":0"},
        {"\"parts\":3", "\"parts\":4097"},
        {"\"parts\":3", "\"parts\":-3"},
        {"\"parts\":3", "\"parts\":[3]"},
        {"\"key\":[", "\"key\":[1,"},
        {"aaaa", "AAAA"},
        {"\"7777", "\"777"},
        {"\"safetensors\",\"delta\"", "\"x\",\"delta\""},
        {"\"3000\"", "\"0\""},
        {"\"3000\"", "\"03000\""},
        {"\"3000\"", "3000"},
        {"\"3000\"", "\"18446744073709551616\""},
        {"\"auto\"", "\"no\""},
        {"\"F16\",\"dropped\"", "\"F17\",\"dropped\""},
        {"\"dropped\":0", "\"dropped\":1e9"},
        {"\"add\"", "\"subtract\""},
        {"\"50x16\"", "\"50x\""},
        {"\"50x16\"", "\"x16\""},
        {"\"50x16\"", "\"50x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1\""},
        {"\"50x16\"", "\"18446744073709551615x18446744073709551615\""},
        {"\"50x16\"", "\"50 x16\""},
        {"%FF", "%ff"},
        {"%FF", "%G0"},
        {"%FF", "%00"},
        {"%FF", "%F"},
        {"%FF", "%41"},
        {"\"inputs\":[{", "\"inputs\":[[],{"},
        {"model.norm.weight", "lm_head.weight"},
        {"\"tensors\":12", "\"tensors\":\"12\""},
        {"\"b.bin\",\"0\",\"\"", "\"b.bin\",\"0\",\"x\""},
        {"eeee", "eee"},
        {"\"warnings\":[", "\"warnings\":[1,"},
        {"]}\n", "]]\n"},
        {"\"tensors\":[[", "\"tensors\":[\"\",["},
        {"]}\n", ",1]}\n"},
        {"model.norm.weight", ""},
    };
    struct plan plan;
    struct buffer line;
    make_plan(SHARD_SAFETENSORS, 3000, &plan);
    write_plan(&plan, SHARD_SAFETENSORS, false, &line);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct buffer changed;
        struct part_plan got;
        memset(&error, 0, sizeof error);
        EXPECT(replace(&line, changes[i][0], changes[i][1], &changed));
        bool refused = part_plan_read("x", changed.data, changed.n_bytes, &got, &error) ==
                       LLAVAMED_STATUS_PARTS_DIFFER;
        if (!EXPECT(refused)) {
            printf("    %s -> %s: %s\n", changes[i][0], changes[i][1], error.message);
        }
        buffer_deinit(&changed);
    }
    for (size_t n = 0; n + 1 < line.n_bytes; n += n < 200 ? 1 : 97) {
        struct part_plan got;
        enum llavamed_status status = part_plan_read("x", line.data, n, &got, &error);
        EXPECT(status == LLAVAMED_STATUS_PARTS_DIFFER);
    }
    buffer_deinit(&line);
    plan_deinit(&plan);
}

static void a_difference_has_a_name(void)
{
    static const char *const changes[][3] = {
        {"aaaa", "aaab", "the version of the tool"}, {"\"parts\":3", "\"parts\":4", "the number of parts"},
        {"bbbb", "bbbc", "the options"},             {"cccc", "cccd", "the base"},
        {"dddd", "ddde", "the delta"},               {"eeee\"]", "eeef\"]", "the plan of the result"},
        {"\"7777", "\"8777", "what hashes are recorded for the inputs"},
        {"\"auto\"", "\"full\"", "one of --verify, --digests and --allow-unknown-base"},
    };
    struct plan plan;
    struct buffer line;
    make_plan(SHARD_SAFETENSORS, 3000, &plan);
    write_plan(&plan, SHARD_SAFETENSORS, false, &line);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct buffer changed;
        EXPECT(replace(&line, changes[i][0], changes[i][1], &changed));
        EXPECT_TEXT(part_plan_difference(line.data, line.n_bytes, changed.data, changed.n_bytes), changes[i][2]);
        buffer_deinit(&changed);
    }
    EXPECT_TEXT(part_plan_difference(line.data, line.n_bytes, "{", 1), "something in it");
    EXPECT_TEXT(part_plan_difference(line.data, line.n_bytes, "[]", 2), "the version of the tool");
    buffer_deinit(&line);
    plan_deinit(&plan);
}

/* ---- The record's line ---- */

struct record_scene {
    struct plan whole;
    struct part_share share;
    struct plan plan;
    size_t *tensor_of;
    char plan_sha256[SHA256_HEX_BYTES];
    struct part_record_frame frame;
    struct part_record record;
    struct buffer line;
};

static void make_record(struct record_scene *scene, bool digests)
{
    memset(scene, 0, sizeof *scene);
    make_plan(SHARD_SAFETENSORS, 3000, &scene->whole);
    make_set_require(part_share_init(&scene->share, &scene->whole, 3, &error) == LLAVAMED_OK &&
                     part_share_plan(&scene->share, &scene->whole, 0, &scene->plan, &scene->tensor_of, &error) ==
                         LLAVAMED_OK);
    memset(scene->plan_sha256, 'b', SHA256_HEX_BYTES - 1);
    scene->frame = (struct part_record_frame){scene->plan_sha256, &scene->plan, 0, digests};
    struct part_record *record = &scene->record;
    record->n_shards = scene->plan.n_shards;
    record->n_tensors = scene->plan.n_tensors;
    record->shards = calloc(record->n_shards, sizeof *record->shards);
    record->tensors = calloc(record->n_tensors, sizeof *record->tensors);
    record->tensor_sha256 = digests ? calloc(record->n_tensors, sizeof *record->tensor_sha256) : NULL;
    record->inputs = calloc(1, sizeof *record->inputs);
    record->documents.entries = calloc(2, sizeof *record->documents.entries);
    make_set_require(record->shards != NULL && record->tensors != NULL && record->inputs != NULL &&
                     record->documents.entries != NULL);
    for (size_t i = 0; i < record->n_shards; i++) {
        record->shards[i].modified_ns = UINT64_C(1700000000123456789) + i;
        memset(record->shards[i].sha256, '1', SHA256_HEX_BYTES - 1);
    }
    for (size_t i = 0; i < record->n_tensors; i++) {
        record->tensors[i].crc32 = 0xfedcba98u - (uint32_t)i;
        record->tensors[i].counts.n_nan = 1;
        record->tensors[i].n_added = scene->plan.tensors[i].out.n_elems;
        if (digests) {
            memset(record->tensor_sha256[i], '2', SHA256_HEX_BYTES - 1);
        }
    }
    record->n_inputs = 1;
    record->inputs[0].role = 1;
    record->inputs[0].file = 7;
    memset(record->inputs[0].sha256, '3', SHA256_HEX_BYTES - 1);
    record->documents.n_entries = 2;
    record->documents.entries[0] = (struct document_entry){.name = strdup("config.json"), .n_bytes = 9,
                                                           .origin = DOCUMENT_EDITED};
    record->documents.entries[1] = (struct document_entry){.name = strdup("LICENSE \xc3\xa9"), .n_bytes = 8,
                                                           .origin = DOCUMENT_COPIED};
    memset(record->documents.entries[0].sha256, '4', SHA256_HEX_BYTES - 1);
    memset(record->documents.entries[1].sha256, '5', SHA256_HEX_BYTES - 1);
    buffer_init(&scene->line, PART_RECORD_BYTES_MAX);
    part_record_append(&scene->frame, record, &scene->line);
    make_set_require(buffer_status(&scene->line, "x", &error) == LLAVAMED_OK);
}

static void free_record(struct record_scene *scene)
{
    buffer_deinit(&scene->line);
    part_record_deinit(&scene->record);
    free(scene->tensor_of);
    plan_deinit(&scene->plan);
    plan_deinit(&scene->whole);
    part_share_deinit(&scene->share);
}

static void a_record_comes_back(void)
{
    for (int digests = 0; digests <= 1; digests++) {
        struct record_scene scene;
        struct part_record got;
        char plan_sha256[SHA256_HEX_BYTES];
        unsigned part = 9;
        make_record(&scene, digests != 0);
        EXPECT(part_record_peek(scene.line.data, scene.line.n_bytes, plan_sha256, &part) && part == 0);
        EXPECT_TEXT(plan_sha256, scene.plan_sha256);
        if (!EXPECT(part_record_read("x", scene.line.data, scene.line.n_bytes, &scene.frame, &got, &error) ==
                    LLAVAMED_OK)) {
            printf("    %s\n", error.message);
            continue;
        }
        EXPECT(memcmp(got.shards, scene.record.shards, got.n_shards * sizeof *got.shards) == 0);
        EXPECT(got.n_tensors == scene.record.n_tensors && (got.tensor_sha256 != NULL) == (digests != 0));
        for (size_t i = 0; i < got.n_tensors; i++) {
            EXPECT(got.tensors[i].crc32 == 0xfedcba98u - i && got.tensors[i].counts.n_nan == 1);
            EXPECT(got.tensors[i].n_added == scene.plan.tensors[i].out.n_elems);
        }
        EXPECT(got.n_inputs == 1 && got.inputs[0].role == 1 && got.inputs[0].file == 7);
        EXPECT(got.documents.n_entries == 2 && got.documents.entries[0].origin == DOCUMENT_EDITED);
        EXPECT_TEXT(got.documents.entries[1].name, "LICENSE \xc3\xa9");
        part_record_deinit(&got);
        free_record(&scene);
    }
}

/* Makes its checksum right again. */
static void mend(struct buffer *line)
{
    const size_t end = 21;
    size_t n = line->n_bytes < end ? 0 : line->n_bytes - end;
    (void)snprintf(line->data + n, end + 1, ",\"crc32\":\"%08x\"}\n", (unsigned)crc32_update(0, line->data, n));
}

static void a_bad_record_is_refused(void)
{
    static const char *const changes[][2] = {
        {"llavamed-part", "llavamed-pars"}, {"\"version\":1", "\"version\":2"}, {"bbbb", "cccc"},
        {"\"part\":1", "\"part\":2"},       {"\"part\":1", "\"part\":0"},       {"\"shards\":[[", "\"shards\":[[1,"},
        {"model-0", "model-1"},             {"\"1700000000123456789\"", "\"x\""}, {"\"1111", "\"111"},
        {"fedcba98", "fedcba9"},            {"fedcba98", "FEDCBA98"},           {"\"1 0 0 0 0 ", "\"1 0 0 0 "},
        {"\"1 0 0 0 0 ", "\"1 0 0 0 0  "},  {"\"1 0 0 0 0 ", "\"99999999 0 0 0 0 "}, {"\"1 0 0 0 0 ", "\"-1 0 0 0 0 "},
        {"\"delta\"", "\"target\""},        {"\"7\"", "\"07\""},                {"\"3333", "\"333"},
        {"config.json", "../config.json"},  {"config.json", "README.md"},       {"config.json", "model.safetensors"},
        {"config.json", "LICENSE %C3%A9"},  {"config.json", ".bashrc"},         {"\"edited\"", "\"made\""},
        {"\"documents\":[", "\"documents\":[[],"},
    };
    struct record_scene scene;
    make_record(&scene, false);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct buffer changed;
        struct part_record got;
        memset(&error, 0, sizeof error);
        EXPECT(replace(&scene.line, changes[i][0], changes[i][1], &changed));
        EXPECT(part_record_read("x", changed.data, changed.n_bytes, &scene.frame, &got, &error) ==
               LLAVAMED_STATUS_PARTS_DIFFER);
        mend(&changed);
        bool refused = part_record_read("x", changed.data, changed.n_bytes, &scene.frame, &got, &error) ==
                       LLAVAMED_STATUS_PARTS_DIFFER;
        if (!EXPECT(refused)) {
            printf("    %s -> %s: %s\n", changes[i][0], changes[i][1], error.message);
        }
        buffer_deinit(&changed);
    }
    for (size_t n = 0; n < scene.line.n_bytes; n++) {
        struct part_record got;
        EXPECT(part_record_read("x", scene.line.data, n, &scene.frame, &got, &error) == LLAVAMED_STATUS_PARTS_DIFFER);
    }
    free_record(&scene);
}

/* One bit of any byte. */
static void a_damaged_record_is_refused(void)
{
    struct record_scene scene;
    make_record(&scene, true);
    for (size_t i = 0; i < scene.line.n_bytes; i++) {
        struct part_record got;
        scene.line.data[i] ^= 1;
        EXPECT(part_record_read("x", scene.line.data, scene.line.n_bytes, &scene.frame, &got, &error) ==
               LLAVAMED_STATUS_PARTS_DIFFER);
        scene.line.data[i] ^= 1;
    }
    free_record(&scene);
}

int main(void)
{
    CASE(every_shard_has_one_part);
    CASE(items_fill_up);
    CASE(plans_of_parts_are_the_whole);
    CASE(a_plan_comes_back);
    CASE(a_bad_plan_is_refused);
    CASE(a_difference_has_a_name);
    CASE(a_record_comes_back);
    CASE(a_bad_record_is_refused);
    CASE(a_damaged_record_is_refused);
    return harness_end();
}
