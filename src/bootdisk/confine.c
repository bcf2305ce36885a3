/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filesystem made by somebody else is parsed by a library that was not made for that. Whatever it can be made to
 * do, it does in here: without files, processes, network, or memory that is both written and executed.
 */
#include "bootdisk/confine.h"

#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/util.h"

#define CPU_SECONDS  60		    /* emulated hosts are slow */
#define MEMORY_BYTES (256ULL << 20) /* a corrupt group count may want gigabytes */
#define FILE_BYTES   (1ULL << 30)   /* of an initrd */

/* Sanitizers map terabytes and look into /proc: what they test is the parsers. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static int limit(struct err *err)
{
	static const struct {
		__rlimit_resource_t what;
		rlim_t most;
	} limits[] = {
		{ RLIMIT_AS, MEMORY_BYTES }, { RLIMIT_CPU, CPU_SECONDS }, { RLIMIT_FSIZE, FILE_BYTES },
		{ RLIMIT_NOFILE, 0 },	     { RLIMIT_NPROC, 0 },	  { RLIMIT_CORE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct rlimit r = { limits[i].most, limits[i].most };

		if (setrlimit(limits[i].what, &r) < 0)
			return err_errno(err, -errno, "set limits");
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_errno(err, -errno, "give up privileges");
	return 0;
}

/* What malloc() and libext2fs do, found by strace over a test; descriptors and protections by argument. */
static int add_rules(scmp_filter_ctx c)
{
	static const int plain[] = {
		SCMP_SYS(brk),		SCMP_SYS(munmap),	   SCMP_SYS(madvise),	   SCMP_SYS(futex),
		SCMP_SYS(getrandom),	SCMP_SYS(clock_gettime),   SCMP_SYS(gettimeofday), SCMP_SYS(time),
		SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall), SCMP_SYS(exit),	   SCMP_SYS(exit_group)
	};
	static const int writable[] = { FD_RESULT, FD_KERNEL, FD_INITRD };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(plain); i++)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, plain[i], 0);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(writable); i++)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(write), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)writable[i]));
	r = r ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(pread64), 1, SCMP_A0(SCMP_CMP_EQ, FD_DISK));
	r = r ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mremap), 0);
	r = r
		    ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
					SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
	r = r ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return r;
}

static int filter(struct err *err)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = c ? add_rules(c) : -ENOMEM;

	r = r ?: seccomp_load(c);
	seccomp_release(c);
	return r < 0 ? err_errno(err, r, "system call filter") : 0;
}

bool confine_is_possible(void)
{
	return !SANITIZED;
}

int confine(struct err *err)
{
	if (SANITIZED)
		return 0;
	return limit(err) ?: filter(err);
}
