/* SPDX-License-Identifier: MIT */
/*
 * segv_show.c - what segv_use.c wrote down, as a table, as a story, and for programs
 */
#include "segv.h"
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/space/mm.h>
#include <signal.h>
#include <string.h>

#define BOLD	"\033[1m"
#define DIM	"\033[2m"
#define RED	"\033[31m"
#define GREEN	"\033[32m"
#define YELLOW	"\033[33m"
#define CYAN	"\033[36m"
#define PLAIN	"\033[0m"

#define SHORT_TEXT	64

static const char *const step_names[NR_SEGV_STEPS] = {
	"canonical", "tlb", "tables", "user_half", "vma", "stack", "rights", "page",
};

static const char *access_word(enum mmu_access access)
{
	return access == MMU_READ ? "read" : access == MMU_WRITE ? "write" : "fetch";
}

static const char *signal_name(int signo)
{
	return signo == SIGSEGV ? "SIGSEGV" : signo == SIGBUS ? "SIGBUS" : "SIGKILL";
}

static const char *code_name(const struct segv_facts *f)
{
	if (f->code == SI_KERNEL)
		return "SI_KERNEL";
	if (f->signo == SIGBUS)
		return f->code == BUS_ADRERR ? "BUS_ADRERR" : "?";
	return f->code == SEGV_MAPERR ? "SEGV_MAPERR" : f->code == SEGV_ACCERR ? "SEGV_ACCERR" : "?";
}

/* "rw-p [heap]": rights and name of what the map shows at the pointer, a path without directories. */
static void short_there(const struct segv_facts *f, char *buf)
{
	const struct fault_info *info = &f->fault[0];
	const char *name, *rights = strchr(f->there, ' ');

	if (!rights) {
		snprintf(buf, SHORT_TEXT, "%s", f->nr_faults && info->vma_found &&
			 (info->vma_flags & VM_GROWSDOWN) ? "below [stack]" : "-");
		return;
	}
	name = strrchr(f->there, '/');
	name = name ? name + 1 : strchr(f->there, '[');
	snprintf(buf, SHORT_TEXT, "%.4s %s", rights + 1, name ? name : f->owner ? f->owner : "");
}

/* ---- the table ---- */

void segv_show_intro(struct stage *s)
{
	fputs("\n"
	      "An uninitialised pointer is used. How does the kernel know whether the address is the\n"
	      "program's? It never sees the pointer. The CPU tries the address alone; only when that\n"
	      "fails does the kernel learn of it, and asks its list of what is mapped in the address\n"
	      "space that the thread runs in. The questions, in order:\n"
	      "\n"
	      "  CPU     1  is it an address, bits 63 .. 47 equal?    no: general-protection fault\n"
	      "          2  is the translation in the TLB?            yes: done\n"
	      "          3  do the page tables allow the access?      yes: done; no: page fault\n"
	      "  kernel  4  is it in the user's part?                 no: SIGSEGV, SEGV_MAPERR\n"
	      "          5  find_vma: does a mapping cover it?        yes: on to 7\n"
	      "          6  is the next one above a stack, and may    no: SIGSEGV, SEGV_MAPERR\n"
	      "             it grow down to the address?\n"
	      "          7  do the mapping's rights allow it?         no: SIGSEGV, SEGV_ACCERR\n"
	      "          8  is there a page for it: zeros, a file's,  no: SIGBUS, BUS_ADRERR\n"
	      "             a copy?                                   yes: the access is tried again\n",
	      s->out);
}

struct map_printer {
	struct stage *s;
	struct segv_world *w;
};

/* Range, rights and name of one line of the map; what has no name there gets one in brackets. */
static void map_line(void *arg, const char *line, size_t len)
{
	struct map_printer *p = arg;
	unsigned long start, end;
	const char *name, *owner;
	char rights[8];

	if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) != 3)
		return;
	name = memchr(line, '/', len);
	name = name ? name : memchr(line, '[', len);
	owner = segv_owner(p->w, start);
	fprintf(p->s->out, "  %012lx-%012lx  %s  ", start, end, rights);
	if (name)
		fwrite(name, 1, (size_t)(line + len - 1 - name), p->s->out);
	else if (owner)
		fprintf(p->s->out, "(%s: of another thread)", owner);
	fputc('\n', p->s->out);
}

