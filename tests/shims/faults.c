/*
 * Loaded into gatehouse by tests (LD_PRELOAD): a clock that jumps, and a disk that is full or fails, for the files of its
 * database alone. What holds now stands in the file that GATEHOUSE_FAULTS names: three 64-bit numbers.
 */
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

struct faults {
	volatile int64_t clock_seconds; /* the wall clock is off by this */
	volatile int64_t full;          /* 1: no space for the database */
	volatile int64_t sync;          /* 1: the disk does not confirm what the database writes */
};

static struct faults *faults;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("GATEHOUSE_FAULTS");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *map = mmap(NULL, sizeof(struct faults), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		faults = map;
}

static int is_database(int fd)
{
	char link[64], path[4096];
	char *digit = link + sizeof(link);
	unsigned number = (unsigned)fd;
	*--digit = 0;
	do {
		*--digit = (char)('0' + number % 10);
	} while (number /= 10);
	const char *folder = "/proc/self/fd/";
	digit -= strlen(folder);
	memcpy(digit, folder, strlen(folder));
	ssize_t length = readlink(digit, path, sizeof(path) - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return strstr(path, "gatehouse.db") != NULL;
}

static int no_space(int fd)
{
	if (!faults || !faults->full || !is_database(fd))
		return 0;
	errno = ENOSPC;
	return 1;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
	return no_space(fd) ? -1 : syscall(SYS_write, fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at)
{
	return no_space(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, length, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
	return pwrite64(fd, bytes, length, at);
}

static int does_not_sync(int fd)
{
	if (!faults || !faults->sync || !is_database(fd))
		return 0;
	errno = EIO;
	return 1;
}

int fsync(int fd)
{
	return does_not_sync(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return does_not_sync(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int)syscall(SYS_clock_gettime, clock, time);
	if (result == 0 && faults && clock == CLOCK_REALTIME)
		time->tv_sec += faults->clock_seconds;
	return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	(void)zone;
	struct timespec now;
	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return -1;
	time->tv_sec = now.tv_sec;
	time->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *result)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}
