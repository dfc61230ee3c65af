/* SPDX-License-Identifier: Apache-2.0 */
/* Whether views have elements in common, against the sets of their elements written down. */
#include "source/place.h"

#include "unit/harness.h"

#define STORAGE_ELEMS 4096
#define RANDOM_PAIRS 20000

static uint64_t seed = 20230601;
static uint64_t steps = UINT64_MAX; /* no bound but that of each question */

/* Less than `n`. */
static uint64_t draw(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

static struct source_place view_of(unsigned rank, const uint64_t *shape, const uint64_t *strides, uint64_t offset_elems)
{
    struct source_place place = {.storage = 3, .storage_bytes = (uint64_t)2 * STORAGE_ELEMS, .row_major = false};
    place.view.rank = rank;
    place.view.elem_bytes = 2;
    place.view.offset = 2 * offset_elems;
    for (unsigned i = 0; i < rank; i++) {
        place.view.shape[i] = shape[i];
        place.view.strides[i] = strides[i];
    }
    return place;
}

/* How often each element of the storage is one of the view; the most of these. */
static unsigned tally(const struct source_place *place, unsigned char counts[STORAGE_ELEMS])
{
    uint64_t index[TENSOR_RANK_MAX] = {0};
    unsigned most = 0;
    uint64_t n = 1;
    memset(counts, 0, STORAGE_ELEMS);
    for (unsigned i = 0; i < place->view.rank; i++) {
        n *= place->view.shape[i];
    }
    for (; n > 0; n--) {
        uint64_t at = place->view.offset / 2;
        for (unsigned i = 0; i < place->view.rank; i++) {
            at += index[i] * place->view.strides[i];
        }
        counts[at] = (unsigned char)(counts[at] < 255 ? counts[at] + 1 : 255);
        most = counts[at] > most ? counts[at] : most;
        for (unsigned i = 0; i < place->view.rank && ++index[i] == place->view.shape[i]; i++) {
            index[i] = 0;
        }
    }
    return most;
}

static bool have_common(const struct source_place *a, const struct source_place *b)
{
    unsigned char of_a[STORAGE_ELEMS];
    unsigned char of_b[STORAGE_ELEMS];
    (void)tally(a, of_a);
    (void)tally(b, of_b);
    for (size_t i = 0; i < STORAGE_ELEMS; i++) {
        if (of_a[i] > 0 && of_b[i] > 0) {
            return true;
        }
    }
    return false;
}

/* Inside the storage; strides nested as in slices, or any at all. */
static struct source_place random_view(bool repeating)
{
    uint64_t shape[4];
    uint64_t strides[4];
    unsigned rank = (unsigned)draw(5);
    uint64_t wide = 1 + draw(3);
    bool nested = draw(2) == 0;
    for (unsigned i = 0; i < rank; i++) {
        shape[i] = draw(40) == 0 ? 0 : 2 + draw(4);
        strides[i] = nested ? wide : 1 + draw(30);
        strides[i] = repeating && draw(8) == 0 ? 0 : strides[i];
        wide *= (shape[i] == 0 ? 1 : shape[i]) + draw(2);
    }
    return view_of(rank, shape, strides, draw(200));
}

static void random_views(void)
{
    size_t n_common = 0;
    size_t n_selves = 0;
    unsigned char counts[STORAGE_ELEMS];
    for (size_t i = 0; i < RANDOM_PAIRS; i++) {
        struct source_place a = random_view(true);
        struct source_place b = random_view(true);
        bool common = have_common(&a, &b);
        n_common += common;
        EXPECT(source_place_overlap(&a, &b, &steps) == common);
        EXPECT(source_place_overlap(&b, &a, &steps) == common);
        struct source_place c = random_view(false);
        bool itself = tally(&c, counts) > 1;
        n_selves += itself;
        EXPECT(!source_place_repeats(&c));
        EXPECT(source_place_overlaps_itself(&c, &steps) == itself);
    }
    EXPECT(n_common > RANDOM_PAIRS / 10 && n_common < RANDOM_PAIRS * 9 / 10);
    EXPECT(n_selves > RANDOM_PAIRS / 10 && n_selves < RANDOM_PAIRS * 9 / 10);
}

/* Left and right half of the columns of a large matrix; even and odd rows; one column too many. */
static void large_views(void)
{
    const uint64_t halves[] = {32000, 4096};
    const uint64_t wide[] = {8192, 1};
    struct source_place left = view_of(2, halves, wide, 0);
    struct source_place right = view_of(2, halves, wide, 4096);
    struct source_place between = view_of(2, halves, wide, 4095);
    left.storage_bytes = right.storage_bytes = between.storage_bytes = UINT64_C(2) * 32000 * 8192 + 16;
    EXPECT(!source_place_overlap(&left, &right, &steps));
    EXPECT(source_place_overlap(&left, &between, &steps));
    EXPECT(source_place_overlap(&between, &right, &steps));
    const uint64_t twice[] = {16384, 1};
    const uint64_t rows[] = {16000, 8192};
    struct source_place even = view_of(2, rows, twice, 0);
    struct source_place odd = view_of(2, rows, twice, 8192);
    even.storage_bytes = odd.storage_bytes = left.storage_bytes;
    EXPECT(!source_place_overlap(&even, &odd, &steps));
    EXPECT(source_place_overlap(&even, &left, &steps));
    EXPECT(!source_place_overlaps_itself(&even, &steps));
    /* The same bytes of two storages are different ones. */
    odd = even;
    odd.storage++;
    EXPECT(source_place_overlap(&even, &even, &steps) && !source_place_overlap(&even, &odd, &steps));
}

static void expanded_views(void)
{
    const uint64_t shape[] = {5, 7};
    struct source_place place = view_of(2, shape, (const uint64_t[]){0, 1}, 2);
    EXPECT(source_place_repeats(&place));
    EXPECT(!source_place_overlaps_itself(&place, &steps));
    EXPECT_U64(source_place_end(&place), 2 * (2 + 7));
    place = view_of(2, shape, (const uint64_t[]){2, 1}, 0);
    EXPECT(!source_place_repeats(&place) && source_place_overlaps_itself(&place, &steps));
    EXPECT_U64(source_place_end(&place), 2 * (8 + 6 + 1));
    place = view_of(2, (const uint64_t[]){5, 0}, (const uint64_t[]){2, 1}, 9);
    EXPECT(!source_place_overlaps_itself(&place, &steps) && !source_place_overlap(&place, &place, &steps));
    EXPECT_U64(source_place_end(&place), 18);
    place = view_of(0, NULL, NULL, 4);
    EXPECT(!source_place_overlaps_itself(&place, &steps) && source_place_overlap(&place, &place, &steps));
}

/* What nobody makes may take no time: 16 dimensions, strides that fit nothing. */
static void endless_views(void)
{
    uint64_t shape[TENSOR_RANK_MAX];
    uint64_t strides[TENSOR_RANK_MAX];
    for (unsigned i = 0; i < TENSOR_RANK_MAX; i++) {
        shape[i] = 1000;
        strides[i] = UINT64_C(1000003) * (i + 7) * 2;
    }
    struct source_place a = view_of(TENSOR_RANK_MAX, shape, strides, 0);
    struct source_place b = view_of(TENSOR_RANK_MAX, shape, strides, 2);
    a.storage_bytes = b.storage_bytes = UINT64_C(1) << 50;
    EXPECT(source_place_overlaps_itself(&a, &steps));
    EXPECT(!source_place_overlap(&a, &b, &steps)); /* all strides are multiples of 2000006 */
    b.view.strides[3]++;
    (void)source_place_overlap(&a, &b, &steps);
    /* Each question takes what it took before; when that is not left, the answer is yes, and nothing is. */
    uint64_t left = UINT64_MAX;
    bool common = source_place_overlap(&a, &b, &left);
    uint64_t taken = UINT64_MAX - left;
    EXPECT(taken > 1000 && taken <= 100000);
    left = 2 * taken + 1000;
    EXPECT(source_place_overlap(&a, &b, &left) == common && source_place_overlap(&a, &b, &left) == common);
    EXPECT_U64(left, 1000);
    EXPECT(source_place_overlap(&a, &b, &left));
    EXPECT_U64(left, 0);
    a.storage_bytes = b.storage_bytes = UINT64_MAX;
    EXPECT(source_place_overlap(&a, &b, &steps) && source_place_overlaps_itself(&a, &steps));
}

int main(void)
{
    CASE(random_views);
    CASE(large_views);
    CASE(expanded_views);
    CASE(endless_views);
    return harness_end();
}
