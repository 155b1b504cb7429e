/* SPDX-License-Identifier: MIT */
/*
 * switch_x86_64.c - leave one stack, continue on another
 *
 * Saved on the stack that is left, lowest first: mxcsr and the x87 control word, r15, r14, r13,
 * r12, rbx, rbp, and the return address: what the ABI lets a callee expect to keep. A new stack
 * is laid out as if it had been left that way by its entry function's caller; rbp is 0 there, so
 * that a walk along the frame pointers ends.
 */
#if defined(__x86_64__)

#include "internal.h"

struct saved_frame {
	u32 mxcsr;
	u32 x87_control;
	u64 r15, r14, r13, r12, rbx, rbp;
	u64 return_address;
};

#define MXCSR_DEFAULT	0x1f80
#define X87_DEFAULT	0x037f

__asm__(
	".text\n"
	".globl switch_stacks\n"
	".hidden switch_stacks\n"
	".type switch_stacks, @function\n"
	".balign 16\n"
	"switch_stacks:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	subq $8, %rsp\n"
	"	stmxcsr (%rsp)\n"
	"	fnstcw 4(%rsp)\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	ldmxcsr (%rsp)\n"
	"	fldcw 4(%rsp)\n"
	"	addq $8, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size switch_stacks, . - switch_stacks\n");

void *switch_new_stack(char *low, u64 bytes, void (*entry)(void))
{
	u64 *top = (u64 *)((u64)(low + bytes) & ~15ULL);
	struct saved_frame *frame;

	top[-1] = 0;	/* where entry() would return to; keeps rsp as after a call */
	frame = (struct saved_frame *)&top[-1] - 1;
	*frame = (struct saved_frame){
		.mxcsr = MXCSR_DEFAULT,
		.x87_control = X87_DEFAULT,
		.return_address = (u64)entry,
	};
	return frame;
}

u64 switch_saved_fp(const void *sp)
{
	const struct saved_frame *frame = sp;

	return frame->rbp;
}

#endif
