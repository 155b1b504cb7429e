/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_RECORDING_H
#define KARC_TOOLS_RECORDING_H

/*
 * recording.h - the life of a real program as one text file, and its reader
 *
 * tools/RECORDING.md describes the format for people. This is the contract for code:
 * `karc record` writes through recording_write_*(), `karc replay` reads through
 * recording_open() and recording_next(). Both use one table of calls, so that what is
 * written is by construction what is read.
 *
 * Reading is strict and streams: everything of fixed size (host facts, files, program
 * headers) is in the head and is there after recording_open(); the body is read line by
 * line into a caller's struct rec_call. Memory grows with the number of files and of
 * tasks alive at the same time, never with the length of the trace.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define REC_FORMAT_VERSION	2
#define REC_LINE_MAX		4096	/* bytes of one line, newline included */
#define REC_FILES_MAX		65536
#define REC_SEGMENTS_MAX	64	/* PT_LOAD headers of one file */
#define REC_SEGMENTS_TOTAL_MAX	65536
#define REC_TASKS_MAX		(1u << 22)	/* the largest pid Linux gives */
#define REC_CALLS_MAX		(UINT64_C(1) << 40)
#define REC_SIZE_MAX		(UINT64_C(1) << 47)
#define REC_SIZE_UNKNOWN	UINT64_MAX	/* written `?` */
#define REC_UNLIMITED		UINT64_MAX	/* a limit; RLIM_INFINITY */
#define REC_NR_LIMITS		16	/* indexed by RLIMIT_* */
#define REC_BORN_FDS_MAX	4096	/* descriptors a program is started with */
#define REC_TEXT_MAX		1024	/* bytes of a text or label, decoded */
#define REC_NR_ARGS		12
#define REC_NR_OUT		4
#define REC_NAME_MAX		40
#define REC_STATUS_UNKNOWN	0xffffffffu
#define REC_PID_UNKNOWN		0x7fffffff	/* an argument naming a task outside; written `?` */

/* ---- the head ---------------------------------------------------------------------------- */

enum rec_thp { REC_THP_NONE, REC_THP_NEVER, REC_THP_MADVISE, REC_THP_ALWAYS };

/* When an anonymous private mmap without an address is put on a huge page boundary. */
enum rec_anon_align {
	REC_ANON_ALIGN_NONE,	/* never */
	REC_ANON_ALIGN_LARGE,	/* length >= huge page */
	REC_ANON_ALIGN_EXACT,	/* length is a multiple of the huge page */
};

/* What [vsyscall] is in /proc/PID/maps. */
enum rec_vsyscall { REC_VSYSCALL_NONE, REC_VSYSCALL_XONLY, REC_VSYSCALL_READABLE };

struct rec_limit {
	uint64_t cur, max;	/* REC_UNLIMITED or bytes/count */
};

/* A descriptor that the recorded program is started with. */
struct rec_born_fd {
	int32_t fd;
	uint32_t file;		/* file id if it is ever mapped or executed, else 0 */
};

/* Facts of the host, measured by `karc record` in the recorded program's own context. */
struct rec_info {
	unsigned int version;		/* of the format */
	unsigned int kernel[3];		/* 6, 18, 44; vendor suffix left out */
	char machine[16];		/* uname -m */
	uint64_t page_size, huge_size;	/* huge_size 0: no transparent huge pages */
	uint64_t memory_bytes, swap_bytes;
	unsigned int nr_cpus;
	unsigned int overcommit;	/* vm.overcommit_memory: 0, 1, 2 */
	unsigned int overcommit_ratio;
	uint64_t overcommit_kbytes;
	uint64_t max_map_count;
	uint64_t mmap_min_addr;		/* in effect, security modules included */
	bool legacy_va_layout;
	enum rec_thp thp, thp_shmem;	/* `within_size` and `advise` of shmem: REC_THP_MADVISE */
	uint64_t vvar_bytes, vdso_bytes;	/* vvar_bytes: all vvar mappings together */
	uint64_t vvar_clock_bytes;	/* of these the upper part, [vvar_vclock]; 0: it has none */
	enum rec_vsyscall vsyscall;
	uint64_t capabilities;		/* effective ones of the program when it starts */
	uint64_t ignored_signals;	/* then, too: bit sig - 1 */
	unsigned int auxv_entries;	/* AT_NULL included: for the initial stack pointer */
	unsigned int platform_bytes;	/* strlen(AT_PLATFORM) + 1 */
	uint64_t personality;		/* of the recorded program when it starts */
	uint64_t stack_top;		/* end of [stack], 0x7ffffffff000 */
	uint64_t mmap_base;		/* end of the highest mapping below the stack's gap */
	enum rec_anon_align anon_align;
	bool align_snug;		/* two aligned mappings in a row leave no hole between */
	struct rec_limit limits[REC_NR_LIMITS];
	unsigned int nr_files, nr_tasks, nr_born_fds;
	const struct rec_born_fd *born_fds;	/* in the order of their numbers */
	uint64_t nr_lines;		/* of the body; known only at the end of reading */
};

