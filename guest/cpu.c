/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC (x2APIC where there is one), the interrupt table, and the other CPUs. */
#include "kit.h"

#define AP_TRAMPOLINE 0x8000
#define AP_STACK      16384
#define UPCALL_VECTOR 0xf3
#define STRAY_VECTOR  0xff
#define USER_VECTOR   0x80
#define APIC_SPIV     0xf
#define APIC_EOI      0xb
#define APIC_ICR      0x30
#define GS_BASE	      0xc0000101

extern uint64_t gdt_tss[2], pml4[], page_tables_end[];
extern char user_return[];
extern int64_t user_call(const char *entry, uint64_t nr);
extern char ap_trampoline[], ap_trampoline_end[], upcall_entry[], stray_entry[], exception_table[];

struct cpu cpus[CPUS_MAX];
unsigned int cpu_count = 1;
uint64_t ap_stack;
uint32_t ap_id;
static char stacks[CPUS_MAX][AP_STACK] __attribute__((aligned(16)));
static bool x2apic;

struct gate {
	uint16_t low, selector, flags, mid;
	uint32_t high, zero;
};
static struct gate idt[256];

struct pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static void set_gate(unsigned int vector, const char *entry)
{
	uint64_t p = (uint64_t)entry;

	idt[vector] = (struct gate){ .low = (uint16_t)p,
				     .selector = 8,
				     .flags = 0x8e00,
				     .mid = (uint16_t)(p >> 16),
				     .high = (uint32_t)(p >> 32) };
}

static void load_idt(uint16_t limit)
{
	struct pointer p = { limit, (uint64_t)idt };

	__asm__ volatile("lidt %0" ::"m"(p));
}

struct cpu *this_cpu(void)
{
	struct cpu *c;

	__asm__("mov %%gs:0, %0" : "=r"(c));
	return c;
}

static uint64_t self[CPUS_MAX]; /* what GS points to: the address of the CPU's struct */

static void set_this_cpu(uint32_t id)
{
	cpus[id].id = id;
	self[id] = (uint64_t)&cpus[id];
	wrmsr(GS_BASE, (uint64_t)&self[id]);
}

/* ---- APIC ---- */

static void apic_write(uint32_t reg, uint64_t v)
{
	if (x2apic)
		wrmsr(0x800 + reg, v);
	else
		*(volatile uint32_t *)(0xfee00000ull + reg * 16) = (uint32_t)v;
}

void cpu_apic_enable(bool on)
{
	apic_write(APIC_SPIV, STRAY_VECTOR | (on ? 0x100 : 0));
}

void cpu_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

static void send_ipi(uint32_t apic_id, uint32_t command)
{
	if (x2apic) {
		wrmsr(0x800 + APIC_ICR, (uint64_t)apic_id << 32 | command);
		return;
	}
	apic_write(APIC_ICR + 1, apic_id << 24);
	apic_write(APIC_ICR, command);
}

/* Its registers are MSRs only after this. */
static void apic_mode(void)
{
	if (x2apic)
		wrmsr(0x1b, rdmsr(0x1b) | 0xc00);
}

void cpu_init(void)
{
	uint32_t r[4];

	for (unsigned int v = 0; v < 32; v++)
		set_gate(v, exception_table + v * 16);
	for (unsigned int v = 32; v < 256; v++)
		set_gate(v, stray_entry);
	set_gate(UPCALL_VECTOR, upcall_entry);
	load_idt(sizeof(idt) - 1);
	set_this_cpu(0);
	cpuid(1, r);
	x2apic = r[2] >> 21 & 1;
	apic_mode();
}

/* ---- the others: Xen numbers their APICs 0, 2, 4, ... ---- */

void ap_main(uint32_t id);

void ap_main(uint32_t id)
{
	load_idt(sizeof(idt) - 1);
	set_this_cpu(id);
	apic_mode();
	cpu_apic_enable(true);
	event_cpu_here();
	cpus[id].online = true;
	while (!cpus[id].leave) {
		timer_set(clock_now() + NSEC / 10);
		wait_for_interrupt();
	}
	timers_stop();
	cpu_apic_enable(false);
	cpus[id].online = false;
	for (;;) /* until INIT */
		__asm__ volatile("cli; hlt");
}

bool cpu_start(uint32_t id)
{
	ap_id = id;
	ap_stack = (uint64_t)stacks[id] + AP_STACK;
	cpus[id].leave = false;
	if (!cpus[id].info)
		event_init_cpu(id);
	barrier();
	send_ipi(id * 2, 0x4500);			/* INIT */
	send_ipi(id * 2, 0x4600 | AP_TRAMPOLINE >> 12); /* SIPI */
	for (uint64_t end = clock_now() + 5 * NSEC; clock_now() < end;)
		if (cpus[id].online)
			return true;
	return false;
}

bool cpu_stop(uint32_t id)
{
	cpus[id].leave = true;
	event_send(cpus[id].ipi_port);
	for (uint64_t end = clock_now() + 5 * NSEC; clock_now() < end;)
		if (!cpus[id].online)
			return true;
	return false;
}

void cpu_start_others(void)
{
	cpus[0].online = true;
	memcpy((void *)AP_TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	for (uint32_t i = 1; i < cpu_count; i++)
		if (!cpus[i].off && !cpu_start(i))
			print("cpu: %u does not start\n", (uint64_t)i);
}

/* ---- CPL 3, on the boot CPU ---- */

static uint32_t tss[26]; /* only RSP0, at its second word, is of use */
static char interrupt_stack[4096] __attribute__((aligned(16)));

static void load_tss(void)
{
	uint64_t base = (uint64_t)tss, stack = (uint64_t)interrupt_stack + sizeof(interrupt_stack);

	memcpy(&tss[1], &stack, sizeof(stack));
	gdt_tss[0] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt_tss[1] = base >> 32;
	__asm__ volatile("ltr %w0" ::"r"(0x30));
}

/* Every page becomes the user's, too: there is none that could harm us. */
static void open_pages(void)
{
	for (uint64_t *p = pml4; p < page_tables_end; p++)
		if (*p & 1)
			*p |= 4;
	__asm__ volatile("mov %0, %%cr3" ::"r"(pml4) : "memory");
}

int64_t cpu_call_from_user(const char *entry, uint64_t nr)
{
	static bool ready;
	int64_t r;

	if (!ready) {
		load_tss();
		open_pages();
		set_gate(USER_VECTOR, user_return);
		idt[USER_VECTOR].flags |= 0x6000; /* may be called from CPL 3 */
		ready = true;
	}
	r = user_call(entry, nr);
	set_this_cpu(0); /* GS did not survive */
	return r;
}

void cpu_triple_fault(void)
{
	load_idt(0);
	__asm__ volatile("ud2");
}

struct frame {
	uint64_t vector, error, rip, cs, rflags;
};

void exception(const struct frame *f);

void exception(const struct frame *f)
{
	uint64_t cr2;

	__asm__("mov %%cr2, %0" : "=r"(cr2));
	print("exception %u error %x at %x cr2 %x\n", f->vector, f->error, f->rip, cr2);
	power(3); /* crash */
}
