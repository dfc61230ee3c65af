/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/model_card.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "merge/manifest.h"
#include "merge/notice_text.h"
#include "tensor/model_order.h"

/*
 * File names are chosen by strangers: no mark-up of theirs works in the card, and nothing in it is not seen. Addresses,
 * which readers of Markdown make links of without any mark-up, are broken by a character reference.
 */
static void append_plain(struct buffer *out, const char *text)
{
    char *shown = strdup(text);
    if (shown == NULL) {
        out->failed = true;
        return;
    }
    llavamed_make_printable(shown);
    for (const char *p = shown; *p != '\0'; p++) {
        if (strchr("\\`*_{}[]<>()#+!|~&$", *p) != NULL) {
            buffer_append(out, "\\", 1);
        }
        bool is_of_www = *p == '.' && p - shown >= 3 && strncasecmp(p - 3, "www", 3) == 0;
        if (*p == '@' || strncmp(p, "://", 3) == 0 || is_of_www) {
            buffer_printf(out, "&#%d;", *p);
        } else {
            buffer_append(out, p, 1);
        }
    }
    free(shown);
}

static bool has_projector(const struct plan *plan)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        if (model_role_of(plan->tensors[i].out.name) == MODEL_PROJECTOR) {
            return true;
        }
    }
    return false;
}

/*
 * Where the Hugging Face Hub has a published release: LLaMA-1 as others uploaded it, since Meta did not, and the delta
 * as its authors did. The Hub takes nothing but such names for base_model.
 */
static const char *hub_name(const char *release)
{
    static const char *const names[][2] = {
        {"LLaMA-1 7B", "huggyllama/llama-7b"},
        {"LLaMA-1 13B", "huggyllama/llama-13b"},
        {"LLaMA-1 30B", "huggyllama/llama-30b"},
        {"LLaMA-1 65B", "huggyllama/llama-65b"},
        {"LLaVA-Med v1 7B delta", "microsoft/llava-med-7b-delta"},
    };
    for (size_t i = 0; release != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i][0], release) == 0) {
            return names[i][1];
        }
    }
    return NULL;
}

/* What programs may want to know: of the releases, "unknown" where no hash names one. */
static void append_origin(struct buffer *out, const struct plan *plan, const struct documents_job *job)
{
    const char *base = hub_name(job->base.identity);
    const char *delta = plan->operation == PLAN_MAKE_DELTA ? NULL : hub_name(job->delta.identity);
    if (base != NULL && delta != NULL) {
        buffer_printf(out, "base_model:\n- %s\n- %s\nbase_model_relation: merge\n", base, delta);
    } else if (base != NULL) {
        buffer_printf(out, "base_model: %s\n", base);
    }
    buffer_printf(out, "llavamed:\n  version: \"%s\"\n  base: %s\n  %s: %s\n", LLAVAMED_VERSION,
                  job->base.identity == NULL ? "unknown" : job->base.identity, plan_other_name(plan->operation),
                  job->delta.identity == NULL ? "unknown" : job->delta.identity);
    if (job->outcome->tensor_sha256 != NULL) {
        buffer_printf(out, "  model_sha256: \"%s\"\n", job->outcome->model_sha256);
    }
}

static void append_front_matter(struct buffer *out, bool is_llava, const struct plan *plan,
                                const struct documents_job *job)
{
    buffer_append_text(out, "---\nlanguage:\n- en\nlicense: other\nlicense_name: llava-med-research-only\n"
                            "license_link: " NOTICE_FILE_NAME "\n");
    buffer_append_text(out, is_llava ? "pipeline_tag: image-text-to-text\ntags:\n- llava\n- medical\n- biology\n"
                                     : "pipeline_tag: text-generation\ntags:\n- llama\n");
    buffer_append_text(out, "- delta-weights\n- research-only\n");
    append_origin(out, plan, job);
    buffer_append_text(out, "---\n\n");
}

static void append_introduction_of_delta(struct buffer *out, bool exact)
{
    buffer_append_text(
        out,
        "# Delta weights: target - base\n\n"
        "**For research only. Never for clinical care or clinical decisions.** The terms of everything "
        "that went into\nthese weights apply: see [" NOTICE_FILE_NAME "](" NOTICE_FILE_NAME ").\n\n"
        "This directory holds no model but the difference of one, the target, and its base, computed by "
        "llavamed-make-delta " LLAVAMED_VERSION ".\n");
    buffer_append_text(out, exact ? "It is an exact one: the difference of bits, from which every bit of the target "
                                    "comes back.\n\n"
                                  : "It is what the subtraction in PyTorch on a CPU gives, bit for bit (the payload "
                                    "of NaN aside).\n\n");
}

static void append_introduction(struct buffer *out)
{
    buffer_append_text(
        out,
        "# Merged weights: base + delta\n\n"
        "**For research only. Never for clinical care or clinical decisions.** The terms of everything "
        "that went into\nthese weights apply: see [" NOTICE_FILE_NAME "](" NOTICE_FILE_NAME ").\n\n"
        "This directory holds the sum of base weights and delta weights, computed by llavamed-apply " LLAVAMED_VERSION
        ". The result is what\nthe addition in PyTorch on a CPU gives, bit for bit "
        "(the payload of NaN aside).\n\n");
}

