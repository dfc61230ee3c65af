/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as params.json. What is accepted has the sizes that ModelArgs allows, names each of its tensors once, and
 * is read the same from a text written anew with its members the other way round and white space between them.
 */
#include <string.h>

#include "core/buffer.h"
#include "fuzz_memory.h"
#include "source/meta_params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_sound(const struct meta_params *params)
{
    REQUIRE(params->n_heads > 0 && params->head_dim > 0 && params->head_dim % 2 == 0);
    REQUIRE(params->n_heads * params->head_dim == params->dim && params->dim <= META_DIM_MAX);
    REQUIRE(params->n_layers > 0 && params->n_layers <= META_LAYERS_MAX && params->vocab <= META_DIM_MAX);
    /* 8/3 of dim, up to the next multiple of at most META_DIM_MAX. */
    uint64_t two_thirds = 8 * params->dim / 3;
    REQUIRE(params->ffn >= two_thirds && params->ffn - two_thirds < META_DIM_MAX);
}

static void require_tensor(const struct meta_params *params, size_t index)
{
    char own[META_NAME_BYTES];
    char hf[META_NAME_BYTES];
    meta_own_name(params, index, own);
    meta_hf_name(params, index, hf);
    REQUIRE(strlen(own) < META_NAME_BYTES - 1 && strlen(hf) < META_NAME_BYTES - 1);
    REQUIRE(meta_find_name(params, own) == index && meta_find_name(params, hf) == META_NAME_UNKNOWN);
    struct meta_shape shape = meta_tensor_shape(params, index, 7);
    REQUIRE(shape.n_rows > 0);
    REQUIRE((shape.n_columns == 0) == (shape.join == META_REPLICATED));
    REQUIRE(!shape.is_rotary || shape.n_rows == params->n_heads * params->head_dim);
}

static void require_tensors(const struct meta_params *params)
{
    size_t n = meta_tensor_count(params);
    REQUIRE(n == 3 + 9 * params->n_layers);
    /* The first layer, a step that meets every kind, and the last. */
    for (size_t i = 0; i < n; i += i < 10 || i + 12 > n ? 1 : 10) {
        require_tensor(params, i);
    }
    char beyond[META_NAME_BYTES];
    (void)snprintf(beyond, sizeof beyond, "layers.%llu.attention.wq.weight", (unsigned long long)params->n_layers);
    REQUIRE(meta_find_name(params, beyond) == META_NAME_UNKNOWN);
}

static void require_round_trip(const struct meta_params *params)
{
    struct llavamed_error error;
    struct meta_params again = {0};
    struct buffer text;
    if (params->ffn > META_DIM_MAX) {
        return; /* no single multiple says so */
    }
    buffer_init(&text, 4096);
    buffer_printf(&text, "\n{ \"vocab_size\" :\t%s", params->vocab == 0 ? "-1" : "");
    if (params->vocab != 0) {
        buffer_printf(&text, "%llu", (unsigned long long)params->vocab);
    }
    buffer_printf(&text, ", \"n_kv_heads\": %llu, \"norm_eps\": 1e-05, \"n_layers\": %llu, \"n_heads\": %llu,",
                  (unsigned long long)params->n_heads, (unsigned long long)params->n_layers,
                  (unsigned long long)params->n_heads);
    buffer_printf(&text, " \"multiple_of\": %llu, \"\\u0064im\": %llu } \r\n", (unsigned long long)params->ffn,
                  (unsigned long long)params->dim);
    REQUIRE(buffer_status(&text, "x", &error) == LLAVAMED_OK);
    REQUIRE(meta_params_parse("x", text.data, text.n_bytes, &again, &error) == LLAVAMED_OK);
    REQUIRE(memcmp(params, &again, sizeof again) == 0);
    buffer_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llavamed_error error = {0};
    struct meta_params params = {0};
    static const struct meta_params untouched;
    fuzz_memory_reset();
    enum llavamed_status status = meta_params_parse("x", (const char *)data, size, &params, &error);
    REQUIRE(fuzz_memory_peak_bytes <= 4096 + 64 * size);
    if (status == LLAVAMED_OK) {
        require_sound(&params);
        require_tensors(&params);
        require_round_trip(&params);
    } else {
        REQUIRE(memcmp(&params, &untouched, sizeof params) == 0);
        REQUIRE(error.status == status && strncmp(error.message, "x: ", 3) == 0);
        REQUIRE(status != LLAVAMED_STATUS_NO_MEMORY);
    }
    return 0;
}
