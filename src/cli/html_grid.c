/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/html_grid.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cli/html_scale.h"
#include "cli/html_text.h"
#include "cli/text.h"

#define NO_TENSOR SIZE_MAX
#define LABEL_BYTES 64

/* The parts of a layer of LLaMA, in the order in which their columns stand. */
static const struct {
    const char *part;
    const char *label;
} known_parts[] = {
    {"self_attn.q_proj.weight", "q"},
    {"self_attn.k_proj.weight", "k"},
    {"self_attn.v_proj.weight", "v"},
    {"self_attn.o_proj.weight", "o"},
    {"mlp.gate_proj.weight", "gate"},
    {"mlp.up_proj.weight", "up"},
    {"mlp.down_proj.weight", "down"},
    {"input_layernorm.weight", "norm 1"},
    {"post_attention_layernorm.weight", "norm 2"},
    {"self_attn.rotary_emb.inv_freq", "rotary"},
};

#define N_KNOWN (sizeof known_parts / sizeof known_parts[0])

struct column {
    const char *part; /* borrowed from a name */
    size_t rank;      /* among the known ones; N_KNOWN and up: as they came */
};

struct stack {
    struct html_place first; /* whose name it has */
    struct column columns[HTML_GRID_COLUMNS];
    size_t n_columns;
    size_t cells[HTML_GRID_LAYERS][HTML_GRID_COLUMNS];
    bool has_layer[HTML_GRID_LAYERS];
};

struct map {
    const struct html_grid *grid;
    struct stack *stacks;
    size_t n_stacks;
    size_t beside[HTML_GRID_BESIDE];
    size_t n_beside; /* all, those too that have no room */
};

/* ---- Placing ------------------------------------------------------------------------------------------------- */

bool html_grid_place(const char *name, struct html_place *place)
{
    static const char word[] = ".layers.";
    bool is_first = strncmp(name, word + 1, sizeof word - 2) == 0; /* "layers.0.": a model without a prefix */
    const char *found = is_first ? name : strstr(name, word);
    if (found == NULL) {
        return false;
    }
    const char *next = found + sizeof word - 1 - is_first;
    unsigned layer = 0;
    const char *digits = next;
    for (; *next >= '0' && *next <= '9' && layer < HTML_GRID_LAYERS; next++) {
        layer = 10 * layer + (unsigned)(*next - '0');
    }
    bool is_plain = next > digits && (*digits != '0' || next == digits + 1); /* "07" would share a row with "7" */
    if (!is_plain || *next != '.' || next[1] == '\0' || layer >= HTML_GRID_LAYERS) {
        return false;
    }
    *place = (struct html_place){name, (size_t)(found - name), layer, next + 1};
    return true;
}

void html_grid_label(char *label, size_t capacity, const char *part)
{
    for (size_t i = 0; i < N_KNOWN; i++) {
        if (strcmp(part, known_parts[i].part) == 0) {
            (void)snprintf(label, capacity, "%s", known_parts[i].label);
            return;
        }
    }
    static const char ending[] = ".weight";
    size_t n = strlen(part);
    if (n > sizeof ending - 1 && strcmp(part + n - (sizeof ending - 1), ending) == 0) {
        n -= sizeof ending - 1;
    }
    char whole[256];
    (void)snprintf(whole, sizeof whole, "%.*s", n < sizeof whole ? (int)n : (int)sizeof whole - 1, part);
    cli_fit(label, capacity, 24, whole);
}

static size_t rank_of(const char *part, size_t n_columns)
{
    for (size_t i = 0; i < N_KNOWN; i++) {
        if (strcmp(part, known_parts[i].part) == 0) {
            return i;
        }
    }
    return N_KNOWN + n_columns;
}

static struct stack *find_stack(struct map *map, const struct html_place *place)
{
    for (size_t i = 0; i < map->n_stacks; i++) {
        const struct html_place *first = &map->stacks[i].first;
        assert(first->stack != NULL);
        if (first->stack_bytes == place->stack_bytes && memcmp(first->stack, place->stack, place->stack_bytes) == 0) {
            return &map->stacks[i];
        }
    }
    if (map->n_stacks == HTML_GRID_STACKS) {
        return NULL;
    }
    struct stack *stack = &map->stacks[map->n_stacks++];
    stack->first = *place;
    for (size_t i = 0; i < HTML_GRID_LAYERS; i++) {
        for (size_t k = 0; k < HTML_GRID_COLUMNS; k++) {
            stack->cells[i][k] = NO_TENSOR;
        }
    }
    return stack;
}

/* Its index, which stays when others come; HTML_GRID_COLUMNS: there is no room. */
static size_t find_column(struct stack *stack, const char *part)
{
    for (size_t i = 0; i < stack->n_columns; i++) {
        if (strcmp(stack->columns[i].part, part) == 0) {
            return i;
        }
    }
    if (stack->n_columns < HTML_GRID_COLUMNS) {
        stack->columns[stack->n_columns] = (struct column){part, rank_of(part, stack->n_columns)};
        return stack->n_columns++;
    }
    return HTML_GRID_COLUMNS;
}

static void place_tensor(struct map *map, size_t index)
{
    struct html_place place;
    struct stack *stack = NULL;
    if (html_grid_place(map->grid->name(map->grid->context, index), &place)) {
        stack = find_stack(map, &place);
    }
    size_t column = stack == NULL ? HTML_GRID_COLUMNS : find_column(stack, place.part);
    if (column < HTML_GRID_COLUMNS && stack->cells[place.layer][column] == NO_TENSOR) {
        stack->cells[place.layer][column] = index;
        stack->has_layer[place.layer] = true;
        return;
    }
    if (map->n_beside < HTML_GRID_BESIDE) {
        map->beside[map->n_beside] = index;
    }
    map->n_beside++;
}

