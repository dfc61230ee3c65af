/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs of another model than LLaMA-1, on the values of the config.json that each model was published with, and on the
 * borders between them.
 */
#include "merge/base_signs.h"

#include "unit/harness.h"
#include "unit/make_set.h"
#include "unit/temp_dir.h"

static struct temp_dir dir;

/* One side: its config under this name (NULL: none), added_tokens.json (NULL: none), embeddings of rows x width. */
struct side {
    const char *config_name;
    const char *config;
    const char *added;
    uint64_t rows;
    uint64_t width;
    bool projector;
};

struct verdict {
    enum llavamed_status status;
    struct llavamed_error error;
    char warning[300]; /* the first, or "" */
    char note[300];
    size_t n_warnings;
};

/* Writes the side's files and describes them; deinit the set. */
static struct base_signs_side make_side(const struct side *side, const char *spec, struct source_small_file files[2],
                                        struct tensor_set *set)
{
    struct base_signs_side made = {.spec = spec, .files = files, .set = set};
    const char *const names[] = {side->config_name, "added_tokens.json"};
    const char *const texts[] = {side->config, side->added};
    for (size_t i = 0; i < 2; i++) {
        if (names[i] != NULL && texts[i] != NULL) {
            char *path = strdup(temp_path(&dir, "%s-%s", spec, names[i]));
            temp_dir_require(path != NULL, "strdup");
            temp_write_text(path, texts[i]);
            char *name = strdup(names[i]);
            temp_dir_require(name != NULL, "strdup");
            files[made.n_files++] = (struct source_small_file){.name = name, .path = path};
        }
    }
    tensor_set_init(set);
    set_put(set, "model.embed_tokens.weight", DTYPE_F16, 2, side->rows == 0 ? 16 : side->rows,
            side->width == 0 ? 8 : side->width);
    if (side->projector) {
        set_put(set, "model.mm_projector.weight", DTYPE_F16, 2, 8, 4);
    }
    set_seal(set);
    return made;
}

static void free_side(struct base_signs_side *side, struct source_small_file files[2], struct tensor_set *set)
{
    for (size_t i = 0; i < side->n_files; i++) {
        free(files[i].name);
        free(files[i].path);
    }
    tensor_set_deinit(set);
}

static struct verdict judge(const struct side *base, const struct side *delta)
{
    struct source_small_file files[2][2];
    struct tensor_set sets[2];
    struct warnings warnings = {0};
    struct warnings notes = {0};
    struct verdict verdict = {0};
    struct base_signs_side base_side = make_side(base, "BASE", files[0], &sets[0]);
    struct base_signs_side delta_side = make_side(delta, "DELTA", files[1], &sets[1]);
    verdict.status = base_signs_check(&base_side, &delta_side, &warnings, &notes, &verdict.error);
    verdict.n_warnings = warnings.n_texts;
    (void)snprintf(verdict.warning, sizeof verdict.warning, "%s", warnings.n_texts == 0 ? "" : warnings.texts[0]);
    (void)snprintf(verdict.note, sizeof verdict.note, "%s", notes.n_texts == 0 ? "" : notes.texts[0]);
    for (size_t i = 0; i < warnings.n_texts; i++) {
        EXPECT(strstr(warnings.texts[i], dir.path) == NULL); /* they go into the manifest */
    }
    warnings_deinit(&warnings);
    warnings_deinit(&notes);
    free_side(&base_side, files[0], &sets[0]);
    free_side(&delta_side, files[1], &sets[1]);
    return verdict;
}

/* config.json of the released delta, as far as it is looked at. */
static const struct side llava_med = {
    "config.json",
    "{\"architectures\":[\"LlavaLlamaForCausalLM\"],\"model_type\":\"llava\",\"hidden_size\":4096,"
    "\"max_position_embeddings\":2048,\"num_attention_heads\":32,\"rms_norm_eps\":1e-06,\"vocab_size\":32004,"
    "\"mm_vision_tower\":\"openai/clip-vit-large-patch14\",\"use_mm_proj\":true}",
    NULL,
    0,
    0,
    true};

