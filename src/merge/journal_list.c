/* SPDX-License-Identifier: Apache-2.0 */
/* Loading the entries of a journal: which of them count, sorted for look-up. */
#include <stdlib.h>
#include <string.h>

#include "merge/journal_parts.h"

void journal_list_deinit(struct journal_list *list)
{
    free(list->entries);
    free(list->notes);
    memset(list, 0, sizeof *list);
}

/* ---- Overlap ---- */

/* Where an entry begins or ends. */
struct edge {
    uint64_t tensor;
    uint64_t elem;
};

static int compare_edges(const void *a, const void *b)
{
    const struct edge *x = a;
    const struct edge *y = b;
    if (x->tensor != y->tensor) {
        return x->tensor < y->tensor ? -1 : 1;
    }
    return (x->elem > y->elem) - (x->elem < y->elem);
}

static int compare_entries(const void *a, const void *b)
{
    const struct journal_entry *x = a;
    const struct journal_entry *y = b;
    const struct edge begin_x = {x->tensor, x->first_elem};
    const struct edge begin_y = {y->tensor, y->first_elem};
    return compare_edges(&begin_x, &begin_y);
}

/* The edges of all entries, sorted, each once; returns their number. `edges` has room for two of each entry. */
static size_t collect_edges(const struct journal_list *list, struct edge *edges)
{
    size_t n = 0;
    for (size_t i = 0; i < list->n_entries; i++) {
        const struct journal_entry *entry = &list->entries[i];
        edges[n++] = (struct edge){entry->tensor, entry->first_elem};
        edges[n++] = (struct edge){entry->tensor, entry->first_elem + entry->n_elems};
    }
    qsort(edges, n, sizeof *edges, compare_edges);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || compare_edges(&edges[kept - 1], &edges[i]) != 0) {
            edges[kept++] = edges[i];
        }
    }
    return kept;
}

static size_t edge_index(const struct edge *edges, size_t n_edges, uint64_t tensor, uint64_t elem)
{
    const struct edge wanted = {tensor, elem};
    const struct edge *found = bsearch(&wanted, edges, n_edges, sizeof *edges, compare_edges);
    return (size_t)(found - edges);
}

/* The first cell from `cell` on that is free: free_from[i] is i when cell i is, else some cell behind it. */
static size_t first_free(size_t *free_from, size_t cell)
{
    while (free_from[cell] != cell) {
        free_from[cell] = free_from[free_from[cell]];
        cell = free_from[cell];
    }
    return cell;
}

/* Takes the cells [begin, end); whether all of them were free. */
static bool take_cells(size_t *free_from, size_t begin, size_t end)
{
    size_t n_taken = 0;
    for (size_t cell = first_free(free_from, begin); cell < end; cell = first_free(free_from, cell)) {
        free_from[cell] = cell + 1;
        n_taken++;
    }
    return n_taken == end - begin;
}

/*
 * The edges cut the elements into cells that an entry has whole or not at all. From the last entry to the first each
 * takes its cells, and counts if nobody took one before. A taken cell is passed over from then on, so that this takes
 * O(n log n), whatever the file says.
 */
enum llavamed_status journal_drop_overlapped(struct journal_list *list, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    const size_t n = list->n_entries;
    struct edge *edges = calloc(n + 1, 2 * sizeof *edges);
    size_t *free_from = calloc(n + 1, 2 * sizeof *free_from);
    size_t n_edges;
    size_t kept;
    if (edges == NULL || free_from == NULL) {
        status = llavamed_fail_memory(error, (n + 1) * 2 * (sizeof *edges + sizeof *free_from), "a journal");
        goto out;
    }
    n_edges = collect_edges(list, edges);
    for (size_t i = 0; i <= n_edges; i++) {
        free_from[i] = i;
    }
    kept = n;
    for (size_t i = n; i-- > 0;) {
        const struct journal_entry *entry = &list->entries[i];
        size_t begin = edge_index(edges, n_edges, entry->tensor, entry->first_elem);
        size_t end = edge_index(edges, n_edges, entry->tensor, entry->first_elem + entry->n_elems);
        if (take_cells(free_from, begin, end)) {
            list->entries[--kept] = *entry;
        }
    }
    list->n_entries = n - kept;
    memmove(list->entries, list->entries + kept, list->n_entries * sizeof *list->entries);
out:
    free(edges);
    free(free_from);
    return status;
}

/* ---- Loading ---- */

enum llavamed_status journal_list_load(const struct journal_text *text, const struct journal_bounds *bounds,
                                       struct journal_list *list, size_t *whole_bytes, struct llavamed_error *error)
{
    struct journal_note scratch[JOURNAL_NOTES_MAX];
    struct journal_entry entry;
    struct journal_list loaded = {0};
    size_t n_entries = 0;
    size_t n_notes = 0;
    size_t end = 0;
    for (size_t n; (n = journal_decode_entry(text, end, bounds, &entry, scratch)) > 0; end += n) {
        n_entries++;
        n_notes += entry.n_notes;
    }
    /* One more: calloc(0) may be NULL. */
    loaded.entries = calloc(n_entries + 1, sizeof *loaded.entries);
    loaded.notes = calloc(n_notes + 1, sizeof *loaded.notes);
    enum llavamed_status status = LLAVAMED_OK;
    if (loaded.entries == NULL || loaded.notes == NULL) {
        status = llavamed_fail_memory(error, n_entries * sizeof entry + n_notes * sizeof scratch[0], "a journal");
    }
    struct journal_note *notes = loaded.notes;
    for (size_t at = 0; status == LLAVAMED_OK && at < end;) {
        struct journal_entry *next = &loaded.entries[loaded.n_entries++];
        at += journal_decode_entry(text, at, bounds, next, notes);
        notes += next->n_notes;
    }
    if (status == LLAVAMED_OK) {
        status = journal_drop_overlapped(&loaded, error);
    }
    if (status != LLAVAMED_OK) {
        journal_list_deinit(&loaded);
        return status;
    }
    qsort(loaded.entries, loaded.n_entries, sizeof *loaded.entries, compare_entries);
    *list = loaded;
    *whole_bytes = end;
    return LLAVAMED_OK;
}