void segv_show_map(struct stage *s, struct segv_world *w)
{
	struct map_printer p = { s, w };

	stage_head(s, "The program's mappings: the list that is asked");
	maps_for_each(w->demo->mm, map_line, &p);
	fprintf(s->out, "\n  r w x: it reads, writes, jumps there   ✓ yes  ✗ no  · not asked   "
		"#: page faults\n  @ptr: si_addr is the pointer\n\n  %s%-13s   %-18s %-14s  %-5s  %-9s"
		"  #  %s%s\n", stage_colour(s, DIM), "case", "pointer", "mapped there", "1 2 3",
		"4 5 6 7 8", "answer", stage_colour(s, PLAIN));
}

/* Red is the answer that ended it; a no before that only led to the next question. */
static void put_marks(struct stage *s, const struct segv_facts *f)
{
	static const char *const text[] = { "·", "✓", "✗" };
	const char *colours[] = { DIM, GREEN, YELLOW };
	enum segv_step step, last = SEGV_CANONICAL;

	for (step = SEGV_CANONICAL; step < NR_SEGV_STEPS; step++)
		if (f->mark[step] != SEGV_NOT_ASKED)
			last = step;
	for (step = SEGV_CANONICAL; step < NR_SEGV_STEPS; step++) {
		colours[SEGV_NO] = f->signo && step == last ? RED : YELLOW;
		fprintf(s->out, "%s%s%s%s", step == SEGV_HALF ? "  " : step ? " " : "",
			stage_colour(s, colours[f->mark[step]]), text[f->mark[step]],
			stage_colour(s, PLAIN));
	}
}

/* "@ptr", "@ptr+2", "@0" */
static const char *where_text(const struct segv_facts *f, char *buf)
{
	if (f->sig_addr == f->addr)
		snprintf(buf, SHORT_TEXT, "@ptr");
	else if (f->sig_addr > f->addr && f->sig_addr - f->addr < PAGE_SIZE)
		snprintf(buf, SHORT_TEXT, "@ptr+%lu", f->sig_addr - f->addr);
	else
		snprintf(buf, SHORT_TEXT, "@%lx", f->sig_addr);
	return buf;
}

/* What a handled access got: "no fault", "zero page", "stack grown, zero page". */
static const char *got_text(const struct segv_facts *f, char *buf)
{
	const struct fault_info *last = &f->fault[f->nr_faults ? f->nr_faults - 1 : 0];

	if (!f->nr_faults)
		snprintf(buf, SHORT_TEXT, "no fault%s", f->walks ? "" : ", not even a walk");
	else
		snprintf(buf, SHORT_TEXT, "%s%s%s", last->stack_grown ? "stack grown, " : "",
			 fault_kind_name(last->kind),
			 f->nr_major && last->kind != FAULT_FILE_SHARED ? ", loaded" : "");
	return buf;
}

void segv_show_row(struct stage *s, const struct segv_case *c, const struct segv_facts *f)
{
	char there[SHORT_TEXT], text[SHORT_TEXT], pointer[SHORT_TEXT];

	short_there(f, there);
	snprintf(pointer, sizeof(pointer), "0x%lx", f->addr);
	fprintf(s->out, "  %s%-13s%s %c %-18s %-14.14s  ", stage_colour(s, BOLD), c->name,
		stage_colour(s, PLAIN), "rwx"[c->access], pointer, there);
	put_marks(s, f);
	fprintf(s->out, "  %u  ", f->nr_faults);
	if (f->signo)
		fprintf(s->out, "%s%s %s%s %s", stage_colour(s, RED), signal_name(f->signo),
			code_name(f), stage_colour(s, PLAIN), where_text(f, text));
	else
		fprintf(s->out, "%s%s%s", stage_colour(s, GREEN), got_text(f, text),
			stage_colour(s, PLAIN));
	fprintf(s->out, "%s\n", f->ok ? "" : "  NOT as expected");
	s->nr_wrong += !f->ok;
}

void segv_show_answer(struct stage *s, const struct segv_facts *all, unsigned int nr)
{
	unsigned int i, none = 0, made = 0, killed = 0, kernel_said = 0;

	for (i = 0; i < nr; i++) {
		none += !all[i].nr_faults && !all[i].signo;
		made += all[i].nr_faults && !all[i].signo;
		killed += all[i].signo != 0;
		kernel_said += all[i].signo && all[i].nr_faults;
	}
	stage_head(s, "So");
	fprintf(s->out,
		"  Of %u pointers, %u never reached the kernel: mapped, present, allowed. %u were\n"
		"  right and only early: the kernel made the page, and the instruction was tried\n"
		"  again. %u ended in a signal, %u of them after the kernel had looked.\n"
		"\n"
		"  Nothing asked whose pointer it was, or which thread's memory it hit: all threads\n"
		"  of a process have one list. A wild pointer into what is mapped and allows the\n"
		"  access is not found out; it reads or destroys something of the same program. One\n"
		"  into another process cannot be made: the same number is looked up in another list.\n"
		"\n"
		"  karc run segv CASE tells one of them step by step, --list names them, --json is\n"
		"  for programs.\n", nr, none, made, killed, kernel_said);
}

