/* SPDX-License-Identifier: MIT */
/*
 * recording_names.c - the names that stand in a recording: calls, errors, signals, limits
 *
 * Error and signal numbers are those of the recorded machine (x86-64), so they are tables
 * here and not the host's strerror.
 */
#include "recording.h"

#include <stdlib.h>
#include <string.h>

static const struct rec_call_desc call_descs[REC_NR_CALLS] = {
	[REC_NR_OTHER] = { NULL, REC_CLASS_OTHER, "", 'd', "" },
#define CALL_DESC(name, class, args, result, out) \
	[REC_NR_##name] = { #name, REC_CLASS_##class, args, result, out },
	REC_CALLS(CALL_DESC)
#undef CALL_DESC
};

static const char *const errno_names[] = {
	[1] = "EPERM", [2] = "ENOENT", [3] = "ESRCH", [4] = "EINTR", [5] = "EIO",
	[6] = "ENXIO", [7] = "E2BIG", [8] = "ENOEXEC", [9] = "EBADF", [10] = "ECHILD",
	[11] = "EAGAIN", [12] = "ENOMEM", [13] = "EACCES", [14] = "EFAULT", [15] = "ENOTBLK",
	[16] = "EBUSY", [17] = "EEXIST", [18] = "EXDEV", [19] = "ENODEV", [20] = "ENOTDIR",
	[21] = "EISDIR", [22] = "EINVAL", [23] = "ENFILE", [24] = "EMFILE", [25] = "ENOTTY",
	[26] = "ETXTBSY", [27] = "EFBIG", [28] = "ENOSPC", [29] = "ESPIPE", [30] = "EROFS",
	[31] = "EMLINK", [32] = "EPIPE", [33] = "EDOM", [34] = "ERANGE", [35] = "EDEADLK",
	[36] = "ENAMETOOLONG", [37] = "ENOLCK", [38] = "ENOSYS", [39] = "ENOTEMPTY",
	[40] = "ELOOP", [42] = "ENOMSG", [43] = "EIDRM", [44] = "ECHRNG", [45] = "EL2NSYNC",
	[46] = "EL3HLT", [47] = "EL3RST", [48] = "ELNRNG", [49] = "EUNATCH", [50] = "ENOCSI",
	[51] = "EL2HLT", [52] = "EBADE", [53] = "EBADR", [54] = "EXFULL", [55] = "ENOANO",
	[56] = "EBADRQC", [57] = "EBADSLT", [59] = "EBFONT", [60] = "ENOSTR",
	[61] = "ENODATA", [62] = "ETIME", [63] = "ENOSR", [64] = "ENONET", [65] = "ENOPKG",
	[66] = "EREMOTE", [67] = "ENOLINK", [68] = "EADV", [69] = "ESRMNT", [70] = "ECOMM",
	[71] = "EPROTO", [72] = "EMULTIHOP", [73] = "EDOTDOT", [74] = "EBADMSG",
	[75] = "EOVERFLOW", [76] = "ENOTUNIQ", [77] = "EBADFD", [78] = "EREMCHG",
	[79] = "ELIBACC", [80] = "ELIBBAD", [81] = "ELIBSCN", [82] = "ELIBMAX",
	[83] = "ELIBEXEC", [84] = "EILSEQ", [85] = "ERESTART", [86] = "ESTRPIPE",
	[87] = "EUSERS", [88] = "ENOTSOCK", [89] = "EDESTADDRREQ", [90] = "EMSGSIZE",
	[91] = "EPROTOTYPE", [92] = "ENOPROTOOPT", [93] = "EPROTONOSUPPORT",
	[94] = "ESOCKTNOSUPPORT", [95] = "EOPNOTSUPP", [96] = "EPFNOSUPPORT",
	[97] = "EAFNOSUPPORT", [98] = "EADDRINUSE", [99] = "EADDRNOTAVAIL",
	[100] = "ENETDOWN", [101] = "ENETUNREACH", [102] = "ENETRESET",
	[103] = "ECONNABORTED", [104] = "ECONNRESET", [105] = "ENOBUFS", [106] = "EISCONN",
	[107] = "ENOTCONN", [108] = "ESHUTDOWN", [109] = "ETOOMANYREFS", [110] = "ETIMEDOUT",
	[111] = "ECONNREFUSED", [112] = "EHOSTDOWN", [113] = "EHOSTUNREACH",
	[114] = "EALREADY", [115] = "EINPROGRESS", [116] = "ESTALE", [117] = "EUCLEAN",
	[118] = "ENOTNAM", [119] = "ENAVAIL", [120] = "EISNAM", [121] = "EREMOTEIO",
	[122] = "EDQUOT", [123] = "ENOMEDIUM", [124] = "EMEDIUMTYPE", [125] = "ECANCELED",
	[126] = "ENOKEY", [127] = "EKEYEXPIRED", [128] = "EKEYREVOKED",
	[129] = "EKEYREJECTED", [130] = "EOWNERDEAD", [131] = "ENOTRECOVERABLE",
	[132] = "ERFKILL", [133] = "EHWPOISON", [512] = "ERESTARTSYS",
	[513] = "ERESTARTNOINTR", [514] = "ERESTARTNOHAND", [515] = "ENOIOCTLCMD",
	[516] = "ERESTART_RESTARTBLOCK", [517] = "EPROBE_DEFER", [524] = "ENOTSUPP",
};

static const char *const signal_names[] = {
	[1] = "SIGHUP", [2] = "SIGINT", [3] = "SIGQUIT", [4] = "SIGILL", [5] = "SIGTRAP",
	[6] = "SIGABRT", [7] = "SIGBUS", [8] = "SIGFPE", [9] = "SIGKILL", [10] = "SIGUSR1",
	[11] = "SIGSEGV", [12] = "SIGUSR2", [13] = "SIGPIPE", [14] = "SIGALRM",
	[15] = "SIGTERM", [16] = "SIGSTKFLT", [17] = "SIGCHLD", [18] = "SIGCONT",
	[19] = "SIGSTOP", [20] = "SIGTSTP", [21] = "SIGTTIN", [22] = "SIGTTOU",
	[23] = "SIGURG", [24] = "SIGXCPU", [25] = "SIGXFSZ", [26] = "SIGVTALRM",
	[27] = "SIGPROF", [28] = "SIGWINCH", [29] = "SIGIO", [30] = "SIGPWR", [31] = "SIGSYS",
};

static const char *const limit_names[REC_NR_LIMITS] = {
	"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as",
	"locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime",
};

static const char *const file_kind_names[REC_NR_FILE_KINDS] = {
	[REC_FILE_UNKNOWN] = "unknown", [REC_FILE_REGULAR] = "regular",
	[REC_FILE_DIRECTORY] = "directory", [REC_FILE_CHARDEV] = "chardev",
	[REC_FILE_BLOCKDEV] = "blockdev", [REC_FILE_FIFO] = "fifo", [REC_FILE_SOCKET] = "socket",
	[REC_FILE_MEMFD] = "memfd", [REC_FILE_ZERO] = "zero", [REC_FILE_ANON] = "anon",
	[REC_FILE_PROC] = "proc",
};

#define NR_NAMES(table) (sizeof(table) / sizeof((table)[0]))

const struct rec_call_desc *rec_call_desc(enum rec_call_nr nr)
{
	return &call_descs[(unsigned int)nr < REC_NR_CALLS ? nr : REC_NR_OTHER];
}

/* The first letter decides nearly always, so a pass over the table is short. */
enum rec_call_nr rec_call_by_name(const char *name, size_t length)
{
	if (!length)
		return REC_NR_OTHER;
	for (unsigned int nr = 1; nr < REC_NR_CALLS; nr++) {
		const char *known = call_descs[nr].name;

		if (known[0] == name[0] && strncmp(known, name, length) == 0 && !known[length])
			return (enum rec_call_nr)nr;
	}
	return REC_NR_OTHER;
}

static int name_index(const char *const *names, size_t nr_names, const char *name, size_t length)
{
	for (size_t i = 0; i < nr_names; i++)
		if (names[i] && strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
			return (int)i;
	return -1;
}

const char *rec_limit_name(unsigned int resource)
{
	return resource < REC_NR_LIMITS ? limit_names[resource] : NULL;
}

const char *rec_file_kind_name(enum rec_file_kind kind)
{
	return file_kind_names[(unsigned int)kind < REC_NR_FILE_KINDS ? kind : REC_FILE_UNKNOWN];
}

const char *rec_errno_name(int err)
{
	return err > 0 && (size_t)err < NR_NAMES(errno_names) ? errno_names[err] : NULL;
}

int rec_errno_by_name(const char *name, size_t length)
{
	int err = name_index(errno_names, NR_NAMES(errno_names), name, length);

	return err > 0 ? err : 0;
}

const char *rec_signal_name(int sig)
{
	return sig > 0 && (size_t)sig < NR_NAMES(signal_names) ? signal_names[sig] : NULL;
}

/* SIGRT_n and SIGRTMIN stand for real-time signals, of which the kernel's first is 32. */
int rec_signal_by_name(const char *name, size_t length)
{
	int sig = name_index(signal_names, NR_NAMES(signal_names), name, length);

	if (sig < 0 && length > 6 && length < 12 && memcmp(name, "SIGRT_", 6) == 0)
		sig = 32 + atoi(name + 6);
	else if (sig < 0 && length == 8 && memcmp(name, "SIGRTMIN", 8) == 0)
		sig = 32;
	return sig > 0 && sig <= 64 ? sig : 0;
}
