#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# threaded.sh TEST...: those of the test programs that can start a thread, for ThreadSanitizer, which finds nothing in
# the others. Whatever the library links into a test refers to pthread_create() when any of it starts threads. Where the
# sanitizer brings a pthread_create() of its own into the program (clang), that is every test.
for test in "$@"; do
    ! nm "$test" | grep -q '\<pthread_create\>' || printf '%s\n' "$test"
done
