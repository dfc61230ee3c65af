/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every set of kernels that this machine has against ref, bit for bit, counts included.
 *
 *     checkkern [--isa ref|avx2|avx512|neon] [--seed N] [--long] [--bench]
 *
 * The short run covers every length up to four vectors and beyond, every misalignment, guard pages on both sides, the
 * aliases that kernel.h allows, special values with each other, all 65,536 values of the 16-bit types, and ref itself
 * against the host's arithmetic. --long adds every pair of 16-bit values, every fp32 value for the narrowings, and 10^9
 * pairs each of F32 and F64. --bench prints gigabytes (read and written) per second instead.
 *
 * Exit status: 0 all passed, 1 something failed, 2 usage, 77 the set that --isa names cannot run here.
 */
#include "kernel/bench.h"
#include "kernel/long.h"
#include "kernel/operation.h"
#include "kernel/pairs.h"

#include <errno.h>
#include <sys/mman.h>

static const char *const isa_names[KERNEL_ISA_COUNT] = {"ref", "avx2", "avx512", "neon"};

/* Those that this build should have. */
static const enum kernel_isa isas_of_build[] = {
#if defined(__x86_64__)
    KERNEL_ISA_AVX2,
    KERNEL_ISA_AVX512,
#elif defined(__aarch64__)
    KERNEL_ISA_NEON,
#endif
    KERNEL_ISA_REF,
};

enum { VECTOR_BYTES = 64, PAINT = 0x88 };

static uint64_t seed = 1;
static int n_passed;
static int n_failed;
static int n_skipped;

static void report(bool passed, const char *set_name, const char *what)
{
    if (passed) {
        n_passed++;
    } else {
        n_failed++;
        printf("FAILED %s: %s\n", set_name, what);
    }
}

/* ---- Buffers with an inaccessible page on either side ---- */

struct guarded {
    uint8_t *begin;
    size_t n_bytes;
};

static struct guarded guarded_create(size_t n_bytes_min)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t n_bytes = (n_bytes_min + page - 1) / page * page;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    uint8_t *map = mmap(NULL, n_bytes + 2 * page, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) != 0 ||
        mprotect(map + page + n_bytes, page, PROT_NONE) != 0) {
        (void)must(NULL);
    }
    return (struct guarded){map + page, n_bytes};
}

static void guarded_free(struct guarded *buffer)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap(buffer->begin - page, buffer->n_bytes + 2 * page);
}

/* Where in a guarded buffer n_bytes begin: `offset` bytes after its start, or before the last place that fits. */
struct place {
    bool at_end;
    size_t offset;
};

static uint8_t *locate(const struct guarded *buffer, struct place place, size_t n_bytes)
{
    size_t last = buffer->n_bytes - n_bytes;
    return buffer->begin + (place.at_end ? last - place.offset : place.offset);
}

enum alias { ALIAS_NONE, ALIAS_BASE, ALIAS_DELTA, ALIAS_SOURCES, ALIAS_ALL, ALIAS_COUNT };

struct arena {
    struct guarded dst;
    struct guarded a;
    struct guarded b;
    uint8_t *want;
    uint8_t *a_copy;
    uint8_t *b_copy;
};

static struct arena arena_create(size_t n_bytes)
{
    return (struct arena){guarded_create(n_bytes), guarded_create(n_bytes), guarded_create(n_bytes),
                          must(malloc(n_bytes)),   must(malloc(n_bytes)),   must(malloc(n_bytes))};
}

static void arena_free(struct arena *arena)
{
    guarded_free(&arena->dst);
    guarded_free(&arena->a);
    guarded_free(&arena->b);
    free(arena->want);
    free(arena->a_copy);
    free(arena->b_copy);
}

/* The bytes of `buffer` outside [from, from + n_bytes) still have their paint, up to 2 vectors away. */
static bool paint_holds(const struct guarded *buffer, const uint8_t *from, size_t n_bytes)
{
    const uint8_t *end = buffer->begin + buffer->n_bytes;
    for (const uint8_t *p = from; p > buffer->begin && from - p < 2 * VECTOR_BYTES; p--) {
        if (p[-1] != PAINT) {
            return false;
        }
    }
    for (const uint8_t *p = from + n_bytes; p < end && p - (from + n_bytes) < 2 * VECTOR_BYTES; p++) {
        if (*p != PAINT) {
            return false;
        }
    }
    return true;
}

