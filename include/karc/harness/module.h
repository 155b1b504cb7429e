/* SPDX-License-Identifier: MIT */
/*
 * module.h - sources written as Linux modules, linked into a program
 *
 * module_init(), module_exit() and module_param() leave records in sections of the program or
 * shared object that they are compiled into. No global name is defined, so that any number of
 * modules link into one program; karc_module_load() finds one by its name, which is KBUILD_MODNAME
 * if that is defined, else the name of the source file.
 *
 * What a module keeps in variables of its own is shared by all machines that load it.
 */
#ifndef KARC_HARNESS_MODULE_H
#define KARC_HARNESS_MODULE_H

#include <karc/base/compiler.h>
#include <karc/base/contract.h>
#include <karc/base/types.h>

#ifndef KBUILD_MODNAME
#define KBUILD_MODNAME __FILE_NAME__
#endif

struct module;

/* As for a module that is built in. */
#define THIS_MODULE		((struct module *)0)

#define __init
#define __exit
#define __initdata
#define __initconst
#define __exitdata
#define __init_or_module
#define __ref
#define __refdata

/* Names need no export here: they are there, or the program does not link. */
#define EXPORT_SYMBOL(name)		struct module
#define EXPORT_SYMBOL_GPL(name)		struct module
#define EXPORT_SYMBOL_NS_GPL(name, ns)	struct module

#define MODULE_LICENSE(text)		struct module
#define MODULE_AUTHOR(text)		struct module
#define MODULE_DESCRIPTION(text)	struct module
#define MODULE_VERSION(text)		struct module
#define MODULE_ALIAS(text)		struct module
#define MODULE_SOFTDEP(text)		struct module
#define MODULE_INFO(tag, text)		struct module
#define MODULE_PARM_DESC(name, text)	struct module

/* One call of a module at load or unload. */
struct karc_module_call {
	const char *module;
	unsigned int level;		/* lower ones first */
	struct { int (*init)(void); };
	struct { void (*exit)(void); };
};

enum karc_param_kind {
	KARC_PARAM_BOOL, KARC_PARAM_BYTE, KARC_PARAM_SHORT, KARC_PARAM_USHORT, KARC_PARAM_INT,
	KARC_PARAM_UINT, KARC_PARAM_LONG, KARC_PARAM_ULONG, KARC_PARAM_CHARP,
};

struct karc_module_param {
	const char *module;
	const char *name;
	enum karc_param_kind kind;
	void *value;
};

#define karc_module_record_ __attribute__((used, aligned(8)))

#define karc_initcall(fn, nr)							\
	static const struct karc_module_call karc_initcall_##fn			\
	karc_module_record_ __section("karc_modcalls") = {			\
		.module = KBUILD_MODNAME, .level = (nr), .init = (fn),		\
	};

#define module_init(fn)			karc_initcall(fn, 6)
#define core_initcall(fn)		karc_initcall(fn, 1)
#define postcore_initcall(fn)		karc_initcall(fn, 2)
#define arch_initcall(fn)		karc_initcall(fn, 3)
#define subsys_initcall(fn)		karc_initcall(fn, 4)
#define fs_initcall(fn)			karc_initcall(fn, 5)
#define device_initcall(fn)		karc_initcall(fn, 6)
#define late_initcall(fn)		karc_initcall(fn, 7)

#define module_exit(fn)								\
	static const struct karc_module_call karc_exitcall_##fn			\
	karc_module_record_ __section("karc_modcalls") = {			\
		.module = KBUILD_MODNAME, .exit = (fn),				\
	};

#define karc_param_kind_of(x) _Generic((x), bool: KARC_PARAM_BOOL,		\
	unsigned char: KARC_PARAM_BYTE, short: KARC_PARAM_SHORT,		\
	unsigned short: KARC_PARAM_USHORT, int: KARC_PARAM_INT,			\
	unsigned int: KARC_PARAM_UINT, long: KARC_PARAM_LONG,			\
	unsigned long: KARC_PARAM_ULONG, char *: KARC_PARAM_CHARP)

#define module_param_named(text, variable, type, perm)				\
	static const struct karc_module_param karc_param_##text			\
	karc_module_record_ __section("karc_modparams") = {			\
		KBUILD_MODNAME, #text, karc_param_kind_of(variable), &(variable), \
	}
#define module_param(name, type, perm)	module_param_named(name, name, type, perm)

/* The records of one DSO: the sections' bounds, which the linker provides in each. */
struct karc_modules {
	const struct karc_module_call *calls, *calls_end;
	const struct karc_module_param *params, *params_end;
};

extern const struct karc_module_call __start_karc_modcalls[]
	__attribute__((weak, visibility("hidden")));
extern const struct karc_module_call __stop_karc_modcalls[]
	__attribute__((weak, visibility("hidden")));
extern const struct karc_module_param __start_karc_modparams[]
	__attribute__((weak, visibility("hidden")));
extern const struct karc_module_param __stop_karc_modparams[]
	__attribute__((weak, visibility("hidden")));

/* Those of the DSO that calls it. */
#define KARC_MODULES (&(const struct karc_modules){				\
	__start_karc_modcalls, __stop_karc_modcalls,				\
	__start_karc_modparams, __stop_karc_modparams })

/**
 * karc_module_load - set a module's parameters and run what its module_init() names
 * @modules: KARC_MODULES
 * @name:    of the module, '-' and '_' being the same
 * @params:  "name=value name=value ..."; NULL or "": none
 *
 * Context: of the module's init; a task of a machine, usually.
 * Errors:  what the init function returned; -ENOENT: no such module, or no such parameter; -EINVAL:
 *          a value that the parameter's type does not have (a charp has none here). The parameters
 *          before it are set.
 */
KARC_MUST_CHECK int karc_module_load(const struct karc_modules *modules, const char *name,
				     const char *params);

/* Run what module_exit() names. */
void karc_module_unload(const struct karc_modules *modules, const char *name);

/* Set one parameter; errors as above. A charp parameter borrows @value from then on. */
KARC_MUST_CHECK int karc_module_set_param(const struct karc_modules *modules, const char *name,
					  const char *param, const char *value);

#endif
