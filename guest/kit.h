/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small guest that takes part in its own sleep. What each file does, in the order of a boot:
 *
 *   entry.S      PVH entry to long mode; other CPUs; hypercall thunks
 *   main.c       order of everything; the loop of CPU 0
 *   hypercall.c  how to reach the hypervisor
 *   cpu.c        local APIC, interrupt table, other CPUs
 *   event.c      shared info, event channels, timers, upcalls
 *   console.c    the console ring and printing
 *   xenbus.c     xenstore
 *   grant.c      the grant table
 *   mem.c        memory patterns that must survive
 *   balloon.c    memory given back and taken again
 *   hotplug.c    CPUs that come and go
 *   pm.c         freeze, suspend, thaw or restore
 *   watchdog.c   a watchdog that ends the machine unless it is poked
 *   command.c    words of the command line and lines typed on the console
 *   misbehave.c  what a guest must not do
 *   oddcalls.c   hypercalls that are to be refused
 */
#ifndef NIDRA_KIT_H
#define NIDRA_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/event_channel.h>

#define CPUS_MAX   32
#define NSEC	   1000000000ull
#define PORT_WORDS 4 /* of 64 event channel ports: more than we ever have */

/* ---- lib.c ---- */
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
bool starts_with(const char *s, const char *prefix);
uint64_t to_number(const char *s);
/* %s %d %u %x %c; everything is 64 bits wide. */
int format(char *buf, size_t size, const char *fmt, __builtin_va_list ap);
int text(char *buf, size_t size, const char *fmt, ...);

/* ---- the CPU ---- */
static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline void cpuid(uint32_t leaf, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}
static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}
static inline void cli(void)
{
	__asm__ volatile("cli" ::: "memory");
}
static inline void sti(void)
{
	__asm__ volatile("sti" ::: "memory");
}
/* Interrupts on only while halted: one that came before is not slept over. */
static inline void wait_for_interrupt(void)
{
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}
#define barrier() __sync_synchronize()

/* ---- cpu.c ---- */
struct cpu {
	uint32_t id;
	volatile bool online;
	bool off;	     /* xenstore says that it is not wanted */
	volatile bool leave; /* asked to stop */
	volatile uint64_t timer_ticks, ipis, upcalls;
	evtchn_port_t timer_port, ipi_port;
	vcpu_info_t *info;
	uint64_t ports[PORT_WORDS]; /* bound to this CPU: nobody else may take their events */
};
extern struct cpu cpus[CPUS_MAX];
extern unsigned int cpu_count; /* possible ones */
struct cpu *this_cpu(void);
void cpu_init(void); /* boot CPU: table, APIC */
void cpu_start_others(void);
bool cpu_start(uint32_t id);
bool cpu_stop(uint32_t id);    /* it leaves by itself, and halts */
void cpu_apic_enable(bool on); /* software enable, as a kernel switches it in suspend */
void cpu_eoi(void);
void cpu_triple_fault(void);
int64_t cpu_call_from_user(const char *entry, uint64_t nr); /* a hypercall from CPL 3 */

/* ---- hypercall.c ---- */
bool hypercall_init(const char *how);	  /* "direct", "page"; false: no Xen */
const char *hypercall_entry(uint64_t nr); /* code that makes this call */
int64_t hypercall(uint64_t nr, uint64_t a, uint64_t b, uint64_t c);
#define HCALL(nr, op, arg) hypercall(nr, op, (uint64_t)(arg), 0)

/* ---- event.c ---- */
extern shared_info_t *shared_info;
void event_init(void);
void event_init_cpu(unsigned int cpu); /* by the boot CPU, before @cpu starts */
void event_cpu_here(void);	       /* by another CPU, when it starts */
void event_rebind(void);	       /* a new life: everything anew */
void event_set_vectors(void);
void event_send(evtchn_port_t port);
void event_unmask(evtchn_port_t port);
evtchn_port_t event_param(unsigned int index);
void timer_set(uint64_t deadline); /* on this CPU; system time */
void timers_stop(void);
uint64_t clock_now(void);  /* system time of this CPU, ns */
uint64_t clock_wall(void); /* ns since 1970 */
extern volatile bool event_console, event_store;

/* ---- console.c ---- */
void console_init(void);
void console_reconnect(void);
void print(const char *fmt, ...);
bool console_line(char *buf, size_t size); /* a whole line was typed */

/* ---- xenbus.c ---- */
void xenbus_init(void);
void xenbus_reconnect(void);
/* 0 and the value, or an error's name in @value and its length negative. */
int xenbus_read(const char *path, char *value, size_t size, uint32_t tx);
int xenbus_write(const char *path, const char *value, uint32_t tx);
int xenbus_watch(const char *path, const char *token);
uint32_t xenbus_begin(void);
bool xenbus_end(uint32_t tx, bool commit);  /* false: EAGAIN */
bool xenbus_event(char *path, size_t size); /* a watch fired */
void xenbus_garbage(void);

/* ---- grant.c ---- */
void grant_init(void);
void grant_remap(void); /* as Linux does in every resume */
void grant_reset(void); /* a new life: entries anew */
bool grant_check(void);

/* ---- mem.c ---- */
void mem_init(uint64_t start_info);
uint64_t mem_fill(uint64_t mib, uint64_t seed); /* MiB filled */
uint64_t mem_verify(void);			/* bad pages */
void mem_dirty(uint64_t pages);
uint64_t mem_filled_mib(void);
/* Pages that nothing uses, by number: the last one is the first to be given back. */
uint64_t mem_free_pages(void);
uint64_t *mem_last_page(uint64_t i); /* @i from the end */
void mem_shrink(uint64_t pages);     /* so many at the end are gone */
extern uint64_t mem_top;	     /* end of RAM */
extern bool mem_high_first;	     /* fill what lies above 4 GiB first */

/* ---- balloon.c ---- */
void balloon_poll(void); /* looks at memory/target */
uint64_t balloon_mib(void);

/* ---- hotplug.c ---- */
void hotplug_count(void); /* possible CPUs, and which are wanted */
void hotplug_poll(void);  /* looks at cpu/N/availability */

/* ---- pm.c ---- */
void pm_poll(void); /* looks at control/shutdown after a watch event */
extern unsigned int pm_wakes;

/* ---- oddcalls.c ---- */
void oddcalls(void);

/* ---- watchdog.c ---- */
void watchdog_set(uint64_t seconds); /* 0: is not poked any more */
void watchdog_poke(void);

/* ---- command.c ---- */
void command_line(const char *words);
void command_run(char *line);
void command_tick(void);
void selftest(void);

/* ---- misbehave.c ---- */
enum when { ON_REQUEST, IN_FREEZE };
void misbehave_set(const char *how);
/* False: do not go on with what was asked. */
bool misbehave(enum when when);

void power(unsigned int reason);

#endif
