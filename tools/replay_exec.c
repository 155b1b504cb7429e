/* SPDX-License-Identifier: MIT */
/*
 * replay_exec.c - execve: a recorded program's headers and sizes as an image for karc
 *
 * A script is recorded by what its first line adds to the arguments, not by its text: the line is
 * made up again with words of the same lengths, so that karc's own reading of it is what counts,
 * and what it makes of it must be the sizes that the recorded program was started with.
 */
#include "replay.h"
#include <karc/mm/space/mm.h>
#include <karc/proc/exec.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>

/* Positions in rec_call.args of an execve; those with OWN are as the caller gave them. */
enum {
	A_NAMED, A_IMAGE, A_ARGC, A_ARG_BYTES, A_ENVC, A_ENV_BYTES, A_PATH_BYTES,
	A_OWN_ARGC, A_OWN_ARG_BYTES, A_OWN_PATH_BYTES, A_OWN_FIRST_BYTES, A_NAME,
};

struct script_text {
	char head[EXEC_HEAD_BYTES];
	char path[PATH_MAX];
};

struct exec_plan {
	struct exec_elf elf, interp;
	struct exec_segment segments[REC_SEGMENTS_MAX], interp_segments[REC_SEGMENTS_MAX];
	struct exec_script scripts[EXEC_SCRIPTS_MAX + 1];
	struct script_text texts[EXEC_SCRIPTS_MAX + 1];
	unsigned int nr_scripts;
};

static bool elf_of(struct replay *r, uint32_t id, struct exec_elf *elf,
		   struct exec_segment segments[REC_SEGMENTS_MAX])
{
	const struct rec_file *f = recording_file(r->rec, id);
	unsigned int i;

	if (!f || !f->elf)
		return false;
	for (i = 0; i < f->elf->nr_segments; i++) {
		const struct rec_segment *s = &f->elf->segments[i];

		segments[i] = (struct exec_segment){ s->offset, s->vaddr, s->file_bytes,
						     s->mem_bytes, s->align, s->flags };
	}
	*elf = (struct exec_elf){
		.file = replay_file(r, id), .dyn = f->elf->type == 3,
		.gnu_stack = f->elf->gnu_stack, .nr_segments = f->elf->nr_segments,
		.segments = segments,
	};
	return elf->file != NULL;
}

/* A word of @bytes with its NUL, without one in @to. Gives its end. */
static char *word(char *to, const char *end, unsigned int bytes)
{
	size_t length = bytes ? bytes - 1 : 0;

	if (length > (size_t)(end - to))
		length = (size_t)(end - to);
	memset(to, 'x', length);
	return to + length;
}

static void script_head(const struct rec_script *s, struct script_text *text,
			struct exec_script *script)
{
	const char *end = text->head + sizeof(text->head) - 2;
	char *at = text->head;

	*at++ = '#';
	*at++ = '!';
	at = word(at, end, s->name_bytes);
	if (s->arg_bytes) {
		*at++ = ' ';
		at = word(at, end, s->arg_bytes);
	}
	*at++ = '\n';
	script->head = text->head;
	script->head_bytes = (size_t)(at - text->head);
}

/* From what was named through its interpreters to a program. */
static void plan_scripts(struct replay *r, const struct rec_call *call, struct exec_plan *plan)
{
	const struct rec_file *f = recording_file(r->rec, (uint32_t)call->args[A_NAMED]);
	unsigned int path_bytes = (unsigned int)call->args[A_OWN_PATH_BYTES];

	while (f && f->script && !f->elf && plan->nr_scripts <= EXEC_SCRIPTS_MAX) {
		struct script_text *text = &plan->texts[plan->nr_scripts];
		struct exec_script *script = &plan->scripts[plan->nr_scripts++];

		*word(text->path, text->path + sizeof(text->path) - 1, path_bytes) = '\0';
		script->path = text->path;
		script_head(f->script, text, script);
		path_bytes = f->script->name_bytes;
		f = recording_file(r->rec, f->script->interp);
	}
}

/* argv, envp and their ends, the auxiliary vector, random bytes, platform, argc. */
static u64 tables_bytes(const struct rec_info *info, u64 argc, u64 envc)
{
	return 8 * (1 + argc + 1 + envc + 1) + 16 * (u64)info->auxv_entries +
	       info->platform_bytes + 16 + 64;
}

static int execve_image(struct replay *r, const struct rec_call *call, struct exec_plan *plan)
{
	const struct rec_info *info = r->info;
	const uint64_t *a = call->args;
	const struct rec_file *f = recording_file(r->rec, (uint32_t)a[A_IMAGE]);
	struct exec_image image = {
		.program = &plan->elf,
		.args_bytes = a[A_OWN_ARG_BYTES] + a[A_ENV_BYTES] + a[A_OWN_PATH_BYTES],
		.argv0_bytes = a[A_OWN_FIRST_BYTES],
		.tables_bytes = tables_bytes(info, a[A_ARGC], a[A_ENVC]),
		.vdso_bytes = info->vdso_bytes, .vvar_bytes = info->vvar_bytes,
		.profile = &r->profile,
		.legacy_layout = info->legacy_va_layout ||
				 (current->personality & ADDR_COMPAT_LAYOUT),
		.comm = call->text,
	};

	plan->nr_scripts = 0;
	if (!elf_of(r, (uint32_t)a[A_IMAGE], &plan->elf, plan->segments))
		return -ENOEXEC;
	if (f->elf->interp) {
		if (!elf_of(r, f->elf->interp, &plan->interp, plan->interp_segments))
			return -ELIBBAD;
		image.interp = &plan->interp;
	}
	plan_scripts(r, call, plan);
	image.scripts = plan->scripts;
	image.nr_scripts = plan->nr_scripts;
	return kernel_execve_image(&image);
}

/* The strings on the new stack are as many bytes as the recorded program got. */
static void compare_strings(struct replay_job *job)
{
	const uint64_t *a = job->call->args;
	unsigned long want = a[A_ARG_BYTES] + a[A_ENV_BYTES] + a[A_PATH_BYTES];
	unsigned long got = STACK_TOP - 8 - current->mm->start_stack;

	if (got != want)
		snprintf(job->note, sizeof(job->note), "%lu bytes of strings, not %lu", got, want);
	if (current->pid != job->t->number)
		snprintf(job->note, sizeof(job->note), "it is number %d now, not %d", current->pid,
			 job->t->number);
}

long replay_execve(struct replay_job *job)
{
	struct replay *r = job->r;
	const struct rec_call *call = job->call;
	struct exec_plan *plan;
	int err;

	if (call->result < 0)
		return REPLAY_NOTED;	/* refused before the address space was touched */
	if (!call->args[A_IMAGE]) {
		snprintf(job->note, sizeof(job->note), "of a file that could not be looked at");
		return REPLAY_REFUSED;
	}
	plan = malloc(sizeof(*plan));
	if (!plan)
		return -ENOMEM;
	err = execve_image(r, call, plan);
	free(plan);
	if (err)
		return err;
	r->n.execs++;
	if (job->t->group->death.threads > 1)	/* their CPUs may hold the old memory */
		replay_let_go(r, job->t->group->cpus);
	mm_flag_assign(current->mm, MMF_CAPABLE, replay_capable(r));
	replay_watch_mm(r, current->mm);
	compare_strings(job);
	replay_touch_later(r, job->t, 0, TASK_SIZE);
	return 0;
}
