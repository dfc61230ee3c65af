/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/sigstore_bundle.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "integrity/base64.h"

#define MEDIA_TYPE "application/vnd.dev.sigstore.bundle.v0.3+json"

struct bundle_reader {
    const char *name;
    struct sigstore_bundle *made;
    struct llavamed_error *error;
};

void sigstore_bundle_deinit(struct sigstore_bundle *bundle)
{
    free(bundle->hint);
    free(bundle->payload_type);
    free(bundle->payload);
    free(bundle->signature);
    *bundle = (struct sigstore_bundle){0};
}

static enum llavamed_status fail_bundle(const struct bundle_reader *reader, const char *what)
{
    return llavamed_fail(reader->error, LLAVAMED_STATUS_JSON_INVALID, "%s: not a Sigstore bundle: %s", reader->name,
                         what);
}

static const struct json_value *member(const struct json_value *object, const char *key, enum json_kind kind)
{
    const struct json_value *value =
        object != NULL && json_kind_of(object) == JSON_OBJECT ? json_member(object, key) : NULL;
    return value != NULL && json_kind_of(value) == kind ? value : NULL;
}

static const char *text_member(const struct json_value *object, const char *key)
{
    const struct json_value *value = member(object, key, JSON_STRING);
    return value == NULL ? NULL : json_string(value);
}

static enum llavamed_status copy_text(const struct bundle_reader *reader, const char *text, char **copy)
{
    *copy = strdup(text);
    return *copy != NULL ? LLAVAMED_OK : llavamed_fail_memory(reader->error, strlen(text), "a signature");
}

/* *bytes is owned by the bundle, and has a NUL behind its end. */
static enum llavamed_status decode_member(const struct bundle_reader *reader, const struct json_value *object,
                                          const char *key, unsigned char **bytes, size_t *n_bytes)
{
    const char *text = text_member(object, key);
    size_t n_chars = text == NULL ? 0 : strlen(text);
    *bytes = calloc(BASE64_DECODED_BYTES_MAX(n_chars) + 1, 1);
    if (*bytes == NULL) {
        return llavamed_fail_memory(reader->error, n_chars, "a signature");
    }
    if (text == NULL || !base64_decode(text, n_chars, *bytes, n_bytes)) {
        return llavamed_fail(reader->error, LLAVAMED_STATUS_JSON_INVALID,
                             "%s: not a Sigstore bundle: its '%s' is missing or not base64", reader->name, key);
    }
    return LLAVAMED_OK;
}

/* ---- Parts ---- */

static enum llavamed_status read_material(const struct bundle_reader *reader, const struct json_value *root)
{
    const struct json_value *material = member(root, "verificationMaterial", JSON_OBJECT);
    const struct json_value *key = member(material, "publicKey", JSON_OBJECT);
    if (material == NULL) {
        return fail_bundle(reader, "no 'verificationMaterial'");
    }
    if (key == NULL) {
        (void)llavamed_fail(reader->error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                            "%s: made with a certificate or by Sigstore's services, not with a key", reader->name);
        llavamed_hint(reader->error, "model_signing verify certificate, or sigstore, checks such a signature");
        return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
    }
    const char *hint = text_member(key, "hint");
    return hint == NULL || hint[0] == '\0' ? LLAVAMED_OK : copy_text(reader, hint, &reader->made->hint);
}

static enum llavamed_status read_envelope(const struct bundle_reader *reader, const struct json_value *root)
{
    const struct json_value *envelope = member(root, "dsseEnvelope", JSON_OBJECT);
    const struct json_value *signatures = member(envelope, "signatures", JSON_ARRAY);
    const struct json_value *first = signatures == NULL ? NULL : json_first(signatures);
    const char *type = text_member(envelope, "payloadType");
    struct sigstore_bundle *made = reader->made;
    unsigned char *payload = NULL;
    if (envelope == NULL || type == NULL) {
        return fail_bundle(reader, "no 'dsseEnvelope' with its 'payloadType'");
    }
    if (first == NULL) {
        return fail_bundle(reader, "no signature in it");
    }
    enum llavamed_status status = copy_text(reader, type, &made->payload_type);
    if (status == LLAVAMED_OK) {
        status = decode_member(reader, envelope, "payload", &payload, &made->payload_bytes);
        made->payload = (char *)payload;
    }
    if (status == LLAVAMED_OK) {
        status = decode_member(reader, first, "sig", &made->signature, &made->signature_bytes);
    }
    return status;
}

static enum llavamed_status read_root(const struct bundle_reader *reader, const struct json_value *root)
{
    const char *type = text_member(root, "mediaType");
    if (type == NULL) {
        return fail_bundle(reader, "no 'mediaType'");
    }
    if (strcmp(type, MEDIA_TYPE) != 0) {
        return llavamed_fail(reader->error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                             "%s: a bundle of another kind (got %.100s, want " MEDIA_TYPE ")", reader->name, type);
    }
    enum llavamed_status status = read_material(reader, root);
    return status == LLAVAMED_OK ? read_envelope(reader, root) : status;
}

enum llavamed_status sigstore_bundle_read(const char *name, const char *text, size_t n_bytes,
                                          struct sigstore_bundle *bundle, struct llavamed_error *error)
{
    struct json *json = NULL;
    struct sigstore_bundle made = {0};
    const struct bundle_reader reader = {name, &made, error};
    enum llavamed_status status =
        n_bytes <= SIGSTORE_BUNDLE_BYTES_MAX
            ? json_parse(name, text, n_bytes, false, &json, error)
            : llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: too large (got %zu bytes, want at most %zu)", name,
                            n_bytes, SIGSTORE_BUNDLE_BYTES_MAX);
    if (status == LLAVAMED_OK) {
        status = read_root(&reader, json_root(json));
    }
    json_free(json);
    if (status == LLAVAMED_OK) {
        *bundle = made;
    } else {
        sigstore_bundle_deinit(&made);
    }
    return status;
}

void sigstore_bundle_append(struct buffer *out, const struct sigstore_bundle *bundle)
{
    buffer_append_text(out, "{\"mediaType\":\"" MEDIA_TYPE "\",\"verificationMaterial\":{\"publicKey\":{\"hint\":");
    json_append_utf8(out, bundle->hint);
    buffer_append_text(out, "},\"tlogEntries\":[]},\"dsseEnvelope\":{\"payload\":\"");
    base64_append(out, bundle->payload, bundle->payload_bytes);
    buffer_append_text(out, "\",\"payloadType\":");
    json_append_utf8(out, bundle->payload_type);
    buffer_append_text(out, ",\"signatures\":[{\"sig\":\"");
    base64_append(out, bundle->signature, bundle->signature_bytes);
    buffer_append_text(out, "\",\"keyid\":\"\"}]}}");
}
