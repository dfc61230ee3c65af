/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what --finish reads: behind its first byte the line of a plan, then the line of a record of its first
 * part. With bit 0 of that byte the record's checksum is put right before.
 *
 * An accepted plan is one whose parts together have every shard and tensor once; written again, it is read as the same,
 * and written the same from there on. So is an accepted record, no count of which is more than its tensor has. Memory
 * is linear in the input.
 */
#include <string.h>

#include "fuzz_memory.h"
#include "integrity/crc32.h"
#include "merge/part_plan.h"
#include "merge/part_record.h"
#include "merge/part_share.h"

#define MEND 1
#define END_BYTES 21
#define PARTS_TRIED_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_plan(const struct part_plan *plan, struct buffer *line)
{
    struct part_plan_job job = {
        .plan = &plan->plan, .facts = plan->facts, .warnings = plan->warnings, .n_warnings = plan->n_warnings};
    struct documents_digest *digests[INPUT_ROLES];
    for (int i = 0; i < INPUT_ROLES; i++) {
        const struct part_plan_input *input = &plan->inputs[i];
        digests[i] = calloc(input->n_files + 1, sizeof *digests[i]);
        REQUIRE(digests[i] != NULL);
        for (size_t k = 0; k < input->n_files; k++) {
            const char *sha256 = input->files[k].recorded.sha256[RECORDED_GIVEN];
            digests[i][k].sha256 = sha256[0] == '\0' ? NULL : sha256;
        }
        job.inputs[i] = (struct documents_input){.format = input->format,
                                                 .files = input->files,
                                                 .n_files = input->n_files,
                                                 .digests = digests[i],
                                                 .n_tensors = input->n_tensors};
    }
    buffer_init(line, PART_PLAN_BYTES_MAX);
    part_plan_append(&job, line);
    REQUIRE(buffer_status(line, "x", NULL) == LLAVAMED_OK);
    free(digests[0]);
    free(digests[1]);
}

static void check_again(const struct part_plan *plan)
{
    struct buffer line;
    struct buffer again;
    struct part_plan other;
    write_plan(plan, &line);
    REQUIRE(part_plan_read("x", line.data, line.n_bytes, &other, NULL) == LLAVAMED_OK);
    write_plan(&other, &again);
    REQUIRE(again.n_bytes == line.n_bytes && memcmp(again.data, line.data, line.n_bytes) == 0);
    REQUIRE(other.plan.n_shards == plan->plan.n_shards && other.plan.file_bytes == plan->plan.file_bytes);
    part_plan_deinit(&other);
    buffer_deinit(&line);
    buffer_deinit(&again);
}

static void check_share(const struct part_plan *plan, const struct part_share *share)
{
    size_t n_shards = 0;
    size_t n_tensors = 0;
    for (unsigned part = 0; part < share->n_parts; part++) {
        struct plan own;
        size_t *tensor_of = NULL;
        REQUIRE(part_share_plan(share, &plan->plan, part, &own, &tensor_of, NULL) == LLAVAMED_OK);
        for (size_t i = 0; i < own.n_tensors; i++) {
            REQUIRE(tensor_of[i] < plan->plan.n_tensors && (i == 0 || tensor_of[i] > tensor_of[i - 1]));
            REQUIRE(strcmp(own.tensors[i].out.name, plan->plan.tensors[tensor_of[i]].out.name) == 0);
        }
        n_shards += own.n_shards;
        n_tensors += own.n_tensors;
        free(tensor_of);
        plan_deinit(&own);
    }
    REQUIRE(n_shards == plan->plan.n_shards && n_tensors == plan->plan.n_tensors);
}