static void paint_around(const struct guarded *buffer, const uint8_t *from, size_t n_bytes)
{
    size_t before = (size_t)(from - buffer->begin);
    size_t after = buffer->n_bytes - before - n_bytes;
    before = before < 2 * VECTOR_BYTES ? before : 2 * VECTOR_BYTES;
    after = after < 2 * VECTOR_BYTES ? after : 2 * VECTOR_BYTES;
    memset(buffer->begin + (size_t)(from - buffer->begin) - before, PAINT, before);
    memset(buffer->begin + (size_t)(from - buffer->begin) + n_bytes, PAINT, after);
}

static bool alias_allowed(struct operation op, enum alias alias)
{
    bool same_width = type_infos[op.from].n_bytes == type_infos[op.to].n_bytes;
    return takes_two(op) || alias == ALIAS_NONE || (alias == ALIAS_BASE && same_width);
}

struct layout {
    struct place dst;
    struct place a;
    struct place b;
    enum alias alias;
};

/* One run on a_copy and b_copy, placed as `layout` says. */
static bool try_layout(struct arena *arena, const struct kernel_set *set, struct operation op, size_t n,
                       const struct layout *layout)
{
    size_t src_bytes = n * type_infos[op.from].n_bytes;
    size_t dst_bytes = n * type_infos[op.to].n_bytes;
    enum alias alias = layout->alias;
    bool one_source = alias == ALIAS_SOURCES || alias == ALIAS_ALL;
    uint8_t *a = locate(&arena->a, layout->a, src_bytes);
    uint8_t *b = one_source ? a : locate(&arena->b, layout->b, src_bytes);
    uint8_t *dst = locate(&arena->dst, layout->dst, dst_bytes);
    const struct guarded *dst_buffer = &arena->dst;
    if (alias == ALIAS_BASE || alias == ALIAS_ALL) {
        dst = a;
        dst_buffer = &arena->a;
    } else if (alias == ALIAS_DELTA) {
        dst = b;
        dst_buffer = &arena->b;
    }
    memcpy(b, arena->b_copy, src_bytes);
    memcpy(a, arena->a_copy, src_bytes);
    if (dst_buffer == &arena->dst) {
        memset(dst, PAINT, dst_bytes);
    }
    paint_around(dst_buffer, dst, dst_bytes);

    const uint8_t *b_copy = one_source ? arena->a_copy : arena->b_copy;
    struct outcome want = run(kernel_get(KERNEL_ISA_REF), op, arena->want, arena->a_copy, b_copy, n);
    struct outcome got = run(set, op, dst, a, b, n);
    struct trial trial = {set, op, arena->a_copy, b_copy, n};
    bool passed = same(&trial, dst, &got, arena->want, &want);
    if (!paint_holds(dst_buffer, dst, dst_bytes)) {
        printf("%s wrote outside of its %zu elements\n", set->name, n);
        passed = false;
    }
    bool sources_kept = (dst == a || memcmp(a, arena->a_copy, src_bytes) == 0) &&
                        (dst == b || one_source || memcmp(b, arena->b_copy, src_bytes) == 0);
    if (!sources_kept) {
        printf("%s changed a source of %zu elements\n", set->name, n);
        passed = false;
    }
    return passed;
}

static void fill(struct arena *arena, enum kernel_type type, size_t n, uint64_t salt)
{
    for (size_t i = 0; i < n; i++) {
        struct pair_bits pair = pair_make(type, seed + (salt << 32), i);
        put_bits(arena->a_copy, i, pair.a, type);
        put_bits(arena->b_copy, i, pair.b, type);
    }
}

/* ---- The short run ---- */

