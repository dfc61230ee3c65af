/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes of input files that somebody recorded beside them: what a download was meant to be. Only read here, not
 * checked; a record is a claim until the file has been hashed. The hub names large files by their SHA-256 and small
 * ones, which it keeps in git itself, by their git blob.
 */
#ifndef SOURCE_RECORDED_H
#define SOURCE_RECORDED_H

#include "integrity/digest.h"

enum recorded_in {
    RECORDED_BLOB_NAME, /* the file is a blob of a hub cache, which are named by their hash */
    RECORDED_METADATA,  /* .cache/huggingface/download/NAME.metadata of `hf download --local-dir` */
    RECORDED_LFS,       /* a Git LFS pointer kept as NAME.lfs */
    RECORDED_SUMS,      /* SHA256SUMS in the same directory, or folder of an archive */
    RECORDED_GIVEN,     /* the file given by --sums; filled by whoever has it */
    RECORDED_COUNT
};

/* Lower-case hex, or empty where there is no record. */
struct recorded_hashes {
    char sha256[RECORDED_COUNT][SHA256_HEX_BYTES];
    char git_blob[RECORDED_COUNT][GIT_BLOB_HEX_BYTES];
    char md5[MD5_HEX_BYTES]; /* of Meta's checklist.chk; compared by the source itself, in source_finish() */
};

/*
 * Notes what the text of a .metadata file, or of a Git LFS pointer, records. As huggingface_hub, the first trusts no
 * record of a file that was changed later than a second after its download; times are in seconds since 1970. Texts end
 * in a NUL.
 */
void recorded_parse_metadata(const char *text, double changed_seconds, struct recorded_hashes *recorded);
void recorded_parse_pointer(const char *text, struct recorded_hashes *recorded);

/* "the name of its blob", "SHA256SUMS"...; static storage. */
const char *recorded_in_text(enum recorded_in in);

/* The first SHA-256 recorded, or NULL. */
const char *recorded_first(const struct recorded_hashes *recorded, enum recorded_in *in);

/* Whether a git blob is recorded. */
bool recorded_has_git_blob(const struct recorded_hashes *recorded);

#endif
