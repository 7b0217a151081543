/* ask PROVIDER.so REQUEST: loads a provider as respondd does, and prints its answer. */

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "respondd.h"

int main(int argc, char **argv) {
	void *library = argc == 3 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	const struct respondd_provider_info *info = library ? dlsym(library, "respondd_providers") : NULL;
	if (!info) {
		fprintf(stderr, "ask: %s\n", argc == 3 ? dlerror() : "PROVIDER.so REQUEST");
		return 2;
	}
	for (; info->request; info++) {
		if (strcmp(info->request, argv[2]))
			continue;
		struct json_object *answer = info->provider();
		puts(answer ? json_object_to_json_string(answer) : "nothing");
		json_object_put(answer);
	}
	return 0;
}
