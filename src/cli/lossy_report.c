/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lossy_report.h"

#include <inttypes.h>

#include "cli/messages.h"
#include "cli/text.h"

/* Never "0 %" or "100 %" of what is not all or nothing. */
static void format_share(char text[CLI_FIGURE_BYTES], uint64_t n, uint64_t n_all)
{
    double percent = n_all == 0 ? 100.0 : 100.0 * (double)n / (double)n_all;
    if (percent < 0.0001) {
        cli_format(text, CLI_FIGURE_BYTES, "less than 0.0001 %%");
    } else {
        cli_format(text, CLI_FIGURE_BYTES, "%.*f %%", percent < 0.01 ? 4 : 2, percent);
    }
}

void lossy_report_print(FILE *stream, const struct llavamed_result *result, bool verbose)
{
    char line[LLAVAMED_MESSAGE_BYTES];
    char share[CLI_FIGURE_BYTES];
    for (size_t i = 0; verbose && i < result->n_lossy_tensors; i++) {
        const struct llavamed_lossy_report *tensor = &result->lossy_tensors[i];
        format_share(share, tensor->n_lossy, tensor->n_elems);
        cli_format(line, sizeof line, "%.600s: %" PRIu64 " of %" PRIu64 " elements (%s) do not come back in %s",
                   tensor->name, tensor->n_lossy, tensor->n_elems, share, tensor->dtype);
        messages_line(stream, "note", line);
    }
    if (result->n_lossy == 0) {
        cli_format(line, sizeof line,
                   "base + delta is the target, bit for bit (%" PRIu64 " elements; rotary buffers aside)",
                   result->n_added);
        messages_line(stream, "exact", line);
        return;
    }
    format_share(share, result->n_lossy, result->n_added);
    cli_format(line, sizeof line,
               "base + delta has other bits than the target in %" PRIu64 " of %" PRIu64 " elements (%s), in %zu of %zu "
               "tensors",
               result->n_lossy, result->n_added, share, result->n_lossy_tensors, result->n_tensors);
    messages_line(stream, "lossy", line);
}

void lossy_report_emit(struct json_emit *emit, const struct llavamed_result *result)
{
    json_emit_begin(emit, "lossy", '{');
    json_emit_number(emit, "subtracted", result->n_added);
    json_emit_number(emit, "elements", result->n_lossy);
    json_emit_begin(emit, "tensors", '[');
    for (size_t i = 0; i < result->n_lossy_tensors; i++) {
        const struct llavamed_lossy_report *tensor = &result->lossy_tensors[i];
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "name", tensor->name);
        json_emit_text(emit, "dtype", tensor->dtype);
        json_emit_number(emit, "lossy", tensor->n_lossy);
        json_emit_number(emit, "elements", tensor->n_elems);
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
    json_emit_end(emit, '}');
}
