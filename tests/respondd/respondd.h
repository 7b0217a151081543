/* What a provider and respondd agree on; stands in for respondd's own header. */

struct json_object;

struct respondd_provider_info {
	const char *request;
	struct json_object *(*provider)(void);
};

extern const struct respondd_provider_info respondd_providers[];
