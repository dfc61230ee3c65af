/* SPDX-License-Identifier: Apache-2.0 */
/* The notice that goes into every merged model: the bytes of NOTICE-research-only.md at the top of the repository. */
#ifndef MERGE_NOTICE_TEXT_H
#define MERGE_NOTICE_TEXT_H

#define NOTICE_FILE_NAME "NOTICE-research-only.md"

/* A unit test holds it equal to the file. */
extern const char notice_text[];

/* That of a delta made by llavamed-make-delta. */
extern const char notice_text_of_delta[];

#endif