static void check_record(const struct part_record_frame *frame, const char *text, size_t n_bytes)
{
    struct part_record record;
    struct part_record other;
    struct buffer line;
    struct buffer again;
    struct llavamed_error error = {0};
    enum llavamed_status status = part_record_read("x", text, n_bytes, frame, &record, &error);
    REQUIRE(status == LLAVAMED_OK || (status == LLAVAMED_STATUS_PARTS_DIFFER && error.message[0] != '\0'));
    if (status != LLAVAMED_OK) {
        return;
    }
    REQUIRE(record.n_shards == frame->plan->n_shards && record.n_tensors == frame->plan->n_tensors);
    for (size_t i = 0; i < record.n_tensors; i++) {
        REQUIRE(record.tensors[i].counts.n_nan <= frame->plan->tensors[i].out.n_elems);
        REQUIRE(record.tensors[i].n_added <= frame->plan->tensors[i].out.n_elems);
    }
    for (size_t i = 0; i < record.documents.n_entries; i++) {
        REQUIRE(strchr(record.documents.entries[i].name, '/') == NULL && record.documents.entries[i].name[0] != '.');
    }
    buffer_init(&line, PART_RECORD_BYTES_MAX);
    buffer_init(&again, PART_RECORD_BYTES_MAX);
    part_record_append(frame, &record, &line);
    REQUIRE(buffer_status(&line, "x", NULL) == LLAVAMED_OK);
    REQUIRE(part_record_read("x", line.data, line.n_bytes, frame, &other, NULL) == LLAVAMED_OK);
    part_record_append(frame, &other, &again);
    REQUIRE(again.n_bytes == line.n_bytes && memcmp(again.data, line.data, line.n_bytes) == 0);
    part_record_deinit(&record);
    part_record_deinit(&other);
    buffer_deinit(&line);
    buffer_deinit(&again);
}

/* The record of a copy of the input, which may be changed. */
static void check_with_record(const struct part_plan *plan, char *text, size_t n_bytes, bool mends)
{
    struct part_share share;
    struct plan own;
    size_t *tensor_of = NULL;
    char plan_sha256[SHA256_HEX_BYTES] = "";
    unsigned part = 0;
    if (mends && n_bytes >= END_BYTES) {
        char end[END_BYTES + 1];
        (void)snprintf(end, sizeof end, ",\"crc32\":\"%08x\"}\n",
                       (unsigned)crc32_update(0, text, n_bytes - END_BYTES));
        memcpy(text + n_bytes - END_BYTES, end, END_BYTES);
    }
    REQUIRE(part_share_init(&share, &plan->plan, plan->facts.n_parts, NULL) == LLAVAMED_OK);
    if (share.n_parts <= PARTS_TRIED_MAX) {
        check_share(plan, &share);
    }
    REQUIRE(part_share_plan(&share, &plan->plan, 0, &own, &tensor_of, NULL) == LLAVAMED_OK);
    (void)part_record_peek(text, n_bytes, plan_sha256, &part);
    const struct part_record_frame frame = {plan_sha256, &own, 0, plan->facts.digests};
    check_record(&frame, text, n_bytes);
    free(tensor_of);
    plan_deinit(&own);
    part_share_deinit(&share);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct part_plan plan;
    struct llavamed_error error = {0};
    if (size == 0) {
        return 0;
    }
    char *text = malloc(size);
    REQUIRE(text != NULL);
    memcpy(text, data + 1, size - 1);
    const char *end = memchr(text, '\n', size - 1);
    size_t n_bytes = end == NULL ? size - 1 : (size_t)(end - text) + 1;
    fuzz_memory_reset();
    enum llavamed_status status = part_plan_read("x", text, n_bytes, &plan, &error);
    REQUIRE(status == LLAVAMED_OK || (status == LLAVAMED_STATUS_PARTS_DIFFER && error.message[0] != '\0'));
    REQUIRE(fuzz_memory_peak_bytes <= 262144 + 1024 * size);
    REQUIRE(part_plan_difference(text, n_bytes, (const char *)data + 1, size - 1)[0] != '\0');
    if (status == LLAVAMED_OK) {
        REQUIRE(plan.plan.n_tensors > 0 && plan.facts.n_parts > 0 && plan.facts.n_parts <= LLAVAMED_PARTS_MAX);
        check_again(&plan);
        check_with_record(&plan, text + n_bytes, size - 1 - n_bytes, (data[0] & MEND) != 0);
        part_plan_deinit(&plan);
    }
    free(text);
    return 0;
}
