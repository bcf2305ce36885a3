/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From PVH's entry (32-bit protected mode, no paging, EBX = start_info) to C in long mode; and the
 * same way for the other CPUs, which begin in real mode.
 */
#define STACK_BYTES 16384
#define USER_STACK_BYTES 4096
#define PAGE_DIRS   20 /* GiB that are mapped one to one, in pages of 2 MiB */

	.section .note.Xen, "a", @note
	.long	4, 4, 18		/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	entry32
	.long	4, 4, 14		/* XEN_ELFNOTE_SUSPEND_CANCEL: we understand "cancelled" */
	.asciz	"Xen"
	.long	1

	.section .text.entry, "ax"
	.code32
	.globl	entry32
entry32:
	cld
	mov	%ebx, %ebp
	mov	$bss_start, %edi
	mov	$bss_end, %ecx
	sub	%edi, %ecx
	shr	$2, %ecx
	xor	%eax, %eax
	rep stosl

	/* Directories: entry i maps 2 MiB from i * 2 MiB. */
	mov	$page_dirs, %edi
	mov	$0x83, %eax		/* present, writable, large */
	xor	%edx, %edx
	mov	$(PAGE_DIRS * 512), %ecx
1:	mov	%eax, (%edi)
	mov	%edx, 4(%edi)
	add	$0x200000, %eax
	adc	$0, %edx
	add	$8, %edi
	loop	1b
	mov	$pdpt, %edi
	mov	$page_dirs + 3, %eax
	mov	$PAGE_DIRS, %ecx
2:	mov	%eax, (%edi)
	add	$4096, %eax
	add	$8, %edi
	loop	2b
	movl	$pdpt + 3, pml4

	mov	$boot_stack + STACK_BYTES, %esp
	call	enable_long_mode
	ljmp	$0x08, $start64

/* Paging and EFER.LME; used by all CPUs. */
enable_long_mode:
	mov	%cr4, %eax
	or	$0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	$pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000001, %eax
	mov	%eax, %cr0
	lgdt	gdt_pointer
	ret

	.code64
start64:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	lea	boot_stack + STACK_BYTES(%rip), %rsp
	mov	%ebp, %edi
	call	guest_main
1:	hlt
	jmp	1b

/* ---- other CPUs: copied to AP_TRAMPOLINE below 1 MiB; a SIPI's vector is its page ---- */
	.code16
	.globl	ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	0x8000 + (ap_gdt_pointer - ap_trampoline)
	mov	%cr0, %eax
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$0x18, $ap_start32
	.balign	8
ap_gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_trampoline_end:

	.code32
ap_start32:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	ap_stack, %esp
	call	enable_long_mode
	ljmp	$0x08, $ap_start64

	.code64
ap_start64:
	mov	ap_stack(%rip), %rsp
	mov	ap_id(%rip), %edi
	call	ap_main
1:	hlt
	jmp	1b

/* ---- hypercalls ---- */
/*
 * One of these two is right for a CPU. Nothing but the instruction and a return: that is the shape in
 * which nidra finds them when it has to patch them, as it finds Linux' own.
 */
	.balign	16
	.globl	thunk_amd, thunk_intel
thunk_amd:
	vmmcall
	ret
	.balign	16
thunk_intel:
	vmcall
	ret

/*
 * int64_t compat_call(entry, nr), int64_t user_call(entry, nr): the same thunk, called by 32-bit code
 * and by code at CPL 3. Interrupts are off. cpu.c has the gate and the stack for the way back.
 */
	.macro	CALL_IN
	push	%rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
	mov	%rdi, %rbp
	mov	%rsi, %rax
	xor	%edi, %edi
	xor	%esi, %esi
	xor	%ebx, %ebx
	xor	%ecx, %ecx
	xor	%edx, %edx
	.endm
	.macro	CALL_OUT
	cltq				/* of 32-bit code, only this half means something */
	pop	%r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
	ret
	.endm

	.globl	compat_call, user_call, user_return
compat_call:
	CALL_IN
	push	$0x18
	push	$1f
	lretq
	.code32
1:	call	*%ebp
	ljmp	$0x08, $2f
	.code64
2:	CALL_OUT

user_call:
	CALL_IN
	mov	%rsp, user_caller(%rip)
	push	$0x23			/* SS */
	push	$user_stack + USER_STACK_BYTES
	push	$0x3002			/* RFLAGS: IOPL 3, or OUT would fault before anybody sees it */
	push	$0x2b			/* CS */
	push	$1f
	iretq
1:	call	*%rbp
	int	$0x80
user_return:
	mov	user_caller(%rip), %rsp
	mov	$0x10, %ecx		/* what IRET to CPL 3 took away */
	mov	%ecx, %ss
	mov	%ecx, %ds
	mov	%ecx, %es
	CALL_OUT

/* ---- interrupts ---- */
	.macro	SAVE
	push	%rax; push %rcx; push %rdx; push %rbx; push %rbp; push %rsi; push %rdi
	push	%r8; push %r9; push %r10; push %r11; push %r12; push %r13; push %r14; push %r15
	.endm
	.macro	RESTORE
	pop	%r15; pop %r14; pop %r13; pop %r12; pop %r11; pop %r10; pop %r9; pop %r8
	pop	%rdi; pop %rsi; pop %rbp; pop %rbx; pop %rdx; pop %rcx; pop %rax
	.endm

	.globl	upcall_entry, stray_entry, exception_table
	.balign	16
upcall_entry:
	SAVE
	cld
	call	upcall
	RESTORE
stray_entry:
	iretq

/* Exceptions 0 to 31, 16 bytes each; some push an error code, the others a zero of ours. */
	.balign	16
exception_table:
	.set	vector, 0
	.rept	32
	.balign	16
	.if	(vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21)
	.else
	push	$0
	.endif
	push	$vector
	jmp	exception_common
	.set	vector, vector + 1
	.endr
exception_common:
	mov	%rsp, %rdi
	cld
	and	$-16, %rsp
	call	exception

	.section .data
	.balign	8
	.globl	gdt, gdt_end, gdt_tss
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* 0x08: 64-bit code */
	.quad	0x00cf93000000ffff	/* 0x10: data */
	.quad	0x00cf9b000000ffff	/* 0x18: 32-bit code */
	.quad	0x00cff3000000ffff	/* 0x20: data of CPL 3 */
	.quad	0x00affb000000ffff	/* 0x28: 64-bit code of CPL 3 */
gdt_tss: .quad	0, 0			/* 0x30: cpu.c fills it in */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt

	.section .bss
	.balign	4096
	.globl	pml4
pml4:	.skip	4096
pdpt:	.skip	4096
page_dirs: .skip PAGE_DIRS * 4096
	.globl	page_tables_end
page_tables_end:
boot_stack: .skip STACK_BYTES
user_stack: .skip USER_STACK_BYTES
user_caller: .skip 8

	.section .note.GNU-stack, "", @progbits
