/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FILE of --report: looked at before the work begins, written at its end under a name beside it that nothing else
 * has, on storage before it is renamed. A run that fails leaves what was there.
 */
#ifndef CLI_PAGE_FILE_H
#define CLI_PAGE_FILE_H

#include <stdio.h>

#include "llavamed.h"

struct page_file {
    const char *path; /* borrowed */
    FILE *stream;     /* to write the page to: memory, until it is finished */
    char *bytes;      /* owned */
    size_t n_bytes;
};

/*
 * Whether a page can be written to `path`: its directory is there and a file can be made in it (one is, and removed),
 * and the name is free, or an empty file's or an older page's (HTML_PAGE_MARK). OUT_UNWRITABLE, OUT_EXISTS.
 * OUT_OVERLAPS_INPUT when it is inside or equal to one of `apart`, or to what OUT.partial of one would be: names of
 * sources and outputs as they were given, NULL among them and what is no path or not there is fine.
 */
enum llavamed_status page_file_check(const char *path, const char *const *apart, size_t n_apart,
                                     struct llavamed_error *error) __attribute__((warn_unused_result));

/* NO_MEMORY. */
enum llavamed_status page_file_begin(const char *path, struct page_file *page, struct llavamed_error *error)
    __attribute__((warn_unused_result));

/*
 * Ends what was begun; the page is there afterwards, whole, or nothing has changed. OUT_UNWRITABLE, OUT_SPACE,
 * OUT_EXISTS, NO_MEMORY.
 */
enum llavamed_status page_file_finish(struct page_file *page, struct llavamed_error *error)
    __attribute__((warn_unused_result));

/* Instead of finishing: nothing is left. */
void page_file_abandon(struct page_file *page);

#endif
