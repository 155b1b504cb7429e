/* SPDX-License-Identifier: MIT */
/*
 * module.c - load, unload and set up modules that are linked into the program
 *
 * What it is: a loader without loading. The linker puts the records of all modules of a DSO side
 *	by side; each carries its module's name, so finding a module is a walk over all records.
 * Worst case: a walk over all records for each parameter and each of the eight levels of
 *	initcalls.
 * Unlike Linux: a module may be loaded any number of times, and its variables keep what the time
 *	before left in them. A charp parameter borrows its text, so only karc_module_set_param()
 *	sets one.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/base/limits.h>
#include <karc/harness/module.h>

#define NR_LEVELS	8
#define WORD_MAX	128	/* bytes of "name=value" */

/* @record is a file's name or a module's. */
static bool same_module(const char *record, const char *name)
{
	size_t len = strlen(record);

	if (len > 2 && !strcmp(record + len - 2, ".c"))
		len -= 2;
	if (strlen(name) != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		char a = record[i] == '-' ? '_' : record[i], b = name[i] == '-' ? '_' : name[i];

		if (a != b)
			return false;
	}
	return true;
}

static bool module_known(const struct karc_modules *modules, const char *name)
{
	const struct karc_module_call *call;

	for (call = modules->calls; call < modules->calls_end; call++)
		if (same_module(call->module, name))
			return true;
	return false;
}

static int set_bool(const char *value, bool *result)
{
	if (!*value || strchr("yY1", *value) || !strcmp(value, "on"))
		*result = true;
	else if (strchr("nN0", *value) || !strcmp(value, "off"))
		*result = false;
	else
		return -EINVAL;
	return 0;
}

static int set_number(const char *value, long min, unsigned long max, unsigned long *result)
{
	char *end;

	if (!isdigit((unsigned char)*value) && *value != '-')
		return -EINVAL;
	errno = 0;
	if (*value == '-') {
		long number = strtol(value, &end, 0);

		if (errno || *end || number < min)
			return -EINVAL;
		*result = (unsigned long)number;
		return 0;
	}
	*result = strtoul(value, &end, 0);
	return errno || *end || *result > max ? -EINVAL : 0;
}

static int set_integer(const struct karc_module_param *param, const char *value)
{
	static const struct { long min; unsigned long max; } range[] = {
		[KARC_PARAM_BYTE] = { 0, U8_MAX },
		[KARC_PARAM_SHORT] = { S16_MIN, S16_MAX },
		[KARC_PARAM_USHORT] = { 0, U16_MAX },
		[KARC_PARAM_INT] = { S32_MIN, S32_MAX },
		[KARC_PARAM_UINT] = { 0, U32_MAX },
		[KARC_PARAM_LONG] = { LONG_MIN, LONG_MAX },
		[KARC_PARAM_ULONG] = { 0, ULONG_MAX },
	};
	unsigned long number;
	int err = set_number(value, range[param->kind].min, range[param->kind].max, &number);

	if (err)
		return err;
	switch (param->kind) {
	case KARC_PARAM_BYTE:
		*(u8 *)param->value = (u8)number;
		break;
	case KARC_PARAM_SHORT:
	case KARC_PARAM_USHORT:
		*(u16 *)param->value = (u16)number;
		break;
	case KARC_PARAM_INT:
	case KARC_PARAM_UINT:
		*(u32 *)param->value = (u32)number;
		break;
	default:
		*(unsigned long *)param->value = number;
	}
	return 0;
}

static int set_param(const struct karc_module_param *param, const char *value)
{
	if (param->kind == KARC_PARAM_BOOL)
		return set_bool(value, param->value);
	if (param->kind != KARC_PARAM_CHARP)
		return set_integer(param, value);
	*(const char **)param->value = value;
	return 0;
}

int karc_module_set_param(const struct karc_modules *modules, const char *name, const char *param,
			  const char *value)
{
	const struct karc_module_param *p;

	for (p = modules->params; p < modules->params_end; p++)
		if (same_module(p->module, name) && !strcmp(p->name, param))
			return set_param(p, value);
	return -ENOENT;
}

static bool param_is_charp(const struct karc_modules *modules, const char *name,
			   const char *param)
{
	const struct karc_module_param *p;

	for (p = modules->params; p < modules->params_end; p++)
		if (same_module(p->module, name) && !strcmp(p->name, param))
			return p->kind == KARC_PARAM_CHARP;
	return false;
}

/* One word, "name=value" or a bool's name. */
static int set_word(const struct karc_modules *modules, const char *name, const char *word,
		    size_t len)
{
	char copy[WORD_MAX], *value;

	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, word, len);
	copy[len] = '\0';
	value = strchr(copy, '=');
	if (value)
		*value++ = '\0';
	/* A string would point into the copy. */
	if (param_is_charp(modules, name, copy))
		return -EINVAL;
	return karc_module_set_param(modules, name, copy, value ? value : "");
}

static int set_params(const struct karc_modules *modules, const char *name, const char *params)
{
	size_t len;
	int err = 0;

	for (; !err && *params; params += len) {
		params += strspn(params, " ");
		len = strcspn(params, " ");
		if (len)
			err = set_word(modules, name, params, len);
	}
	return err;
}

int karc_module_load(const struct karc_modules *modules, const char *name, const char *params)
{
	const struct karc_module_call *call;
	int err;

	if (!module_known(modules, name))
		return -ENOENT;
	err = set_params(modules, name, params ? params : "");
	for (unsigned int level = 0; level < NR_LEVELS && !err; level++)
		for (call = modules->calls; call < modules->calls_end && !err; call++)
			if (call->init && call->level == level && same_module(call->module, name))
				err = call->init();
	return err;
}

void karc_module_unload(const struct karc_modules *modules, const char *name)
{
	const struct karc_module_call *call;

	for (call = modules->calls; call < modules->calls_end; call++)
		if (call->exit && same_module(call->module, name))
			call->exit();
}
