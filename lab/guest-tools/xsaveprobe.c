/*
 * Can XSAVE state of guests be trusted on this KVM?  Under an emulator that
 * does not intercept a nested guest's XSETBV, KVM never learns the guest's
 * XCR0, and saves and loads too little.
 *
 * A guest of ten instructions turns AVX on, fills ymm0 and, after we replaced
 * its content through KVM, stores it.  Prints a line per question; exit status
 * 0 if all answers are good.
 *
 *	gcc -o build/xsaveprobe lab/guest-tools/xsaveprobe.c
 *	lab/run -- build/xsaveprobe
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define CODE	       0x1000
#define RESULT	       0x2000
#define MEM_SIZE       0x10000
#define XSAVE_HEADER   512
#define XSAVE_YMM_HIGH 576
#define XCR0_WANTED    7 /* x87, SSE, AVX */

static const uint8_t code[] = {
	0x31, 0xc9,				      /* xor %ecx, %ecx */
	0x31, 0xd2,				      /* xor %edx, %edx */
	0xb8, XCR0_WANTED, 0,	 0,    0,	      /* mov $7, %eax */
	0x0f, 0x01,	   0xd1,		      /* xsetbv */
	0xf4,					      /* hlt */
	0xc5, 0xfd,	   0x76, 0xc0,		      /* vpcmpeqd %ymm0, %ymm0, %ymm0 */
	0xf4,					      /* hlt */
	0xc5, 0xfe,	   0x7f, 0x05, 0, 0x20, 0, 0, /* vmovdqu %ymm0, RESULT */
	0xf4,					      /* hlt */
};

struct probe {
	int vcpu;
	struct kvm_run *run;
	uint8_t *mem;
	int bad;
};

static int must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(2);
	}
	return result;
}

static void answer(struct probe *p, const char *question, int good)
{
	printf("xsaveprobe: %s: %s\n", question, good ? "yes" : "NO");
	p->bad |= !good;
}

static void all_cpuid(int kvm, int vcpu)
{
	unsigned int room = 256;
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + room * sizeof(cpuid->entries[0]));

	cpuid->nent = room;
	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
	must(ioctl(vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
	free(cpuid);
}

static void flat_segment(struct kvm_segment *s, uint16_t selector, uint8_t type)
{
	*s = (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
}

/* 32-bit protected mode, no paging, XSAVE usable */
static void set_registers(int vcpu)
{
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_sregs sregs;

	must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	flat_segment(&sregs.cs, 8, 11);
	flat_segment(&sregs.ds, 16, 3);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	sregs.cr0 = 0x33; /* PE, MP, ET, NE */
	sregs.cr4 = 1 << 18 | 1 << 9 | 1 << 10;
	must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void create(struct probe *p)
{
	int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	int run_size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	struct kvm_userspace_memory_region ram = { .memory_size = MEM_SIZE };

	p->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ram.userspace_addr = (uintptr_t)p->mem;
	memcpy(p->mem + CODE, code, sizeof(code));
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &ram), "KVM_SET_USER_MEMORY_REGION");
	p->vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	p->run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
	all_cpuid(kvm, p->vcpu);
	set_registers(p->vcpu);
}

static void run_to_halt(struct probe *p)
{
	must(ioctl(p->vcpu, KVM_RUN, 0), "KVM_RUN");
	if (p->run->exit_reason != KVM_EXIT_HLT) {
		printf("xsaveprobe: unexpected exit %u\n", p->run->exit_reason);
		exit(2);
	}
}

static int all_bytes(const void *data, uint8_t value, size_t len)
{
	const uint8_t *byte = data;

	while (len > 0 && byte[len - 1] == value)
		len--;
	return len == 0;
}

int main(void)
{
	struct probe p = { 0 };
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	uint8_t *area = (uint8_t *)xsave.region;

	create(&p);
	run_to_halt(&p);
	must(ioctl(p.vcpu, KVM_GET_XCRS, &xcrs), "KVM_GET_XCRS");
	answer(&p, "KVM sees the XCR0 that the guest set", xcrs.xcrs[0].value == XCR0_WANTED);

	run_to_halt(&p);
	must(ioctl(p.vcpu, KVM_GET_XSAVE, &xsave), "KVM_GET_XSAVE");
	answer(&p, "KVM_GET_XSAVE has the guest's ymm0",
	       (area[XSAVE_HEADER] & 4) && all_bytes(area + 160, 0xff, 16) &&
		       all_bytes(area + XSAVE_YMM_HIGH, 0xff, 16));

	memset(area + 160, 0x5a, 16);
	memset(area + XSAVE_YMM_HIGH, 0xa5, 16);
	area[XSAVE_HEADER] |= 6;
	must(ioctl(p.vcpu, KVM_SET_XSAVE, &xsave), "KVM_SET_XSAVE");
	run_to_halt(&p);
	answer(&p, "the guest finds the ymm0 of KVM_SET_XSAVE",
	       all_bytes(p.mem + RESULT, 0x5a, 16) && all_bytes(p.mem + RESULT + 16, 0xa5, 16));
	return p.bad;
}