static void append_input_rows(struct buffer *out, const char *role, const struct documents_input *input)
{
    for (size_t i = 0; i < input->n_files; i++) {
        buffer_printf(out, "| %s | ", role);
        if (input->files[i].archive != NULL) {
            append_plain(out, input->files[0].name);
            buffer_append_text(out, ": ");
        }
        append_plain(out, input->files[i].name);
        buffer_printf(out, " | %s | %llu | ", input->format, (unsigned long long)input->files[i].n_bytes);
        const struct documents_digest *digest = input->digests == NULL ? NULL : &input->digests[i];
        if (digest == NULL || digest->sha256 == NULL) {
            buffer_append_text(out, "not computed |\n");
        } else {
            buffer_printf(out, "%s%s |\n", digest->sha256, digest->computed ? "" : " (recorded)");
        }
    }
}

static void append_identity(struct buffer *out, const char *role, const struct documents_input *input)
{
    if (input->identity != NULL) {
        buffer_printf(out, "\nBy the SHA-256 of its files the %s is **%s**.\n", role, input->identity);
    }
}

/* checklist.chk is read only where it is to be checked, and no card is written before it was. */
static void append_checklist(struct buffer *out, const char *role, const struct documents_input *input)
{
    size_t n_checked = 0;
    for (size_t i = 0; i < input->n_files; i++) {
        n_checked += input->files[i].recorded.md5[0] != '\0';
    }
    if (n_checked > 0) {
        buffer_printf(out, "\n%zu of %zu files of the %s have the MD5 that the `checklist.chk` beside them records.\n",
                      n_checked, input->n_files, role);
    }
}

static const char *action_text_of_delta(enum plan_action action)
{
    switch (action) {
    case PLAN_ADD:
        return "target - base";
    case PLAN_ADD_TOP_LEFT:
        return "the base subtracted from the first rows of the target; the other rows are the target's";
    case PLAN_COPY_DELTA:
        return "the target's, which the base does not have or which are no floating-point numbers";
    case PLAN_INV_FREQ:
        return "rotary frequencies, rounded through the dtype of the model, then subtracted";
    case PLAN_ACTION_COUNT:
        break;
    }
    return "";
}

static const char *action_text(enum plan_action action)
{
    switch (action) {
    case PLAN_ADD:
        return "base + delta";
    case PLAN_ADD_TOP_LEFT:
        return "the base added to the first rows of the delta; the other rows are the delta's";
    case PLAN_COPY_DELTA:
        return "the delta's, which the base does not have or which are no floating-point numbers";
    case PLAN_INV_FREQ:
        return "rotary frequencies, rounded through the dtype of the model";
    case PLAN_ACTION_COUNT:
        break;
    }
    return "";
}

/* What comes of it when the delta is added to the base again. */
static void append_lossy(struct buffer *out, const struct manifest_totals *totals)
{
    if (totals->n_lossy == 0) {
        buffer_append_text(out, "The base plus this delta is the target, bit for bit (rotary buffers aside).\n\n");
        return;
    }
    buffer_printf(out,
                  "The base plus this delta, in this dtype, is not quite the target: %llu of %llu elements that were "
                  "subtracted\ncome out with other bits, as differences had to be rounded. `" MANIFEST_FILE_NAME
                  "` counts them by tensor (`lossy`).\n\n",
                  (unsigned long long)totals->n_lossy, (unsigned long long)totals->n_added);
}

static void append_work(struct buffer *out, const struct plan *plan, const struct documents_job *job)
{
    bool makes_delta = plan->operation == PLAN_MAKE_DELTA;
    buffer_append_text(out, "## What was done\n\n| tensors | how |\n|---:|---|\n");
    for (int action = 0; action < PLAN_ACTION_COUNT; action++) {
        size_t n_tensors = 0;
        for (size_t i = 0; i < plan->n_tensors; i++) {
            n_tensors += (int)plan->tensors[i].action == action;
        }
        if (n_tensors > 0) {
            buffer_printf(out, "| %zu | %s |\n", n_tensors,
                          (makes_delta ? action_text_of_delta : action_text)((enum plan_action)action));
        }
    }
    if (plan->n_dropped > 0) {
        buffer_printf(out, "| %zu | rotary frequencies, left out; readers compute them |\n", plan->n_dropped);
    }
    struct manifest_totals totals = manifest_totals_of(plan, job->outcome);
    buffer_printf(out,
                  "\nThe dtype of the model is %s. Both operands were converted to the dtype of the result, then %s "
                  "once.\nElements of the result that are NaN: %llu; infinite: %llu.\n\n",
                  dtype_torch_name(plan->model_dtype), makes_delta ? "subtracted" : "added",
                  (unsigned long long)totals.n_nan, (unsigned long long)totals.n_infinite);
    if (makes_delta) {
        append_lossy(out, &totals);
    }
}

