/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernels against what PyTorch computed on a CPU (tests/data/kernel, made by tests/tools/make_kernel_data.py): ref
 * and every other set that this machine has.
 */
#include "kernel/kernel.h"
#include "kernel/pairs.h"
#include "unit/harness.h"

#define DATA "tests/data/kernel/"

static const struct kernel_set *set;

struct bytes {
    uint8_t *data;
    size_t n_bytes;
};

static struct bytes read_data(const char *prefix, enum kernel_type type)
{
    char path[128];
    (void)snprintf(path, sizeof path, DATA "%s_%s.bin", prefix, type_infos[type].name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    struct bytes bytes = {malloc(1 << 20), 0};
    bytes.n_bytes = fread(bytes.data, 1, 1 << 20, file);
    EXPECT(bytes.n_bytes > 0 && bytes.n_bytes < 1 << 20);
    (void)fclose(file);
    return bytes;
}

/* Finds the line of summary.txt that starts with `key`, and scans what follows it. */
static size_t read_summary(const char *key, uint64_t numbers[5])
{
    FILE *file = fopen(DATA "summary.txt", "r");
    if (!EXPECT(file != NULL)) {
        return 0;
    }
    char line[256];
    size_t n_numbers = 0;
    while (n_numbers == 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            char *p = line + strlen(key);
            while (n_numbers < 5 && *p == ' ') {
                numbers[n_numbers++] = strtoull(p, &p, 10);
            }
        }
    }
    (void)fclose(file);
    return n_numbers;
}

static uint64_t fingerprint(const void *array, size_t n, enum kernel_type type)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += random_bits(get_bits(array, i, type), i);
    }
    return sum;
}

static void check_records(enum kernel_type type, bool subtracts)
{
    struct bytes file = read_data(subtracts ? "subtract" : "add", type);
    const size_t n_bytes = type_infos[type].n_bytes;
    const size_t n = file.n_bytes / (3 * n_bytes);
    EXPECT_U64(file.n_bytes, n * 3 * n_bytes);
    EXPECT(n > 2000);
    uint8_t *base = malloc(n * n_bytes);
    uint8_t *other = malloc(n * n_bytes);
    uint8_t *results = malloc(n * n_bytes);
    for (size_t i = 0; i < n; i++) {
        put_bits(base, i, get_bits(file.data, 3 * i, type), type);
        put_bits(other, i, get_bits(file.data, 3 * i + 1, type), type);
    }
    struct kernel_counts counts = {0};
    (subtracts ? set->subtract : set->add)[type](results, base, other, n, &counts);
    size_t n_wrong = 0;
    for (size_t i = 0; i < n; i++) {
        n_wrong += get_bits(results, i, type) != get_bits(file.data, 3 * i + 2, type);
    }
    EXPECT_U64(n_wrong, 0);

    char key[32];
    (void)snprintf(key, sizeof key, "%s %s", subtracts ? "subtract" : "add", type_infos[type].name);
    uint64_t want[5] = {0};
    EXPECT_U64(read_summary(key, want), subtracts ? 5 : 4);
    EXPECT_U64(counts.n_nan, want[0]);
    EXPECT_U64(counts.n_infinite, want[1]);
    EXPECT_U64(counts.n_rounded, want[2]);
    EXPECT_U64(counts.n_delta_zero, want[3]);
    EXPECT_U64(counts.n_lossy, want[4]);
    free(base);
    free(other);
    free(results);
    free(file.data);
}

static void check_pairs(enum kernel_type type, bool subtracts)
{
    char key[32];
    (void)snprintf(key, sizeof key, "%s %s", subtracts ? "minus" : "pairs", type_infos[type].name);
    uint64_t want[5] = {0};
    size_t n_want = subtracts ? 4 : 3;
    if (!EXPECT(read_summary(key, want) == n_want && want[1] > 0 && want[1] <= 1 << 24)) {
        return;
    }
    const size_t n = (size_t)want[1];
    uint8_t *base = malloc(n * type_infos[type].n_bytes);
    uint8_t *delta = malloc(n * type_infos[type].n_bytes);
    for (size_t i = 0; i < n; i++) {
        struct pair_bits pair = pair_make(type, want[0], i);
        put_bits(base, i, pair.a, type);
        put_bits(delta, i, pair.b, type);
    }
    struct kernel_counts counts = {0};
    (subtracts ? set->subtract : set->add)[type](base, base, delta, n, &counts);
    EXPECT_U64(fingerprint(base, n, type), want[2]);
    EXPECT_U64(counts.n_lossy, want[3]);
    EXPECT(counts.n_rounded > n / 10 && counts.n_nan > 0 && counts.n_infinite > 0);
    free(base);
    free(delta);
}

