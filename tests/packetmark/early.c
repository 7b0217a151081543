// A library that opens a socket in its constructor, as some logging and name
// service libraries do.
#include <stdio.h>
#include <sys/socket.h>

#ifndef SO_MARK
#define SO_MARK 36
#endif

__attribute__((constructor)) static void early(void) {
	unsigned mark = 0;
	socklen_t size = sizeof mark;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &size);
	fprintf(stderr, "early mark %u\n", mark);
}