/* ---- one story ---- */

/* The announced steps; a line for the CPU in front of each time it called the kernel. */
static void say_steps(struct stage *s, const char *steps)
{
	static const char begin[] = "do_user_addr_fault\t";
	bool again = false;

	while (*steps) {
		size_t name = strcspn(steps, "\t"), text = strcspn(steps + name, "\n");

		if (!strncmp(steps, begin, sizeof(begin) - 1)) {
			stage_say(s, "the CPU %s: page fault",
				  again ? "tries again, and the tables forbid it" :
				  "does not find it in the TLB, and walks the tables in vain");
			again = true;
		}
		fprintf(s->out, "    %s%-21.*s%s %.*s\n", stage_colour(s, CYAN), (int)name, steps,
			stage_colour(s, PLAIN), (int)text - 1, steps + name + 1);
		steps += name + text + 1;
	}
}

static void say_entry(struct stage *s, const char *when, u64 value)
{
	pte_t pte = { value };

	if (pte_none(pte))
		stage_say(s, "%s none", when);
	else
		stage_say(s, "%s frame %llu%s, %s%s", when, (unsigned long long)pte_pfn(pte),
			  pte_special(pte) ? " (the zero page)" : "",
			  pte_write(pte) ? "writable" : "read-only",
			  value & _PAGE_NX ? ", no execute" : "");
}

static void say_before(struct stage *s, const struct segv_case *c, const struct segv_facts *f)
{
	static const char *const does[] = { "reads", "writes", "fetches" };
	char there[SHORT_TEXT];

	stage_head(s, "Before");
	stage_say(s, "the program     %s %u byte%s at 0x%lx, on CPU %u", does[c->access], c->bytes,
		  c->bytes > 1 ? "s" : "", f->addr, f->cpu);
	short_there(f, there);
	if (f->there[0])
		stage_say(s, "mapping         %.*s %s", (int)strcspn(f->there, " "), f->there, there);
	else
		stage_say(s, "mapping         none covers it");
	say_entry(s, "table entry    ", f->entry_before);
	if (f->frame_refs)
		stage_say(s, "references      %d on that frame", f->frame_refs);
	if (f->was_held)
		stage_say(s, "TLB             knew the page before it was unmapped, and %s",
			  f->held ? "still does" : "does not any more");
	else
		stage_say(s, "TLB             %s the page", f->held ? "knows" : "does not know");
}

static void say_what_happens(struct stage *s, const struct segv_facts *f)
{
	stage_head(s, "What happens");
	if (f->mark[SEGV_CANONICAL] == SEGV_NO)
		stage_say(s, "the CPU sees that it is no address, and looks nothing up: "
			  "general-protection fault");
	else if (f->mark[SEGV_TLB] == SEGV_YES)
		stage_say(s, "the CPU finds it in the TLB: no walk, no exception");
	else if (f->mark[SEGV_TABLES] == SEGV_YES)
		stage_say(s, "the CPU does not find it in the TLB, but in the tables: no exception");
	say_steps(s, f->steps);
	if (f->nr_faults && !f->signo)
		stage_say(s, "the CPU tries again, and the tables allow it");
}

static void say_after(struct stage *s, const struct segv_case *c, const struct segv_facts *f)
{
	char where[SHORT_TEXT];

	stage_head(s, "After");
	say_entry(s, "table entry    ", f->entry_after);
	stage_say(s, "memory          %+ld pages resident, %+ld bytes of page tables, %u minor and %u "
		  "major faults", f->rss_after - f->rss_before, f->tables_after - f->tables_before,
		  f->nr_handled - f->nr_major, f->nr_major);
	if (f->signo)
		stage_expect(s, f->ok, "%s, si_code %s, si_addr 0x%lx (%s)", signal_name(f->signo),
			     code_name(f), f->sig_addr, where_text(f, where));
	else if (c->access == MMU_EXEC)
		stage_expect(s, f->ok, "no signal");
	else
		stage_expect(s, f->ok, "no signal; the value there is %d (0x%x)", f->value,
			     (unsigned int)f->value);
	if (f->sharer_value >= 0)
		stage_say(s, "the other process still has %d there", f->sharer_value);
	stage_head(s, "%s", c->why);
}

