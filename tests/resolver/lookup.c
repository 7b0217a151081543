/* lookup NAME: the addresses that getaddrinfo(3) finds, one a line. To be linked
 * with musl, the libc of OpenWrt. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM };
	struct addrinfo *found;
	char text[INET6_ADDRSTRLEN];
	int error;

	if (argc != 2)
		return 2;
	error = getaddrinfo(argv[1], NULL, &hints, &found);
	if (error) {
		puts(gai_strerror(error));
		return 1;
	}
	for (; found; found = found->ai_next) {
		getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST);
		puts(text);
	}
	return 0;
}
