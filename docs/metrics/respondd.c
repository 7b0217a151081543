/* A provider for Gluon's respondd: statistics.gluon_wan, from what
 * `gluon-wan status --json` says.
 *
 *   cc -Os -shared -fPIC -I<respondd's headers> -o gluon-wan.so respondd.c -ljson-c
 *
 * Goes to /usr/lib/respondd/gluon-wan.so.
 */

#include <respondd.h>

#include <stdio.h>

#include <json-c/json.h>

/* More than this is not its output. */
#define MAX_OUTPUT (64 * 1024)

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

/* For each element of an array, its member NAME; NULL where there is no array. */
static struct json_object *each(struct json_object *from, const char *array, const char *name) {
	struct json_object *elements, *member, *found;
	if (!json_object_object_get_ex(from, array, &elements) ||
	    !json_object_is_type(elements, json_type_array))
		return NULL;
	found = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(elements); i++) {
		struct json_object *element = json_object_array_get_idx(elements, i);
		if (json_object_object_get_ex(element, name, &member))
			json_object_array_add(found, json_object_get(member));
	}
	return found;
}

/* No addresses: everybody in the mesh can read the answer, and they are those
 * of somebody's home. */
static struct json_object *statistics(void) {
	struct json_object *all = status(), *healthy, *resolver;
	if (!all)
		return NULL;
	struct json_object *ours = json_object_new_object();
	if (json_object_object_get_ex(all, "healthy", &healthy))
		json_object_object_add(ours, "healthy", json_object_get(healthy));
	json_object_object_add(ours, "problems", each(all, "problems", "part"));
	if (json_object_object_get_ex(all, "resolver", &resolver))
		json_object_object_add(ours, "servers", each(resolver, "servers", "state"));
	json_object_put(all);

	struct json_object *ret = json_object_new_object();
	json_object_object_add(ret, "gluon_wan", ours);
	return ret;
}

const struct respondd_provider_info respondd_providers[] = {
	{"statistics", statistics},
	{}
};
