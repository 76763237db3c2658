/* Refuses chosen calls to the disk, for tests: preloaded into real processes, commanded through a shared file.
 *
 * While armed, calls of the chosen kinds that change a file below FAILING_DISK_ROOT whose path holds the needle (ends
 * with it, where the needle ends with $) fail with the chosen error, `times` times, after `skip` of them went through. The first `torn` of them, if they are writes
 * of several pieces, take some of their bytes instead, as a disk does that runs full. While `logging`, calls are written
 * down. The struct is that of `tests/support/failing_disk.py`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LOG_BYTES (1 << 20)

enum { OPEN, WRITE, SYNC, RENAME, TRUNCATE, ATTRIBUTE, UNLINK, MKDIR };

struct control {
    atomic_llong times, skip, error, kinds, torn, failed, logging, logged;
    char needle[128];
    char last[512];
    char log[LOG_BYTES];
};

static struct control *control;
static const char *root;
static size_t root_length;

__attribute__((constructor)) static void start(void) {
    const char *file = getenv("FAILING_DISK_CONTROL");
    root = getenv("FAILING_DISK_ROOT");
    if (!file || !root) return;
    root_length = strlen(root);
    int (*really)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = really(file, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED) control = found;
}

static void note(int kind, const char *path) {
    char line[4200];
    int length = snprintf(line, sizeof line, "%d %s\n", kind, path);
    long long at = atomic_fetch_add(&control->logged, length);
    if (at + length < LOG_BYTES) memcpy(control->log + at, line, (size_t)length);
}

static int matches(const char *path) {
    size_t length = strlen(control->needle), whole = strlen(path);
    if (!length || control->needle[length - 1] != '$') return strstr(path, control->needle) != NULL;
    return whole >= length - 1 && !strncmp(path + whole - (length - 1), control->needle, length - 1);
}

static int refused(int kind, const char *path) {
    if (strncmp(path, root, root_length) != 0) return 0;
    if (atomic_load(&control->logging)) note(kind, path + root_length);
    if (atomic_load(&control->times) <= 0 || !(atomic_load(&control->kinds) >> kind & 1)) return 0;
    if (!matches(path)) return 0;
    if (atomic_fetch_sub(&control->skip, 1) > 0) return 0;
    if (atomic_fetch_sub(&control->times, 1) <= 0) return 0;
    snprintf(control->last, sizeof control->last, "%d %s", kind, path + root_length);
    atomic_fetch_add(&control->failed, 1);
    errno = (int)atomic_load(&control->error);
    return 1;
}

static int refused_at(int kind, int folder, const char *path) {
    char whole[4096];
    if (!control) return 0;
    if (path[0] == '/') return refused(kind, path);
    if (folder != AT_FDCWD) return 0;
    if (!getcwd(whole, sizeof whole / 2)) return 0;
    strcat(whole, "/");
    strncat(whole, path, sizeof whole / 2 - 2);
    return refused(kind, whole);
}

static int refused_fd(int kind, int fd) {
    char link[64], path[4096];
    if (!control) return 0;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length <= 0 || path[0] != '/') return 0;
    path[length] = 0;
    return refused(kind, path);
}

static int torn(void) { return atomic_fetch_sub(&control->torn, 1) > 0; }

#define REAL(result, name, ...) \
    static result (*really)(__VA_ARGS__); \
    if (!really) really = dlsym(RTLD_NEXT, #name)

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); } \
        REAL(int, name, const char *, int, ...); \
        if (flags & (O_CREAT | O_WRONLY | O_RDWR) && refused_at(OPEN, AT_FDCWD, path)) return -1; \
        return really(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); } \
        REAL(int, name, int, const char *, int, ...); \
        if (flags & (O_CREAT | O_WRONLY | O_RDWR) && refused_at(OPEN, folder, path)) return -1; \
        return really(folder, path, flags, mode); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (refused_fd(WRITE, fd)) return size > 1 && torn() ? really(fd, data, size / 2) : -1;
    return really(fd, data, size);
}

#define WRITES_AT(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset) { \
        REAL(ssize_t, name, int, const void *, size_t, offset_type); \
        if (refused_fd(WRITE, fd)) return -1; \
        return really(fd, data, size, offset); \
    }
WRITES_AT(pwrite, off_t)
WRITES_AT(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (refused_fd(WRITE, fd)) return count > 1 && torn() ? really(fd, pieces, count / 2) : -1;
    return really(fd, pieces, count);
}

#define ON_FD(kind, name) \
    int name(int fd) { REAL(int, name, int); return refused_fd(kind, fd) ? -1 : really(fd); }
ON_FD(SYNC, fsync)
ON_FD(SYNC, fdatasync)
ON_FD(SYNC, syncfs)

#define TRUNCATES(name, size_type) \
    int name(int fd, size_type size) { REAL(int, name, int, size_type); return refused_fd(TRUNCATE, fd) ? -1 : really(fd, size); }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

#define TWO_PATHS(name) \
    int name(const char *from, const char *to) { \
        REAL(int, name, const char *, const char *); \
        return refused_at(RENAME, AT_FDCWD, to) ? -1 : really(from, to); \
    }
TWO_PATHS(rename)
TWO_PATHS(link)

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    return refused_at(RENAME, to_folder, to) ? -1 : really(from_folder, from, to_folder, to, flags);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    REAL(int, renameat, int, const char *, int, const char *);
    return refused_at(RENAME, to_folder, to) ? -1 : really(from_folder, from, to_folder, to);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    return refused_at(UNLINK, AT_FDCWD, path) ? -1 : really(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    return refused_at(MKDIR, AT_FDCWD, path) ? -1 : really(path, mode);
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags) {
    REAL(int, fsetxattr, int, const char *, const void *, size_t, int);
    return refused_fd(ATTRIBUTE, fd) ? -1 : really(fd, name, value, size, flags);
}