static bool check_lengths(struct arena *arena, const struct kernel_set *set, struct operation op)
{
    static const size_t large[] = {257, 263, 509, 521, 1021, 1031, 4093, 4099, 65521, 1200007};
    const size_t n_small = 4 * VECTOR_BYTES / type_infos[op.from].n_bytes + 2;
    bool passed = true;
    for (size_t i = 0; i < n_small + sizeof large / sizeof large[0]; i++) {
        size_t n = i < n_small ? i : large[i - n_small];
        fill(arena, op.from, n, i);
        for (int alias = 0; alias < ALIAS_COUNT; alias++) {
            for (int at_end = 0; at_end < 2; at_end++) {
                struct place place = {at_end != 0, 0};
                struct layout layout = {place, place, place, (enum alias)alias};
                passed = (!alias_allowed(op, layout.alias) || try_layout(arena, set, op, n, &layout)) && passed;
            }
        }
    }
    return passed;
}

static bool check_alignments(struct arena *arena, const struct kernel_set *set, struct operation op)
{
    const size_t n = 3 * VECTOR_BYTES / 2 + 7;
    bool passed = true;
    fill(arena, op.from, n, 1000);
    for (size_t i = 0; i < 3 * VECTOR_BYTES + 500; i++) {
        uint64_t random = random_bits(seed, i);
        size_t one = i % VECTOR_BYTES;
        size_t turn = i / VECTOR_BYTES;
        struct layout layout = {.alias = ALIAS_NONE};
        layout.dst.offset = turn == 0 ? one : 0;
        layout.a.offset = turn == 1 ? one : 0;
        layout.b.offset = turn == 2 ? one : 0;
        if (turn >= 3) {
            layout = (struct layout){{random >> 32 & 1, random % VECTOR_BYTES},
                                     {random >> 33 & 1, (random >> 8) % VECTOR_BYTES},
                                     {random >> 34 & 1, (random >> 16) % VECTOR_BYTES},
                                     (enum alias)((random >> 24) % ALIAS_COUNT)};
        }
        passed = (!alias_allowed(op, layout.alias) || try_layout(arena, set, op, n, &layout)) && passed;
    }
    return passed;
}

/* Each special with each, and each of them alone for long enough to overflow a careless counter. */
static bool check_specials(struct arena *arena, const struct kernel_set *set, struct operation op)
{
    static const struct layout at_start = {{false, 0}, {false, 0}, {false, 0}, ALIAS_NONE};
    uint64_t specials[SPECIALS_MAX];
    const size_t n_specials = specials_make(op.from, specials);
    for (size_t i = 0; i < n_specials * n_specials; i++) {
        put_bits(arena->a_copy, i, specials[i / n_specials], op.from);
        put_bits(arena->b_copy, i, specials[i % n_specials], op.from);
    }
    bool passed = try_layout(arena, set, op, n_specials * n_specials, &at_start);

    const uint64_t infinity = type_infinity(op.from);
    const uint64_t alone[] = {0, 1, infinity - 1, infinity, infinity + 1};
    const size_t n = 1200007;
    for (size_t k = 0; k < sizeof alone / sizeof alone[0]; k++) {
        for (size_t i = 0; i < n; i++) {
            put_bits(arena->a_copy, i, infinity - 1, op.from);
            put_bits(arena->b_copy, i, alone[k], op.from);
        }
        memcpy(arena->a_copy, arena->b_copy, takes_two(op) ? 0 : n * type_infos[op.from].n_bytes);
        passed = try_layout(arena, set, op, n, &at_start) && passed;
    }
    return passed;
}

/* Conversions of all 65,536 values. */
static bool check_every_16(struct arena *arena, const struct kernel_set *set, struct operation op)
{
    static const struct layout at_start = {{false, 0}, {false, 0}, {false, 0}, ALIAS_NONE};
    for (size_t i = 0; i < 65536; i++) {
        put_bits(arena->a_copy, i, i, op.from);
        put_bits(arena->b_copy, i, 65535 - i, op.from);
    }
    return try_layout(arena, set, op, 65536, &at_start);
}

