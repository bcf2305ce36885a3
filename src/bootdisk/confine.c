/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filesystem made by somebody else is parsed by a library that was not made for that. Whatever it can be made to
 * do, it does in here: without files, processes, network, or memory that is both written and executed.
 */
#include "bootdisk/confine.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/resource.h>

#include "base/sandbox.h"
#include "base/util.h"

#define CPU_SECONDS  60		    /* emulated hosts are slow */
#define MEMORY_BYTES (256ULL << 20) /* a corrupt group count may want gigabytes */
#define FILE_BYTES   (1ULL << 30)   /* of an initrd */

/* What malloc() and libext2fs do, found by strace over a test; descriptors and protections by argument. */
static int add_rules(scmp_filter_ctx c, bool served)
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
	r = r
		    ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, served ? SCMP_SYS(read) : SCMP_SYS(pread64), 1,
					SCMP_A0(SCMP_CMP_EQ, FD_DISK));
	if (r == 0 && served) /* what it wants to have read */
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, SCMP_A0(SCMP_CMP_EQ, FD_DISK));
	r = r ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mremap), 0);
	return r ?: sandbox_allow_memory(c);
}

static int filter(bool served, struct err *err)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = c ? add_rules(c, served) : -ENOMEM;

	r = r ?: seccomp_load(c);
	seccomp_release(c);
	return r < 0 ? err_errno(err, r, "system call filter") : 0;
}

int confine(bool served, struct err *err)
{
	static const struct sandbox_limit limits[] = {
		{ RLIMIT_AS, MEMORY_BYTES }, { RLIMIT_CPU, CPU_SECONDS }, { RLIMIT_FSIZE, FILE_BYTES },
		{ RLIMIT_NOFILE, 0 },	     { RLIMIT_NPROC, 0 },	  { RLIMIT_CORE, 0 },
	};

	if (!sandbox_is_possible())
		return 0;
	return sandbox_limits(limits, ARRAY_SIZE(limits), err) ?: filter(served, err);
}
