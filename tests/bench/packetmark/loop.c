// `loop inet|unix COUNT`: opens and closes sockets, and says how many nanoseconds
// each took.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
	if (argc != 3)
		return 2;
	int domain = strcmp(argv[1], "inet") ? AF_UNIX : AF_INET;
	long count = atol(argv[2]);
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long i = 0; i < count; i++)
		close(socket(domain, SOCK_DGRAM, 0));
	clock_gettime(CLOCK_MONOTONIC, &end);
	long ns = (end.tv_sec - start.tv_sec) * 1000000000 + end.tv_nsec - start.tv_nsec;
	printf("%ld\n", ns / (count ? count : 1));
	return 0;
}
