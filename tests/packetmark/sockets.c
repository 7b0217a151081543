// A program that opens sockets and says what it got: `sockets WHAT [ARGUMENT...]`.
// Built by packetmark.bats with glibc and with musl, and with -DNO_NEXT as a
// program in which dlsym finds nothing.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SO_MARK
#define SO_MARK 36
#endif

#ifdef NO_NEXT
void *dlsym(void *handle, const char *name) {
	(void)handle, (void)name;
	return NULL;
}
#endif

// The mark, or minus errno for what is not a socket.
static long mark_of(int fd) {
	unsigned mark = 0;
	socklen_t size = sizeof mark;
	return getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &size) ? -errno : (long)mark;
}

static void show(const char *title, int fd) {
	if (fd < 0)
		printf("%s failed %s\n", title, strerror(errno));
	else
		printf("%s mark %ld\n", title, mark_of(fd));
	fflush(stdout);
}

// Every family and type, with every set of flags.
static int all(void) {
	static const struct { const char *title; int domain, type, protocol; } kinds[] = {
		{"inet stream", AF_INET, SOCK_STREAM, 0},
		{"inet dgram", AF_INET, SOCK_DGRAM, 0},
		{"inet raw", AF_INET, SOCK_RAW, IPPROTO_ICMP},
		{"inet6 stream", AF_INET6, SOCK_STREAM, 0},
		{"inet6 dgram", AF_INET6, SOCK_DGRAM, 0},
		{"inet6 raw", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6},
		{"unix stream", AF_UNIX, SOCK_STREAM, 0},
		{"unix dgram", AF_UNIX, SOCK_DGRAM, 0},
		{"netlink raw", AF_NETLINK, SOCK_RAW, 0},
		{"packet dgram", AF_PACKET, SOCK_DGRAM, 0},
	};
	static const int flags[] = {0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK};
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
		for (size_t f = 0; f < sizeof flags / sizeof *flags; f++) {
			int fd = socket(kinds[k].domain, kinds[k].type | flags[f], kinds[k].protocol);
			printf("%s%s%s %s\n", kinds[k].title,
			       fd >= 0 && fcntl(fd, F_GETFD) & FD_CLOEXEC ? " cloexec" : "",
			       fd >= 0 && fcntl(fd, F_GETFL) & O_NONBLOCK ? " nonblock" : "",
			       fd < 0 ? strerror(errno) : mark_of(fd) ? "marked" : "unmarked");
			close(fd);
		}
	return 0;
}

// What errno is after a call that works and one that does not.
static int errno_kept(void) {
	errno = ENOTTY;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	printf("%s %s\n", fd < 0 ? "failed" : "worked", strerror(errno));
	errno = ENOTTY;
	fd = socket(AF_INET, SOCK_STREAM, IPPROTO_UDP);
	printf("%s %s\n", fd < 0 ? "failed" : "worked", strerror(errno));
	return 0;
}

static int open_files(void) {
	int count = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (dir && readdir(dir))
		count++;
	closedir(dir);
	return count;
}

// Standard error is another file, or closed, as daemons have it. Then the first
// socket takes its number.
static int without_stderr(const char *file) {
	close(STDERR_FILENO);
	if (file && open(file, O_WRONLY) != STDERR_FILENO)
		return 1;
	show("inet", socket(AF_INET, SOCK_STREAM, 0));
	show("inet", socket(AF_INET, SOCK_STREAM, 0));
	return file ? 0 : mark_of(STDERR_FILENO) < 0;
}

// Capabilities permitted but not in effect, as ping of iputils has them; and what
// is in effect afterwards.
static int laid_down(void) {
	struct { unsigned version; int pid; } header = {0x20080522, 0};
	struct { unsigned effective, permitted, inheritable; } words[2];
	syscall(SYS_capget, &header, words);
	words[0].effective &= ~(1u << 12 | 1u << 13);
	syscall(SYS_capset, &header, words);
	errno = ENOTTY;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	printf("%s mark %ld\n", strerror(errno), mark_of(fd));
	syscall(SYS_capget, &header, words);
	printf("in effect %x\n", words[0].effective & (1u << 12 | 1u << 13));
	return 0;
}

