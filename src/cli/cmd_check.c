/* SPDX-License-Identifier: Apache-2.0 */
/* check: what this host can do for nidra, found out by the monitor's probe, with advice. */
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/cli.h"

enum verdict { GOOD, WARN, BAD };

static enum verdict worst;

static void line(enum verdict v, const char *what, const char *advice)
{
	static const char *const mark[] = { "ok  ", "warn", "FAIL" };

	worst = MAX(worst, v);
	printf("%s  %s\n", mark[v], what);
	if (v != GOOD && advice && *advice)
		printf("      %s\n", advice);
}

static json_t *probe(void)
{
	_cleanup_free_ char *command = NULL;
	json_t *o;
	FILE *f;

	if (asprintf(&command, "'%s' --probe", monitor_path()) < 0)
		return NULL;
	f = popen(command, "r");
	if (!f)
		return NULL;
	o = json_loadf(f, 0, NULL);
	pclose(f);
	return o;
}

static bool is(json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static void check_kvm(json_t *o)
{
	const char *why = json_string_value(json_object_get(o, "why_not")) ?: "";

	if (!is(o, "present")) {
		line(BAD, "/dev/kvm is not there",
		     "Switch virtualisation on in the firmware and load kvm_intel or kvm_amd; in a virtual "
		     "machine its host must allow nested virtualisation. lab/run makes a host that has it.");
		return;
	}
	line(is(o, "permitted") ? GOOD : BAD, "/dev/kvm may be opened",
	     "Join the group kvm: adduser USER kvm, and log in again.");
	if (!is(o, "permitted"))
		return;
	line(is(o, "caps") ? GOOD : BAD, "KVM has what nidra needs", json_string_value(json_object_get(o, "missing")));
	line(is(o, "hardware") ? GOOD : BAD, "KVM works with the CPU's virtualisation (VMX or SVM)",
	     "Without it (PVM) stock kernels do not run; lab/run makes a host on which they do.");
	line(is(o, "runs") ? GOOD : BAD, "KVM runs a guest in long mode", why);
	line(is(o, "intercepts") ? GOOD : WARN, "KVM hands Xen hypercalls over (CONFIG_KVM_XEN)",
	     "Without it the two hypercall instructions of a guest's kernel are patched in its memory.");
	line(is(o, "lazy") ? GOOD : WARN, "guests may be restored while they run (userfaultfd)",
	     "Without it all memory is read first. For users: access to /dev/userfaultfd, or sysctl "
	     "vm.unprivileged_userfaultfd=1.");
	line(is(o, "tracks_xcr0") ? GOOD : WARN, "KVM keeps guests' XSAVE state",
	     "Guests get no XSAVE and no AVX here; this is so under some emulators.");
}

static void check_memory(void)
{
	long pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	char text[80];
	double mib = (double)pages * (double)size / (1 << 20);

	snprintf(text, sizeof(text), "%.0f MiB of memory are free", mib);
	line(mib < 256 ? WARN : GOOD, text, "A guest takes its memory as it touches it; 256 MiB are a small Linux.");
}

/* Of the folder that we are in: a disk's own is what counts. */
static bool clones_files(void)
{
	char from[] = ".nidra-check.XXXXXX", to[sizeof(from) + 2];
	int fd = mkstemp(from), r = fd < 0 ? -1 : io_write_full(fd, from, sizeof(from));

	if (fd < 0)
		return false;
	snprintf(to, sizeof(to), "%s.c", from);
	r = r ?: io_clone_file(fd, to, 0600);
	unlink(from);
	unlink(to);
	close(fd);
	return r == 0;
}

static void check_disks(json_t *o)
{
	line(is(o, "io_uring") ? GOOD : WARN, "guests may have disks (io_uring)",
	     "The kernel has it since 5.1; sysctl kernel.io_uring_disabled=0 permits it.");
	line(is(o, "clones_files") ? GOOD : WARN,
	     "disks in this folder can be cloned for checkpoints and forks (FICLONE)",
	     "Put disks on Btrfs, XFS or another filesystem that shares blocks, or see to them yourself (--no-disks).");
	line(is(o, "qemu_nbd") ? GOOD : WARN, "disks may be qcow2, vmdk, vdi, vhd or vhdx (qemu-nbd)",
	     "Debian's package qemu-utils has it.");
}

static void check_shares(json_t *o)
{
	line(is(o, "landlock") ? GOOD : WARN, "servers of shared folders can be shut into their folder (Landlock)",
	     "The kernel has it since 5.19, if landlock is among its security modules (lsm=). Without it they have a "
	     "system call filter and stay in their folder by how they open files.");
}

/* Version 2, which lets files be moved between folders. */
static bool has_landlock(void)
{
	return syscall(__NR_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 2;
}

static bool has_io_uring(void)
{
	struct io_uring_params p = { 0 };
	long fd = syscall(__NR_io_uring_setup, 1, &p);

	if (fd >= 0)
		close((int)fd);
	return fd >= 0;
}

int cmd_check(int argc, char **argv)
{
	json_auto_t *o = NULL;
	bool json = false;
	const struct flag flags[] = { { "json", 0, FLAG_BOOL, &json } };
	int n;

	if (parse_flags(argc, argv, flags, 1, &n) < 0)
		return EXIT_USAGE;
	o = probe();
	if (!o)
		return fail("cannot run %s", monitor_path());
	json_object_set_new(o, "io_uring", json_boolean(has_io_uring()));
	json_object_set_new(o, "landlock", json_boolean(has_landlock()));
	json_object_set_new(o, "clones_files", json_boolean(clones_files()));
	json_object_set_new(o, "qemu_nbd", json_boolean(system("command -v qemu-nbd >/dev/null 2>&1") == 0));
	if (json) {
		json_dumpf(o, stdout, JSON_INDENT(2));
		puts("");
		return is(o, "runs") && is(o, "caps") && is(o, "hardware") ? EXIT_OK : EXIT_FAILED;
	}
	check_kvm(o);
	check_disks(o);
	check_shares(o);
	check_memory();
	puts(worst == BAD ? "This host cannot run guests of nidra as it is." : "This host can run guests of nidra.");
	return worst == BAD ? EXIT_FAILED : EXIT_OK;
}
