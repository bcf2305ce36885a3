/*
 * Print a line a second, to see when a guest stood still and what its clocks
 * made of it:
 *
 *   tick 12 mono=34.005 real=1763650000.120 boot=34.005
 *
 * A second of CLOCK_MONOTONIC, so a stop shows as a jump of real, and of boot,
 * and not as missing lines.
 */
#include <stdio.h>
#include <time.h>

static void clock_print(const char *name, clockid_t id, const char *end)
{
	struct timespec now;

	clock_gettime(id, &now);
	printf("%s=%lld.%03ld%s", name, (long long)now.tv_sec, now.tv_nsec / 1000000, end);
}

int main(void)
{
	struct timespec next;

	setvbuf(stdout, NULL, _IOLBF, 0);
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (unsigned long n = 0;; n++) {
		printf("tick %lu ", n);
		clock_print("mono", CLOCK_MONOTONIC, " ");
		clock_print("real", CLOCK_REALTIME, " ");
		clock_print("boot", CLOCK_BOOTTIME, "\n");
		next.tv_sec++;
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL))
			;
	}
}
