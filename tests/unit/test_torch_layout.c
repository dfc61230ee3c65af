/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of tests/data/torch_layout are those of torch 1.13 and (cases-2.13.txt, huge-2.13.txt) 2.13 themselves; see
 * make_torch_layout_data.py.
 */
#include "format/torch_layout.h"

#include "format/torch.h"
#include "format/torch_serialization_id.h"
#include "integrity/digest.h"

#include "unit/harness.h"
#include "unit/read_file.h"
#include "unit/temp_dir.h"
#include "unit/torch_case.h"

#define DATA "tests/data/torch_layout/"

static void expect_same_file(const char *name, const uint8_t *got, size_t n_got)
{
    char path[512];
    (void)snprintf(path, sizeof path, DATA "%s", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return; /* too large to be kept: its hash speaks for it */
    }
    (void)fclose(file);
    size_t n_want;
    char *want = read_file(path, &n_want);
    size_t at = 0;
    while (at < n_got && at < n_want && got[at] == (uint8_t)want[at]) {
        at++;
    }
    if (!EXPECT(at == n_got && at == n_want)) {
        printf("    %s: differs at byte %zu\n", name, at);
    }
    free(want);
}

/* Whether the storage of a tensor may come after that of another one: as text, or by number. */
static bool comes_after(enum torch_profile profile, size_t tensor, size_t other)
{
    char key[32];
    char other_key[32];
    (void)snprintf(key, sizeof key, "%zu", tensor);
    (void)snprintf(other_key, sizeof other_key, "%zu", other);
    return profile == TORCH_1_13 ? strcmp(other_key, key) < 0 : other < tensor;
}

/* What must hold of any layout: segments and data tile the file, storages are sorted. */
static void expect_consistent(enum torch_profile profile, const struct torch_case *all,
                              const struct torch_layout *layout)
{
    uint64_t end = 0;
    size_t largest = 0;
    for (size_t i = 0; i <= layout->n_stored; i++) {
        size_t n_bytes = torch_layout_segment_bytes(layout, i);
        EXPECT_U64(torch_layout_segment_offset(layout, i), end);
        largest = n_bytes > largest ? n_bytes : largest;
        end += n_bytes;
        if (i < layout->n_stored) {
            EXPECT_U64(layout->file_offsets[i], end);
            EXPECT_U64(layout->file_offsets[i] % 64, 0);
            EXPECT(all->owners[layout->order[i]] == layout->order[i]);
            end += all->tensors[layout->order[i]].n_bytes;
        }
        if (i > 0 && i < layout->n_stored && layout->n_stored == all->n_tensors) {
            EXPECT(comes_after(profile, layout->order[i], layout->order[i - 1]));
        }
    }
    EXPECT_U64(layout->file_bytes, end);
    EXPECT_U64(layout->segment_bytes_max, largest);
}

/* Writes the rendered bytes to their places, holes left as holes. */
static void write_sparse(const char *path, const struct torch_case *all, const struct torch_layout *layout,
                         const uint8_t *bytes)
{
    FILE *file = fopen(path, "wb");
    temp_dir_require(file != NULL, path);
    for (size_t i = 0; i <= layout->n_stored; i++) {
        size_t n_bytes = torch_layout_segment_bytes(layout, i);
        if (i < layout->n_stored && all->tensors[layout->order[i]].n_bytes <= TORCH_CASE_HOLE_BYTES) {
            n_bytes += (size_t)all->tensors[layout->order[i]].n_bytes;
        }
        temp_dir_require(fseeko(file, (off_t)torch_layout_segment_offset(layout, i), SEEK_SET) == 0 &&
                             fwrite(bytes, 1, n_bytes, file) == n_bytes,
                         path);
        bytes += n_bytes;
    }
    temp_dir_require(fclose(file) == 0, path);
}

