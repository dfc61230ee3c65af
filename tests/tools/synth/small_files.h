/* SPDX-License-Identifier: Apache-2.0 */
/* The small files that lie beside the weights of a real release, with the sizes of the synthetic model in them. */
#ifndef SYNTH_SMALL_FILES_H
#define SYNTH_SMALL_FILES_H

#include "core/buffer.h"
#include "tools/synth/checkpoint.h"

#define SYNTH_SMALL_BYTES_MAX 65536

static inline void synth_small_file(const struct synth_checkpoint *checkpoint, const char *name, struct buffer *text)
{
    struct llavamed_error error = {0};
    synth_require(buffer_status(text, name, &error), &error);
    synth_write_file(checkpoint->directory, name, text->data, text->n_bytes);
    buffer_deinit(text);
    buffer_init(text, SYNTH_SMALL_BYTES_MAX);
}

static inline void synth_config(const struct synth_checkpoint *checkpoint, const struct synth_model *model,
                                struct buffer *text)
{
    bool llava = model->projector != 0 && checkpoint->role != SYNTH_BASE;
    uint64_t rows = checkpoint->role == SYNTH_BASE ? model->base_vocab : model->rows;
    buffer_printf(text, "{\n  \"architectures\": [\n    \"%s\"\n  ],\n",
                  llava ? "LlavaLlamaForCausalLM" : "LlamaForCausalLM");
    buffer_printf(text, "  \"bos_token_id\": 1,\n  \"eos_token_id\": 2,\n  \"hidden_act\": \"silu\",\n");
    buffer_printf(text, "  \"hidden_size\": %llu,\n  \"initializer_range\": 0.02,\n  \"intermediate_size\": %llu,\n",
                  (unsigned long long)model->hidden, (unsigned long long)model->ffn);
    buffer_printf(text, "  \"max_position_embeddings\": 2048,\n");
    if (llava) {
        buffer_printf(text,
                      "  \"mm_hidden_size\": %llu,\n  \"mm_use_im_start_end\": true,\n"
                      "  \"mm_vision_select_layer\": -2,\n"
                      "  \"mm_vision_tower\": \"openai/clip-vit-large-patch14\",\n",
                      (unsigned long long)model->projector);
    }
    buffer_printf(text, "  \"model_type\": \"%s\",\n  \"num_attention_heads\": %llu,\n  \"num_hidden_layers\": %llu,\n",
                  llava ? "llava" : "llama", (unsigned long long)model->heads, (unsigned long long)model->layers);
    buffer_printf(text, "  \"pad_token_id\": 0,\n  \"rms_norm_eps\": %s,\n  \"tie_word_embeddings\": false,\n",
                  model->norm_eps);
    buffer_printf(text, "  \"torch_dtype\": \"%s\",\n  \"transformers_version\": \"4.28.1\",\n  \"use_cache\": true,\n",
                  dtype_torch_name(model->dtype));
    buffer_printf(text, "  \"vocab_size\": %llu\n}\n", (unsigned long long)rows);
    synth_small_file(checkpoint, "config.json", text);
}

/* The tokens that the added rows belong to: Vicuna adds one, LLaVA three more. */
static inline void synth_added_tokens(const struct synth_checkpoint *checkpoint, const struct synth_model *model,
                                      struct buffer *text)
{
    static const char *const tokens[] = {"[PAD]", "<im_patch>", "<im_start>", "<im_end>"};
    uint64_t added = model->rows - model->base_vocab;
    buffer_printf(text, "{");
    for (uint64_t i = added; i-- > 0;) {
        char name[32];
        (void)snprintf(name, sizeof name, "<added_%llu>", (unsigned long long)i);
        buffer_printf(text, "\n  \"%s\": %llu%s", i < sizeof tokens / sizeof tokens[0] ? tokens[i] : name,
                      (unsigned long long)(model->base_vocab + i), i == 0 ? "\n" : ",");
    }
    buffer_printf(text, "}\n");
    synth_small_file(checkpoint, "added_tokens.json", text);
}

static inline void synth_tokenizer(const struct synth_checkpoint *checkpoint, struct buffer *text)
{
    for (unsigned i = 0; i < 4096; i++) {
        buffer_append(text, &(char){(char)synth_mix(i)}, 1);
    }
    synth_small_file(checkpoint, "tokenizer.model", text);
    buffer_printf(text, "{\n  \"bos_token\": \"<s>\",\n  \"eos_token\": \"</s>\",\n  \"unk_token\": \"<unk>\"\n}\n");
    synth_small_file(checkpoint, "special_tokens_map.json", text);
    buffer_printf(text, "{\n  \"add_bos_token\": true,\n  \"add_eos_token\": false,\n"
                        "  \"model_max_length\": 2048,\n  \"tokenizer_class\": \"LlamaTokenizer\"\n}\n");
    synth_small_file(checkpoint, "tokenizer_config.json", text);
}

static inline void synth_small_files(const struct synth_checkpoint *checkpoint, const struct synth_model *model)
{
    struct buffer text;
    buffer_init(&text, SYNTH_SMALL_BYTES_MAX);
    synth_config(checkpoint, model, &text);
    buffer_printf(&text, "{\n  \"_from_model_config\": true,\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 2,\n"
                         "  \"pad_token_id\": 0,\n  \"transformers_version\": \"4.28.1\"\n}\n");
    synth_small_file(checkpoint, "generation_config.json", &text);
    synth_tokenizer(checkpoint, &text);
    if (checkpoint->role != SYNTH_BASE && model->rows > model->base_vocab) {
        synth_added_tokens(checkpoint, model, &text);
    }
    buffer_printf(&text, "---\nlicense: other\n---\n# Synthetic %s\n\nRandom numbers in the shape of a model (%s).\n",
                  checkpoint->role == SYNTH_BASE    ? "base"
                  : checkpoint->role == SYNTH_DELTA ? "delta"
                                                    : "target",
                  model->size_name);
    synth_small_file(checkpoint, "README.md", &text);
    buffer_deinit(&text);
}

#endif
