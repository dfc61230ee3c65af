/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/sort.h"

static const char *const names[] = {
#define FINDING_NAME(name) [LLAVAMED_FINDING_##name] = #name,
    LLAVAMED_FINDING_LIST(FINDING_NAME)
#undef FINDING_NAME
};

const char *llavamed_finding_name(enum llavamed_finding_code code)
{
    return (size_t)code < sizeof names / sizeof names[0] ? names[code] : "unknown";
}

static void finding_deinit(struct llavamed_finding *finding)
{
    free(finding->file);
    free(finding->tensor);
    free(finding->what);
}

void findings_deinit(struct findings *findings)
{
    for (size_t i = 0; i < findings->n_listed; i++) {
        finding_deinit(&findings->list[i]);
    }
    free(findings->list);
    *findings = (struct findings){0};
}

static bool make_room(struct findings *findings)
{
    if (findings->n_listed == findings->capacity) {
        size_t capacity = findings->capacity == 0 ? 16 : findings->capacity * 2;
        struct llavamed_finding *list = reallocarray(findings->list, capacity, sizeof *list);
        if (list == NULL) {
            findings->failed = true;
            return false;
        }
        findings->list = list;
        findings->capacity = capacity;
    }
    return true;
}

void findings_add(struct findings *findings, enum llavamed_finding_code code, const struct finding_place *place,
                  const char *format, ...)
{
    findings->n_found++;
    findings->n_unread += code == LLAVAMED_FINDING_FILE_IO || code == LLAVAMED_FINDING_FILE_CHANGED;
    if (findings->n_listed == LLAVAMED_FINDINGS_MAX || findings->failed || !make_room(findings)) {
        return;
    }
    char words[LLAVAMED_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    llavamed_make_printable(words);
    struct llavamed_finding made = {
        .code = code,
        .file = strdup(place->file),
        .tensor = place->tensor == NULL ? NULL : strdup(place->tensor),
        .offset = place->offset,
        .what = strdup(words),
    };
    if (made.file == NULL || made.what == NULL || (made.tensor == NULL && place->tensor != NULL)) {
        finding_deinit(&made);
        findings->failed = true;
        return;
    }
    findings->list[findings->n_listed++] = made;
}

const char *findings_words(const char *message, const char *name)
{
    char shown[LLAVAMED_MESSAGE_BYTES];
    (void)snprintf(shown, sizeof shown, "%s", name);
    llavamed_make_printable(shown);
    size_t n = strlen(shown);
    return strncmp(message, shown, n) == 0 && strncmp(message + n, ": ", 2) == 0 ? message + n + 2 : message;
}

static int compare_findings(const void *a, const void *b)
{
    const struct llavamed_finding *finding_a = a;
    const struct llavamed_finding *finding_b = b;
    int order = strcmp(finding_a->file, finding_b->file);
    if (order == 0 && finding_a->offset != finding_b->offset) {
        order = finding_a->offset < finding_b->offset ? -1 : 1;
    }
    if (order == 0 && finding_a->code != finding_b->code) {
        order = finding_a->code < finding_b->code ? -1 : 1;
    }
    if (order == 0) {
        order = strcmp(finding_a->tensor == NULL ? "" : finding_a->tensor,
                       finding_b->tensor == NULL ? "" : finding_b->tensor);
    }
    return order == 0 ? strcmp(finding_a->what, finding_b->what) : order;
}

void findings_sort(struct findings *findings)
{
    sort_array(findings->list, findings->n_listed, sizeof *findings->list, compare_findings);
}

enum llavamed_status findings_status(const struct findings *findings, struct llavamed_error *error)
{
    return findings->failed ? llavamed_fail_memory(error, findings->capacity * sizeof *findings->list, "the findings")
                            : LLAVAMED_OK;
}
