/* SPDX-License-Identifier: Apache-2.0 */
#include "bootdisk/entry.h"

#include <errno.h>
#include <string.h>

int entry_add_word(struct boot_entry *e, const char *word, struct err *err)
{
	size_t have = strlen(e->cmdline), len = strlen(word);

	if (!len)
		return 0;
	if (len > ENTRY_CMDLINE_MAX - have - (have < ENTRY_CMDLINE_MAX))
		return err_set(err, -E2BIG, "the command line of its boot entry is longer than %d bytes",
			       ENTRY_CMDLINE_MAX);
	if (have)
		e->cmdline[have++] = ' ';
	memcpy(e->cmdline + have, word, len + 1);
	return 0;
}

int entry_set_path(char *dst, const char *path, struct err *err)
{
	const char *end = *path == '(' ? strchr(path, ')') : NULL;

	if (end)
		path = end + 1;
	if (strlen(path) >= ENTRY_PATH_MAX)
		return err_set(err, -E2BIG, "a path in its boot entry is longer than %d bytes", ENTRY_PATH_MAX - 1);
	strcpy(dst, path);
	return 0;
}

int entry_add_console(struct boot_entry *e, struct err *err)
{
	const char *p = e->cmdline;

	for (; (p = strstr(p, "console=hvc")); p++)
		if (p == e->cmdline || p[-1] == ' ')
			return 0;
	return entry_add_word(e, "console=hvc0", err);
}
