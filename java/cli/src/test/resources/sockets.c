/* Preloaded into a process, writes a line to the file SOCKET_LOG for each use of a socket. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void note(const char *function, const void *caller) {
    Dl_info from;
    const char *library = dladdr(caller, &from) && from.dli_fname != NULL ? from.dli_fname : "?";
    /* When file channels are first used the JDK loads libnet.so, which asks for two sockets to see whether there are
       IPv4 and IPv6, and closes them. Who uses a socket from there binds or connects it. */
    if (strcmp(function, "socket") == 0 && strstr(library, "/libnet.so") != NULL) return;
    FILE *log = fopen(getenv("SOCKET_LOG"), "a");
    if (log == NULL) abort();
    fprintf(log, "%s from %s\n", function, library);
    fclose(log);
}

int socket(int domain, int type, int protocol) {
    note("socket", __builtin_return_address(0));
    int (*next)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
    return next(domain, type, protocol);
}

int connect(int descriptor, const struct sockaddr *address, socklen_t length) {
    note("connect", __builtin_return_address(0));
    int (*next)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
    return next(descriptor, address, length);
}

int bind(int descriptor, const struct sockaddr *address, socklen_t length) {
    note("bind", __builtin_return_address(0));
    int (*next)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");
    return next(descriptor, address, length);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    note("getaddrinfo", __builtin_return_address(0));
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");
    return next(node, service, hints, result);
}
