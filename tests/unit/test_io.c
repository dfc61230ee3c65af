/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <utime.h>

#include "io/directory.h"
#include "io/input_file.h"
#include "io/output_file.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

static struct temp_dir dir;
static struct llavamed_error error;

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* ---- path texts ---- */

static void expect_parts(const char *path, const char *parent, const char *base)
{
    char *got_parent = path_parent(path);
    char *got_base = path_base_name(path);
    EXPECT_TEXT(got_parent, parent);
    EXPECT_TEXT(got_base, base);
    free(got_parent);
    free(got_base);
}

static void path_texts_as_dirname_and_basename(void)
{
    /* What dirname(1) and basename(1) print. */
    expect_parts("a", ".", "a");
    expect_parts("a/", ".", "a");
    expect_parts("a//", ".", "a");
    expect_parts("/a", "/", "a");
    expect_parts("/a/", "/", "a");
    expect_parts("//a", "/", "a");
    expect_parts("/a/b", "/a", "b");
    expect_parts("/a//b//", "/a", "b");
    expect_parts("a/b/c", "a/b", "c");
    expect_parts("./a", ".", "a");
    expect_parts("../a", "..", "a");
    expect_parts("a/..", "a", "..");
    expect_parts("/", "/", "/");
    expect_parts("///", "/", "/");
    expect_parts(".", ".", ".");
    expect_parts("..", ".", "..");
}

static void path_join_adds_one_slash(void)
{
    static const char *const rows[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}, {"a/b", NULL, "a/b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *joined = path_join(rows[i][0], rows[i][1]);
        EXPECT_TEXT(joined, rows[i][2]);
        free(joined);
    }
}

/* ---- what a path names ---- */