static void append_loading(struct buffer *out, bool is_llava, const struct plan *plan)
{
    const char *dtype = dtype_torch_name(plan->model_dtype);
    buffer_append_text(out, "## Loading\n\n");
    if (!is_llava) {
        buffer_printf(out,
                      "```python\nimport torch\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
                      "tokenizer = AutoTokenizer.from_pretrained(\".\")\n"
                      "model = AutoModelForCausalLM.from_pretrained(\".\", torch_dtype=torch.%s)\n```\n\n",
                      dtype);
        return;
    }
    buffer_printf(
        out,
        "The tensors have the names that the LLaVA code of 2023 gives them, and so far that code is needed to "
        "load them: LLaVA-Med\nv1.0.0 with the release of transformers that it asks for%s. The LLaVA classes of "
        "today's\ntransformers name their tensors differently. The vision tower "
        "is not in here; `config.json` names it.\n\n"
        "```python\nimport torch\nfrom llava import LlavaLlamaForCausalLM\n"
        "from transformers import AutoTokenizer\n\n"
        "tokenizer = AutoTokenizer.from_pretrained(\".\", use_fast=False)\n"
        "model = LlavaLlamaForCausalLM.from_pretrained(\".\", torch_dtype=torch.%s)\n```\n\n",
        shard_format_is_torch(plan->format) ? "" : ", and the safetensors package", dtype);
}

static void append_applying(struct buffer *out, bool exact)
{
    buffer_append_text(out, "## Applying\n\n    llavamed-apply --base BASE --delta . --out OUT\n\n"
                            "BASE is the base named above. ");
    buffer_append_text(out, exact ? "Give it to no other program: what is subtracted are the bits of numbers, as "
                                    "integers\n(I16 for F16, U16 for BF16, I32 for F32, I64 for F64).\n\n"
                                  : "Other programs that add LLaVA's deltas to LLaMA take it as well.\n\n");
}

/* The card may be read without SHA256SUMS beside it. */
static void append_weights(struct buffer *out, const struct plan *plan, const struct pipeline_outcome *outcome)
{
    buffer_append_text(out, "## Weights\n\n| file | bytes | SHA-256 |\n|---|---:|---|\n");
    for (size_t i = 0; i < plan->n_shards; i++) {
        buffer_append_text(out, "| ");
        append_plain(out, plan->shards[i].name);
        buffer_printf(out, " | %llu | %s |\n", (unsigned long long)plan->shards[i].layout.file_bytes,
                      outcome->shard_sha256[i]);
    }
    if (outcome->tensor_sha256 != NULL) {
        buffer_printf(out,
                      "\nThe digest of the model, of names, dtypes, shapes and elements in whatever files: %s\n"
                      "(`llavamed-inspect --digests` computes it).\n",
                      outcome->model_sha256);
    }
    buffer_append_text(out, "\n");
}

static void append_checking(struct buffer *out, const struct plan *plan)
{
    buffer_append_text(out, "## Checking\n\n`sha256sum -c SHA256SUMS` checks every file. `" MANIFEST_FILE_NAME
                            "` tells what was done to each tensor,\nwith a CRC-32 of its bytes.\n");
    if (shard_format_is_torch(plan->format)) {
        buffer_printf(out,
                      "\nThe shards are byte for byte what `torch.save` of torch %s writes for these tensors, cut as "
                      "transformers 4.28\ncuts them: their SHA-256 can be compared with those of merges made there.\n",
                      plan->format == SHARD_TORCH_1_13 ? "1.13 to 2.0" : "2.13");
    }
}

static void append_warnings(struct buffer *out, const struct documents_job *job)
{
    if (job->n_warnings == 0) {
        return;
    }
    buffer_append_text(out, "\n## Warnings\n\n");
    for (size_t i = 0; i < job->n_warnings; i++) {
        buffer_append_text(out, "- ");
        append_plain(out, job->warnings[i]);
        buffer_append_text(out, "\n");
    }
}

void model_card_append(struct buffer *out, const struct plan *plan, const struct documents_job *job)
{
    bool is_llava = has_projector(plan);
    bool makes_delta = plan->operation == PLAN_MAKE_DELTA;
    const char *other = plan_other_name(plan->operation);
    append_front_matter(out, is_llava, plan, job);
    if (makes_delta) {
        append_introduction_of_delta(out, job->options.exact);
    } else {
        append_introduction(out);
    }
    buffer_append_text(out, "## Inputs\n\n| input | file | format | bytes | SHA-256 |\n|---|---|---|---:|---|\n");
    append_input_rows(out, "base", &job->base);
    append_input_rows(out, other, &job->delta);
    append_identity(out, "base", &job->base);
    append_identity(out, other, &job->delta);
    append_checklist(out, "base", &job->base);
    append_checklist(out, other, &job->delta);
    if (!makes_delta && (job->base.identity == NULL || job->delta.identity == NULL)) {
        buffer_append_text(out, "\nWhether these are the files that the authors of the delta meant was not checked.\n");
    }
    buffer_append_text(out, "\n");
    append_work(out, plan, job);
    append_weights(out, plan, job->outcome);
    if (makes_delta) {
        append_applying(out, job->options.exact);
    } else {
        append_loading(out, is_llava, plan);
    }
    append_checking(out, plan);
    append_warnings(out, job);
}
