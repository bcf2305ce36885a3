/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to fix a moment of memory that somebody goes on writing to: the candidates of
 * docs/checkpoints.md on the same work, without any guest.
 *
 *     mechanisms MIB DIRTY_PAGES
 *
 * MIB of memory in a memfd, all of it in use; DIRTY_PAGES random pages are written afterwards. Prints
 * for each candidate how long the moment takes, and what each of those writes costs the writer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ULL

static uint64_t bytes, dirty;
static uint8_t *memory, *aside;
static int fd;

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* The pages that are written: the same for each candidate. */
static uint8_t *page_of(uint64_t i)
{
	return memory + (i * 2654435761ULL % (bytes / PAGE)) * PAGE;
}

static double write_all(void)
{
	double start = now_us();

	for (uint64_t i = 0; i < dirty; i++)
		*(volatile uint8_t *)page_of(i) += 1;
	return (now_us() - start) / (double)dirty;
}

static void tell(const char *name, double moment_us, double write_us)
{
	printf("%-34s %8llu %8llu %12.3f %10.3f\n", name, (unsigned long long)(bytes >> 20), (unsigned long long)dirty,
	       moment_us / 1e3, write_us);
	fflush(stdout);
}

static void fresh(void)
{
	if (memory)
		munmap(memory, bytes);
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	for (uint64_t at = 0; at < bytes; at += PAGE)
		*(volatile uint8_t *)(memory + at) += 1;
}

/* ---- all of it is copied while it stands still ---- */

static void copy_all(void)
{
	double start;

	fresh();
	start = now_us();
	memcpy(aside, memory, bytes);
	tell("copy everything", now_us() - start, write_all());
}

/* ---- what was written since it was sent is copied (dirty log) ---- */

static void copy_dirty(void)
{
	double start;

	fresh();
	start = now_us();
	for (uint64_t i = 0; i < dirty; i++)
		memcpy(aside + i * PAGE, page_of(i), PAGE);
	tell("copy what changed (dirty log)", now_us() - start, write_all());
}

/* ---- private mapping over the frozen file ---- */

static void remap(void)
{
	double start, moment;

	fresh();
	start = now_us();
	if (mmap(memory, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, 0) == MAP_FAILED)
		die("private mapping");
	moment = now_us() - start;
	tell("private mapping", moment, write_all());
}

/* ---- userfaultfd write protection ---- */

static int uffd;

static void protect(void *start, uint64_t len, bool on)
{
	struct uffdio_writeprotect wp = { .range = { (uintptr_t)start, len },
					  .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0 };

	if (ioctl(uffd, UFFDIO_WRITEPROTECT, &wp) < 0)
		die("UFFDIO_WRITEPROTECT");
}

static void *serve(void *arg)
{
	struct uffd_msg msg;
	uint64_t n = 0;

	(void)arg;
	while (n < dirty && read(uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		uint8_t *page = (uint8_t *)(uintptr_t)(msg.arg.pagefault.address & ~(PAGE - 1));

		memcpy(aside + n++ * PAGE, page, PAGE);
		protect(page, PAGE, false);
	}
	return NULL;
}

static int open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM };
	struct uffdio_register reg = { .range = { (uintptr_t)memory, bytes }, .mode = UFFDIO_REGISTER_MODE_WP };
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	uffd = dev >= 0 ? ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC) : (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (dev >= 0)
		close(dev);
	return uffd < 0 || ioctl(uffd, UFFDIO_API, &api) < 0 || ioctl(uffd, UFFDIO_REGISTER, &reg) < 0 ? -errno : 0;
}

static void write_protect(bool all)
{
	pthread_t thread;
	double start, moment, each;

	fresh();
	if (open_uffd() < 0) {
		printf("%-34s not here: %s\n", "write protection", strerror(errno));
		return;
	}
	start = now_us();
	if (all)
		protect(memory, bytes, true);
	else
		for (uint64_t i = 0; i < dirty; i++)
			protect(page_of(i), PAGE, true);
	moment = now_us() - start;
	pthread_create(&thread, NULL, serve, NULL);
	each = write_all();
	tell(all ? "write protection, everything" : "write protection, what changed", moment, each);
	close(uffd); /* ends the thread, should a page have been the same as another */
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return fprintf(stderr, "mechanisms MIB DIRTY_PAGES\n"), 2;
	bytes = strtoull(argv[1], NULL, 10) << 20;
	dirty = strtoull(argv[2], NULL, 10);
	fd = memfd_create("memory", MFD_CLOEXEC);
	aside = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 || aside == MAP_FAILED)
		die("memory");
	printf("%-34s %8s %8s %12s %10s\n", "", "MiB", "pages", "moment ms", "us/write");
	copy_all();
	copy_dirty();
	write_protect(true);
	write_protect(false);
	remap();
	return 0;
}
