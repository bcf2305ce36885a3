/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small guests of a few instructions each, run on a throw-away virtual machine. Some hosts offer
 * a /dev/kvm that cannot run stock kernels, and only running something shows it.
 */
#include "kvm/probe.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/addr.h"
#include "kvm/internal.h"

#define CODE	  0x1000
#define STACK	  0x2000 /* grows down from here */
#define GDT	  0x3000
#define IDT	  0x4000
#define PML4	  0x5000
#define PDPT	  0x6000
#define MEM_SIZE  0x10000
#define DONE_PORT 0x10

struct tiny {
	int vm, vcpu;
	struct kvm_run *run;
	size_t run_size;
	uint8_t *mem;
};

static void tiny_fini(struct tiny *t)
{
	if (t->run)
		munmap(t->run, t->run_size);
	close_fdp(&t->vcpu);
	close_fdp(&t->vm);
	if (t->mem)
		munmap(t->mem, MEM_SIZE);
}

static int tiny_init(struct tiny *t, int kvm_fd)
{
	struct kvm_userspace_memory_region slot = { .memory_size = MEM_SIZE };
	struct kvm_enable_cap irqchip = { .cap = KVM_CAP_SPLIT_IRQCHIP };
	uint64_t identity_map = 0xfeff0000;
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[256];
	} cpuid = { .head.nent = 256 };

	*t = (struct tiny){ .vm = -1, .vcpu = -1 };
	t->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->mem == MAP_FAILED) {
		t->mem = NULL;
		return -ENOMEM;
	}
	slot.userspace_addr = (uintptr_t)t->mem;
	t->vm = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	if (t->vm < 0)
		return -errno;
	ioctl(t->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	ioctl(t->vm, KVM_SET_TSS_ADDR, 0xfeff1000);
	if (ioctl(t->vm, KVM_ENABLE_CAP, &irqchip) < 0 || ioctl(t->vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return -errno;
	t->vcpu = ioctl(t->vm, KVM_CREATE_VCPU, 0);
	t->run_size = (size_t)ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (t->vcpu < 0)
		return -errno;
	t->run = mmap(NULL, t->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, t->vcpu, 0);
	if (t->run == MAP_FAILED) {
		t->run = NULL;
		return -errno;
	}
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0 || ioctl(t->vcpu, KVM_SET_CPUID2, &cpuid) < 0)
		return -errno;
	return 0;
}

/* Runs until the guest writes to DONE_PORT; its value, or a negative errno. */
static int tiny_run(struct tiny *t, const char **ret_why)
{
	for (int exits = 0; exits < 1000; exits++) {
		if (ioctl(t->vcpu, KVM_RUN, 0) < 0) {
			*ret_why = "KVM_RUN fails";
			return -errno;
		}
		switch (t->run->exit_reason) {
		case KVM_EXIT_IO:
			if (t->run->io.port == DONE_PORT)
				return *((uint8_t *)t->run + t->run->io.data_offset);
			break;
		case KVM_EXIT_SHUTDOWN:
			*ret_why = "the guest triple-faults";
			return -EIO;
		default:
			*ret_why = "KVM cannot enter or emulate it";
			return -EIO;
		}
	}
	*ret_why = "it does not come to an end";
	return -EIO;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code64)
{
	return (struct kvm_segment){ .selector = selector,
				     .limit = 0xffffffff,
				     .type = type,
				     .present = 1,
				     .s = 1,
				     .g = 1,
				     .l = code64,
				     .db = !code64 };
}

/*
 * Long mode with its own page tables, GDT and IDT: what a stock kernel does in its first
 * milliseconds. It reloads CR3, takes an exception through the IDT, returns by IRETQ, reads its
 * APIC's version register through x2APIC and writes an MSR that must read back.
 */
static const uint8_t long_mode_code[] = {
	0x0f, 0x20,	 0xd8,		   /* mov %cr3,%rax */
	0x0f, 0x22,	 0xd8,		   /* mov %rax,%cr3 */
	0x31, 0xdb,			   /* xor %ebx,%ebx */
	0x0f, 0x0b,			   /* ud2: handler adds 0x20 to ebx, skips it */
	0xb9, 0x02,	 0x01, 0x00, 0xc0, /* mov $0xc0000102,%ecx  (KERNEL_GS_BASE) */
	0xb8, 0x78,	 0x56, 0x34, 0x12, /* mov $0x12345678,%eax */
	0x31, 0xd2,			   /* xor %edx,%edx */
	0x0f, 0x30,			   /* wrmsr */
	0x31, 0xc0,			   /* xor %eax,%eax */
	0x0f, 0x01,	 0xf8,		   /* swapgs */
	0xb9, 0x01,	 0x01, 0x00, 0xc0, /* mov $0xc0000101,%ecx  (GS_BASE) */
	0x0f, 0x32,			   /* rdmsr */
	0x3d, 0x78,	 0x56, 0x34, 0x12, /* cmp $0x12345678,%eax */
	0x75, 0x02,			   /* jne +2 */
	0xff, 0xc3,			   /* inc %ebx */
	0x88, 0xd8,			   /* mov %bl,%al */
	0xe6, DONE_PORT,		   /* out %al,$DONE_PORT: 0x21 if all went well */
	0xf4,				   /* hlt */
};

static const uint8_t ud_handler[] = {
	0x83, 0xc3, 0x20,	      /* add $0x20,%ebx */
	0x48, 0x83, 0x04, 0x24, 0x02, /* addq $2,(%rsp) */
	0x48, 0xcf,		      /* iretq */
};

#define HANDLER (CODE + 0x100)

static void fill_long_mode(struct tiny *t)
{
	static const uint64_t gdt[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	uint64_t *pml4 = (uint64_t *)(t->mem + PML4), *pdpt = (uint64_t *)(t->mem + PDPT);
	uint64_t gate[2] = { (uint64_t)(HANDLER & 0xffff) | (uint64_t)8 << 16 | UINT64_C(0x8e00) << 32, 0 };

	memcpy(t->mem + CODE, long_mode_code, sizeof(long_mode_code));
	memcpy(t->mem + HANDLER, ud_handler, sizeof(ud_handler));
	memcpy(t->mem + GDT, gdt, sizeof(gdt));
	memcpy(t->mem + IDT + 6 * 16, gate, sizeof(gate)); /* #UD */
	pml4[0] = PDPT | 3;
	pdpt[0] = 0x7000 | 3;
	((uint64_t *)(t->mem + 0x7000))[0] = 0x83; /* one 2 MiB page */
}

static int set_long_mode(struct tiny *t)
{
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK, .rflags = 2 };
	struct kvm_sregs s;

	if (ioctl(t->vcpu, KVM_GET_SREGS, &s) < 0)
		return -errno;
	s.cs = segment(8, 0xb, true);
	s.ds = s.es = s.ss = s.fs = s.gs = segment(16, 3, false);
	s.gdt.base = GDT;
	s.gdt.limit = 23;
	s.idt.base = IDT;
	s.idt.limit = 0xfff;
	s.cr3 = PML4;
	s.cr4 = 0x20;	    /* PAE */
	s.cr0 = 0x80000011; /* PG | ET | PE */
	s.efer = 0x500;	    /* LMA | LME */
	if (ioctl(t->vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(t->vcpu, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

static void probe_long_mode(int kvm_fd, struct kvm_probe *p)
{
	_cleanup_(tiny_fini) struct tiny t;
	const char *why = "no virtual machine can be made";
	int r = tiny_init(&t, kvm_fd);

	if (r == 0) {
		fill_long_mode(&t);
		why = "KVM refuses long mode state";
		r = set_long_mode(&t);
	}
	if (r == 0)
		r = tiny_run(&t, &why);
	p->runs = r == 0x21;
	if (r < 0)
		snprintf(p->why_not, sizeof(p->why_not), "%s: %s", why, strerror(-r));
	else if (!p->runs)
		snprintf(p->why_not, sizeof(p->why_not), "the probe guest ran but got wrong results (0x%x, not 0x21)",
			 r);
}

static const uint8_t xsetbv_code[] = {
	0x0f, 0x20,	 0xe0,			 /* mov %cr4,%eax */
	0x66, 0x0d,	 0x00, 0x00, 0x04, 0x00, /* or $CR4.OSXSAVE,%eax */
	0x0f, 0x22,	 0xe0,			 /* mov %eax,%cr4 */
	0x66, 0x31,	 0xc9,			 /* xor %ecx,%ecx */
	0x66, 0x31,	 0xd2,			 /* xor %edx,%edx */
	0x66, 0xb8,	 0x03, 0x00, 0x00, 0x00, /* mov $3,%eax: x87 and SSE */
	0x0f, 0x01,	 0xd1,			 /* xsetbv */
	0xe6, DONE_PORT, 0xf4,
};

bool kvm_tracks_xcr0(int kvm_fd)
{
	_cleanup_(tiny_fini) struct tiny t;
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_xcrs xcrs = { 0 };
	struct kvm_sregs s;
	const char *why;

	if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XCRS) <= 0)
		return true; /* no XSAVE at all: nothing to hide */
	if (tiny_init(&t, kvm_fd) < 0)
		return false;
	memcpy(t.mem + CODE, xsetbv_code, sizeof(xsetbv_code));
	if (ioctl(t.vcpu, KVM_GET_SREGS, &s) < 0)
		return false;
	s.cs.base = s.cs.selector = 0;
	if (ioctl(t.vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(t.vcpu, KVM_SET_REGS, &regs) < 0 || tiny_run(&t, &why) < 0 ||
	    ioctl(t.vcpu, KVM_GET_XCRS, &xcrs) < 0)
		return false;
	return xcrs.nr_xcrs > 0 && xcrs.xcrs[0].value == 3;
}

static void probe_caps(int kvm_fd, struct kvm_probe *p)
{
	static const struct {
		int cap;
		const char *name;
	} need[] = {
		{ KVM_CAP_SPLIT_IRQCHIP, "split irqchip" },	{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
		{ KVM_CAP_SYNC_REGS, "synchronous registers" }, { KVM_CAP_SIGNAL_MSI, "signal MSI" },
		{ KVM_CAP_ADJUST_CLOCK, "adjustable clock" },	{ KVM_CAP_X86_MSR_FILTER, "MSR filter" },
	};
	int xen = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XEN_HVM);

	p->caps = true;
	for (size_t i = 0; i < ARRAY_SIZE(need); i++) {
		size_t n = strlen(p->missing);

		if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, need[i].cap) > 0)
			continue;
		p->caps = false;
		snprintf(p->missing + n, sizeof(p->missing) - n, "%s%s", n ? ", " : "", need[i].name);
	}
	p->intercepts = xen > 0 && (xen & KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL);
}

static bool has_virtualisation(bool *ret_amd)
{
	unsigned int a, b, c, d;
	bool vmx = __get_cpuid(1, &a, &b, &c, &d) && c & 1u << 5;

	*ret_amd = __get_cpuid(0x80000001, &a, &b, &c, &d) && c & 1u << 2;
	return vmx || *ret_amd;
}

void kvm_probe(struct kvm_probe *p)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	*p = (struct kvm_probe){ 0 };
	p->present = fd >= 0 || errno != ENOENT;
	p->permitted = fd >= 0;
	if (fd < 0) {
		snprintf(p->why_not, sizeof(p->why_not), "/dev/kvm: %s", strerror(errno));
		return;
	}
	p->hardware = has_virtualisation(&p->amd);
	p->api_version = ioctl(fd, KVM_GET_API_VERSION, 0);
	probe_caps(fd, p);
	probe_long_mode(fd, p);
	p->tracks_xcr0 = kvm_tracks_xcr0(fd);
}