static struct verdict judge_config(const char *name, const char *config)
{
    const struct side base = {.config_name = name, .config = config};
    return judge(&base, &llava_med);
}

/* The base is let through without a word. */
static void accepts(const char *name, const char *config)
{
    struct verdict verdict = judge_config(name, config);
    if (!EXPECT(verdict.status == LLAVAMED_OK && verdict.n_warnings == 0)) {
        printf("    %s: %s%s\n", config, verdict.error.message, verdict.warning);
    }
}

static void warns(const char *config, const char *words)
{
    struct verdict verdict = judge_config("config.json", config);
    if (!EXPECT(verdict.status == LLAVAMED_OK && strstr(verdict.warning, words) != NULL)) {
        printf("    %s: %s%s\n", config, verdict.error.message, verdict.warning);
    }
}

static void refuses(const char *name, const char *config, enum llavamed_status status, const char *words)
{
    struct verdict verdict = judge_config(name, config);
    bool good = verdict.status == status && verdict.error.status == status && verdict.error.hint[0] != '\0' &&
                strncmp(verdict.error.message, "BASE: ", 6) == 0 && strstr(verdict.error.message, words) != NULL;
    if (!EXPECT(good)) {
        printf("    %s: %s\n", config, verdict.error.message);
    }
}

static void llama1_of_every_size(void)
{
    accepts(NULL, NULL);
    accepts("config.json", "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":4096,\"model_type\":\"llama\","
                           "\"max_position_embeddings\":2048,\"num_attention_heads\":32,\"rms_norm_eps\":1e-06}");
    accepts("config.json", "{\"hidden_size\":5120,\"num_attention_heads\":40,\"rms_norm_eps\":1e-06}");
    accepts("config.json", "{\"hidden_size\":6656,\"num_attention_heads\":52,\"rms_norm_eps\":0.000001}");
    accepts("config.json", "{\"hidden_size\":8192,\"num_attention_heads\":64,\"rms_norm_eps\":1e-05}");
    /* What newer versions of transformers add. */
    accepts("config.json", "{\"hidden_size\":4096,\"num_attention_heads\":32,\"num_key_value_heads\":32,"
                           "\"rope_theta\":10000.0,\"rope_scaling\":null,\"pretraining_tp\":1,\"rms_norm_eps\":1e-06}");
    accepts("params.json", "{\"dim\":4096,\"multiple_of\":256,\"n_heads\":32,\"n_layers\":32,\"norm_eps\":1e-06}");
    accepts("params.json", "{\"dim\":8192,\"multiple_of\":256,\"n_heads\":64,\"n_layers\":80,\"norm_eps\":1e-05}");
    /* Widths of no release are not judged by epsilon. */
    accepts("config.json", "{\"hidden_size\":3200,\"rms_norm_eps\":1e-05}");
    /* Nor is what cannot be read: whoever needs the file words its faults. */
    accepts("config.json", "{\"hidden_size\":4096,");
    accepts("config.json", "[1]");
    accepts("config.json", "{\"model_type\":7,\"rms_norm_eps\":\"1e-05\",\"hidden_size\":-1,\"architectures\":\"x\"}");
}

