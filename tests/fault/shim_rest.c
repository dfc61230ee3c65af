/* SPDX-License-Identifier: Apache-2.0 */
/* Threads ("thread", "lock"), the clock ("clock"), the machine ("affinity"), zlib ("inflate") and hashes ("digest"). */
#include "shim.h"

#include <time.h>

/* These give the error back instead of setting errno. */
static int shim_pthread_create(void *thread, const void *attributes, void *(*start)(void *), void *argument)
{
    return fault_due("thread", "pthread_create", NULL, -1)
               ? fault_kind
               : NEXT(int (*)(void *, const void *, void *(*)(void *), void *), pthread_create)(thread, attributes,
                                                                                                start, argument);
}
EXPORT(pthread_create, shim_pthread_create);

static int shim_pthread_mutex_init(void *mutex, const void *attributes)
{
    return fault_due("lock", "pthread_mutex_init", NULL, -1)
               ? fault_kind
               : NEXT(int (*)(void *, const void *), pthread_mutex_init)(mutex, attributes);
}
EXPORT(pthread_mutex_init, shim_pthread_mutex_init);

static int shim_pthread_cond_init(void *condition, const void *attributes)
{
    return fault_due("lock", "pthread_cond_init", NULL, -1)
               ? fault_kind
               : NEXT(int (*)(void *, const void *), pthread_cond_init)(condition, attributes);
}
EXPORT(pthread_cond_init, shim_pthread_cond_init);

static int shim_pthread_condattr_init(void *attributes)
{
    return fault_due("lock", "pthread_condattr_init", NULL, -1)
               ? fault_kind
               : NEXT(int (*)(void *), pthread_condattr_init)(attributes);
}
EXPORT(pthread_condattr_init, shim_pthread_condattr_init);

static int shim_clock_gettime(clockid_t clock, struct timespec *now)
{
    return fault_fails("clock", "clock_gettime", NULL, -1)
               ? -1
               : NEXT(int (*)(clockid_t, struct timespec *), clock_gettime)(clock, now);
}
EXPORT(clock_gettime, shim_clock_gettime);

static int shim_getaffinity(int pid, size_t n_bytes, void *set)
{
    return fault_fails("affinity", "sched_getaffinity", NULL, -1)
               ? -1
               : NEXT(int (*)(int, size_t, void *), sched_getaffinity)(pid, n_bytes, set);
}
EXPORT(sched_getaffinity, shim_getaffinity);

/* ---- zlib ---- */

static int shim_inflate_init(void *stream, int bits, const char *version, int n_bytes)
{
    const int z_mem_error = -4;
    return fault_due("inflate", "inflateInit2_", NULL, -1)
               ? z_mem_error
               : NEXT(int (*)(void *, int, const char *, int), inflateInit2_)(stream, bits, version, n_bytes);
}
EXPORT(inflateInit2_, shim_inflate_init);

/* ---- libcrypto (EVP_sha256() cannot fail, and libcrypto itself calls it while it is set up) ---- */

static void *shim_md_ctx_new(void)
{
    return fault_due("digest", "EVP_MD_CTX_new", NULL, -1) ? NULL : NEXT(void *(*)(void), EVP_MD_CTX_new)();
}
EXPORT(EVP_MD_CTX_new, shim_md_ctx_new);

static int shim_digest_init(void *context, const void *type, void *engine)
{
    return fault_due("digest", "EVP_DigestInit_ex", NULL, -1)
               ? 0
               : NEXT(int (*)(void *, const void *, void *), EVP_DigestInit_ex)(context, type, engine);
}
EXPORT(EVP_DigestInit_ex, shim_digest_init);

static int shim_digest_update(void *context, const void *bytes, size_t n_bytes)
{
    return fault_due("digest", "EVP_DigestUpdate", NULL, -1)
               ? 0
               : NEXT(int (*)(void *, const void *, size_t), EVP_DigestUpdate)(context, bytes, n_bytes);
}
EXPORT(EVP_DigestUpdate, shim_digest_update);

static int shim_digest_final(void *context, unsigned char *digest, unsigned *n_bytes)
{
    return fault_due("digest", "EVP_DigestFinal_ex", NULL, -1)
               ? 0
               : NEXT(int (*)(void *, unsigned char *, unsigned *), EVP_DigestFinal_ex)(context, digest, n_bytes);
}
EXPORT(EVP_DigestFinal_ex, shim_digest_final);
