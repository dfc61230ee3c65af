/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents: the scanner first, then cJSON, then the keys of every object. The only file that sees cJSON.h. A
 * struct json_value is a cJSON node by another name.
 */
#include "core/json.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "core/json_scan.h"

struct json {
    cJSON *root; /* owned */
};

/* Keys of one object at a time, sorted to find equal ones; the array grows to the largest object. */
struct key_list {
    const char **keys; /* owned array of borrowed keys */
    size_t capacity;
};

static const cJSON *node_of(const struct json_value *value)
{
    return (const cJSON *)value;
}

static const struct json_value *value_of(const cJSON *node)
{
    return (const struct json_value *)node;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum llavamed_status check_object_keys(const char *path, const cJSON *object, struct key_list *list,
                                              struct llavamed_error *error)
{
    size_t n = 0;
    bool ascending = true; /* as writers of safetensors put them: nothing to sort, none twice */
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        if (n == list->capacity) {
            size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
            const char **keys = realloc(list->keys, capacity * sizeof *keys);
            if (keys == NULL) {
                return llavamed_fail_memory(error, capacity * sizeof *keys, "the keys of a JSON object");
            }
            list->keys = keys;
            list->capacity = capacity;
        }
        ascending = ascending && (n == 0 || strcmp(list->keys[n - 1], member->string) < 0);
        list->keys[n++] = member->string;
    }
    if (ascending) {
        return LLAVAMED_OK;
    }
    qsort(list->keys, n, sizeof list->keys[0], compare_keys);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(list->keys[i - 1], list->keys[i]) == 0) {
            return llavamed_fail(error, LLAVAMED_STATUS_JSON_DUPLICATE_KEY, "%s: key '%s' is there twice in one object",
                                 path, list->keys[i]);
        }
    }
    return LLAVAMED_OK;
}

/* Walks the tree, whose depth the scanner has bounded. */
static enum llavamed_status check_all_keys(const char *path, const cJSON *root, struct llavamed_error *error)
{
    const cJSON *parents[JSON_DEPTH_MAX];
    size_t depth = 0;
    struct key_list list = {0};
    enum llavamed_status status = LLAVAMED_OK;
    const cJSON *node = root;
    while (node != NULL && status == LLAVAMED_OK) {
        if (cJSON_IsObject(node)) {
            status = check_object_keys(path, node, &list, error);
        }
        if (node->child != NULL) {
            parents[depth++] = node;
            node = node->child;
            continue;
        }
        while (node != root && node->next == NULL) {
            node = parents[--depth];
        }
        node = node == root ? NULL : node->next;
    }
    free(list.keys);
    return status;
}

enum llavamed_status json_parse(const char *path, const char *text, size_t n_bytes, bool integers_only,
                                struct json **out, struct llavamed_error *error)
{
    enum llavamed_status status = json_scan(path, text, n_bytes, integers_only, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    struct json *json = calloc(1, sizeof *json);
    if (json == NULL) {
        return llavamed_fail_memory(error, sizeof *json, "a JSON document");
    }
    json->root = cJSON_ParseWithLengthOpts(text, n_bytes, NULL, false);
    if (json->root == NULL) {
        /* The scanner lets nothing through that cJSON would not take, so what failed was an allocation. */
        status = llavamed_fail_memory(error, n_bytes, "a JSON document");
        goto out;
    }
    status = check_all_keys(path, json->root, error);
    if (status == LLAVAMED_OK) {
        *out = json;
        json = NULL;
    }
out:
    json_free(json);
    return status;
}

void json_free(struct json *json)
{
    if (json != NULL) {
        cJSON_Delete(json->root);
        free(json);
    }
}

const struct json_value *json_root(const struct json *json)
{
    return value_of(json->root);
}

enum json_kind json_kind_of(const struct json_value *value)
{
    switch (node_of(value)->type & 0xff) {
    case cJSON_False:
    case cJSON_True:
        return JSON_BOOL;
    case cJSON_Number:
        return JSON_NUMBER;
    case cJSON_String:
        return JSON_STRING;
    case cJSON_Array:
        return JSON_ARRAY;
    case cJSON_Object:
        return JSON_OBJECT;
    default:
        return JSON_NULL;
    }
}

const char *json_key(const struct json_value *value)
{
    return node_of(value)->string;
}

const struct json_value *json_first(const struct json_value *value)
{
    return value_of(node_of(value)->child);
}

const struct json_value *json_next(const struct json_value *value)
{
    return value_of(node_of(value)->next);
}

const struct json_value *json_member(const struct json_value *object, const char *key)
{
    if (json_kind_of(object) != JSON_OBJECT) {
        return NULL;
    }
    const struct json_value *member = json_first(object);
    while (member != NULL && strcmp(json_key(member), key) != 0) {
        member = json_next(member);
    }
    return member;
}

const char *json_string(const struct json_value *value)
{
    return json_kind_of(value) == JSON_STRING ? node_of(value)->valuestring : NULL;
}

bool json_integer(const struct json_value *value, uint64_t *out)
{
    double number = node_of(value)->valuedouble;
    if (json_kind_of(value) != JSON_NUMBER || !(number >= 0 && number <= (double)JSON_INTEGER_MAX) ||
        (double)(uint64_t)number != number) {
        return false;
    }
    *out = (uint64_t)number;
    return true;
}

bool json_number(const struct json_value *value, double *out)
{
    if (json_kind_of(value) != JSON_NUMBER) {
        return false;
    }
    *out = node_of(value)->valuedouble;
    return true;
}

bool json_is_true(const struct json_value *value)
{
    return cJSON_IsTrue(node_of(value));
}

const char *json_library_version(void)
{
    return cJSON_Version();
}
