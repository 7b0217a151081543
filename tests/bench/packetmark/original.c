// What Gluon's libpacketmark does, for comparison: the mark is read and libc's
// socket() is found in the constructor; every socket gets the mark; whether the
// kernel takes it is not looked at.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static int value;
static int (*libc_socket)(int, int, int);

__attribute__((constructor)) static void setup(void) {
	const char *text = getenv("LIBPACKETMARK_MARK");
	value = text ? atoi(text) : 0;
	libc_socket = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
}

int socket(int domain, int type, int protocol) {
	int fd = libc_socket(domain, type, protocol), kept = errno;
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_MARK, &value, sizeof value);
		errno = kept;
	}
	return fd;
}