enum rec_file_kind {
	REC_FILE_UNKNOWN,
	REC_FILE_REGULAR,
	REC_FILE_DIRECTORY,
	REC_FILE_CHARDEV,
	REC_FILE_BLOCKDEV,
	REC_FILE_FIFO,
	REC_FILE_SOCKET,
	REC_FILE_MEMFD,
	REC_FILE_ZERO,		/* /dev/zero: a private mapping of it is anonymous */
	REC_FILE_ANON,		/* anon_inode: io_uring, perf event, ... */
	REC_FILE_PROC,		/* of a file system without stable contents: /proc, /sys */
	REC_NR_FILE_KINDS
};

/* One PT_LOAD program header. */
struct rec_segment {
	uint64_t offset, vaddr, file_bytes, mem_bytes, align;
	unsigned int flags;	/* PF_X 1, PF_W 2, PF_R 4 */
};

/* Of an executed file or an interpreter. */
struct rec_elf {
	unsigned int type;	/* ET_EXEC 2, ET_DYN 3 */
	uint64_t entry;
	int gnu_stack;		/* flags of PT_GNU_STACK, -1: header absent */
	uint32_t interp;	/* file id of PT_INTERP's file, 0: none */
	unsigned int nr_segments;
	const struct rec_segment *segments;	/* in file order */
};

/* Of an executed script: what its first line adds to the arguments of its interpreter. */
struct rec_script {
	uint32_t interp;		/* file id, 0: not found out; may be a script itself */
	unsigned int name_bytes;	/* of its path as written, with a NUL */
	unsigned int arg_bytes;		/* of the one argument with a NUL; 0: there is none */
};

/* A file that was mapped or executed. */
struct rec_file {
	uint32_t id;		/* 1 .. nr_files; 0 stands for no file or one never mapped */
	enum rec_file_kind kind;
	unsigned int mode;	/* permission bits */
	uint64_t size_bytes;	/* at its first mapping, or REC_SIZE_UNKNOWN */
	uint64_t align_bytes;	/* what large mappings of it are aligned to: page or huge page */
	const char *label;	/* the path, decoded; says what it was, is never opened. What maps
				   shows but for " (deleted)": "/memfd:NAME" for a memfd. It is
				   that of the first mapping; REC_RENAMED and REC_REMOVED follow */
	const struct rec_elf *elf;	/* NULL: never executed, or no program */
	const struct rec_script *script;	/* NULL: never executed, or no script */
};

/* ---- the body ---------------------------------------------------------------------------- */

/*
 * What one line of the body is. Pids are ordinals: 1 is the recorded program, others count
 * up in the order in which they are first seen. They are never used twice.
 */
enum rec_kind {
	REC_CALL,	/* a whole call: nothing happened between its start and its end */
	REC_BEGIN,	/* `>`: a call started; lines of others follow before its end */
	REC_END,	/* `<`: that call's end; args are those of its REC_BEGIN */
	REC_BORN,	/* pid shows itself before the call of @other that makes it has ended */
	REC_EXITED,	/* args[0] = exit code */
	REC_KILLED,	/* args[0] = signal, args[1] = 1 if it dumped core */
	REC_SIGNAL,	/* args[0] = signal, [1] = si_code, [2] = si_addr for faults, else 0; @other =
			   the task that sent it (or died, for SIGCHLD), 0: none of the recorded */
	REC_STOPPED,	/* args[0] = signal */
	REC_SUPERSEDED,	/* thread @other executes a program and takes over @pid; @other is gone */
	REC_RESIZED,	/* file args[0] now has args[1] bytes */
	REC_REMOVED,	/* the name of file args[0] is gone: maps shows it as " (deleted)" */
	REC_RENAMED,	/* file args[0] is now called text */
	REC_RECEIVED,	/* descriptor args[0], close-on-exec if args[1], of file args[2] came in a
			   message: the call that took it has just been told */
	REC_MAPS_READ,	/* text is what pid read of the maps of task @other, see below */
	REC_VIEW_READ,	/* args[0] bytes of what text names (smaps, numa_maps, pagemap ..; or maps of
			   a task outside, @other 0) of task @other were read: not to be compared */
};

