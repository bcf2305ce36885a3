/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grub.cfg is a script in a small shell. We read it as a list of statements in nested blocks, and look at few of
 * them: set, menuentry, submenu, linux, initrd.
 */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "bootdisk/entry.h"

#define WORDS_MAX     256 /* of a statement; what is beyond is not looked at */
#define STATEMENT_MAX 8192
#define NAME_MAX_     64
#define VALUE_MAX     1024
#define VARS_MAX      128
#define ITEMS_MAX     512
#define DEPTH_MAX     32

struct var {
	char name[NAME_MAX_], value[VALUE_MAX];
};

/* A menuentry or a submenu. */
struct item {
	int parent; /* -1: the menu itself */
	bool submenu;
	char title[VALUE_MAX], id[VALUE_MAX];
	struct boot_entry entry;
};

struct word {
	const char *text;
	bool quoted;
};

enum end { END_LINE, END_OPEN, END_CLOSE, END_TEXT };

struct grub {
	const char *p, *end; /* what is left of the text */
	struct var *var;
	size_t vars;
	struct item *item;
	size_t items;
	int block[DEPTH_MAX]; /* the item that each open block belongs to, or -1 */
	size_t depth, too_deep;

	/* the statement */
	char buf[STATEMENT_MAX];
	size_t used;
	struct word word[WORDS_MAX];
	size_t words;
};

static void grub_free(struct grub *g)
{
	if (!g)
		return;
	free(g->var);
	free(g->item);
	free(g);
}
DEFINE_CLEANUP(struct grub *, grub_free)

/* ---- variables ---- */

static const char *get_var(const struct grub *g, const char *name)
{
	for (size_t i = 0; i < g->vars; i++)
		if (!strcmp(g->var[i].name, name))
			return g->var[i].value;
	return "";
}

static void set_var(struct grub *g, const char *name, const char *value)
{
	size_t i = 0;

	if (strlen(name) >= NAME_MAX_ || strlen(value) >= VALUE_MAX || !strcmp(name, "menuentry_id_option"))
		return;
	while (i < g->vars && strcmp(g->var[i].name, name))
		i++;
	/* A branch that was not taken: `set default="${next_entry}"` */
	if (!*value && !strcmp(name, "default"))
		return;
	if (i == VARS_MAX)
		return;
	strcpy(g->var[i].name, name);
	strcpy(g->var[i].value, value);
	if (i == g->vars)
		g->vars++;
}

/* ---- words ---- */

static bool more(const struct grub *g)
{
	return g->p < g->end;
}

