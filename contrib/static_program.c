/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked into the programs of `make static` alone. libcrypto refers to calls that load modules and look up hosts; a
 * static program of glibc would, in them, load libraries of the very glibc it was built with, and on another machine
 * crash. Nothing here ever needs them: hosts are not asked for, and modules only by an openssl.cnf of the machine,
 * which then fails to load them.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <stddef.h>

void *dlopen(const char *file, int mode)
{
    (void)file;
    (void)mode;
    return NULL;
}

void *dlsym(void *restrict handle, const char *restrict name)
{
    (void)handle;
    (void)name;
    return NULL;
}

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}

char *dlerror(void)
{
    static char text[] = "a static program loads nothing";
    return text;
}

int dladdr(const void *address, Dl_info *info)
{
    (void)address;
    (void)info;
    return 0;
}

int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict result)
{
    (void)node;
    (void)service;
    (void)hints;
    *result = NULL;
    return EAI_FAIL;
}

void freeaddrinfo(struct addrinfo *list)
{
    (void)list;
}

struct hostent *gethostbyname(const char *name)
{
    (void)name;
    return NULL;
}

int getnameinfo(const struct sockaddr *restrict address, socklen_t n_bytes, char *restrict host, socklen_t host_bytes,
                char *restrict service, socklen_t service_bytes, int flags)
{
    (void)address;
    (void)n_bytes;
    (void)host;
    (void)host_bytes;
    (void)service;
    (void)service_bytes;
    (void)flags;
    return EAI_FAIL;
}
