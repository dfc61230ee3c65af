/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of weights files of which at least one is deflated in an archive: one stream for each, in the order of the
 * files' names given. A torch file must hold each tensor as a contiguous run of a storage of its own, which is how
 * models are saved; anything else is INPUT_UNSUPPORTED, since its bytes come by only once. A file is open while it is
 * read, so that memory grows with the streams that are read at a time, not with the files. For src/source.
 */
#ifndef SOURCE_ARCHIVE_STREAM_H
#define SOURCE_ARCHIVE_STREAM_H

#include "source/archive.h"
#include "source/source_parts.h"

/*
 * Opens n files of source->archive, at least one, as far as their headers, and fills layout, state, format and set of
 * `source`. What reading archives, safetensors_parse() and torch_stream_open() give.
 */
enum llavamed_status archive_stream_open(struct source *source, const char *const *names, size_t n,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

#endif