static void expect_described(const struct torch_case *all, const struct torch_layout *layout,
                             const struct torch_file *read)
{
    EXPECT_U64(read->dict.n_tensors, all->n_tensors);
    EXPECT_U64(read->dict.n_storages, layout->n_stored);
    for (size_t i = 0; i < read->dict.n_tensors && i < all->n_tensors; i++) {
        const struct pickle_tensor *tensor = &read->dict.tensors[i];
        EXPECT_TEXT(tensor->tensor.name, all->tensors[i].name);
        EXPECT(tensor->tensor.dtype == all->tensors[i].dtype);
        EXPECT(tensor_same_shape(&tensor->tensor, &all->tensors[i]));
        EXPECT(tensor->contiguous && tensor->offset_elems == 0);
        EXPECT_U64(tensor->storage, read->dict.tensors[all->owners[i]].storage);
    }
    for (size_t i = 0; i < layout->n_stored; i++) {
        const struct torch_record *record = &read->records[read->dict.tensors[layout->order[i]].storage];
        EXPECT_U64(record->file_offset, layout->file_offsets[i]);
        EXPECT_U64(record->n_bytes, all->tensors[layout->order[i]].n_bytes);
    }
}

/* What torch writes, but no weights are: the reader here refuses it. */
static bool holds_complex(const struct torch_case *all)
{
    for (size_t i = 0; i < all->n_tensors; i++) {
        if (all->tensors[i].dtype == DTYPE_C64) {
            return true;
        }
    }
    return false;
}

/* The reader here finds what was laid out. */
static void expect_read_back(const struct torch_case *all, const struct torch_layout *layout, const uint8_t *bytes)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "shard");
    write_sparse(path, all, layout, bytes);
    struct input_file *file = NULL;
    struct torch_file read;
    struct llavamed_error error = {0};
    EXPECT(input_file_open(path, &file, &error) == LLAVAMED_OK);
    if (EXPECT(torch_file_read(file, true, &read, &error) == LLAVAMED_OK)) {
        expect_described(all, layout, &read);
        torch_file_deinit(&read);
    } else {
        printf("    %s: %s\n", all->file_name, error.message);
    }
    input_file_close(file);
    temp_dir_remove(&dir);
}

static void check_case(enum torch_profile profile, const struct torch_case *all)
{
    const struct torch_dict dict = torch_case_dict(all);
    struct torch_layout layout;
    struct llavamed_error error = {0};
    if (!EXPECT(torch_layout_build(profile, all->file_name, &dict, &layout, &error) == LLAVAMED_OK)) {
        printf("    %s: %s\n", all->file_name, error.message);
        return;
    }
    EXPECT_U64(layout.file_bytes, all->file_bytes);
    expect_consistent(profile, all, &layout);
    size_t n_bytes;
    uint64_t holes_bytes;
    uint8_t *bytes = torch_case_render(all, &layout, &n_bytes, &holes_bytes);
    char sha256[SHA256_HEX_BYTES] = "";
    EXPECT(sha256_of(bytes, n_bytes, sha256, &error) == LLAVAMED_OK);
    if (!EXPECT_TEXT(sha256, all->sha256)) {
        printf("    %s\n", all->file_name);
    }
    if (holes_bytes == 0 && profile == TORCH_1_13) {
        expect_same_file(all->file_name, bytes, n_bytes);
    }
    if (!holds_complex(all)) {
        expect_read_back(all, &layout, bytes);
    }
    free(bytes);
    torch_layout_deinit(&layout);
}

static void check_file(enum torch_profile profile, const char *path, size_t n_want)
{
    FILE *stream = fopen(path, "r");
    size_t n_cases = 0;
    struct torch_case all;
    if (!EXPECT(stream != NULL)) {
        return;
    }
    while (torch_case_read(stream, &all)) {
        n_cases++;
        check_case(profile, &all);
        torch_case_deinit(&all);
    }
    torch_case_deinit(&all);
    (void)fclose(stream);
    EXPECT_U64(n_cases, n_want);
}

static void same_bytes_as_torch(void)
{
    check_file(TORCH_1_13, DATA "cases.txt", 23);
    check_file(TORCH_2_13, DATA "cases-2.13.txt", 41);
}

/* All but the zeros of the data is compared. */
static void same_bytes_as_torch_above_4_gib(void)
{
    check_file(TORCH_1_13, DATA "huge.txt", 6);
    check_file(TORCH_2_13, DATA "huge-2.13.txt", 6);
}