static void check_operation(struct arena *arena, const struct kernel_set *set, struct operation op)
{
    char name[32];
    char what[64];
    name_operation(op, name, sizeof name);
    (void)snprintf(what, sizeof what, "%s, lengths", name);
    report(check_lengths(arena, set, op), set->name, what);
    (void)snprintf(what, sizeof what, "%s, alignments", name);
    report(check_alignments(arena, set, op), set->name, what);
    (void)snprintf(what, sizeof what, "%s, specials", name);
    report(check_specials(arena, set, op), set->name, what);
    if (type_infos[op.from].n_bytes == 2) {
        (void)snprintf(what, sizeof what, "%s, all values", name);
        report(check_every_16(arena, set, op), set->name, what);
    }
}

static void check_set(struct arena *arena, const struct kernel_set *set)
{
    for (int from = 0; from < KERNEL_TYPE_COUNT; from++) {
        for (int to = 0; to < KERNEL_TYPE_COUNT; to++) {
            check_operation(arena, set, (struct operation){(enum kernel_type)from, (enum kernel_type)to, false});
        }
        check_operation(arena, set, (struct operation){(enum kernel_type)from, (enum kernel_type)from, true});
    }
}

/* ---- ref against the host's own arithmetic, the one thing here that ref could not have copied ---- */

/* a + b, or a - b. */
static uint64_t host_f32(uint64_t a_bits, uint64_t b_bits, bool subtracts)
{
    uint32_t a_32 = (uint32_t)a_bits;
    uint32_t b_32 = (uint32_t)b_bits;
    float a;
    float b;
    float result;
    memcpy(&a, &a_32, sizeof a_32);
    memcpy(&b, &b_32, sizeof b_32);
    result = subtracts ? a - b : a + b;
    uint32_t bits;
    memcpy(&bits, &result, sizeof bits);
    return result == result ? bits : 0x7fc00000;
}

static uint64_t host_f64(uint64_t a_bits, uint64_t b_bits, bool subtracts)
{
    double a;
    double b;
    double result;
    memcpy(&a, &a_bits, sizeof a_bits);
    memcpy(&b, &b_bits, sizeof b_bits);
    result = subtracts ? a - b : a + b;
    uint64_t bits;
    memcpy(&bits, &result, sizeof bits);
    return result == result ? bits : UINT64_C(0x7ff8000000000000);
}

typedef uint64_t host_fn(uint64_t a_bits, uint64_t b_bits, bool subtracts);

static bool check_ref_against(struct arena *arena, struct operation op, host_fn *host)
{
    const size_t n = 1000000;
    fill(arena, op.from, n, 2000);
    struct outcome outcome = run(kernel_get(KERNEL_ISA_REF), op, arena->want, arena->a_copy, arena->b_copy, n);
    size_t n_wrong = 0;
    uint64_t n_lossy = 5; /* where run() begins */
    for (size_t i = 0; i < n; i++) {
        uint64_t a = get_bits(arena->a_copy, i, op.from);
        uint64_t b = get_bits(arena->b_copy, i, op.from);
        uint64_t result = op.subtracts ? host(b, a, true) : host(a, b, false);
        n_wrong += get_bits(arena->want, i, op.from) != result;
        n_lossy += op.subtracts && host(a, result, false) != b;
    }
    return n_wrong == 0 && outcome.counts.n_lossy == n_lossy;
}

static bool check_ref_f64_to_f32(struct arena *arena)
{
    const size_t n = 1000000;
    for (size_t i = 0; i < n; i++) {
        /* Exponents from below the smallest subnormal of F32 to above its largest value. */
        uint64_t exponent = 1023 - 155 + random_bits(seed, 2 * i) % 290;
        put_bits(arena->a_copy, i, with_exponent(random_bits(seed, 2 * i + 1), exponent, KERNEL_F64), KERNEL_F64);
    }
    (void)run(kernel_get(KERNEL_ISA_REF), (struct operation){KERNEL_F64, KERNEL_F32, false}, arena->want,
              arena->a_copy, NULL, n);
    size_t n_wrong = 0;
    for (size_t i = 0; i < n; i++) {
        double wide;
        memcpy(&wide, arena->a_copy + i * sizeof wide, sizeof wide);
        float narrow = (float)wide;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        n_wrong += get_bits(arena->want, i, KERNEL_F32) != bits;
    }
    return n_wrong == 0;
}