void segv_show_story(struct stage *s, const struct segv_case *c, const struct segv_facts *f)
{
	fprintf(s->out, "%s%s: %s%s\n", stage_colour(s, BOLD), c->name, c->what,
		stage_colour(s, PLAIN));
	say_before(s, c, f);
	say_what_happens(s, f);
	say_after(s, c, f);
}

/* ---- for programs ---- */

static void json_text(FILE *out, const char *text, size_t len)
{
	size_t i;

	fputc('"', out);
	for (i = 0; i < len; i++) {
		if (text[i] == '"' || text[i] == '\\')
			fputc('\\', out);
		if ((unsigned char)text[i] < ' ')
			fprintf(out, "\\u%04x", (unsigned int)text[i]);
		else
			fputc(text[i], out);
	}
	fputc('"', out);
}

static void json_faults(FILE *out, const struct segv_facts *f)
{
	unsigned int i, nr = min(f->nr_faults, SEGV_FAULTS_MAX);

	fprintf(out, ",\n   \"faults\": [");
	for (i = 0; i < nr; i++) {
		const struct fault_info *info = &f->fault[i];

		fprintf(out, "%s{\"address\": \"0x%lx\", \"error_code\": %u, \"answer\": \"%s\", "
			"\"kind\": \"%s\", \"vma\": ", i ? ", " : "", info->address, info->error_code,
			fault_answer_name(info->answer), fault_kind_name(info->kind));
		if (info->vma_found)
			fprintf(out, "[\"0x%lx\", \"0x%lx\"]", info->vma_start, info->vma_end);
		else
			fprintf(out, "null");
		fprintf(out, ", \"covers\": %s, \"stack_grown\": %s}", info->covers ? "true" : "false",
			info->stack_grown ? "true" : "false");
	}
	fputc(']', out);
}

static void json_steps(FILE *out, const char *steps)
{
	const char *comma = "";

	fprintf(out, ",\n   \"steps\": [");
	while (*steps) {
		size_t name = strcspn(steps, "\t"), text = strcspn(steps + name, "\n");

		fprintf(out, "%s[", comma);
		json_text(out, steps, name);
		fputs(", ", out);
		json_text(out, steps + name + 1, text - 1);
		fputc(']', out);
		comma = ", ";
		steps += name + text + 1;
	}
	fputc(']', out);
}

static void json_marks(FILE *out, const struct segv_facts *f)
{
	static const char *const words[] = { "null", "true", "false" };
	enum segv_step step;

	fprintf(out, ",\n   \"looked_at\": {");
	for (step = SEGV_CANONICAL; step < NR_SEGV_STEPS; step++)
		fprintf(out, "%s\"%s\": %s", step ? ", " : "", step_names[step],
			words[f->mark[step]]);
	fputc('}', out);
}

void segv_show_json(struct stage *s, const struct segv_case *c, const struct segv_facts *f,
		    bool first)
{
	FILE *out = s->out;

	fprintf(out, "%s\n  {\"name\": \"%s\", \"what\": ", first ? "" : ",", c->name);
	json_text(out, c->what, strlen(c->what));
	fprintf(out, ", \"access\": \"%s\", \"bytes\": %u, \"pointer\": \"0x%lx\",\n"
		"   \"mapped_there\": ",
		access_word(c->access), c->bytes, f->addr);
	if (f->there[0])
		json_text(out, f->there, strlen(f->there));
	else
		fputs("null", out);
	json_marks(out, f);
	json_faults(out, f);
	json_steps(out, f->steps);
	fprintf(out, ",\n   \"cpu\": %u, \"tlb_held\": %s, \"tlb_was_held\": %s, "
		"\"handled\": %u, \"major\": %u, \"frame_before\": %llu, \"frame_after\": %llu", f->cpu, f->held ? "true" : "false",
		f->was_held ? "true" : "false",
		f->nr_handled, f->nr_major, (unsigned long long)pte_pfn((pte_t){ f->entry_before }),
		(unsigned long long)pte_pfn((pte_t){ f->entry_after }));
	fprintf(out, ",\n   \"signal\": ");
	if (f->signo)
		fprintf(out, "{\"signo\": %d, \"si_code\": %d, \"si_addr\": \"0x%lx\", "
			"\"name\": \"%s %s\"}",
			f->signo, f->code, f->sig_addr, signal_name(f->signo), code_name(f));
	else
		fputs("null", out);
	if (!f->signo && c->access != MMU_EXEC)
		fprintf(out, ", \"value\": %d", f->value);
	if (f->sharer_value >= 0)
		fprintf(out, ", \"sharer_value\": %d", f->sharer_value);
	fprintf(out, ", \"as_expected\": %s}", f->ok ? "true" : "false");
	s->nr_wrong += !f->ok;
}