static void folder_is_the_name_without_suffix(void)
{
    static const char *const rows[][2] = {
        {"pytorch_model-00001-of-00002.bin", "pytorch_model-00001-of-00002"},
        {"/a.b/c.d.e", "c.d"},
        {"x..pt", "x."},
        {"noext", "noext"},
        {"back\\sl.pt", "sl"},
        {"a/b\\c/d.pt", "d"},
        {".hidden", ""},
        {"dir.d/", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n_bytes;
        const char *folder = torch_layout_folder(rows[i][0], &n_bytes);
        EXPECT_U64(n_bytes, strlen(rows[i][1]));
        EXPECT(memcmp(folder, rows[i][1], n_bytes) == 0);
    }
}

static void add_weight(struct torch_case *all, const char *name, const char *dtype, const char *shape)
{
    torch_case_add(all, torch_case_unescape(name), dtype, "-", shape);
}

/* LLaMA 7B in model order, with the buffers that transformers 4.28 saved: inv_freq stays F32 in a half model. */
static void add_llama_7b(struct torch_case *all)
{
    static const char *const layer[][3] = {
        {"self_attn.q_proj.weight", "F16", "4096,4096"}, {"self_attn.k_proj.weight", "F16", "4096,4096"},
        {"self_attn.v_proj.weight", "F16", "4096,4096"}, {"self_attn.o_proj.weight", "F16", "4096,4096"},
        {"self_attn.rotary_emb.inv_freq", "F32", "64"},  {"mlp.gate_proj.weight", "F16", "11008,4096"},
        {"mlp.down_proj.weight", "F16", "4096,11008"},   {"mlp.up_proj.weight", "F16", "11008,4096"},
        {"input_layernorm.weight", "F16", "4096"},       {"post_attention_layernorm.weight", "F16", "4096"},
    };
    add_weight(all, "model.embed_tokens.weight", "F16", "32000,4096");
    for (int i = 0; i < 32; i++) {
        for (size_t k = 0; k < sizeof layer / sizeof layer[0]; k++) {
            char name[128];
            (void)snprintf(name, sizeof name, "model.layers.%d.%s", i, layer[k][0]);
            add_weight(all, name, layer[k][1], layer[k][2]);
        }
    }
    add_weight(all, "model.norm.weight", "F16", "4096");
    add_weight(all, "lm_head.weight", "F16", "32000,4096");
}

/* The sizes of the files that FastChat's apply_delta and Llama-2-7b were published as, in shards of 10GB. */
static void sizes_of_7b_are_the_published_ones(void)
{
    static const uint64_t published[] = {9976634558, 3500315539};
    struct torch_case all = {0};
    add_llama_7b(&all);
    EXPECT_U64(all.n_tensors, 323);
    const struct tensor *shard[512];
    size_t at = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t n_bytes = 0;
        size_t n = 0;
        while (at < all.n_tensors && all.tensors[at].n_bytes <= 10000000000 - n_bytes) {
            n_bytes += all.tensors[at].n_bytes;
            shard[n++] = &all.tensors[at++];
        }
        char name[64];
        (void)snprintf(name, sizeof name, "pytorch_model-%05d-of-00002.bin", i + 1);
        struct torch_layout layout;
        const struct torch_dict dict = {.tensors = shard, .n_tensors = n};
        if (EXPECT(torch_layout_build(TORCH_1_13, name, &dict, &layout, NULL) == LLAVAMED_OK)) {
            EXPECT_U64(layout.file_bytes, published[i]);
            torch_layout_deinit(&layout);
        }
    }
    EXPECT_U64(at, all.n_tensors);
    torch_case_deinit(&all);
}

/* Segment i is rendered before the data behind it has a sum. */
static void expect_no_later_sum(const struct torch_layout *layout)
{
    struct torch_layout_sum *sums = calloc(layout->n_stored, sizeof *sums);
    for (size_t i = 0; i < layout->n_stored; i++) {
        size_t n_bytes = torch_layout_segment_bytes(layout, i);
        /* Exactly as large as what may be looked at, for a sanitizer to see. */
        struct torch_layout_sum *known = i == 0 ? NULL : torch_case_memory(NULL, i * sizeof *known);
        for (size_t k = 0; k < i; k++) {
            known[k] = sums[k];
        }
        uint8_t *out = torch_case_memory(NULL, n_bytes);
        memset(out, 0xee, n_bytes);
        torch_layout_render(layout, i, known, out);
        EXPECT(n_bytes >= 34 && out[n_bytes - 1] != 0xee);
        free(out);
        free(known);
    }
    free(sums);
}