// How many descriptors 100 calls leave behind.
static int leak(void) {
	int before = open_files(), failed = 0;
	for (int i = 0; i < 100; i++)
		failed += socket(i % 2 ? AF_INET : AF_INET6, SOCK_DGRAM, 0) < 0;
	printf("failed %d left %d\n", failed, open_files() - before);
	return 0;
}

static pthread_barrier_t start;
static const char *wanted;

static void *thread(void *wrong) {
	pthread_barrier_wait(&start);
	for (int i = 0; i < 200; i++) {
		int fd = socket(i % 2 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
		if (fd < 0 || mark_of(fd) != atol(wanted))
			__atomic_add_fetch((int *)wrong, 1, __ATOMIC_RELAXED);
		close(fd);
	}
	return NULL;
}

// `threads MARK`: many at once; how many sockets did not have the mark.
static int threads(const char *mark) {
	pthread_t all[16];
	int wrong = 0;
	wanted = mark;
	pthread_barrier_init(&start, NULL, 16);
	for (int i = 0; i < 16; i++)
		pthread_create(&all[i], NULL, thread, &wrong);
	for (int i = 0; i < 16; i++)
		pthread_join(all[i], NULL);
	printf("wrong %d\n", wrong);
	return 0;
}

// A child, and another program in the child's place.
static int fork_and_exec(const char *self) {
	show("parent", socket(AF_INET, SOCK_DGRAM, 0));
	if (fork() == 0) {
		show("child", socket(AF_INET, SOCK_DGRAM, 0));
		execl(self, self, "one", (char *)NULL);
		_exit(1);
	}
	return wait(NULL) < 0;
}

// `load LIBRARY`: not preloaded, but opened with nothing behind it to be found.
static int load(const char *library) {
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	int (*call)(int, int, int) = handle ? (int (*)(int, int, int))dlsym(handle, "socket") : NULL;
	if (!call)
		return fprintf(stderr, "%s\n", dlerror()), 1;
	show("inet", call(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	errno = 0;
	show("none", call(AF_INET, SOCK_STREAM, IPPROTO_UDP));
	return 0;
}

// `fetch ADDRESS`: a page, as a client of this libc fetches it.
static int fetch(const char *address) {
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(80)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
	int is4 = inet_pton(AF_INET, address, &v4.sin_addr);
	inet_pton(AF_INET6, address, &v6.sin6_addr);
	static const char request[] = "GET / HTTP/1.0\r\n\r\n";
	char answer[4096];
	ssize_t length;
	int fd = socket(is4 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
	if (connect(fd, is4 ? (void *)&v4 : (void *)&v6, is4 ? sizeof v4 : sizeof v6) ||
	    write(fd, request, sizeof request - 1) < 0)
		return perror("sockets"), 1;
	while ((length = read(fd, answer, sizeof answer)) > 0)
		fwrite(answer, 1, (size_t)length, stdout);
	return 0;
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "", *argument = argc > 2 ? argv[2] : "";
	if (!strcmp(what, "all"))
		return all();
	if (!strcmp(what, "one"))
		return show("inet", socket(AF_INET, SOCK_DGRAM, 0)), 0;
	if (!strcmp(what, "three"))
		for (int i = 0; i < 3; i++)
			show("inet", socket(AF_INET, SOCK_DGRAM, 0));
	if (!strcmp(what, "cleared"))
		return clearenv(), show("inet", socket(AF_INET, SOCK_DGRAM, 0)), 0;
	if (!strcmp(what, "closed-stderr"))
		return without_stderr(NULL);
	if (!strcmp(what, "null-stderr"))
		return without_stderr("/dev/null");
	if (!strcmp(what, "laid-down"))
		return laid_down();
	if (!strcmp(what, "errno"))
		return errno_kept();
	if (!strcmp(what, "leak"))
		return leak();
	if (!strcmp(what, "threads"))
		return threads(argument);
	if (!strcmp(what, "fork"))
		return fork_and_exec(argv[0]);
	if (!strcmp(what, "load"))
		return load(argument);
	if (!strcmp(what, "fetch"))
		return fetch(argument);
	return strcmp(what, "three") ? 2 : 0;
}
