/* A provider for Gluon's respondd: statistics.gluon_wan, a digest of what
 * `gluon-wan status --json` says. What it looks like: ../statistics.schema.json.
 *
 * No addresses: everybody in the mesh can read the answer, and they are those of
 * somebody's home.
 */

#include <respondd.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

/* More than this is not its output. */
#define MAX_OUTPUT (64 * 1024)

/* The same as gluon-wan's status --json, or NULL. */
static struct json_object *status(void) {
	static char output[MAX_OUTPUT];
	FILE *pipe = popen("exec gluon-wan status --json 2>/dev/null", "r");
	if (!pipe)
		return NULL;
	size_t length = fread(output, 1, sizeof(output) - 1, pipe);
	pclose(pipe); /* 1 only says that the node is not healthy */
	output[length] = 0;
	return json_tokener_parse(output);
}

/* The array NAME of an object, or NULL. */
static struct json_object *array(struct json_object *of, const char *name) {
	struct json_object *found;
	if (!json_object_object_get_ex(of, name, &found) || !json_object_is_type(found, json_type_array))
		return NULL;
	return found;
}

/* Whether the member NAME of an object is this text. */
static bool is(struct json_object *of, const char *name, const char *text) {
	struct json_object *found;
	return json_object_object_get_ex(of, name, &found) && json_object_is_type(found, json_type_string) &&
	       !strcmp(json_object_get_string(found), text);
}

/* Each part of gluon-wan that has a problem, once. */
static struct json_object *problems(struct json_object *all) {
	struct json_object *from = array(all, "problems"), *parts = json_object_new_array();
	for (size_t i = 0; from && i < json_object_array_length(from); i++) {
		struct json_object *part;
		if (!json_object_object_get_ex(json_object_array_get_idx(from, i), "part", &part))
			continue;
		bool known = false;
		for (size_t j = 0; j < json_object_array_length(parts); j++)
			known = known || json_object_equal(json_object_array_get_idx(parts, j), part);
		if (!known)
			json_object_array_add(parts, json_object_get(part));
	}
	return parts;
}

/* How many servers there are, how many of them work, and the usual time of the
 * fastest of these; NULL where the resolver does not say. */
static struct json_object *dns(struct json_object *all) {
	struct json_object *resolver, *from;
	if (!json_object_object_get_ex(all, "resolver", &resolver) || !(from = array(resolver, "servers")))
		return NULL;
	size_t up = 0, count = json_object_array_length(from);
	int64_t best_us = -1;
	for (size_t i = 0; i < count; i++) {
		struct json_object *server = json_object_array_get_idx(from, i), *usual;
		if (!is(server, "state", "up"))
			continue;
		up++;
		if (!json_object_object_get_ex(server, "usual_us", &usual) || !json_object_is_type(usual, json_type_int))
			continue;
		int64_t us = json_object_get_int64(usual);
		if (best_us < 0 || us < best_us)
			best_us = us;
	}
	struct json_object *ret = json_object_new_object();
	json_object_object_add(ret, "servers", json_object_new_int64(count));
	json_object_object_add(ret, "up", json_object_new_int64(up));
	json_object_object_add(ret, "ms", best_us < 0 ? NULL : json_object_new_int64((best_us + 500) / 1000));
	return ret;
}

static struct json_object *statistics(void) {
	struct json_object *all = status(), *healthy = NULL;
	if (!all)
		return NULL;
	json_object_object_get_ex(all, "healthy", &healthy);
	struct json_object *ours = json_object_new_object();
	json_object_object_add(ours, "healthy", json_object_get(healthy));
	json_object_object_add(ours, "problems", problems(all));
	json_object_object_add(ours, "dns", dns(all));
	json_object_put(all);

	struct json_object *ret = json_object_new_object();
	json_object_object_add(ret, "gluon_wan", ours);
	return ret;
}

const struct respondd_provider_info respondd_providers[] = {
	{"statistics", statistics},
	{NULL, NULL},
};