static void other_models(void)
{
    /* meta-llama/Llama-2-7b-hf and 70b, codellama/CodeLlama-7b-hf, mistralai/Mistral-7B-v0.1, Meta's own of 2023. */
    refuses(
        "config.json",
        "{\"hidden_size\":4096,\"max_position_embeddings\":4096,\"model_type\":\"llama\",\"num_attention_heads\":32,"
        "\"num_key_value_heads\":32,\"rms_norm_eps\":1e-05,\"rope_scaling\":null}",
        LLAVAMED_STATUS_PAIR_BASE_OTHER,
        "not LLaMA-1 but looks like Llama-2: it has a norm epsilon of 1e-05 at width 4096 (LLaMA-1: 1e-06), 4096 "
        "positions");
    refuses("config.json",
            "{\"hidden_size\":8192,\"model_type\":\"llama\",\"num_attention_heads\":64,\"num_key_value_heads\":8,"
            "\"rms_norm_eps\":1e-05}",
            LLAVAMED_STATUS_PAIR_BASE_OTHER, "8 key and value heads for 64 heads");
    refuses("config.json",
            "{\"hidden_size\":4096,\"model_type\":\"llama\",\"rms_norm_eps\":1e-05,\"rope_theta\":1000000}",
            LLAVAMED_STATUS_PAIR_BASE_OTHER, "rope_theta 1e+06");
    refuses("config.json",
            "{\"hidden_size\":4096,\"model_type\":\"mistral\",\"num_attention_heads\":32,\"num_key_value_heads\":8,"
            "\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0}",
            LLAVAMED_STATUS_PAIR_BASE_OTHER, "looks like mistral");
    refuses("params.json",
            "{\"dim\":4096,\"multiple_of\":256,\"n_heads\":32,\"n_layers\":32,\"norm_eps\":1e-05,\"vocab_size\":-1}",
            LLAVAMED_STATUS_PAIR_BASE_OTHER, "looks like Llama-2");
    refuses("params.json",
            "{\"dim\":8192,\"multiple_of\":4096,\"ffn_dim_multiplier\":1.3,\"n_heads\":64,\"n_kv_heads\":8,"
            "\"n_layers\":80,\"norm_eps\":1e-05,\"vocab_size\":-1}",
            LLAVAMED_STATUS_PAIR_BASE_OTHER, "ffn_dim_multiplier");
    refuses("config.json", "{\"model_type\":\"llava\"}", LLAVAMED_STATUS_PAIR_BASE_MERGED, "already is a LLaVA model");
    refuses("config.json", "{\"architectures\":[\"LlavaLlamaForCausalLM\"],\"model_type\":\"llama\"}",
            LLAVAMED_STATUS_PAIR_BASE_MERGED, "LlavaLlamaForCausalLM");
    refuses("config.json", "{\"model_type\":\"llama\",\"mm_projector_type\":\"mlp2x_gelu\"}",
            LLAVAMED_STATUS_PAIR_BASE_MERGED, "mm_projector_type");
    accepts("config.json", "{\"model_type\":\"llama\",\"mm_projector_type\":null}");
}

static void doubtful(void)
{
    warns("{\"hidden_size\":4096,\"rms_norm_eps\":1e-06,\"max_position_embeddings\":4096}",
          "max_position_embeddings 4096");
    warns("{\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}}", "rope_scaling");
    warns("{\"_name_or_path\":\"/data/Vicuna-7B-v1.1\"}", "'/data/Vicuna-7B-v1.1'");
    warns("{\"_name_or_path\":\"stanford/ALPACA\"}", "does not sound like the original LLaMA");
    accepts("config.json", "{\"_name_or_path\":\"/data/llama-7b-hf\"}");
    accepts("config.json", "{\"max_position_embeddings\":2048}");
    struct verdict verdict = judge_config("config.json", "{\"architectures\":[\"LLaMAForCausalLM\"]}");
    EXPECT(verdict.status == LLAVAMED_OK && verdict.n_warnings == 0);
    EXPECT(strstr(verdict.note, "very early script") != NULL);
}