static void check_ref(struct arena *arena)
{
    for (int subtracts = 0; subtracts < 2; subtracts++) {
        struct operation in_f32 = {KERNEL_F32, KERNEL_F32, subtracts != 0};
        struct operation in_f64 = {KERNEL_F64, KERNEL_F64, subtracts != 0};
        const char *name = subtracts ? "subtract against the host" : "add against the host";
        report(check_ref_against(arena, in_f32, host_f32), "ref f32", name);
        report(check_ref_against(arena, in_f64, host_f64), "ref f64", name);
    }
    report(check_ref_f64_to_f32(arena), "ref", "f64 to f32 against the host");
}

/* ---- Command line ---- */

struct options {
    const char *isa; /* NULL: all */
    bool long_run;
    bool bench;
};

static bool parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--long") == 0) {
            options->long_run = true;
        } else if (strcmp(argv[i], "--bench") == 0) {
            options->bench = true;
        } else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc) {
            options->isa = argv[++i];
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            char *end;
            errno = 0;
            seed = strtoull(argv[++i], &end, 0);
            if (errno != 0 || end == argv[i] || *end != 0) {
                return false;
            }
        } else {
            return false;
        }
    }
    return true;
}

/* The sets to test; tells which of this build the machine lacks. */
static size_t choose_sets(const char *isa, const struct kernel_set *sets[KERNEL_ISA_COUNT])
{
    size_t n_sets = 0;
    for (size_t i = 0; i < sizeof isas_of_build / sizeof isas_of_build[0]; i++) {
        const char *name = isa_names[isas_of_build[i]];
        if (isa != NULL && strcmp(isa, name) != 0) {
            continue;
        }
        const struct kernel_set *set = kernel_get(isas_of_build[i]);
        if (set == NULL) {
            printf("SKIPPED %s: this machine lacks it\n", name);
            n_skipped++;
            continue;
        }
        report(strcmp(set->name, name) == 0, name, "name of the set");
        sets[n_sets++] = set;
    }
    return n_sets;
}

static void check_all(const struct kernel_set *const *sets, size_t n_sets, bool long_run)
{
    struct arena arena = arena_create(8 * 1200064);
    check_ref(&arena);
    for (size_t i = 0; i < n_sets; i++) {
        check_set(&arena, sets[i]);
    }
    arena_free(&arena);
    for (size_t i = 0; long_run && i < LONG_STAGE_COUNT; i++) {
        double start = seconds_now();
        uint64_t n_bad = long_stage(&long_stages[i], sets, n_sets, seed);
        printf("%s: %" PRIu64 " elements, %.0f s\n", long_stages[i].name, long_stages[i].n_items * LONG_ITEM_ELEMS,
               seconds_now() - start);
        (void)fflush(stdout);
        report(n_bad == 0, "long", long_stages[i].name);
    }
}

int main(int argc, char **argv)
{
    struct options options = {NULL, false, false};
    if (!parse(argc, argv, &options)) {
        (void)fprintf(stderr, "usage: checkkern [--isa NAME] [--seed N] [--long] [--bench]\n");
        return 2;
    }
    const struct kernel_set *sets[KERNEL_ISA_COUNT];
    size_t n_sets = choose_sets(options.isa, sets);
    if (n_sets == 0) {
        (void)fprintf(stderr, "checkkern: %s: not in this build or not on this machine\n", options.isa);
        return 77;
    }
    if (options.bench) {
        bench_all(sets, n_sets);
        return 0;
    }
    printf("best here: %s\n", kernel_best()->name);
    check_all(sets, n_sets, options.long_run);
    printf("%d passed, %d failed", n_passed, n_failed);
    if (n_skipped > 0) {
        printf(", %d skipped", n_skipped);
    }
    printf("\n");
    return n_failed == 0 ? 0 : 1;
}