/*
 * What was read of a /proc/PID/maps comes as a run of REC_MAPS_READ right behind the call that
 * read it (REC_CALL or REC_END of the same pid), one for each line or part of a line. A line's
 * text was made when its beginning was read: a part that only ends or continues one tells of that
 * moment, which matters when the program reads in small steps.
 * args[0] is where in the file the piece begins, args[1] is how it lies in its line.
 */
enum rec_maps_piece {
	REC_MAPS_INSIDE = 0,	/* neither begins nor ends its line */
	REC_MAPS_BEGINS = 1,	/* the line begins with it */
	REC_MAPS_ENDS = 2,	/* the line ends with it; the newline is not in text */
	REC_MAPS_LINE = 3,	/* it is a whole line */
	REC_MAPS_EOF = 4,	/* nothing was read at args[0]: no lines follow there */
};

enum rec_class {
	REC_CLASS_OTHER,	/* counted and skipped: name and result only, but rt_sigaction */
	REC_CLASS_MEM,		/* changes or asks the address space */
	REC_CLASS_PROC,		/* makes, ends, waits for or changes tasks */
	REC_CLASS_FILE,		/* makes, copies, closes descriptors, resizes files */
	REC_CLASS_NEWFD,	/* a socket, an epoll ...: a new descriptor */
};

/*
 * The known calls: X(name, class, arguments, results, outputs).
 *
 * Letters say how a value is written and checked; values come in this order in args[] and
 * out[]. x hexadecimal; u unsigned; d signed; o octal; f descriptor (signed 32 bits); p pid
 * ordinal (0 and -1 as in the call, a group as its leader's negative); q the same, or for P_PIDFD
 * a descriptor; @ file id; s text, at most one in a call: args[] gets 1 and rec_call.text is it, or
 * 0 and NULL where there is none.
 * Outputs are there only if the call succeeded, and some not even then: nr_out says.
 * A result that is a task (p) is 0 when that task is outside the recording.
 *
 * mmap             addr length prot flags fd offset @file   (@file decides, fd tells)
 * pkey_mprotect    addr length prot pkey
 * mremap           old_addr old_length new_length flags new_addr
 * execve(at)       @file @image argc arg_bytes envc env_bytes path_bytes
 *                  argc' arg_bytes' path_bytes' first_bytes' name
 *                  @file is what was named, @image what is mapped: they differ for scripts, and
 *                  argc and the bytes (terminating NULs included) are then those that the
 *                  interpreter's stack gets. With a prime: as the program gave them, with the
 *                  bytes of its argv[0]; rec_file.script leads from one to the other. @image 0:
 *                  could not be found out. name: last component of the path, what comm becomes.
 *                  All 0 when it failed.
 * clone clone3     flags (CSIGNAL bits out) exit_signal stack stack_bytes parent_tid child_tid tls
 *                  out: pidfd, -1 without CLONE_PIDFD. stack is clone3's lowest byte, clone's top
 *                  with stack_bytes 0.
 * wait4            pid                          out: status options
 * waitid           idtype id                    out: pid si_code si_status options
 *                  Where the program did not ask for the status: REC_STATUS_UNKNOWN; where it did
 *                  not ask for the structure: pid REC_PID_UNKNOWN.
 * kill             pid signal                   tkill tid signal   tgkill tgid tid signal
 * rt_sigqueueinfo  as kill                      rt_tgsigqueueinfo  as tgkill
 * pidfd_send_signal  pidfd signal
 * rt_sigaction     signal disposition flags: disposition -1 only asked for, 0 default, 1 ignored,
 *                  2 a handler; flags are sa_flags, of which SA_NOCLDWAIT reaps children at once
 * setpgid          pid group
 * prctl            option, four arguments (0 where they are no number), the name of PR_SET_VMA
 *                  (none: it is taken away)
 * pipe2            out: both ends, flags        socketpair  out: both ends, type with flags
 * prlimit64        pid resource set cur max     (set 0: only asked)  out: old cur, max if asked
 * setrlimit        resource cur max             getrlimit  resource  out: cur max
 * shmget           key size flags               shmat  id addr flags
 * shmctl           id cmd                       out: size attached, of IPC_STAT
 *                  The id of a segment is a number of the recording host.
 * memfd_create     flags                        memfd_secret  flags
 * fcntl            fd cmd arg
 * fallocate        fd mode offset length @file
 * io_setup         nr                           out: address of the ring in the address space
 * class NEWFD      1 if the new descriptor is closed on exec, else 0
 */
