/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user reads on stderr: lines that begin with the program's name and their kind. Every line is made whole, with
 * nothing unprintable in it, before it is handed to the stream.
 */
#ifndef CLI_MESSAGES_H
#define CLI_MESSAGES_H

#include <stdio.h>

#include "llavamed.h"

/* Of the program that runs; each program defines its own. */
extern const char program_name[];

/* Sets status and message, clears the rest, returns `status`: what the front end finds wrong itself. */
enum llavamed_status cli_fail(struct llavamed_error *error, enum llavamed_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the hint of an error already filled. */
void cli_hint(struct llavamed_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "PROGRAM: KIND: TEXT"; a KIND of NULL leaves "KIND: " out. Long texts are cut. */
void messages_line(FILE *stream, const char *kind, const char *text);

/*
 * The error, then its problems on a line each ("problem: ..."; the last one counts those not listed), then the hint.
 */
void messages_error(FILE *stream, const struct llavamed_error *error);

/* The one line that says what the result may be used for. */
void messages_research_notice(FILE *stream);

#endif