static void rows(void)
{
    static const struct {
        uint64_t rows;
        uint64_t width;
        const char *words; /* NULL: accepted */
    } cases[] = {
        {32000, 4096, NULL},
        {32001, 4096, "looks like Vicuna v0 or Alpaca: it has 32001 rows of embeddings (LLaMA-1: 32000)"},
        {32001, 5120, "looks like Vicuna v0 or Alpaca"},
        {32003, 8192, "looks like a fine-tuned model"},
        {32016, 4096, "32016 rows"},
        {31999, 4096, NULL},
        {50000, 2048, NULL}, /* of no release */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct side base = {.rows = cases[i].rows, .width = cases[i].width};
        struct verdict verdict = judge(&base, &llava_med);
        EXPECT(verdict.status == (cases[i].words == NULL ? LLAVAMED_OK : LLAVAMED_STATUS_PAIR_BASE_OTHER));
        EXPECT(cases[i].words == NULL || strstr(verdict.error.message, cases[i].words) != NULL);
    }
    const struct side padded = {.added = "{\"[PAD]\":32000}", .rows = 32000, .width = 4096};
    EXPECT(strstr(judge(&padded, &llava_med).warning, "[PAD]") != NULL);
    const struct side unpadded = {.added = "{\"<mask>\":32000}", .rows = 32000, .width = 4096};
    EXPECT_U64(judge(&unpadded, &llava_med).n_warnings, 0);
}

/* A value that base and delta share is no sign, and a delta for another kind of model is not judged. */
static void the_delta_decides(void)
{
    static const char config[] = "{\"model_type\":\"llama\",\"hidden_size\":4096,\"rms_norm_eps\":1e-05,"
                                 "\"max_position_embeddings\":4096,\"num_attention_heads\":32,"
                                 "\"num_key_value_heads\":8,\"rope_theta\":500000.0}";
    const struct side base = {.config_name = "config.json", .config = config};
    const struct side delta = {.config_name = "config.json", .config = config};
    EXPECT(judge(&base, &llava_med).status == LLAVAMED_STATUS_PAIR_BASE_OTHER);
    struct verdict verdict = judge(&base, &delta);
    EXPECT(verdict.status == LLAVAMED_OK && verdict.n_warnings == 0);
    /* Also where one per cent more or less is the same number again. */
    static const char extremes[] = "{\"hidden_size\":4096,\"rms_norm_eps\":5e-324,\"rope_theta\":1e999}";
    const struct side extreme = {.config_name = "config.json", .config = extremes};
    EXPECT(judge(&extreme, &llava_med).status == LLAVAMED_STATUS_PAIR_BASE_OTHER);
    EXPECT(judge(&extreme, &extreme).status == LLAVAMED_OK);
    const struct side opt = {.config_name = "config.json", .config = "{\"model_type\":\"opt\"}"};
    EXPECT(judge(&opt, &opt).status == LLAVAMED_OK);
    EXPECT(judge(&base, &opt).status == LLAVAMED_OK);
    EXPECT(judge(&opt, &llava_med).status == LLAVAMED_STATUS_PAIR_BASE_OTHER);
    /* Exchanged: only the hint tells. */
    const struct side llama = {.config_name = "config.json", .config = "{\"model_type\":\"llama\"}"};
    struct side merged = llava_med;
    merged.projector = false;
    EXPECT(strstr(judge(&merged, &llama).error.hint, "exchanged") != NULL);
    EXPECT(strstr(judge(&merged, &llava_med).error.hint, "exchanged") == NULL);
    EXPECT(judge(&llava_med, &llama).status == LLAVAMED_OK); /* a projector in the base: left to the plan */
}

/* What a config holds is shown cut, whatever its length. */
static void long_texts(void)
{
    static char config[3000];
    char name[2001];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    (void)snprintf(config, sizeof config, "{\"model_type\":\"%s\"}", name);
    struct verdict verdict = judge_config("config.json", config);
    EXPECT(verdict.status == LLAVAMED_STATUS_PAIR_BASE_OTHER && strlen(verdict.error.message) < 700);
    (void)snprintf(config, sizeof config, "{\"_name_or_path\":\"vicuna%s\"}", name);
    EXPECT(strlen(judge_config("config.json", config).warning) < 200);
}

int main(void)
{
    temp_dir_make(&dir);
    CASE(llama1_of_every_size);
    CASE(other_models);
    CASE(doubtful);
    CASE(rows);
    CASE(the_delta_decides);
    CASE(long_texts);
    temp_dir_remove(&dir);
    return harness_end();
}