static void kinds(void)
{
    temp_dir_make(&dir);
    temp_write_text(temp_path(&dir, "file"), "x");
    temp_mkdir(temp_path(&dir, "sub"));
    EXPECT(symlink("file", temp_path(&dir, "link")) == 0);
    EXPECT(symlink("nowhere", temp_path(&dir, "dangling")) == 0);
    EXPECT(symlink("loop", temp_path(&dir, "loop")) == 0);
    EXPECT(mkfifo(temp_path(&dir, "fifo"), 0600) == 0);
    static const struct {
        const char *name;
        enum path_kind kind;
    } rows[] = {
        {"file", PATH_FILE}, {"file/x", PATH_MISSING},   {"sub", PATH_DIRECTORY},   {"sub/", PATH_DIRECTORY},
        {"link", PATH_FILE}, {"dangling", PATH_MISSING}, {"nothing", PATH_MISSING}, {"fifo", PATH_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum path_kind kind = PATH_OTHER;
        EXPECT(path_kind_of(temp_path(&dir, "%s", rows[i].name), &kind, &error) == LLAVAMED_OK);
        EXPECT_U64(kind, rows[i].kind);
    }
    enum path_kind kind = PATH_OTHER;
    EXPECT(path_kind_of(temp_path(&dir, "loop"), &kind, &error) == LLAVAMED_STATUS_INPUT_UNREADABLE);
    struct path_identity a;
    struct path_identity b;
    EXPECT(path_identity_of(temp_path(&dir, "file"), &a, &error) == LLAVAMED_OK);
    EXPECT(path_identity_of(temp_path(&dir, "sub/../link"), &b, &error) == LLAVAMED_OK);
    EXPECT(a.device == b.device && a.inode == b.inode);
    EXPECT(path_identity_of(temp_path(&dir, "sub"), &b, &error) == LLAVAMED_OK);
    EXPECT(a.inode != b.inode);
    EXPECT(path_identity_of(temp_path(&dir, "nothing"), &b, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    temp_dir_remove(&dir);
}

/* ---- reading ---- */

static void read_ranges(void)
{
    temp_dir_make(&dir);
    char *path = temp_path(&dir, "data");
    temp_write_text(path, "0123456789");
    struct input_file *file = NULL;
    EXPECT(input_file_open(path, &file, &error) == LLAVAMED_OK);
    struct stat info;
    EXPECT(stat(path, &info) == 0);
    EXPECT_TEXT(input_file_path(file), path);
    EXPECT_U64(input_file_bytes(file), 10);
    EXPECT_U64(input_file_inode(file), info.st_ino);
    EXPECT_U64(input_file_device(file), info.st_dev);
    char text[16] = "";
    EXPECT(input_file_read(file, 3, text, 4, &error) == LLAVAMED_OK && memcmp(text, "3456", 5) == 0);
    EXPECT(input_file_read(file, 10, text, 0, &error) == LLAVAMED_OK);
    EXPECT(input_file_read(file, 0, text, 10, &error) == LLAVAMED_OK && memcmp(text, "0123456789", 10) == 0);
    EXPECT(input_file_read(file, 1, text, 10, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    EXPECT(starts_with(error.message, path));
    EXPECT(input_file_read(file, 11, text, 0, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    EXPECT(input_file_read(file, UINT64_MAX, text, 5, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    EXPECT(input_file_check_unchanged(file, &error) == LLAVAMED_OK);
    input_file_close(file);
    input_file_close(NULL);
    temp_dir_remove(&dir);
}

/* As many pieces as take several system calls, in an order of their own. */
static void read_scattered(void)
{
    enum { N_PIECES = 2500, PIECE_BYTES = 7 };
    static char bytes[N_PIECES * PIECE_BYTES + 20];
    static char got[N_PIECES * PIECE_BYTES];
    static struct iovec pieces[N_PIECES];
    temp_dir_make(&dir);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)(i * 31 % 251);
    }
    temp_write(temp_path(&dir, "file"), bytes, sizeof bytes);
    struct input_file *file = NULL;
    EXPECT(input_file_open(temp_path(&dir, "file"), &file, &error) == LLAVAMED_OK);
    for (size_t n = 1; n <= N_PIECES; n = n * 2 + 1) {
        for (size_t i = 0; i < n; i++) {
            pieces[i] = (struct iovec){got + (n - 1 - i) * PIECE_BYTES, PIECE_BYTES};
        }
        EXPECT(input_file_read_pieces(file, 13, pieces, n, &error) == LLAVAMED_OK);
        for (size_t i = 0; i < n; i++) {
            EXPECT(memcmp(got + (n - 1 - i) * PIECE_BYTES, bytes + 13 + i * PIECE_BYTES, PIECE_BYTES) == 0);
        }
        EXPECT(input_file_read_pieces(file, sizeof bytes - n * PIECE_BYTES, pieces, n, &error) == LLAVAMED_OK);
        EXPECT(input_file_read_pieces(file, sizeof bytes - n * PIECE_BYTES + 1, pieces, n, &error) ==
               LLAVAMED_STATUS_INPUT_TRUNCATED);
    }
    EXPECT(input_file_read_pieces(file, 0, pieces, 0, &error) == LLAVAMED_OK);
    /* Cut inside the second piece after it was opened. */
    temp_write(temp_path(&dir, "file"), bytes, PIECE_BYTES + 3);
    EXPECT(input_file_read_pieces(file, 0, pieces, 3, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    input_file_close(file);
    temp_dir_remove(&dir);
}

static void open_refuses(void)
{
    temp_dir_make(&dir);
    struct input_file *file = NULL;
    EXPECT(input_file_open(temp_path(&dir, "nothing"), &file, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    EXPECT(strstr(error.message, "No such file") != NULL);
    EXPECT(input_file_open(dir.path, &file, &error) == LLAVAMED_STATUS_INPUT_UNREADABLE);
    EXPECT(strstr(error.message, "directory") != NULL);
    EXPECT(input_file_open("/dev/null", &file, &error) == LLAVAMED_STATUS_INPUT_UNREADABLE);
    EXPECT(mkfifo(temp_path(&dir, "fifo"), 0600) == 0);
    EXPECT(input_file_open(temp_path(&dir, "fifo"), &file, &error) == LLAVAMED_STATUS_INPUT_UNREADABLE);
    EXPECT(file == NULL);
    temp_dir_remove(&dir);
}

static void changes_are_noticed(void)
{
    temp_dir_make(&dir);
    char *path = temp_path(&dir, "data");
    char text[8];
    struct input_file *file = NULL;

    temp_write_text(path, "01234567");
    EXPECT(input_file_open(path, &file, &error) == LLAVAMED_OK);
    EXPECT(truncate(path, 3) == 0);
    EXPECT(input_file_read(file, 0, text, 8, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    EXPECT(input_file_check_unchanged(file, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    input_file_close(file);

    temp_write_text(path, "01234567");
    EXPECT(input_file_open(path, &file, &error) == LLAVAMED_OK);
    EXPECT(utime(path, &(struct utimbuf){.actime = 1, .modtime = 1}) == 0);
    EXPECT(input_file_check_unchanged(file, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    input_file_close(file);

    EXPECT(input_file_open(path, &file, &error) == LLAVAMED_OK);
    temp_write_text(temp_path(&dir, "new"), "01234567");
    EXPECT(utime(temp_path(&dir, "new"), &(struct utimbuf){.actime = 1, .modtime = 1}) == 0);
    EXPECT(rename(temp_path(&dir, "new"), path) == 0);
    EXPECT(input_file_check_unchanged(file, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    EXPECT(strstr(error.message, "replaced") != NULL);
    input_file_close(file);
    temp_dir_remove(&dir);
}

static void read_whole(void)
{
    temp_dir_make(&dir);
    char *bytes = NULL;
    size_t n_bytes = 99;
    temp_write(temp_path(&dir, "a"), "x\0y", 3);
    EXPECT(input_file_read_whole(temp_path(&dir, "a"), 3, &bytes, &n_bytes, &error) == LLAVAMED_OK);
    EXPECT(n_bytes == 3 && memcmp(bytes, "x\0y", 4) == 0);
    free(bytes);
    bytes = NULL;
    EXPECT(input_file_read_whole(temp_path(&dir, "a"), 2, &bytes, &n_bytes, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(bytes == NULL);
    temp_write(temp_path(&dir, "empty"), "", 0);
    EXPECT(input_file_read_whole(temp_path(&dir, "empty"), 0, &bytes, &n_bytes, &error) == LLAVAMED_OK);
    EXPECT(n_bytes == 0 && bytes != NULL && bytes[0] == '\0');
    free(bytes);
    EXPECT(input_file_read_whole(temp_path(&dir, "no"), 9, &bytes, &n_bytes, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    temp_dir_remove(&dir);
}

static void read_a_part(void)
{
    temp_dir_make(&dir);
    char *path = temp_path(&dir, "archive");
    char text[8] = "";
    struct stat info;
    struct input_file *file = NULL;
    temp_write_text(path, "abc0123456789xyz");
    temp_dir_require(stat(path, &info) == 0, path);
    EXPECT(input_file_open_part(path, "archive/member", 3, 10, &file, &error) == LLAVAMED_OK);
    EXPECT_TEXT(input_file_path(file), "archive/member");
    EXPECT_U64(input_file_bytes(file), 10);
    EXPECT_U64(input_file_inode(file), info.st_ino);
    EXPECT_U64(input_file_device(file), info.st_dev);
    EXPECT(input_file_read(file, 2, text, 4, &error) == LLAVAMED_OK && memcmp(text, "2345", 5) == 0);
    EXPECT(input_file_read_near(file, 9, text, 1, &error) == LLAVAMED_OK && text[0] == '9');
    struct iovec pieces[] = {{text + 4, 3}, {text, 4}};
    EXPECT(input_file_read_pieces(file, 3, pieces, 2, &error) == LLAVAMED_OK && memcmp(text, "6789345", 8) == 0);
    EXPECT(input_file_read_pieces(file, 4, pieces, 2, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    EXPECT(input_file_read(file, 9, text, 2, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    EXPECT(starts_with(error.message, "archive/member: "));
    input_file_drop_cache(file);
    EXPECT(input_file_check_unchanged(file, &error) == LLAVAMED_OK);
    /* What lies around the part counts too. */
    temp_write_text(path, "abc0123456789xyzz");
    EXPECT(input_file_check_unchanged(file, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    EXPECT(starts_with(error.message, "archive/member: "));
    EXPECT(truncate(path, 8) == 0);
    EXPECT(input_file_read(file, 2, text, 4, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    input_file_close(file);

    EXPECT(input_file_open_part(path, "m", 8, 0, &file, &error) == LLAVAMED_OK);
    EXPECT(input_file_read(file, 0, text, 0, &error) == LLAVAMED_OK);
    input_file_drop_cache(file);
    input_file_close(file);
    file = NULL;
    EXPECT(input_file_open_part(path, "m", 3, 6, &file, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    EXPECT(input_file_open_part(path, "m", 9, 0, &file, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    EXPECT(input_file_open_part(path, "m", 1, UINT64_MAX, &file, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    EXPECT(input_file_open_part(temp_path(&dir, "no"), "m", 0, 0, &file, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    EXPECT(file == NULL);
    temp_dir_remove(&dir);
}

/* A part of a file that was not cached: larger than the blocks that are given back, begun and ended inside one. */
static void read_a_cold_part(void)
{
    enum { FILE_BYTES = 70 << 20, BEGIN = 1234567, PART_BYTES = 66 << 20, PIECE_BYTES = 1000003 };
    static unsigned char bytes[FILE_BYTES];
    static unsigned char got[PART_BYTES];
    struct input_file *file = NULL;
    temp_dir_make(&dir);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * 31 % 251);
    }
    temp_write(temp_path(&dir, "file"), bytes, sizeof bytes);
    EXPECT(directory_sync(dir.path, &error) == LLAVAMED_OK);
    EXPECT(input_file_open(temp_path(&dir, "file"), &file, &error) == LLAVAMED_OK);
    input_file_drop_cache(file);
    input_file_close(file);
    EXPECT(input_file_open_part(temp_path(&dir, "file"), "m", BEGIN, PART_BYTES, &file, &error) == LLAVAMED_OK);
    for (size_t at = 0; at < PART_BYTES; at += PIECE_BYTES) {
        size_t n = PART_BYTES - at < PIECE_BYTES ? PART_BYTES - at : PIECE_BYTES;
        EXPECT(input_file_read(file, at, got + at, n, &error) == LLAVAMED_OK);
    }
    EXPECT(memcmp(got, bytes + BEGIN, PART_BYTES) == 0);
    EXPECT(input_file_check_unchanged(file, &error) == LLAVAMED_OK);
    input_file_close(file);
    temp_dir_remove(&dir);
}

static void read_from_memory(void)
{
    static const struct input_run runs[] = {
        {0, "0123", 4}, {4, "", 0}, {4, "45", 2}, {6, "6789", 4}, {15, "fg", 2}, {20, "k", 1},
    };
    static const char whole[] = "0123456789?????fg???k?????????";
    struct input_file *file = NULL;
    char text[32];
    EXPECT(input_file_open_memory("kept", 30, runs, 6, &file, &error) == LLAVAMED_OK);
    EXPECT_TEXT(input_file_path(file), "kept");
    EXPECT_U64(input_file_bytes(file), 30);
    EXPECT_U64(input_file_inode(file), 0);
    for (uint64_t at = 0; at <= 30; at++) {
        for (size_t n = 0; n <= 30; n++) {
            bool inside = at + n <= 30;
            bool there = inside && memchr(whole + at, '?', n) == NULL;
            enum llavamed_status want = there ? LLAVAMED_OK : LLAVAMED_STATUS_INPUT_TRUNCATED;
            memset(text, 0, sizeof text);
            EXPECT(input_file_read(file, at, text, n, &error) == want);
            EXPECT(want != LLAVAMED_OK || memcmp(text, whole + at, n) == 0);
            struct iovec halves[] = {{text + n / 2, n - n / 2}, {text, n / 2}};
            if (n >= 2) {
                EXPECT(input_file_read_pieces(file, at, halves, 2, &error) == want);
                EXPECT(want != LLAVAMED_OK || memcmp(text, whole + at + (n - n / 2), n / 2) == 0);
            }
        }
    }
    EXPECT(input_file_read_near(file, 12, text, 3, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    EXPECT(strstr(error.message, "kept: only parts of this file are in memory") != NULL);
    EXPECT(input_file_read_pieces(file, 0, NULL, 0, &error) == LLAVAMED_OK);
    EXPECT(input_file_check_unchanged(file, &error) == LLAVAMED_OK);
    input_file_drop_cache(file);
    input_file_close(file);
    EXPECT(input_file_open_memory("none", 5, NULL, 0, &file, &error) == LLAVAMED_OK);
    EXPECT(input_file_read(file, 5, text, 0, &error) == LLAVAMED_OK);
    EXPECT(input_file_read(file, 0, text, 1, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    input_file_close(file);
}

/* ---- writing ---- */

static void write_in_any_order(void)
{
    temp_dir_make(&dir);
    char *path = temp_path(&dir, "out");
    struct output_file *file = NULL;
    EXPECT(output_file_create(path, 10, false, &file, &error) == LLAVAMED_OK);
    EXPECT(output_file_write(file, 6, "6789", 4, &error) == LLAVAMED_OK);
    EXPECT(output_file_write(file, 0, "012345", 6, &error) == LLAVAMED_OK);
    EXPECT(output_file_write(file, 3, NULL, 0, &error) == LLAVAMED_OK);
    EXPECT(output_file_finish(file, &error) == LLAVAMED_OK);
    EXPECT(temp_file_is(path, "0123456789"));
    EXPECT(output_file_create(path, 0, false, &file, &error) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(temp_file_is(path, "0123456789"));
    EXPECT(output_file_create(temp_path(&dir, "no/out"), 0, false, &file, &error) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    EXPECT(symlink("elsewhere", temp_path(&dir, "link")) == 0);
    EXPECT(output_file_create(temp_path(&dir, "link"), 0, false, &file, &error) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(!temp_exists(temp_path(&dir, "elsewhere")));
    temp_dir_remove(&dir);
}

static void write_whole_follows_the_umask(void)
{
    temp_dir_make(&dir);
    mode_t old = umask(027);
    EXPECT(output_file_write_whole(temp_path(&dir, "a"), "abc", 3, &error) == LLAVAMED_OK);
    EXPECT(output_file_write_whole(temp_path(&dir, "empty"), "", 0, &error) == LLAVAMED_OK);
    (void)umask(old);
    struct stat info;
    EXPECT(stat(temp_path(&dir, "a"), &info) == 0 && (info.st_mode & 0777) == 0640);
    EXPECT(temp_file_is(temp_path(&dir, "a"), "abc"));
    EXPECT(temp_file_is(temp_path(&dir, "empty"), ""));
    EXPECT(output_file_write_whole(temp_path(&dir, "a"), "z", 1, &error) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(temp_file_is(temp_path(&dir, "a"), "abc"));
    temp_dir_remove(&dir);
}

/* A file size limit stands in for a full disk: the same code path, without needing a file system of our own. */
static void no_room_is_told_in_numbers(void)
{
    temp_dir_make(&dir);
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit old;
    EXPECT(getrlimit(RLIMIT_FSIZE, &old) == 0);
    EXPECT(setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 8192, .rlim_max = old.rlim_max}) == 0);
    struct output_file *file = NULL;
    char block[4096] = {1};
    EXPECT(output_file_create(temp_path(&dir, "b"), 0, false, &file, &error) == LLAVAMED_OK);
    EXPECT(output_file_write(file, 0, block, sizeof block, &error) == LLAVAMED_OK);
    EXPECT(output_file_write(file, 4096 + 1024, block, sizeof block, &error) == LLAVAMED_STATUS_OUT_SPACE);
    /* 3072 of the 4096 bytes fitted. */
    EXPECT(strstr(error.message, "(1024 bytes of the file still to come") != NULL);
    output_file_close(file);

    /* Refused by the limit: a try to take all free space would take it from everybody else for a moment. */
    uint64_t too_much = (uint64_t)1 << 40;
    enum llavamed_status status = output_file_create(temp_path(&dir, "c"), too_much, false, &file, &error);
    if (status == LLAVAMED_OK) {
        output_file_close(file);
    } else {
        EXPECT(status == LLAVAMED_STATUS_OUT_SPACE);
        EXPECT(strstr(error.message, "missing)") != NULL);
        EXPECT(!temp_exists(temp_path(&dir, "c")));
    }
    EXPECT(setrlimit(RLIMIT_FSIZE, &old) == 0);
    temp_dir_remove(&dir);
}

#define WRITER_COUNT 4
#define WRITER_BLOCK 10007 /* no multiple of a page */
#define WRITER_BLOCKS 100

struct writer {
    struct output_file *output;
    struct input_file *input;
    unsigned char first;
    bool failed;
};

static void *write_every_fourth_block(void *argument)
{
    struct writer *writer = argument;
    unsigned char block[WRITER_BLOCK];
    for (unsigned i = writer->first; i < WRITER_BLOCKS; i += WRITER_COUNT) {
        memset(block, (int)(i & 255), sizeof block);
        writer->failed |=
            output_file_write(writer->output, (uint64_t)i * WRITER_BLOCK, block, sizeof block, NULL) != LLAVAMED_OK;
    }
    return NULL;
}

static void *read_every_fourth_block(void *argument)
{
    struct writer *writer = argument;
    unsigned char block[WRITER_BLOCK];
    for (unsigned i = writer->first; i < WRITER_BLOCKS; i += WRITER_COUNT) {
        writer->failed |=
            input_file_read(writer->input, (uint64_t)i * WRITER_BLOCK, block, sizeof block, NULL) != LLAVAMED_OK;
        for (size_t j = 0; j < sizeof block; j++) {
            writer->failed |= block[j] != (i & 255);
        }
    }
    return NULL;
}

static void run_threads(struct writer *writers, void *(*function)(void *))
{
    pthread_t threads[WRITER_COUNT];
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        temp_dir_require(pthread_create(&threads[i], NULL, function, &writers[i]) == 0, "pthread_create");
    }
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        (void)pthread_join(threads[i], NULL);
        EXPECT(!writers[i].failed);
    }
}

static void threads_share_a_file(void)
{
    temp_dir_make(&dir);
    struct writer writers[WRITER_COUNT] = {0};
    struct output_file *output = NULL;
    struct input_file *input = NULL;
    EXPECT(output_file_create(temp_path(&dir, "t"), WRITER_BLOCK * WRITER_BLOCKS, false, &output, &error) ==
           LLAVAMED_OK);
    for (unsigned char i = 0; i < WRITER_COUNT; i++) {
        writers[i] = (struct writer){.output = output, .first = i};
    }
    run_threads(writers, write_every_fourth_block);
    EXPECT(output_file_finish(output, &error) == LLAVAMED_OK);
    EXPECT(input_file_open(temp_path(&dir, "t"), &input, &error) == LLAVAMED_OK);
    EXPECT_U64(input_file_bytes(input), WRITER_BLOCK * WRITER_BLOCKS);
    for (unsigned char i = 0; i < WRITER_COUNT; i++) {
        writers[i].input = input;
    }
    run_threads(writers, read_every_fourth_block);
    input_file_close(input);
    temp_dir_remove(&dir);
}

/* ---- directories ---- */

static void listing_is_sorted_by_bytes(void)
{
    temp_dir_make(&dir);
    static const char *const names[] = {"b", "a", "B", "a.b", ".hidden", "\xc3\xa9", "z"};
    static const char *const sorted[] = {".hidden", "B", "a", "a.b", "b", "z", "\xc3\xa9"};
    for (size_t i = 0; i < 7; i++) {
        temp_write_text(temp_path(&dir, "%s", names[i]), "");
    }
    struct directory_listing listing = {0};
    EXPECT(directory_list(dir.path, &listing, &error) == LLAVAMED_OK);
    EXPECT_U64(listing.n_names, 7);
    for (size_t i = 0; i < listing.n_names && i < 7; i++) {
        EXPECT_TEXT(listing.names[i], sorted[i]);
    }
    directory_listing_deinit(&listing);
    EXPECT(directory_list(temp_path(&dir, "no"), &listing, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    EXPECT(directory_list(temp_path(&dir, "a"), &listing, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    temp_dir_remove(&dir);
}

static void create_and_sync(void)
{
    temp_dir_make(&dir);
    EXPECT(directory_create(temp_path(&dir, "d"), &error) == LLAVAMED_OK);
    EXPECT(directory_sync(temp_path(&dir, "d"), &error) == LLAVAMED_OK);
    EXPECT(directory_create(temp_path(&dir, "d"), &error) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(directory_create(temp_path(&dir, "x/d"), &error) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    EXPECT(directory_sync(temp_path(&dir, "x"), &error) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    temp_dir_remove(&dir);
}

static void remove_flat_takes_files_and_links_only(void)
{
    temp_dir_make(&dir);
    temp_write_text(temp_path(&dir, "precious"), "keep");
    temp_mkdir(temp_path(&dir, "flat"));
    temp_write_text(temp_path(&dir, "flat/a"), "1");
    temp_write_text(temp_path(&dir, "flat/.b"), "2");
    EXPECT(symlink("../precious", temp_path(&dir, "flat/link")) == 0);
    EXPECT(symlink("flat", temp_path(&dir, "alias")) == 0);
    EXPECT(directory_remove_flat(temp_path(&dir, "alias"), &error) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    EXPECT(temp_file_is(temp_path(&dir, "flat/a"), "1"));
    EXPECT(directory_remove_flat(temp_path(&dir, "flat"), &error) == LLAVAMED_OK);
    EXPECT(!temp_exists(temp_path(&dir, "flat")));
    EXPECT(temp_file_is(temp_path(&dir, "precious"), "keep"));

    temp_mkdir(temp_path(&dir, "deep"));
    temp_mkdir(temp_path(&dir, "deep/sub"));
    temp_write_text(temp_path(&dir, "deep/a"), "1");
    EXPECT(directory_remove_flat(temp_path(&dir, "deep"), &error) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    EXPECT(temp_file_is(temp_path(&dir, "deep/a"), "1"));
    temp_dir_remove(&dir);
}

static void signals_end_what_takes_long(void)
{
    volatile int stop_signal = 0;
    char byte = 0;
    const struct iovec piece = {&byte, 1};
    struct input_file *file = NULL;
    temp_dir_make(&dir);
    temp_write_text(temp_path(&dir, "a"), "1");
    EXPECT(input_file_open(temp_path(&dir, "a"), &file, &error) == LLAVAMED_OK);
    input_file_heed(file, &stop_signal);
    EXPECT(input_file_read(file, 0, &byte, 1, &error) == LLAVAMED_OK && byte == '1');
    stop_signal = 15;
    EXPECT(input_file_read(file, 0, &byte, 1, &error) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT(input_file_read_pieces(file, 0, &piece, 1, NULL) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT_U64(error.signal_number, 15);
    input_file_heed(file, NULL);
    EXPECT(input_file_read(file, 0, &byte, 1, &error) == LLAVAMED_OK);
    input_file_close(file);
    EXPECT(directory_empty_flat(dir.path, NULL, NULL, &stop_signal, &error) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT(temp_exists(temp_path(&dir, "a")));
    EXPECT(directory_empty_flat(dir.path, NULL, NULL, NULL, &error) == LLAVAMED_OK);
    EXPECT(!temp_exists(temp_path(&dir, "a")));
    temp_dir_remove(&dir);
}

static void free_bytes_are_those_of_statvfs(void)
{
    struct statvfs volume;
    uint64_t bytes = 0;
    EXPECT(volume_free_bytes("/", &bytes, &error) == LLAVAMED_OK);
    EXPECT(statvfs("/", &volume) == 0);
    uint64_t want = (uint64_t)volume.f_bavail * volume.f_frsize;
    uint64_t distance = bytes > want ? bytes - want : want - bytes;
    EXPECT(distance < ((uint64_t)8 << 30)); /* others write meanwhile */
    EXPECT(volume_free_bytes("/nonexistent/x", &bytes, &error) == LLAVAMED_STATUS_OUT_UNWRITABLE);
}

int main(void)
{
    CASE(path_texts_as_dirname_and_basename);
    CASE(path_join_adds_one_slash);
    CASE(kinds);
    CASE(read_ranges);
    CASE(read_scattered);
    CASE(open_refuses);
    CASE(changes_are_noticed);
    CASE(read_whole);
    CASE(read_a_part);
    CASE(read_a_cold_part);
    CASE(read_from_memory);
    CASE(write_in_any_order);
    CASE(write_whole_follows_the_umask);
    CASE(no_room_is_told_in_numbers);
    CASE(threads_share_a_file);
    CASE(listing_is_sorted_by_bytes);
    CASE(create_and_sync);
    CASE(remove_flat_takes_files_and_links_only);
    CASE(signals_end_what_takes_long);
    CASE(free_bytes_are_those_of_statvfs);
    return harness_end();
}
