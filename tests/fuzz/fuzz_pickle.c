/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What pickle_read_state_dict() accepts has unique names, keys of digits, and views inside their storages by an
 * independent calculation; it begins with PROTO, ends with STOP, and is refused when a byte is added or taken at the
 * end; reading twice gives the same; memory is linear in the pickle's size.
 */
#include "fuzz_pickle_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* One more byte, or one less, is never a pickle too. */
static void check_exact_end(const uint8_t *bytes, size_t n_bytes)
{
    struct pickle_state_dict dict = {0};
    uint8_t *longer = malloc(n_bytes + 1);
    REQUIRE(longer != NULL);
    memcpy(longer, bytes, n_bytes);
    longer[n_bytes] = '.';
    REQUIRE(pickle_read_state_dict("f", longer, n_bytes + 1, &dict, NULL) == LLAVAMED_STATUS_PICKLE_MALFORMED);
    REQUIRE(pickle_read_state_dict("f", longer, n_bytes - 1, &dict, NULL) == LLAVAMED_STATUS_PICKLE_MALFORMED);
    free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct pickle_state_dict dict = {0};
    struct pickle_state_dict again = {0};
    struct llavamed_error error = {0};
    fuzz_memory_reset();
    enum llavamed_status status = pickle_read_state_dict("f", bytes, n_bytes, &dict, &error);
    /* The most that a byte can cost is a struct pickle_tensor of 300 bytes for a name of one byte and a BINGET. */
    REQUIRE(fuzz_memory_peak_bytes <= 16384 + 256 * n_bytes);
    REQUIRE(status == LLAVAMED_OK || (error.status == status && strncmp(error.message, "f: ", 3) == 0));
    REQUIRE(status == LLAVAMED_OK || llavamed_exit_status(&error) == 3);
    if (status == LLAVAMED_OK) {
        REQUIRE(n_bytes > 3 && bytes[0] == 0x80 && (bytes[1] == 2 || bytes[1] == 3) && bytes[n_bytes - 1] == '.');
        fuzz_check_dict(&dict);
        REQUIRE(pickle_read_state_dict("f", bytes, n_bytes, &again, &error) == LLAVAMED_OK);
        fuzz_check_same_dict(&dict, &again);
        check_exact_end(bytes, n_bytes);
    } else {
        REQUIRE(dict.tensors == NULL && dict.storages == NULL && dict.n_tensors == 0 && dict.n_storages == 0);
    }
    pickle_state_dict_deinit(&dict);
    pickle_state_dict_deinit(&again);
    return 0;
}
