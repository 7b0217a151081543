/* A client that means no good. Prints what it has done as one line of JSON.
 *
 *   hostile flood ADDR PORT RATE SECONDS   well-formed queries, RATE a second at
 *                                          most, and counts the replies
 *   hostile datagrams ADDR PORT COUNT SEED malformed and random datagrams,
 *                                          none sent before all others are read
 *   hostile streams ADDR PORT COUNT SEED   malformed and random TCP streams
 *   hostile questions ADDR PORT COUNT      datagrams of 65,000 bytes made of
 *                                          10,000 questions with long names
 *   hostile big ADDR PORT COUNT            queries of 60,000 bytes
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "generator.h"

#define LOT 32
/* So many datagrams fit into a socket's queue, whatever they hold. */
#define WINDOW 64
#define HEADER 12

static size_t below(size_t bound)
{
	return number() % bound;
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int dial(const char *addr, const char *port, int type)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	struct timeval timeout = { .tv_sec = 2 };
	int v4 = inet_pton(AF_INET, addr, &in.sin_addr) == 1;
	int fd = socket(v4 ? AF_INET : AF_INET6, type, 0);

	inet_pton(AF_INET6, addr, &in6.sin6_addr);
	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, v4 ? (void *)&in : (void *)&in6, v4 ? sizeof(in) : sizeof(in6)))
		fail("connect");
	return fd;
}

/* A query for a name that nobody asked for before. */
static size_t query(uint8_t *to)
{
	static const uint8_t tail[] = "\7example\3org\0\0\1\0\1";
	uint64_t id = number();

	memset(to, 0, HEADER);
	memcpy(to, &id, 2);
	to[2] = 1;
	to[5] = 1;
	to[HEADER] = 16;
	for (int i = 0; i < 16; i++)
		to[HEADER + 1 + i] = 'a' + (id >> 4 * i & 15);
	memcpy(to + HEADER + 17, tail, sizeof(tail) - 1);
	return HEADER + 17 + sizeof(tail) - 1;
}

static void flood(const char *addr, const char *port, double rate, double seconds)
{
	static uint8_t out[LOT][128], in[LOT][512];
	struct mmsghdr sends[LOT] = { 0 }, receives[LOT] = { 0 };
	struct iovec outs[LOT], ins[LOT];
	long sent = 0, replies = 0, rcodes[16] = { 0 };
	int fd = dial(addr, port, SOCK_DGRAM), got;
	double start = now();

	for (int i = 0; i < LOT; i++) {
		ins[i] = (struct iovec){ in[i], sizeof(in[i]) };
		receives[i].msg_hdr = (struct msghdr){ .msg_iov = &ins[i], .msg_iovlen = 1 };
		sends[i].msg_hdr = (struct msghdr){ .msg_iov = &outs[i], .msg_iovlen = 1 };
	}
	while (now() - start < seconds) {
		if (sent < rate * (now() - start)) {
			for (int i = 0; i < LOT; i++)
				outs[i] = (struct iovec){ out[i], query(out[i]) };
			got = sendmmsg(fd, sends, LOT, MSG_DONTWAIT);
			sent += got > 0 ? got : 0;
		} else {
			usleep(200);
		}
		while ((got = recvmmsg(fd, receives, LOT, MSG_DONTWAIT, NULL)) > 0)
			for (int i = 0; i < got; i++, replies++)
				rcodes[in[i][3] & 15]++;
	}
	printf("{\"sent\": %ld, \"per_second\": %.0f, \"replies\": %ld, \"noerror\": %ld, \"servfail\": %ld, "
	       "\"refused\": %ld}\n", sent, sent / (now() - start), replies, rcodes[0], rcodes[2], rcodes[5]);
}

/* Something between a good query and noise. */
static size_t garbage(uint8_t *to, size_t max)
{
	size_t length, kind = below(8);

	if (kind == 0) {
		length = below(below(4) ? 64 : max);
		for (size_t i = 0; i < length; i++)
			to[i] = number();
		return length;
	}
	length = query(to);
	if (kind & 1)
		for (size_t flips = 1 + below(6); flips; flips--)
			to[below(length)] = number();
	if (kind & 2) {
		size_t more = below(200);
		for (size_t i = 0; i < more; i++)
			to[length++] = number();
		/* Counts of records that may or may not be there. */
		to[4 + below(8)] = number();
	}
	if (kind & 4)
		length = below(length + 1);
	return length;
}

/* Waits until all that was sent before has been read: asks for the version. */
static void catch_up(int fd, long *replies)
{
	static const uint8_t ask[] = "\xab\xcd\1\0\0\1\0\0\0\0\0\0\7version\4bind\0\0\x10\0\3";
	uint8_t in[2048];

	if (send(fd, ask, sizeof(ask) - 1, 0) < 0)
		fail("send");
	for (;;) {
		ssize_t got = recv(fd, in, sizeof(in), 0);
		if (got < 0) {
			fprintf(stderr, "no answer any more\n");
			exit(1);
		}
		if (got > 40 && !memcmp(in, ask, 2) && !memcmp(in + 12, ask + 12, sizeof(ask) - 13))
			return;
		++*replies;
	}
}