/* Room for a NUL is always left; what does not fit is dropped, and the statement is too long to mean something. */
static void put(struct grub *g, char c)
{
	if (g->used < STATEMENT_MAX - 1)
		g->buf[g->used++] = isprint((unsigned char)c) ? c : ' ';
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Behind a '$'. */
static void expand(struct grub *g)
{
	char name[NAME_MAX_];
	bool brace = more(g) && *g->p == '{';
	size_t n = 0;

	g->p += brace;
	for (; more(g) && is_name(*g->p); g->p++)
		if (n < sizeof(name) - 1)
			name[n++] = *g->p;
	name[n] = 0;
	while (brace && more(g) && *g->p != '}' && *g->p != '\n')
		g->p++;
	if (brace && more(g) && *g->p == '}')
		g->p++;
	for (const char *v = get_var(g, name); *v; v++)
		put(g, *v);
}

static void quoted(struct grub *g, char quote)
{
	while (more(g) && *g->p != quote) {
		char c = *g->p++;

		if (quote == '"' && c == '$') {
			expand(g);
			continue;
		}
		if (quote == '"' && c == '\\' && more(g))
			c = *g->p++;
		put(g, c);
	}
	if (more(g))
		g->p++;
}

static bool ends_word(char c)
{
	return isspace((unsigned char)c) || strchr(";|&", c);
}

/* One word, if it is more than an empty variable. */
static void read_word(struct grub *g)
{
	struct word w = { .text = g->buf + g->used };
	size_t start = g->used;

	while (more(g) && !ends_word(*g->p)) {
		char c = *g->p++;

		if (c == '\'' || c == '"') {
			w.quoted = true;
			quoted(g, c);
		} else if (c == '$') {
			expand(g);
		} else if (c == '\\' && more(g)) {
			if (*g->p != '\n')
				put(g, *g->p);
			g->p++;
		} else {
			put(g, c);
		}
	}
	if (g->used == start && !w.quoted)
		return;
	g->buf[g->used] = 0;
	if (g->used < STATEMENT_MAX - 1)
		g->used++;
	if (g->words < WORDS_MAX)
		g->word[g->words++] = w;
}

static bool stands_alone(const struct grub *g)
{
	return g->p + 1 == g->end || ends_word(g->p[1]);
}

/* The next statement, and what is behind it. */
static enum end read_statement(struct grub *g)
{
	g->used = g->words = 0;
	while (more(g)) {
		char c = *g->p;

		if (c == '#') {
			while (more(g) && *g->p != '\n')
				g->p++;
		} else if (c == '\n' || strchr(";|&", c)) {
			g->p++;
			return END_LINE;
		} else if (isspace((unsigned char)c)) {
			g->p++;
		} else if (c == '{' && stands_alone(g)) {
			g->p++;
			return END_OPEN;
		} else if (c == '}') {
			g->p++;
			return END_CLOSE;
		} else {
			read_word(g);
		}
	}
	return END_TEXT;
}

/* ---- statements ---- */

/* `menuentry TITLE --class x --id ID`; Debian writes $menuentry_id_option for --id. */
static void fill_item(struct grub *g, struct item *it)
{
	for (size_t i = 1; i < g->words; i++) {
		const char *s = g->word[i].text;

		if (strlen(s) >= VALUE_MAX)
			continue;
		if (i == 1)
			strcpy(it->title, s);
		else if (!strcmp(g->word[i - 1].text, "--id"))
			strcpy(it->id, s);
	}
}

/* The innermost menu entry or submenu that is open, or -1. */
static int current(const struct grub *g)
{
	return g->depth ? g->block[g->depth - 1] : -1;
}

static void open_block(struct grub *g)
{
	const char *what = g->words ? g->word[0].text : "";
	bool submenu = !strcmp(what, "submenu");
	int item = current(g);

	if ((submenu || !strcmp(what, "menuentry")) && g->items < ITEMS_MAX) {
		struct item *more = realloc(g->item, (g->items + 1) * sizeof(*more));

		if (more) {
			g->item = more;
			more[g->items] = (struct item){ .parent = item, .submenu = submenu };
			fill_item(g, &more[g->items]);
			item = (int)g->items++;
		}
	}
	if (g->depth < DEPTH_MAX)
		g->block[g->depth++] = item;
	else
		g->too_deep++;
}

static void close_block(struct grub *g)
{
	if (g->too_deep)
		g->too_deep--;
	else if (g->depth)
		g->depth--;
}

static int set_kernel(struct grub *g, struct boot_entry *e, struct err *err)
{
	int r = entry_set_path(e->kernel, g->word[1].text, err);

	*e->cmdline = 0;
	for (size_t i = 2; r == 0 && i < g->words; i++) {
		const char *s = g->word[i].text;
		bool quote = g->word[i].quoted && strchr(s, ' ');

		/* Linux knows quotes around a whole word. */
		if (quote && strlen(s) < VALUE_MAX) {
			char text[VALUE_MAX + 2] = "\"";

			strcat(strcat(text, s), "\"");
			r = entry_add_word(e, text, err);
		} else {
			r = entry_add_word(e, s, err);
		}
	}
	return r;
}

static int set_initrd(struct grub *g, struct boot_entry *e, struct err *err)
{
	int r = 0;

	e->initrds = 0;
	for (size_t i = 1; r == 0 && i < g->words; i++) {
		if (e->initrds == ENTRY_INITRDS_MAX)
			return err_set(err, -E2BIG, "its boot entry has more than %d initrds", ENTRY_INITRDS_MAX);
		r = entry_set_path(e->initrd[e->initrds++], g->word[i].text, err);
	}
	return r;
}

static void assign(struct grub *g, const char *text)
{
	const char *equals = strchr(text, '=');
	char name[NAME_MAX_];
	size_t n = equals ? (size_t)(equals - text) : 0;

	if (!n || n >= sizeof(name))
		return;
	for (size_t i = 0; i < n; i++)
		if (!is_name(text[i]))
			return;
	memcpy(name, text, n);
	name[n] = 0;
	set_var(g, name, equals + 1);
}

static bool is_one_of(const char *s, const char *base)
{
	size_t n = strlen(base);

	return !strncmp(s, base, n) && (!s[n] || !strcmp(s + n, "16") || !strcmp(s + n, "efi"));
}

static int do_statement(struct grub *g, struct err *err)
{
	int i = current(g);
	size_t first = 0;
	const char *what;

	/* What follows `then` and `else` is a statement as well. */
	while (first < g->words && (!strcmp(g->word[first].text, "then") || !strcmp(g->word[first].text, "else")))
		first++;
	memmove(g->word, g->word + first, (g->words - first) * sizeof(*g->word));
	g->words -= first;
	if (!g->words)
		return 0;
	what = g->word[0].text;
	if (g->words > 1 && !strcmp(what, "set"))
		assign(g, g->word[1].text);
	else if (g->words == 1)
		assign(g, what);
	else if (i >= 0 && !g->item[i].submenu && is_one_of(what, "linux"))
		return set_kernel(g, &g->item[i].entry, err);
	else if (i >= 0 && !g->item[i].submenu && is_one_of(what, "initrd"))
		return set_initrd(g, &g->item[i].entry, err);
	return 0;
}

/* ---- which one ---- */

/* The child of @parent that is the @name'th (from 0) or has that title or id; -1. */
static int find_child(const struct grub *g, int parent, const char *name)
{
	char *end;
	unsigned long want = strtoul(name, &end, 10), n = 0;
	bool number = isdigit((unsigned char)*name) && !*end;

	for (size_t i = 0; i < g->items; i++) {
		if (g->item[i].parent != parent)
			continue;
		if (number ? n++ == want : !strcmp(g->item[i].title, name) || !strcmp(g->item[i].id, name))
			return (int)i;
	}
	return -1;
}

/* The first that has a kernel, below @parent or (ANYWHERE) of all. */
#define ANYWHERE (-2)
static int first_below(const struct grub *g, int parent)
{
	for (size_t i = 0; i < g->items; i++)
		if (*g->item[i].entry.kernel && (parent == ANYWHERE || g->item[i].parent == parent))
			return (int)i;
	return -1;
}

/* "0", "1>2", "title", "id>id". */
static int find_default(const struct grub *g)
{
	char path[VALUE_MAX], *rest = path, *name;
	int at = -1;

	strcpy(path, get_var(g, "default"));
	while (*path && (name = strsep(&rest, ">"))) {
		at = find_child(g, at, name);
		if (at < 0)
			return -1;
	}
	if (at >= 0 && g->item[at].submenu)
		at = first_below(g, at);
	return at >= 0 && *g->item[at].entry.kernel ? at : -1;
}

static int choose(const struct grub *g)
{
	int at = find_default(g);

	if (at < 0)
		at = first_below(g, -1);
	return at < 0 ? first_below(g, ANYWHERE) : at;
}

static struct grub *new_grub(const char *text, size_t len)
{
	struct grub *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->p = text;
	g->end = text + len;
	g->var = calloc(VARS_MAX, sizeof(*g->var));
	if (g->var)
		g->var[g->vars++] = (struct var){ "menuentry_id_option", "--id" };
	return g;
}

int grubcfg_parse(const char *text, size_t len, struct boot_entry *ret, struct err *err)
{
	_cleanup_(grub_freep) struct grub *g = new_grub(text, len);
	enum end end;
	int r = g && g->var ? 0 : err_errno(err, -ENOMEM, "grub.cfg");

	do {
		if (r < 0)
			return r;
		end = read_statement(g);
		if (end == END_OPEN)
			open_block(g);
		else
			r = do_statement(g, err);
		if (end == END_CLOSE)
			close_block(g);
	} while (end != END_TEXT);
	if (r < 0)
		return r;
	r = choose(g);
	if (r < 0)
		return err_set(err, -ENOENT, "no entry of grub.cfg has a kernel");
	*ret = g->item[r].entry;
	return 0;
}