#define REC_CALLS(X) \
	X(mmap,			MEM,	"xuxxfx@",	'x', "") \
	X(munmap,		MEM,	"xu",		'd', "") \
	X(mprotect,		MEM,	"xux",		'd', "") \
	X(pkey_mprotect,	MEM,	"xuxd",		'd', "") \
	X(mremap,		MEM,	"xuuxx",	'x', "") \
	X(madvise,		MEM,	"xud",		'd', "") \
	X(process_madvise,	MEM,	"",		'd', "") \
	X(brk,			MEM,	"x",		'x', "") \
	X(mlock,		MEM,	"xu",		'd', "") \
	X(mlock2,		MEM,	"xux",		'd', "") \
	X(munlock,		MEM,	"xu",		'd', "") \
	X(mlockall,		MEM,	"x",		'd', "") \
	X(munlockall,		MEM,	"",		'd', "") \
	X(msync,		MEM,	"xux",		'd', "") \
	X(mincore,		MEM,	"xu",		'd', "") \
	X(remap_file_pages,	MEM,	"xuxux",	'd', "") \
	X(mseal,		MEM,	"xux",		'd', "") \
	X(map_shadow_stack,	MEM,	"xux",		'x', "") \
	X(mbind,		MEM,	"xud",		'd', "") \
	X(set_mempolicy,	MEM,	"d",		'd', "") \
	X(set_mempolicy_home_node, MEM,	"xu",		'd', "") \
	X(migrate_pages,	MEM,	"",		'd', "") \
	X(move_pages,		MEM,	"",		'd', "") \
	X(pkey_alloc,		MEM,	"xx",		'd', "") \
	X(pkey_free,		MEM,	"d",		'd', "") \
	X(shmget,		MEM,	"xux",		'd', "") \
	X(shmat,		MEM,	"dxx",		'x', "") \
	X(shmdt,		MEM,	"x",		'd', "") \
	X(shmctl,		MEM,	"dd",		'd', "uu") \
	X(userfaultfd,		MEM,	"x",		'f', "") \
	X(io_setup,		MEM,	"u",		'd', "x") \
	X(io_destroy,		MEM,	"x",		'd', "") \
	X(modify_ldt,		MEM,	"d",		'd', "") \
	X(process_mrelease,	MEM,	"",		'd', "") \
	\
	X(execve,		PROC,	"@@uuuuuuuuus",	'd', "") \
	X(execveat,		PROC,	"@@uuuuuuuuus",	'd', "") \
	X(clone,		PROC,	"xuxuxxx",	'p', "f") \
	X(clone3,		PROC,	"xuxuxxx",	'p', "f") \
	X(fork,			PROC,	"",		'p', "") \
	X(vfork,		PROC,	"",		'p', "") \
	X(exit,			PROC,	"d",		'd', "") \
	X(exit_group,		PROC,	"d",		'd', "") \
	X(wait4,		PROC,	"p",		'p', "xx") \
	X(waitid,		PROC,	"dq",		'd', "pddx") \
	X(set_tid_address,	PROC,	"x",		'p', "") \
	X(getpid,		PROC,	"",		'p', "") \
	X(gettid,		PROC,	"",		'p', "") \
	X(getppid,		PROC,	"",		'p', "") \
	X(arch_prctl,		PROC,	"xx",		'd', "") \
	X(prctl,		PROC,	"dxxxxs",	'd', "") \
	X(personality,		PROC,	"x",		'x', "") \
	X(prlimit64,		PROC,	"pdduu",	'd', "uu") \
	X(setrlimit,		PROC,	"duu",		'd', "") \
	X(getrlimit,		PROC,	"d",		'd', "uu") \
	X(kill,			PROC,	"pd",		'd', "") \
	X(tkill,		PROC,	"pd",		'd', "") \
	X(tgkill,		PROC,	"ppd",		'd', "") \
	X(rt_sigqueueinfo,	PROC,	"pd",		'd', "") \
	X(rt_tgsigqueueinfo,	PROC,	"ppd",		'd', "") \
	X(pidfd_send_signal,	PROC,	"fd",		'd', "") \
	X(setpgid,		PROC,	"pp",		'd', "") \
	X(getpgid,		PROC,	"p",		'p', "") \
	X(getpgrp,		PROC,	"",		'p', "") \
	X(setsid,		PROC,	"",		'p', "") \
	X(getsid,		PROC,	"p",		'p', "") \
	X(unshare,		PROC,	"x",		'd', "") \
	X(rt_sigaction,		OTHER,	"ddx",		'd', "") \
	\
	X(open,			FILE,	"xo",		'f', "@") \
	X(openat,		FILE,	"xo",		'f', "@") \
	X(openat2,		FILE,	"xo",		'f', "@") \
	X(creat,		FILE,	"o",		'f', "@") \
	X(memfd_create,		FILE,	"x",		'f', "@") \
	X(memfd_secret,		FILE,	"x",		'f', "@") \
	X(close,		FILE,	"f",		'd', "") \
	X(close_range,		FILE,	"uux",		'd', "") \
	X(dup,			FILE,	"f",		'f', "") \
	X(dup2,			FILE,	"ff",		'f', "") \
	X(dup3,			FILE,	"ffx",		'f', "") \
	X(fcntl,		FILE,	"fdx",		'd', "") \
	X(pipe,			FILE,	"",		'd', "ff") \
	X(pipe2,		FILE,	"",		'd', "ffx") \
	X(socketpair,		FILE,	"",		'd', "ffx") \
	X(ftruncate,		FILE,	"fu@",		'd', "") \
	X(truncate,		FILE,	"u@",		'd', "") \
	X(fallocate,		FILE,	"fxuu@",	'd', "") \
	\
	X(socket,		NEWFD,	"d",		'f', "") \
	X(accept,		NEWFD,	"d",		'f', "") \
	X(accept4,		NEWFD,	"d",		'f', "") \
	X(eventfd,		NEWFD,	"d",		'f', "") \
	X(eventfd2,		NEWFD,	"d",		'f', "") \
	X(epoll_create,		NEWFD,	"d",		'f', "") \
	X(epoll_create1,	NEWFD,	"d",		'f', "") \
	X(timerfd_create,	NEWFD,	"d",		'f', "") \
	X(signalfd,		NEWFD,	"d",		'f', "") \
	X(signalfd4,		NEWFD,	"d",		'f', "") \
	X(inotify_init,		NEWFD,	"d",		'f', "") \
	X(inotify_init1,	NEWFD,	"d",		'f', "") \
	X(fanotify_init,	NEWFD,	"d",		'f', "") \
	X(pidfd_open,		NEWFD,	"d",		'f', "") \
	X(pidfd_getfd,		NEWFD,	"d",		'f', "") \
	X(perf_event_open,	NEWFD,	"d",		'f', "") \
	X(io_uring_setup,	NEWFD,	"d",		'f', "") \
	X(open_by_handle_at,	NEWFD,	"d",		'f', "") \
	X(open_tree,		NEWFD,	"d",		'f', "") \
	X(fsopen,		NEWFD,	"d",		'f', "") \
	X(fsmount,		NEWFD,	"d",		'f', "") \
	X(fspick,		NEWFD,	"d",		'f', "") \
	X(mq_open,		NEWFD,	"d",		'f', "") \
	X(landlock_create_ruleset, NEWFD, "d",		'f', "")

