/* SPDX-License-Identifier: Apache-2.0 */
#include "share/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/util.h"

#define BUCKETS	   (1u << 16)
#define NODES_MAX  500000  /* then all is forgotten, and seen again */
#define DEPTH_MAX  256	   /* of folders within each other */
#define SEARCH_MAX 2000000 /* names that one search looks at */
#define STATX_MASK (STATX_BASIC_STATS | STATX_BTIME)
#define LIST_BYTES 32768

struct node {
	struct node *next, *parent; /* parent NULL: the folder itself */
	struct file_id id;
	char *name;
};

struct tree {
	int root_fd;
	struct node **bucket;
	size_t nodes;
};

/* ---- opening ---- */

int tree_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
	struct open_how how = { .flags = (uint64_t)(unsigned int)flags | O_CLOEXEC,
				.mode = mode,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
					   RESOLVE_NO_XDEV };
	long fd = -1;

	/* -EAGAIN: something was moved meanwhile, and the kernel does not know whether that led out. */
	for (int i = 0; i < 32; i++) {
		fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

int file_stat_fd(int fd, struct file *ret)
{
	if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_MASK, &ret->st) < 0)
		return -errno;
	ret->id.ino = ret->st.stx_ino;
	ret->id.born_ns = 0;
	if (ret->st.stx_mask & STATX_BTIME)
		ret->id.born_ns = (uint64_t)ret->st.stx_btime.tv_sec * NSEC_PER_SEC + ret->st.stx_btime.tv_nsec;
	return 0;
}

int file_stat(struct file *f)
{
	struct file_id id = f->id;
	int r = file_stat_fd(f->fd, f);

	f->id = id; /* the folder itself is 0 */
	return r;
}

static bool same_id(const struct file_id *a, const struct file_id *b)
{
	return a->ino == b->ino && a->born_ns == b->born_ns;
}

bool tree_name_is_good(const uint8_t *name, size_t len)
{
	if (!len || len > TREE_NAME_MAX || memchr(name, '/', len) || memchr(name, 0, len))
		return false;
	return !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

static int open_checked(int dir_fd, const char *path, struct file *ret)
{
	int r = tree_openat(dir_fd, path, O_PATH | O_NOFOLLOW, 0);

	if (r < 0)
		return r;
	ret->fd = r;
	r = file_stat_fd(ret->fd, ret);
	if (r < 0)
		file_fini(ret);
	return r;
}

/* ---- what was seen ---- */

static struct node **bucket_of(struct tree *t, const struct file_id *id)
{
	return &t->bucket[((id->ino ^ id->born_ns) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % BUCKETS];
}

static struct node *find(struct tree *t, const struct file_id *id)
{
	struct node *n = *bucket_of(t, id);

	while (n && !same_id(&n->id, id))
		n = n->next;
	return n;
}

static void forget_all(struct tree *t)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (t->bucket[i]) {
			struct node *n = t->bucket[i];

			t->bucket[i] = n->next;
			free(n->name);
			free(n);
		}
	t->nodes = 0;
}

static struct node *add(struct tree *t, const struct file_id *id)
{
	struct node *n = calloc(1, sizeof(*n)), **b = bucket_of(t, id);

	if (!n)
		return NULL;
	n->id = *id;
	n->next = *b;
	*b = n;
	t->nodes++;
	return n;
}

void tree_note(struct tree *t, const struct file_id *dir, const char *name, const struct file_id *id)
{
	struct node *parent, *n;
	char *copy;

	if (t->nodes >= NODES_MAX)
		forget_all(t);
	parent = dir->ino ? find(t, dir) : NULL;
	if (dir->ino && !parent)
		return; /* forgotten: it will be searched for */
	n = find(t, id);
	if (n && n->parent == parent && !strcmp(n->name, name))
		return;
	copy = strdup(name);
	n = copy ? n ?: add(t, id) : NULL;
	if (!n) {
		free(copy);
		return;
	}
	free(n->name);
	n->name = copy;
	n->parent = parent;
}

/* From the end of @buf to its front; NULL: too long, or in a circle by what was moved since. */
static const char *path_of(const struct node *n, char buf[PATH_MAX])
{
	char *p = buf + PATH_MAX - 1;

	*p = 0;
	for (int depth = 0; n; n = n->parent, depth++) {
		size_t len = strlen(n->name);

		if (depth == DEPTH_MAX || len + 1 > (size_t)(p - buf))
			return NULL;
		if (*p)
			*--p = '/';
		p -= len;
		memcpy(p, n->name, len);
	}
	return p;
}

static int open_where_seen(struct tree *t, const struct file_id *id, struct file *ret)
{
	struct node *n = find(t, id);
	char buf[PATH_MAX];
	const char *path = n ? path_of(n, buf) : NULL;
	int r = path ? open_checked(t->root_fd, path, ret) : -ESTALE;

	if (r == 0 && !same_id(&ret->id, id)) {
		file_fini(ret);
		r = -ESTALE;
	}
	return r;
}

/* ---- looking through the folder ---- */

struct search {
	struct tree *tree;
	const struct file_id *id;
	unsigned int left; /* names */
	bool found;
};

static void search_dir(struct search *s, int dir_fd, const struct file_id *dir, int depth);

static void look_at(struct search *s, int dir_fd, const struct file_id *dir, const struct dirent64 *e, int depth)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	_cleanup_close_ int fd = -1;
	bool folder = e->d_type == DT_DIR || e->d_type == DT_UNKNOWN;

	if (!tree_name_is_good((const uint8_t *)e->d_name, strlen(e->d_name)) || (!folder && e->d_ino != s->id->ino))
		return;
	if (open_checked(dir_fd, e->d_name, &f) < 0)
		return;
	s->found = same_id(&f.id, s->id);
	if (s->found || S_ISDIR(f.st.stx_mode))
		tree_note(s->tree, dir, e->d_name, &f.id);
	if (s->found || !S_ISDIR(f.st.stx_mode) || depth == DEPTH_MAX)
		return;
	fd = tree_openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		search_dir(s, fd, &f.id, depth + 1);
}