static void segments_need_no_later_sum(void)
{
    struct torch_case all = {0};
    for (int i = 0; i < 12; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%d", i);
        add_weight(&all, name, "F16", i == 3 ? "0" : "5");
    }
    const struct tensor *tensors[12];
    for (size_t i = 0; i < 12; i++) {
        tensors[i] = &all.tensors[i];
    }
    const struct torch_dict dict = {.tensors = tensors, .n_tensors = 12};
    for (int profile = TORCH_1_13; profile <= TORCH_2_13; profile++) {
        struct torch_layout layout;
        EXPECT(torch_layout_build((enum torch_profile)profile, "a.pt", &dict, &layout, NULL) == LLAVAMED_OK);
        expect_no_later_sum(&layout);
        torch_layout_deinit(&layout);
    }
    torch_case_deinit(&all);
}

/* ---- The serialization_id ---- */

/* The first half of the ids that torch 2.13 itself writes for n storages; cases-2.13.txt has those of fewer. */
static void names_of_many_records(void)
{
    static const struct {
        size_t n_stored;
        uint64_t want;
    } rows[] = {
        {10268, UINT64_C(5197845867379678408)},   {10269, UINT64_C(15472608696444469965)},
        {20748, UINT64_C(12772365113525635590)},  {20749, UINT64_C(14514283434516974037)},
        {42038, UINT64_C(17977138387186910142)},  {42039, UINT64_C(10939446394079110486)},
        {85224, UINT64_C(3315691797398507142)},   {85225, UINT64_C(7262695473269778230)},
        {172928, UINT64_C(7194492101126038920)},  {172929, UINT64_C(10619400307664360992)},
        {351056, UINT64_C(7303101124205551473)},  {351057, UINT64_C(5890048140527109768)},
        {712692, UINT64_C(17364330235952240510)}, {712693, UINT64_C(2806598442895806879)},
        {958000, UINT64_C(11053699847274433948)},
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        size_t n = rows[row].n_stored + 5;
        uint64_t *hashes = torch_case_memory(NULL, n * sizeof *hashes);
        static const char *const small[] = {"data.pkl", ".format_version", ".storage_alignment", "byteorder",
                                            "version"};
        for (size_t i = 0; i < n; i++) {
            char name[32];
            size_t n_bytes = i < 4       ? (size_t)snprintf(name, sizeof name, "%s", small[i])
                             : i + 1 < n ? (size_t)snprintf(name, sizeof name, "data/%zu", i - 4)
                                         : (size_t)snprintf(name, sizeof name, "%s", small[4]);
            hashes[i] = torch_serialization_hash(name, n_bytes);
        }
        uint64_t names = 0;
        EXPECT(torch_serialization_names(hashes, n, &names, NULL) == LLAVAMED_OK);
        EXPECT_U64(names, rows[row].want);
        free(hashes);
    }
}

/* ---- Refusals ---- */

static void expect_refused(const struct torch_case *all, const char *file_name, enum llavamed_status want,
                           const char *message)
{
    const struct tensor *tensors[8];
    for (size_t i = 0; i < all->n_tensors && i < 8; i++) {
        tensors[i] = &all->tensors[i];
    }
    const struct torch_dict dict = {.tensors = tensors, .owners = all->owners, .n_tensors = all->n_tensors};
    for (int profile = TORCH_1_13; profile <= TORCH_2_13; profile++) {
        struct torch_layout layout = {.file_bytes = 77};
        struct llavamed_error error = {0};
        EXPECT(torch_layout_build((enum torch_profile)profile, file_name, &dict, &layout, &error) == want);
        EXPECT_TEXT(error.message, message);
        EXPECT_U64(layout.file_bytes, 77);
    }
}

static void refuses_names_without_a_folder(void)
{
    struct torch_case all = {0};
    expect_refused(&all, ".bin", LLAVAMED_STATUS_USAGE,
                   ".bin: torch.save could not write under this name (got 0 bytes before the suffix, want 1 to 255)");
    char name[300];
    memset(name, 'x', sizeof name);
    memcpy(name + 256, ".pt", 4);
    struct torch_layout layout;
    const struct torch_dict dict = {.n_tensors = 0};
    EXPECT(torch_layout_build(TORCH_1_13, name, &dict, &layout, NULL) == LLAVAMED_STATUS_USAGE);
    EXPECT(torch_layout_build(TORCH_1_13, name + 1, &dict, &layout, NULL) == LLAVAMED_OK);
    torch_layout_deinit(&layout);
}