/* Keys of the known calls: REC_NR_mmap ... */
enum rec_call_nr {
	REC_NR_OTHER,		/* not in the table: rec_call.name tells */
#define REC_CALL_KEY(name, class, args, result, out) REC_NR_##name,
	REC_CALLS(REC_CALL_KEY)
#undef REC_CALL_KEY
	REC_NR_CALLS
};

struct rec_call_desc {
	const char *name;	/* NULL for REC_NR_OTHER */
	enum rec_class class;
	const char *args;
	char result;
	const char *out;
};

/* One line of the body. */
struct rec_call {
	enum rec_kind kind;
	enum rec_call_nr nr;		/* REC_CALL, REC_BEGIN, REC_END */
	enum rec_class class;
	bool has_result;		/* false: `= ?`, the call never came back (exit, killed) */
	uint8_t nr_args, nr_out;
	uint32_t pid;
	uint32_t other;			/* another task, see enum rec_kind */
	uint64_t line;			/* in the file, from 1 */
	int64_t result;			/* -errno on error, -ERESTART* included */
	uint64_t args[REC_NR_ARGS];	/* signed ones sign-extended */
	uint64_t out[REC_NR_OUT];
	const char *text;		/* with a NUL; borrowed until the next recording_next() */
	size_t text_bytes;		/* without it; 0 where there is no text */
	char name[REC_NAME_MAX];	/* of the call; empty for events */
};