/* One column of convert_FROM.bin; `column_offset` is where it lies in a record. */
static void check_conversion(const struct bytes *file, enum kernel_type from, enum kernel_type to, size_t column_offset)
{
    size_t record_bytes = 0;
    for (int type = 0; type < KERNEL_TYPE_COUNT; type++) {
        record_bytes += type_infos[type].n_bytes;
    }
    const size_t n = file->n_bytes / record_bytes;
    EXPECT_U64(file->n_bytes, n * record_bytes);
    EXPECT(n > 500);
    uint8_t *src = malloc(n * type_infos[from].n_bytes);
    uint8_t *dst = malloc(n * type_infos[to].n_bytes);
    for (size_t i = 0; i < n; i++) {
        put_bits(src, i, get_bits(file->data + i * record_bytes, 0, from), from);
    }
    uint64_t n_overflow = 0;
    set->convert[from][to](dst, src, n, &n_overflow);
    size_t n_wrong = 0;
    for (size_t i = 0; i < n; i++) {
        n_wrong += get_bits(dst, i, to) != get_bits(file->data + i * record_bytes + column_offset, 0, to);
    }
    EXPECT_U64(n_wrong, 0);
    char key[32];
    (void)snprintf(key, sizeof key, "convert %s %s", type_infos[from].name, type_infos[to].name);
    uint64_t want[5] = {0};
    EXPECT_U64(read_summary(key, want), 1);
    EXPECT_U64(n_overflow, want[0]);
    free(src);
    free(dst);
}

static void check_every_value(enum kernel_type from, enum kernel_type to)
{
    static uint8_t src[2 * 65536];
    static uint8_t dst[8 * 65536];
    for (size_t i = 0; i < 65536; i++) {
        put_bits(src, i, i, from);
    }
    uint64_t n_overflow = 0;
    set->convert[from][to](dst, src, 65536, &n_overflow);
    char key[32];
    (void)snprintf(key, sizeof key, "every %s %s", type_infos[from].name, type_infos[to].name);
    uint64_t want[5] = {0};
    EXPECT_U64(read_summary(key, want), 1);
    EXPECT_U64(fingerprint(dst, 65536, to), want[0]);
}

static void test_sums_and_differences_and_their_counts(void)
{
    for (int type = 0; type < KERNEL_TYPE_COUNT; type++) {
        check_records((enum kernel_type)type, false);
        check_records((enum kernel_type)type, true);
    }
}

static void test_a_million_pairs_of_each_type(void)
{
    for (int type = 0; type < KERNEL_TYPE_COUNT; type++) {
        check_pairs((enum kernel_type)type, false);
        check_pairs((enum kernel_type)type, true);
    }
}

static void test_conversions(void)
{
    for (int from = 0; from < KERNEL_TYPE_COUNT; from++) {
        struct bytes file = read_data("convert", (enum kernel_type)from);
        size_t column_offset = type_infos[from].n_bytes;
        for (int to = 0; to < KERNEL_TYPE_COUNT; to++) {
            if (to != from) {
                check_conversion(&file, (enum kernel_type)from, (enum kernel_type)to, column_offset);
                column_offset += type_infos[to].n_bytes;
            }
        }
        free(file.data);
    }
}

static void test_every_16_bit_value_converted(void)
{
    for (int from = KERNEL_F16; from <= KERNEL_BF16; from++) {
        for (int to = 0; to < KERNEL_TYPE_COUNT; to++) {
            if (to != from) {
                check_every_value((enum kernel_type)from, (enum kernel_type)to);
            }
        }
    }
}

int main(void)
{
    for (int isa = 0; isa < KERNEL_ISA_COUNT; isa++) {
        set = kernel_get((enum kernel_isa)isa);
        if (set != NULL) {
            printf("%s\n", set->name);
            CASE(test_sums_and_differences_and_their_counts);
            CASE(test_a_million_pairs_of_each_type);
            CASE(test_conversions);
            CASE(test_every_16_bit_value_converted);
        }
    }
    return harness_end();
}
