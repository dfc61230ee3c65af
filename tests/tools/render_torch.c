/* SPDX-License-Identifier: Apache-2.0 */
/*
 * render_torch 1.13|2.13 DIRECTORY < DESCRIPTIONS: writes each described file (tests/unit/torch_case.h) into DIRECTORY
 * under its number, 0, 1, ..., with its holes left out, as format/torch_layout.h lays it out in that profile; prints
 * "BYTES" with the holes, or "refused CODE MESSAGE". For tests/interop/torch_writer.py.
 */
#include "unit/torch_case.h"

static void write_whole(const char *path, const uint8_t *bytes, size_t n_bytes)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, n_bytes, file) != n_bytes || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    bool is_new = argc == 3 && strcmp(argv[1], "2.13") == 0;
    if (argc != 3 || (!is_new && strcmp(argv[1], "1.13") != 0)) {
        fprintf(stderr, "usage: render_torch 1.13|2.13 DIRECTORY < DESCRIPTIONS\n");
        return 2;
    }
    struct torch_case all;
    for (size_t number = 0; torch_case_read(stdin, &all); number++) {
        struct torch_layout layout;
        struct llavamed_error error;
        const struct torch_dict dict = torch_case_dict(&all);
        enum llavamed_status status =
            torch_layout_build(is_new ? TORCH_2_13 : TORCH_1_13, all.file_name, &dict, &layout, &error);
        if (status == LLAVAMED_OK) {
            size_t n_bytes;
            uint64_t holes_bytes;
            uint8_t *bytes = torch_case_render(&all, &layout, &n_bytes, &holes_bytes);
            char path[4096];
            (void)snprintf(path, sizeof path, "%s/%zu", argv[2], number);
            write_whole(path, bytes, n_bytes);
            printf("%llu\n", (unsigned long long)layout.file_bytes);
            free(bytes);
            torch_layout_deinit(&layout);
        } else {
            printf("refused %s %s\n", llavamed_status_name(status), error.message);
        }
        torch_case_deinit(&all);
    }
    torch_case_deinit(&all);
    return 0;
}
