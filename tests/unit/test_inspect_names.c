/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect/inspect_names.h"

#include "core/buffer.h"
#include "unit/harness.h"
#include "unit/make_set.h"

static const struct llama_shape llama_7b = {.layers = 32, .hidden = 4096, .feed_forward = 11008, .rows = 32000};

/* All notes, each ended by a newline; to free(). */
static char *notes_of(struct tensor_set *set)
{
    struct warnings notes = {0};
    struct buffer text;
    buffer_init(&text, 1 << 20);
    EXPECT(inspect_names(set, &notes, NULL) == LLAVAMED_OK);
    EXPECT(warnings_status(&notes, NULL) == LLAVAMED_OK);
    buffer_append_text(&text, "");
    for (size_t i = 0; i < notes.n_texts; i++) {
        buffer_printf(&text, "%s\n", notes.texts[i]);
    }
    warnings_deinit(&notes);
    tensor_set_deinit(set);
    return buffer_take(&text);
}

static void want_notes(struct tensor_set *set, const char *want)
{
    char *got = notes_of(set);
    EXPECT_TEXT(got, want);
    free(got);
}

static void a_published_model_has_nothing_odd(void)
{
    static const struct llama_shape shapes[] = {
        {.layers = 32, .hidden = 4096, .feed_forward = 11008, .rows = 32000},
        {.layers = 40, .hidden = 5120, .feed_forward = 13824, .rows = 32000},
        {.layers = 60, .hidden = 6656, .feed_forward = 17920, .rows = 32000},
        {.layers = 80, .hidden = 8192, .feed_forward = 22016, .rows = 32000},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct tensor_set set;
        tensor_set_init(&set);
        set_put_llama(&set, &shapes[i]);
        want_notes(&set, "");
    }
}

static void a_delta_shows_what_it_has_more(void)
{
    struct llama_shape shape = llama_7b;
    struct tensor_set set;
    shape.inv_freq = true;
    shape.projector = true;
    tensor_set_init(&set);
    set_put_llama(&set, &shape);
    set_put(&set, "model.mm_projector.3", DTYPE_F16, 1, 0, 0);
    set_put(&set, "x\ty", DTYPE_F16, 1, 1, 0);
    want_notes(&set, "32 rotary buffers (inv_freq), which readers compute themselves\n"
                     "3 tensors of an mm_projector: a LLaVA model, or a delta of one\n"
                     "1 tensor that no LLaMA or LLaVA has (first x?y)\n"
                     "1 tensor without elements (first model.mm_projector.3)\n");
}

static void layers_that_are_missing(void)
{
    struct llama_shape shape = llama_7b;
    struct tensor_set set;
    shape.layers = 0;
    tensor_set_init(&set);
    set_put_llama(&set, &shape);
    static const unsigned layers[] = {30, 2, 6, 7, 31, 9};
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        set_put_layer(&set, &shape, layers[i]);
    }
    want_notes(&set, "26 of 32 layers are missing: 0 to 1, 3 to 5, 8, 10 to 29\n");
    tensor_set_init(&set);
    for (unsigned i = 1; i < 32; i += 2) {
        set_put_layer(&set, &shape, i);
    }
    set_put(&set, "model.layers.999999999.mlp.up_proj.weight", DTYPE_F16, 1, 4, 0);
    set_put(&set, "model.layers.40.mlp.up_proj.weight", DTYPE_F16, 1, 4, 0);
    want_notes(&set, "999999982 of 1000000000 layers are missing: 0, 2, 4, 6, 8, 10...\n"
                     "layer 40 has 1 of the 9 weights of a LLaMA's layer, and 1 more layers lack some\n"
                     "there is no model.embed_tokens.weight\n"
                     "there is no model.norm.weight\n"
                     "there is no lm_head.weight\n");
}

static void dimensions_that_nobody_published(void)
{
    struct llama_shape shape = llama_7b;
    struct tensor_set set;
    shape.layers = 31;
    tensor_set_init(&set);
    set_put_llama(&set, &shape);
    want_notes(&set, "31 layers of width 4096: LLaMA-1 7B has 32\n");
    shape.hidden = 2048;
    tensor_set_init(&set);
    set_put_llama(&set, &shape);
    want_notes(&set, "no LLaMA-1 has a width of 2048 (4096, 5120, 6656 and 8192 were published)\n");
    tensor_set_init(&set);
    set_put(&set, "model.embed_tokens.weight", DTYPE_F16, 2, 32001, 4096);
    set_put(&set, "model.norm.weight", DTYPE_F16, 1, 4096, 0);
    set_put(&set, "lm_head.weight", DTYPE_F16, 2, 32000, 4096);
    want_notes(&set, "the embeddings have 32001 rows, lm_head 32000\n");
}

static void another_model(void)
{
    struct tensor_set set;
    tensor_set_init(&set);
    set_put(&set, "transformer.wte.weight", DTYPE_F16, 2, 50257, 768);
    want_notes(&set, "no tensor has the name of a LLaMA's in Hugging Face form\n");
}

int main(void)
{
    CASE(a_published_model_has_nothing_odd);
    CASE(a_delta_shows_what_it_has_more);
    CASE(layers_that_are_missing);
    CASE(dimensions_that_nobody_published);
    CASE(another_model);
    return harness_end();
}
