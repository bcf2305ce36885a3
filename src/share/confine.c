/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest may send what it likes. Should it find a fault of this server, it is in a process that has the right to one
 * folder, and to nothing else.
 */
#include "share/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sandbox.h"
#include "base/util.h"

#define MEMORY_BYTES (1ULL << 30) /* half a million names, and buffers */
#define FDS_MAX	     1024	  /* folders within each other that are looked through; connections */

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

/* ---- who it is ---- */

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

int confine_user(int root_fd, struct err *err)
{
	struct stat st;

	if (fstat(root_fd, &st) < 0)
		return err_errno(err, -errno, "the folder");
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
			       setresuid(st.st_uid, st.st_uid, st.st_uid) < 0))
		return err_errno(err, -errno, "become the folder's owner (user %u)", st.st_uid);
	/* Root that owns the folder stays root, but one with the rights of an owner. */
	return drop_capabilities() < 0 ? err_errno(err, -errno, "give up capabilities") : 0;
}

/* ---- Landlock ---- */

#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITING                                                                                                        \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |              \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                    \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define NEVER (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)

static uint64_t newer_rights(long abi)
{
	return (abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0) | (abi >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0);
}

/* Version 1 allows no file to be moved from folder to folder: rather without. */
static int landlock(int root_fd, bool readonly, struct err *err)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t writing = WRITING | newer_rights(abi);
	struct landlock_ruleset_attr all = { .handled_access_fs = READING | writing | NEVER };
	struct landlock_path_beneath_attr folder = { .allowed_access = READING | (readonly ? 0 : writing),
						     .parent_fd = root_fd };
	_cleanup_close_ int fd = -1;

	if (abi < 2)
		return 0;
	fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all.handled_access_fs), 0);
	if (fd < 0 || syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &folder, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return err_errno(err, -errno, "Landlock");
	return 0;
}

/* ---- system calls ---- */

static int add_rules(scmp_filter_ctx c, int proc_fd, bool readonly)
{
	static const int plain[] = {
		SCMP_SYS(brk),		SCMP_SYS(munmap),	   SCMP_SYS(madvise),	    SCMP_SYS(mremap),
		SCMP_SYS(futex),	SCMP_SYS(getrandom),	   SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday),
		SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall), SCMP_SYS(exit),	    SCMP_SYS(exit_group),
		SCMP_SYS(poll),		SCMP_SYS(ppoll),	   SCMP_SYS(accept4),	    SCMP_SYS(read),
		SCMP_SYS(write),	SCMP_SYS(sendto),	   SCMP_SYS(close),	    SCMP_SYS(statx),
		SCMP_SYS(openat2),	SCMP_SYS(lseek),	   SCMP_SYS(getdents64),    SCMP_SYS(pread64),
		SCMP_SYS(readlinkat),	SCMP_SYS(faccessat2),	   SCMP_SYS(fstatfs),	    SCMP_SYS(geteuid),
	};
	static const int writing[] = {
		SCMP_SYS(pwrite64),  SCMP_SYS(fsync),	  SCMP_SYS(fdatasync), SCMP_SYS(ftruncate),
		SCMP_SYS(fchownat),  SCMP_SYS(utimensat), SCMP_SYS(mkdirat),   SCMP_SYS(mknodat),
		SCMP_SYS(symlinkat), SCMP_SYS(unlinkat),  SCMP_SYS(renameat),  SCMP_SYS(renameat2),
	};
	/* By name only among the process' own descriptors. */
	static const int in_proc[] = { SCMP_SYS(openat), SCMP_SYS(fchmodat), SCMP_SYS(linkat) };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(plain); i++)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, plain[i], 0);
	for (size_t i = 0; r == 0 && !readonly && i < ARRAY_SIZE(writing); i++)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, writing[i], 0);
	for (size_t i = 0; r == 0 && i < (readonly ? 1 : ARRAY_SIZE(in_proc)); i++)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, in_proc[i], 1, SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)proc_fd));
	return r ?: sandbox_allow_memory(c);
}

static int filter(int proc_fd, bool readonly, struct err *err)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = c ? add_rules(c, proc_fd, readonly) : -ENOMEM;

	r = r ?: seccomp_load(c);
	seccomp_release(c);
	return r < 0 ? err_errno(err, r, "system call filter") : 0;
}

int confine(int root_fd, int proc_fd, bool readonly, struct err *err)
{
	static const struct sandbox_limit limits[] = {
		{ RLIMIT_AS, MEMORY_BYTES },
		{ RLIMIT_NOFILE, FDS_MAX },
		{ RLIMIT_NPROC, 0 },
		{ RLIMIT_CORE, 0 },
	};

	if (!sandbox_is_possible())
		return 0;
	return sandbox_limits(limits, ARRAY_SIZE(limits), err)
		       ?: landlock(root_fd, readonly, err)
		       ?: filter(proc_fd, readonly, err);
}
