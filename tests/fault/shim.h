/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared object that torture.py preloads: it makes the n-th call of one class fail. $FAULT is "CLASS NTH KIND
 * LASTING" (shim.c has the classes):
 *
 *     NTH      which call of the class, from 1; 0 counts only
 *     KIND     > 0: this errno; 0: a short result; -1: the end of the file; -2: stop this process (SIGSTOP), then go on
 *     LASTING  1: all calls of the class from the n-th on
 *
 * The class "change" is all calls that change a file or a directory, together. $FAULT_LACKS is what the file system
 * lacks, "CLASS:ERRNO CLASS:ERRNO...": all calls of these classes fail so, beside what $FAULT says. $FAULT_HOST and
 * $FAULT_UID: see shim_host.c; $FAULT_OTHERS: see shim_files.c.
 *
 * With $FAULT_PATH only calls about a path that contains it count. With $FAULT_DELAY_MS each of these takes so long
 * after the n-th, as on a slow disk that no signal interrupts. At exit a report is written to $FAULT_REPORT, one
 * "KEY VALUE" a line: calls (of the class), fired (how often), where (function and path of the first), leaks
 * (allocations of the program and its JSON and zip libraries that were not freed), descriptors (left open).
 */
#ifndef TESTS_FAULT_SHIM_H
#define TESTS_FAULT_SHIM_H

#include <stdbool.h>
#include <stddef.h>

#define FAULT_SHORT 0
#define FAULT_END (-1)

/*
 * Counts a call of `function`. True: it is to fail, as fault_kind says. `path` may be NULL; then fd, unless negative,
 * tells which file it is.
 */
bool fault_due(const char *class_name, const char *function, const char *path, int fd);

/* The same for calls that can only fail: errno is set. */
bool fault_fails(const char *class_name, const char *function, const char *path, int fd);

extern _Thread_local int fault_kind; /* of the call that is due */

/* The next definition of a function, after this object's. NULL when there is none. Allocates nothing that counts. */
void *fault_next(const char *name);

/* NAME_next(...) calls the next NAME, of which glibc has a 64-bit twin in some cases. */
#define NEXT(type, name) ((type)fault_next(#name))

/* Gives a function of this object the name that it takes the place of. */
#define EXPORT(name, function)                                                                                         \
    extern __typeof__(function) name##_exported __asm__(#name) __attribute__((alias(#function)))

/* ---- shim_memory.c ---- */

/* Remembers an allocation when `caller` is code whose allocations are watched. */
void watch_allocation(void *pointer, const void *caller);
size_t watched_left(void);
void watch_init(void);

#endif
