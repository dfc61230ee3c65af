/* SPDX-License-Identifier: Apache-2.0 */
/* A signal that comes when all files are read and nothing is judged yet. */
#include "integrity/digest.h"
#include "llavamed.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

static struct temp_dir dir;
static struct llavamed_error error;
static volatile int stop_signal;

static void stop_at_the_end(void *context, const struct llavamed_progress *progress)
{
    (void)context;
    if (progress->done_bytes == progress->total_bytes) {
        __atomic_store_n(&stop_signal, 15, __ATOMIC_RELAXED);
    }
}

static void judging_heeds_a_signal(void)
{
    char hex[SHA256_HEX_BYTES];
    char line[SHA256_HEX_BYTES + 16];
    struct llavamed_verify_settings settings;
    struct llavamed_verify_result result;
    const struct llavamed_observer observer = {.progress = stop_at_the_end};
    temp_dir_make(&dir);
    EXPECT(sha256_of("bytes", 5, hex, &error) == LLAVAMED_OK);
    (void)snprintf(line, sizeof line, "%s  a\n", hex);
    temp_write_text(temp_path(&dir, "a"), "bytes");
    temp_write_text(temp_path(&dir, "SHA256SUMS"), line);
    llavamed_verify_settings_init(&settings);
    settings.dir = dir.path;
    EXPECT(llavamed_verify(&settings, &observer, &result, &error) == LLAVAMED_OK);
    EXPECT_U64(stop_signal, 15); /* it came, and nobody was to heed it */
    llavamed_verify_result_free(&result);
    stop_signal = 0;
    settings.stop_signal = &stop_signal;
    EXPECT(llavamed_verify(&settings, &observer, &result, &error) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT_U64(error.signal_number, 15);
    EXPECT_U64(result.n_found, 0);
    llavamed_verify_result_free(&result);
    temp_dir_remove(&dir);
}

int main(void)
{
    CASE(judging_heeds_a_signal);
    return harness_end();
}