static void refuses_what_torch_lacks(void)
{
    struct torch_case all = {0};
    add_weight(&all, "w", "F8_E4M3", "2");
    expect_refused(&all, "a.pt", LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                   "w: a PyTorch file as of torch 1.13 cannot hold float8_e4m3fn");
    torch_case_deinit(&all);
    add_weight(&all, "w", "U8", "0,9223372036854775808");
    expect_refused(&all, "a.pt", LLAVAMED_STATUS_SHAPE_INVALID,
                   "w: torch has no tensor of shape [0, 9223372036854775808]: too large");
    torch_case_deinit(&all);
    add_weight(&all, "w", "U8", "0,4294967296,2147483648");
    expect_refused(&all, "a.pt", LLAVAMED_STATUS_SHAPE_INVALID,
                   "w: torch has no tensor of shape [0, 4294967296, 2147483648]: too large");
    torch_case_deinit(&all);
}

static void refuses_a_file_of_2_to_the_63(void)
{
    struct torch_case all = {0};
    add_weight(&all, "w", "U8", "9223372036854775807");
    expect_refused(&all, "a.pt", LLAVAMED_STATUS_SHAPE_INVALID,
                   "the tensors of one PyTorch file do not fit 2^63 bytes");
    torch_case_deinit(&all);
    add_weight(&all, "w", "U8", "9223372036854775808");
    expect_refused(&all, "a.pt", LLAVAMED_STATUS_SHAPE_INVALID,
                   "w: torch has no tensor of shape [9223372036854775808]: too large");
    torch_case_deinit(&all);
    add_weight(&all, "v", "U8", "4611686018427387904");
    add_weight(&all, "w", "U8", "4611686018427387904");
    add_weight(&all, "x", "U8", "9223372036854775807");
    expect_refused(&all, "a.pt", LLAVAMED_STATUS_SHAPE_INVALID,
                   "the tensors of one PyTorch file do not fit 2^63 bytes");
    torch_case_deinit(&all);
}

static void refuses_wrong_owners(void)
{
    static const char *const dtypes[] = {"F16", "F16", "BF16", "F16"};
    static const char *const shapes[] = {"2,3", "6", "6", "7"};
    static const size_t wrong[] = {3, 1, 2, 0};
    for (size_t i_wrong = 0; i_wrong < 4; i_wrong++) {
        struct torch_case all = {0};
        for (size_t i = 0; i < 4; i++) {
            add_weight(&all, "w", dtypes[i], shapes[i]);
        }
        all.owners[1] = 0;
        /* A later one; one that shares itself; another dtype; another size. */
        all.owners[wrong[i_wrong] == 3 ? 0 : 3] = wrong[i_wrong];
        expect_refused(&all, "a.pt", LLAVAMED_STATUS_INTERNAL,
                       "w: planned to share a storage that is not one of its own kind before it");
        torch_case_deinit(&all);
    }
}

static void refuses_a_pickle_that_nobody_reads(void)
{
    struct torch_case all = {0};
    char name[1001];
    memset(name, 'n', sizeof name);
    name[1000] = '\0';
    add_weight(&all, name, "U8", "1");
    size_t n = PICKLE_BYTES_MAX / 1000;
    const struct tensor **tensors = calloc(n, sizeof *tensors);
    for (size_t i = 0; i < n; i++) {
        tensors[i] = &all.tensors[0];
    }
    struct torch_layout layout;
    struct llavamed_error error = {0};
    const struct torch_dict dict = {.tensors = tensors, .n_tensors = n};
    EXPECT(torch_layout_build(TORCH_1_13, "a.pt", &dict, &layout, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT_TEXT(error.message, "too many tensors for one PyTorch file (want a pickle of at most 67108864 bytes)");
    EXPECT_TEXT(error.hint, "make the shards smaller with --max-shard-size");
    free(tensors);
    torch_case_deinit(&all);
}

int main(void)
{
    CASE(same_bytes_as_torch);
    CASE(same_bytes_as_torch_above_4_gib);
    CASE(folder_is_the_name_without_suffix);
    CASE(sizes_of_7b_are_the_published_ones);
    CASE(segments_need_no_later_sum);
    CASE(names_of_many_records);
    CASE(refuses_names_without_a_folder);
    CASE(refuses_what_torch_lacks);
    CASE(refuses_a_file_of_2_to_the_63);
    CASE(refuses_wrong_owners);
    CASE(refuses_a_pickle_that_nobody_reads);
    return harness_end();
}