/* ---- reading ----------------------------------------------------------------------------- */

struct recording_error {
	uint64_t line;		/* 0: not about a line (no such file) */
	char what[192];		/* "line 12: ..." is put together by the caller */
};

struct recording;

/**
 * recording_open - open a recording and read its head
 * @path: the file; "-" is the standard input
 * @err:  filled when NULL is returned
 *
 * Gives:  a recording, ended with recording_close().
 * Errors: NULL when there is no such file, it is no recording, or its head is wrong.
 */
struct recording *recording_open(const char *path, struct recording_error *err);
/* The same of an open stream, which it takes: closed at the end, and when NULL is returned. */
struct recording *recording_open_stream(FILE *in, struct recording_error *err);
void recording_close(struct recording *rec);

/**
 * recording_next - read the next line of the body
 * @rec:  the recording
 * @call: filled with it
 * @err:  filled when -1 is returned
 *
 * Lines come in the order of completion. What is checked: the grammar, the ranges of numbers,
 * that pids exist and live, that each REC_END has its REC_BEGIN, that files are declared, and at
 * the end that the trace is whole.
 *
 * Gives:  1 and a line; 0 at the end of a whole trace; -1 on an error, and ever after.
 */
int recording_next(struct recording *rec, struct rec_call *call, struct recording_error *err);

/* Borrowed until recording_close(). nr_lines is 0 before the end. */
const struct rec_info *recording_info(const struct recording *rec);
/* NULL for 0 and ids that are not there. */
const struct rec_file *recording_file(const struct recording *rec, uint32_t id);
/* For progress: bytes read so far, and of the whole file (0: not known). */
uint64_t recording_bytes_read(const struct recording *rec);
uint64_t recording_bytes_total(const struct recording *rec);

/* ---- names ------------------------------------------------------------------------------- */

const struct rec_call_desc *rec_call_desc(enum rec_call_nr nr);
enum rec_call_nr rec_call_by_name(const char *name, size_t length);
const char *rec_limit_name(unsigned int resource);	/* "stack"; NULL beyond the last */
const char *rec_file_kind_name(enum rec_file_kind kind);
const char *rec_errno_name(int err);			/* "ENOENT"; NULL when it has none */
int rec_errno_by_name(const char *name, size_t length);	/* 0 when there is none */
const char *rec_signal_name(int sig);			/* "SIGSEGV"; NULL when it has none */
int rec_signal_by_name(const char *name, size_t length);

/* ---- writing ----------------------------------------------------------------------------- */

/* Each writes the line or lines as the reader wants them; errors stay in ferror(). */
void recording_write_info(FILE *out, const struct rec_info *info);
void recording_write_file(FILE *out, const struct rec_file *file);
/* After all files: opens the body. */
void recording_write_body(FILE *out);
void recording_write_call(FILE *out, const struct rec_call *call);
void recording_write_end(FILE *out, uint64_t nr_lines);

#endif /* KARC_TOOLS_RECORDING_H */