static void datagrams(const char *addr, const char *port, long count)
{
	static uint8_t out[LOT][2048];
	struct mmsghdr sends[LOT] = { 0 };
	struct iovec outs[LOT];
	long sent = 0, replies = 0;
	int fd = dial(addr, port, SOCK_DGRAM);

	for (int i = 0; i < LOT; i++)
		sends[i].msg_hdr = (struct msghdr){ .msg_iov = &outs[i], .msg_iovlen = 1 };
	while (sent < count) {
		for (int i = 0; i < LOT; i++)
			outs[i] = (struct iovec){ out[i], garbage(out[i], sizeof(out[i]) - 300) };
		int got = sendmmsg(fd, sends, LOT, 0);
		if (got < 0)
			fail("sendmmsg");
		sent += got;
		if (sent % WINDOW == 0)
			catch_up(fd, &replies);
	}
	printf("{\"datagrams\": %ld, \"replies\": %ld}\n", sent, replies);
}

static void streams(const char *addr, const char *port, long count)
{
	uint8_t out[4096], in[512];
	long sent = 0, replies = 0;

	while (sent < count) {
		int fd = dial(addr, port, SOCK_STREAM);
		/* Frames with a right length, a wrong one, or none at all. */
		for (size_t messages = 1 + below(100); messages; messages--, sent++) {
			size_t length = garbage(out + 2, 1000);
			size_t claimed = below(16) ? length : below(65536);
			out[0] = claimed >> 8;
			out[1] = claimed;
			if (send(fd, out + (below(64) ? 0 : 2), length + 2, MSG_NOSIGNAL) < 0)
				break;
			while (recv(fd, in, sizeof(in), MSG_DONTWAIT) > 0)
				replies++;
		}
		close(fd);
	}
	printf("{\"messages\": %ld, \"reads\": %ld}\n", sent, replies);
}

/* Many questions, whose names are pointers to one of 255 bytes. */
static size_t questions(uint8_t *to)
{
	size_t at = HEADER, count = 1;

	query(to);
	for (int label = 0; label < 4; label++) {
		size_t length = label < 3 ? 63 : 60;
		to[at++] = length;
		memset(to + at, 'A' + label, length);
		at += length;
	}
	memcpy(to + at, "\0\0\1\0\1", 5);
	for (at += 5; at + 6 < 65000; at += 6, count++)
		memcpy(to + at, "\xc0\x0c\0\1\0\1", 6);
	to[4] = count >> 8;
	to[5] = count;
	return at;
}

/* An ordinary question, and an EDNS option of padding behind it. */
static size_t big(uint8_t *to)
{
	size_t length = query(to), padding = 60000 - length - 15;
	uint8_t opt[] = { 0, 0, 41, 4, 208, 0, 0, 0, 0, (padding + 4) >> 8, padding + 4, 0, 12, padding >> 8, padding };

	to[11] = 1;
	memcpy(to + length, opt, sizeof(opt));
	memset(to + length + sizeof(opt), 0, padding);
	return length + sizeof(opt) + padding;
}

static void large(const char *addr, const char *port, long count, size_t make(uint8_t *))
{
	static uint8_t out[65536], in[65536];
	int fd = dial(addr, port, SOCK_DGRAM);
	long replies = 0, rcodes[16] = { 0 };

	for (long i = 0; i < count; i++) {
		/* A socket buffer holds few of them. */
		if (send(fd, out, make(out), 0) < 0)
			fail("send");
		usleep(1000);
		while (recv(fd, in, sizeof(in), MSG_DONTWAIT) > 0) {
			replies++;
			rcodes[in[3] & 15]++;
		}
	}
	printf("{\"sent\": %ld, \"replies\": %ld, \"refused\": %ld}\n", count, replies, rcodes[5]);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	state = argc > 5 ? strtoull(argv[5], NULL, 0) : 1;
	if (!strcmp(argv[1], "flood") && argc == 6)
		flood(argv[2], argv[3], atof(argv[4]), atof(argv[5]));
	else if (!strcmp(argv[1], "datagrams"))
		datagrams(argv[2], argv[3], atol(argv[4]));
	else if (!strcmp(argv[1], "streams"))
		streams(argv[2], argv[3], atol(argv[4]));
	else if (!strcmp(argv[1], "questions"))
		large(argv[2], argv[3], atol(argv[4]), questions);
	else if (!strcmp(argv[1], "big"))
		large(argv[2], argv[3], atol(argv[4]), big);
	else
		return 2;
	return 0;
}