static void search_dir(struct search *s, int dir_fd, const struct file_id *dir, int depth)
{
	_cleanup_free_ char *list = malloc(LIST_BYTES);
	ssize_t n;

	while (list && !s->found && (n = getdents64(dir_fd, list, LIST_BYTES)) > 0)
		for (ssize_t at = 0; at < n && !s->found && s->left; s->left--) {
			const struct dirent64 *e = (const struct dirent64 *)(list + at);

			look_at(s, dir_fd, dir, e, depth);
			at += e->d_reclen;
		}
}

static bool search(struct tree *t, const struct file_id *id)
{
	struct search s = { .tree = t, .id = id, .left = SEARCH_MAX };
	_cleanup_close_ int fd = tree_openat(t->root_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	static const struct file_id root;

	if (fd >= 0)
		search_dir(&s, fd, &root, 0);
	return s.found;
}

/* ---- the tree ---- */

int tree_open(struct tree *t, const struct file_id *id, struct file *ret)
{
	int r;

	if (!id->ino) {
		r = open_checked(t->root_fd, ".", ret);
		ret->id = *id;
		return r;
	}
	r = open_where_seen(t, id, ret);
	if (r < 0 && r != -EMFILE && r != -ENFILE && r != -ENOMEM)
		r = search(t, id) ? open_where_seen(t, id, ret) : -ESTALE;
	return r;
}

int tree_lookup(struct tree *t, const struct file *dir, const char *name, struct file *ret)
{
	int r = open_checked(dir->fd, name, ret);

	if (r == 0)
		tree_note(t, &dir->id, name, &ret->id);
	return r;
}

int tree_new(int root_fd, struct tree **ret)
{
	_cleanup_(tree_freep) struct tree *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->root_fd = root_fd;
	t->bucket = calloc(BUCKETS, sizeof(struct node *));
	if (!t->bucket)
		return -ENOMEM;
	*ret = take_ptr(t);
	return 0;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	if (t->bucket)
		forget_all(t);
	free(t->bucket);
	free(t);
}
