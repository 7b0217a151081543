/* relay: what a DNS forwarder costs at least. It swaps the id, sends on a
 * marked, connected socket with a random port, and hands back what returns.
 * It does not retry, check the question, or mend anything; it is no resolver.
 *
 * relay fresh|shared PORT SERVER MARK
 *   fresh   a socket for every query
 *   shared  32 sockets, each reopened after 32 uses
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKETS = 32, USES = 32, EVENTS = 64, HEADER = 12 };

struct query {
	struct sockaddr_in client;
	uint16_t client_id;
	int socket; /* index in sockets; -1: not open */
};

struct upstream {
	int fd;
	int uses;
	int waiting;
};

static struct query queries[65536];
static struct upstream sockets[4096]; /* by descriptor when fresh */
static struct sockaddr_in server = { .sin_family = AF_INET };
static int mark, epoll, clients;
static int is_fresh;

static void check(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static uint16_t random_u16(void)
{
	static uint16_t lot[32];
	static unsigned used = 32;

	if (used == 32) {
		check(getrandom(lot, sizeof(lot), 0), "getrandom");
		used = 0;
	}
	return lot[used++];
}

static void watch(int fd, uint32_t data)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = data };

	check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static int open_upstream(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	check(fd, "socket");
	check(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), "SO_MARK");
	check(connect(fd, (struct sockaddr *)&server, sizeof(server)), "connect");
	return fd;
}

/* Returns the index of the socket to send through. */
static int choose(void)
{
	if (is_fresh) {
		int fd = open_upstream();

		if (fd >= (int)(sizeof(sockets) / sizeof(sockets[0])))
			exit(1);
		sockets[fd] = (struct upstream){ .fd = fd };
		watch(fd, fd);
		return fd;
	}

	int at = random_u16() % SOCKETS;

	if (sockets[at].uses >= USES && sockets[at].waiting == 0) {
		close(sockets[at].fd);
		sockets[at] = (struct upstream){ .fd = open_upstream() };
		watch(sockets[at].fd, at);
	}
	return at;
}

static void take_query(void)
{
	uint8_t message[65536];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t len;

	while ((len = recvfrom(clients, message, sizeof(message), 0,
			       (struct sockaddr *)&from, &from_len)) >= HEADER) {
		uint16_t id;

		do
			id = random_u16();
		while (queries[id].socket >= 0);
		queries[id].client = from;
		memcpy(&queries[id].client_id, message, 2);
		memcpy(message, &id, 2);
		queries[id].socket = choose();

		struct upstream *upstream = &sockets[queries[id].socket];

		upstream->uses++;
		upstream->waiting++;
		send(upstream->fd, message, len, 0);
	}
}

static void take_reply(int at)
{
	uint8_t message[65536];
	ssize_t len = recv(sockets[at].fd, message, sizeof(message), 0);
	uint16_t id;

	if (len < HEADER)
		return;
	memcpy(&id, message, 2);

	struct query *query = &queries[id];

	if (query->socket != at)
		return;
	memcpy(message, &query->client_id, 2);
	sendto(clients, message, len, 0, (struct sockaddr *)&query->client,
	       sizeof(query->client));
	query->socket = -1;
	sockets[at].waiting--;
	if (is_fresh)
		close(sockets[at].fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in on = { .sin_family = AF_INET };
	struct epoll_event events[EVENTS];

	if (argc != 5)
		return 2;
	is_fresh = strcmp(argv[1], "fresh") == 0;
	on.sin_port = htons(atoi(argv[2]));
	on.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server.sin_port = htons(53);
	if (inet_pton(AF_INET, argv[3], &server.sin_addr) != 1)
		return 2;
	mark = atoi(argv[4]);
	for (unsigned id = 0; id < 65536; id++)
		queries[id].socket = -1;

	check(epoll = epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	check(clients = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
	check(bind(clients, (struct sockaddr *)&on, sizeof(on)), "bind");
	watch(clients, UINT32_MAX);
	for (int at = 0; !is_fresh && at < SOCKETS; at++) {
		sockets[at] = (struct upstream){ .fd = open_upstream() };
		watch(sockets[at].fd, at);
	}
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.u32 == UINT32_MAX)
				take_query();
			else
				take_reply(events[i].data.u32);
		}
	}
}
