/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people give instead of weights, told by name: half-finished downloads, error pages, Git LFS pointers, weights of
 * other programs, quantised checkpoints, adapters. Everything here only looks and words a refusal with its remedy
 * (INPUT_UNSUPPORTED, unless said otherwise); nothing is opened. For src/source alone.
 */
#ifndef SOURCE_RECOGNISE_H
#define SOURCE_RECOGNISE_H

#include "io/directory.h"
#include "tensor/tensor.h"

/* First bytes of a file that recognise_bytes() wants to see, as far as the file has them. */
#define RECOGNISE_BYTES 512

/*
 * Refuses a file whose name says that its download has not ended (".incomplete" of huggingface_hub, ".part",
 * ".crdownload"...), whatever it holds: INPUT_TRUNCATED. LLAVAMED_OK for every other name.
 */
enum llavamed_status recognise_partial_name(const char *path, struct llavamed_error *error) LLAVAMED_CHECK;

/* Always fails: says what a file is that begins with these bytes (0 for an empty file) and is no weights file. */
enum llavamed_status recognise_bytes(const char *path, const void *bytes, size_t n_bytes,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Refuses a directory in which no weights were found, when the names in it say what it holds: an adapter, GGUF,
 * TensorFlow, Flax, ONNX, and with INPUT_MISSING a download that has not ended, a zip archive, a tokenizer alone.
 * LLAVAMED_OK when they say nothing. `role` is "base" or "delta"; is_archive: the names are those of an archive.
 */
enum llavamed_status recognise_listing(const char *path, const char *role, bool is_archive,
                                       const struct directory_listing *listing,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Refuses a checkpoint whose tensors are those of a quantised model (GPTQ, AWQ, bitsandbytes, 8-bit floats, torchao's
 * and others' packed integers) or of a LoRA adapter. `config` is the text of the config.json beside it (NULL: none, or
 * not JSON), used for the name of the method; `config_is_quantised`, which may be NULL, tells whether it speaks of
 * quantisation although the tensors do not.
 */
enum llavamed_status recognise_tensors(const char *path, const struct tensor_set *set, const char *config,
                                       size_t config_bytes, bool *config_is_quantised,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether the name is that of a LoRA adapter's weights, which lie beside a model without being part of it. */
bool recognise_is_adapter_name(const char *name);

#endif
