/* SPDX-License-Identifier: MIT */
/*
 * kconfig.h - which of Linux's options this library stands for, and how sources ask
 *
 * An option that is on is defined as 1, all others are not defined: for #ifdef as for
 * IS_ENABLED(), which is an expression.
 */
#ifndef KARC_BASE_KCONFIG_H
#define KARC_BASE_KCONFIG_H

#define CONFIG_64BIT		1
#define CONFIG_HIGHMEM		1	/* the machine decides whether it has any */
#define CONFIG_MMU		1
#define CONFIG_MODULES		1
#define CONFIG_NUMA		1
#define CONFIG_PRINTK		1
#define CONFIG_SLAB		1
#define CONFIG_SMP		1
#define CONFIG_ZONE_DMA		1
#define CONFIG_ZONE_DMA32	1
#define CONFIG_HZ		100
#ifdef KARC_DEBUG
#define CONFIG_DEBUG_VM		1
#endif

/*
 * CONFIG_X expands to 1 or stays as it is. Only karc_config_arg_1 is a macro, and it brings an
 * argument of its own in front of the others: then the second one is the 1.
 */
#define karc_config_arg_1		, 1
#define karc_config_second(a, b, ...)	b
#define karc_config_pick(...)		karc_config_second(__VA_ARGS__)
#define karc_config_paste(value)	karc_config_pick(karc_config_arg_##value, 0, 0)
#define karc_config_is(value)		karc_config_paste(value)

#define IS_BUILTIN(option)	karc_config_is(option)
#define IS_MODULE(option)	karc_config_is(option##_MODULE)
#define IS_ENABLED(option)	(IS_BUILTIN(option) || IS_MODULE(option))
#define IS_REACHABLE(option)	IS_BUILTIN(option)

#endif
