/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared folders of a machine that wakes. A folder is the host's and goes on while machines sleep: nothing of it is in
 * an image, and nothing of it is turned back.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "sleep/internal.h"

static int replace_one(struct guest_shares *all, struct guest_share *by, struct err *err)
{
	for (size_t i = 0; i < all->n; i++) {
		if (strcmp(all->share[i].tag, by->tag))
			continue;
		free(all->share[i].path);
		all->share[i].path = take_ptr(by->path);
		all->share[i].readonly |= by->readonly;
		return 0;
	}
	return err_set(err, -EINVAL, "the machine has no share %s", by->tag);
}

/* All that are missing, in one sentence. */
static int check_there(const struct guest_shares *all, struct err *err)
{
	struct err lacks = { 0 };
	struct stat st;

	for (size_t i = 0; i < all->n; i++) {
		const struct guest_share *s = &all->share[i];
		struct err before = lacks;

		if (stat(s->path, &st) == 0 && S_ISDIR(st.st_mode))
			continue;
		err_set(&lacks, -ENOENT, "%s%sshare %s: folder %s is not there", before.code ? before.msg : "",
			before.code ? "; " : "", s->tag, s->path);
	}
	return lacks.code ? err_set(err, lacks.code, "%s; --share FOLDER:TAG names another one", lacks.msg) : 0;
}

int sleep_shares_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	int r = 0;

	(void)run;
	for (size_t i = 0; r == 0 && i < op->other_shares.n; i++)
		r = replace_one(&op->config.shares, &op->other_shares.share[i], err);
	return r ?: check_there(&op->config.shares, err);
}
