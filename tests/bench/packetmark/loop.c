// `loop inet|unix COUNT`: opens and closes sockets.
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
	if (argc != 3)
		return 2;
	int domain = strcmp(argv[1], "inet") ? AF_UNIX : AF_INET;
	for (long count = atol(argv[2]); count > 0; count--)
		close(socket(domain, SOCK_DGRAM, 0));
	return 0;
}
