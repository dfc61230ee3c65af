/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local cache of huggingface_hub (its docs: "Understand caching"): ROOT/models--ORG--NAME/ with refs/REVISION (a
 * file that holds a commit), snapshots/COMMIT/FILE (links to ../../blobs/HASH, or plain files where links are off) and
 * blobs/HASH, where HASH is the file's SHA-256 (64 hex digits) or that of its git blob (40). Only looked at: nothing is
 * fetched, nothing is written. For src/source alone; reads the environment.
 */
#ifndef SOURCE_HUB_CACHE_H
#define SOURCE_HUB_CACHE_H

#include "core/error.h"
#include "integrity/digest.h"

/* Whether `spec` is spelled ORG/NAME or ORG/NAME@REVISION. A path may be spelled so too: an existing one wins. */
bool hub_cache_is_name(const char *spec);

/*
 * ROOT as huggingface_hub chooses it: $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub,
 * $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub; a "~" at the start and $VARIABLES are expanded. *root is
 * owned by the caller, NULL when the home directory is wanted and not known.
 */
enum llavamed_status hub_cache_root(char **root, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The snapshot directory of `spec` (a hub_cache_is_name()); *snapshot is owned by the caller. The revision is "main"
 * unless given; a name of refs/ or a full commit. INPUT_MISSING with the `hf download` command as the hint;
 * INPUT_UNSAFE for a ref that names something else than a commit, INPUT_UNREADABLE for one that is a link. Whether the
 * snapshot is a link that leaves its repository is told by hub_cache_repository_of(). `role` is "base" or "delta".
 */
enum llavamed_status hub_cache_find(const char *spec, const char *role, char **snapshot,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

#define HUB_COMMIT_BYTES 41 /* 40 hex digits and a NUL */

/*
 * The commit that the text of a file in refs/ holds: lower-case hex digits and perhaps blanks behind them; false for
 * anything else. The text ends in a NUL that n_bytes does not count.
 */
bool hub_cache_parse_ref(const char *text, size_t n_bytes, char commit[HUB_COMMIT_BYTES]);

/*
 * When `directory`, as it is given or with links resolved, is or lies below a snapshot of a cache: *repository is the
 * resolved ROOT/models--ORG--NAME, which may be a link to anywhere, *resolved the directory; both owned by the caller.
 * NULL when it does not. *resolved alone is NULL where the repository's blobs/ is a link. INPUT_UNSAFE when the
 * snapshot, or a folder in it, is given as a link that leaves the repository.
 */
enum llavamed_status hub_cache_repository_of(const char *directory, char **repository, char **resolved,
                                             struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * INPUT_UNSAFE when PATH is a link that leads out of `repository`: a cache holds its own blobs, so such a link is
 * damage or an attack. Since huggingface_hub 2 a blob may itself be a link to ROOT/blobs/HE/HEX, a store that all
 * repositories share; that is inside. A dangling one passes: opening it tells. `resolved` is the directory that PATH
 * lies in, as hub_cache_repository_of() gave it, which spares looks at each part of it; NULL when that is not known.
 */
enum llavamed_status hub_cache_check_inside(const char *repository, const char *resolved, const char *path,
                                            struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The hash that the name of the blob behind `path` tells: 64 digits of SHA-256, or 40 of a git blob. False when there
 * is none. `resolved` as above.
 */
bool hub_cache_blob_hash(const char *repository, const char *resolved, const char *path, char hex[SHA256_HEX_BYTES]);

/*
 * "hf download ORG/NAME" for a repository directory of hub_cache_repository_of(), as the hint of `error`. None for one
 * whose own name, behind a link, is no models--ORG--NAME.
 */
void hub_cache_hint(const char *repository, struct llavamed_error *error);

#endif
