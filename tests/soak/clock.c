/* A wall clock that jumps for one program alone: preload it, and CLOCK_REALTIME
 * is off by what the file named in SOAK_CLOCK says. No other clock is touched,
 * nor the machine's, which is not ours to set. The file counts the readings. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static struct { int64_t offset, readings; } *shared;

__attribute__((constructor)) static void open_shared(void)
{
	const char *path = getenv("SOAK_CLOCK");
	int fd;

	/* Not for nft, which the program starts. */
	if (!path || strcmp(program_invocation_short_name, "gluon-wan"))
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		shared = NULL;
	close(fd);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
	int result = syscall(SYS_clock_gettime, id, now);

	if (result == 0 && shared && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
		__atomic_add_fetch(&shared->readings, 1, __ATOMIC_RELAXED);
		now->tv_sec += shared->offset;
	}
	return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec time;
	int result = clock_gettime(CLOCK_REALTIME, &time);

	(void)zone;
	now->tv_sec = time.tv_sec;
	now->tv_usec = time.tv_nsec / 1000;
	return result;
}

time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