/* ---- Printing ------------------------------------------------------------------------------------------------ */

static void print_cell(FILE *stream, const struct html_grid *grid, size_t index)
{
    struct html_mark mark = {.kind = HTML_MARK_NONE};
    grid->mark(grid->context, index, &mark);
    (void)fprintf(stream, "<td class=\"t %s\" title=\"", html_scale_class(mark.kind));
    html_text(stream, grid->name(grid->context, index));
    (void)fputs(": ", stream);
    html_text(stream, mark.detail);
    (void)fputs("\">", stream);
    html_text(stream, mark.text);
    (void)fputs("</td>", stream);
}

/* The columns as they stand on the page. */
static size_t order_columns(const struct stack *stack, size_t order[HTML_GRID_COLUMNS])
{
    for (size_t i = 0; i < stack->n_columns; i++) {
        size_t at = i;
        for (; at > 0 && stack->columns[order[at - 1]].rank > stack->columns[i].rank; at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    return stack->n_columns;
}

static void table_begin(FILE *stream, const char *classes, const char *caption, const char *of, size_t of_bytes)
{
    (void)fputs("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"", stream);
    html_textf(stream, "%s, %.*s", caption, of_bytes < 200 ? (int)of_bytes : 200, of);
    (void)fprintf(stream, "\">\n<table class=\"%s\">\n<caption>", classes);
    html_textf(stream, "%s, %.*s", caption, of_bytes < 200 ? (int)of_bytes : 200, of);
    (void)fputs("</caption>\n", stream);
}

static void print_stack(FILE *stream, const struct map *map, const struct stack *stack, const char *caption)
{
    size_t order[HTML_GRID_COLUMNS];
    size_t n = order_columns(stack, order);
    size_t prefix_bytes = stack->first.stack_bytes == 0 ? 0 : stack->first.stack_bytes + 1;
    table_begin(stream, "heat", caption, stack->first.stack, prefix_bytes + sizeof "layers" - 1);
    (void)fputs("<thead>\n<tr><th scope=\"col\">layer</th>", stream);
    for (size_t i = 0; i < n; i++) {
        char label[LABEL_BYTES];
        const char *part = stack->columns[order[i]].part;
        html_grid_label(label, sizeof label, part);
        (void)fputs("<th scope=\"col\" title=\"", stream);
        html_text(stream, part);
        (void)fputs("\">", stream);
        html_text(stream, label);
        (void)fputs("</th>", stream);
    }
    (void)fputs("</tr>\n</thead>\n<tbody>\n", stream);
    for (unsigned layer = 0; layer < HTML_GRID_LAYERS; layer++) {
        if (!stack->has_layer[layer]) {
            continue;
        }
        (void)fprintf(stream, "<tr><th scope=\"row\">%u</th>", layer);
        for (size_t i = 0; i < n; i++) {
            size_t index = stack->cells[layer][order[i]];
            if (index == NO_TENSOR) {
                (void)fputs("<td></td>", stream);
            } else {
                print_cell(stream, map->grid, index);
            }
        }
        (void)fputs("</tr>\n", stream);
    }
    (void)fputs("</tbody>\n</table>\n</div>\n", stream);
}

static void print_beside(FILE *stream, const struct map *map, const char *caption)
{
    static const char of[] = "other tensors";
    if (map->n_beside == 0) {
        return;
    }
    table_begin(stream, "heat beside", caption, of, sizeof of - 1);
    (void)fputs("<thead>\n<tr><th scope=\"col\">tensor</th><th scope=\"col\">", stream);
    html_text(stream, map->grid->heading);
    (void)fputs("</th></tr>\n</thead>\n<tbody>\n", stream);
    for (size_t i = 0; i < map->n_beside && i < HTML_GRID_BESIDE; i++) {
        (void)fputs("<tr><th scope=\"row\">", stream);
        html_text(stream, map->grid->name(map->grid->context, map->beside[i]));
        (void)fputs("</th>", stream);
        print_cell(stream, map->grid, map->beside[i]);
        (void)fputs("</tr>\n", stream);
    }
    (void)fputs("</tbody>\n</table>\n", stream);
    if (map->n_beside > HTML_GRID_BESIDE) {
        char number[HTML_FIGURE_BYTES];
        html_number(number, map->n_beside - HTML_GRID_BESIDE);
        (void)fprintf(stream, "<p class=\"soft\">... and %s more, which are not on this map.</p>\n", number);
    }
    (void)fputs("</div>\n", stream);
}

bool html_grid_print(FILE *stream, const struct html_grid *grid, const char *caption)
{
    struct map *map = calloc(1, sizeof *map);
    struct stack *stacks = calloc(HTML_GRID_STACKS, sizeof *stacks);
    bool has_memory = map != NULL && stacks != NULL;
    if (has_memory) {
        map->grid = grid;
        map->stacks = stacks;
        for (size_t i = 0; i < grid->n_tensors; i++) {
            place_tensor(map, i);
        }
        (void)fputs("<div class=\"maps\">\n", stream);
        for (size_t i = 0; i < map->n_stacks; i++) {
            print_stack(stream, map, &stacks[i], caption);
        }
        print_beside(stream, map, caption);
        (void)fputs("</div>\n", stream);
    }
    free(stacks);
    free(map);
    return has_memory;
}
