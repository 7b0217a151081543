/* first-answer: starts a DNS server and says how long its first answer took.
 *
 * first-answer PORT NAME [VARIABLE=VALUE]... COMMAND [ARGUMENT]...
 *
 * Asks 127.0.0.1 for the A of NAME.example until a NOERROR answer comes: every
 * 0.1 ms while nobody listens, then one question at a time, which waits in the
 * server's socket until the server gets to it. Prints the server's pid and the
 * milliseconds since exec, and stays until the server ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { PATIENCE_MS = 1000, LIMIT_MS = 60000 };

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* A query for NAME.example, type A, class IN. */
static size_t write_query(uint8_t *message, const char *name)
{
	static const uint8_t header[] = { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
	static const uint8_t rest[] = { 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1 };
	uint8_t *end = mempcpy(message, header, sizeof(header));

	*end++ = strlen(name);
	end = mempcpy(end, name, strlen(name));
	end = mempcpy(end, rest, sizeof(rest));
	return end - message;
}

/* Asks once. Returns whether a NOERROR answer came. */
static int is_answered(int fd, const char *name)
{
	struct timespec pause = { .tv_nsec = 100000 };
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	uint8_t query[128], reply[1024] = { 0 };

	ssize_t got = send(fd, query, write_query(query, name), 0);

	if (got >= 0 && poll(&readable, 1, PATIENCE_MS) == 1)
		got = recv(fd, reply, sizeof(reply), 0);
	if (got < 0)
		nanosleep(&pause, NULL); /* refused: nobody listens yet */
	return got >= 12 && memcmp(reply, query, 2) == 0 && (reply[3] & 15) == 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in server = { .sin_family = AF_INET };

	if (argc < 4 || strlen(argv[2]) > 63)
		return 2;
	server.sin_port = htons(atoi(argv[1]));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	char **command = argv + 3;

	/* The variables are for the server alone. */
	for (; *command && strchr(*command, '='); command++)
		putenv(*command);

	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (!*command || connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0)
		return 2;

	pid_t pid;
	double start = now_ms();

	if (posix_spawnp(&pid, *command, NULL, NULL, command, environ) != 0) {
		perror(*command);
		return 1;
	}
	while (!is_answered(fd, argv[2])) {
		if (waitpid(pid, NULL, WNOHANG) == pid || now_ms() - start > LIMIT_MS) {
			fprintf(stderr, "%s: does not answer\n", *command);
			kill(pid, SIGKILL);
			return 1;
		}
	}
	printf("%d %.2f\n", pid, now_ms() - start);
	fflush(stdout);
	close(fd);
	waitpid(pid, NULL, 0);
	return 0;
}
