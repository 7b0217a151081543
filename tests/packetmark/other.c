// Another preload library that stands before socket(), and says when it is used.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int socket(int domain, int type, int protocol) {
	int (*next)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
	fprintf(stderr, "other socket\n");
	return next(domain, type, protocol);
}
