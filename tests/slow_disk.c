/* A disk that is slow or stuck, for one folder: preloaded into the processes under test (ld.so(8), LD_PRELOAD).

   SLOW_DISK_FOLDER   what lies on it
   SLOW_DISK_STATE    two 32-bit words, shared with the test: milliseconds for each operation, or STUCK, as long as which
                      none comes to an end; and how many are waiting now

   Everything but what the kernel has in memory without a disk (stat, access, mmap) waits: opening, reading, writing,
   syncing, cutting, renaming, removing. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define STUCK UINT32_MAX

static volatile uint32_t *state;
static const char *folder;
static size_t length;

__attribute__((constructor)) static void begin(void) {
    const char *shared = getenv("SLOW_DISK_STATE");
    folder = getenv("SLOW_DISK_FOLDER");
    if (shared == NULL || folder == NULL) return;
    length = strlen(folder);
    int (*opens)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int file = opens(shared, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) state = mapped;
}

static void pause_for(uint32_t milliseconds) {
    struct timespec left = {milliseconds / 1000, (milliseconds % 1000) * 1000000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

static void wait_for_disk(void) {
    int kept = errno;
    __sync_fetch_and_add(&state[1], 1);
    uint32_t takes = state[0];
    if (takes == STUCK)
        while (state[0] == STUCK) pause_for(2);
    else
        pause_for(takes);
    __sync_fetch_and_sub(&state[1], 1);
    errno = kept;
}

static void of_path(const char *path) {
    if (state != NULL && state[0] != 0 && path != NULL && strncmp(path, folder, length) == 0) wait_for_disk();
}

static void of_file(int file) {
    if (state == NULL || state[0] == 0) return;
    int kept = errno;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (size <= 0) return;
    path[size] = '\0';
    of_path(path);
}

#define ON_FILE(type, name, parameters, arguments)                             \
    type name parameters {                                                     \
        static type(*next) parameters;                                         \
        if (next == NULL) next = dlsym(RTLD_NEXT, #name);                      \
        of_file(file);                                                         \
        return next arguments;                                                 \
    }

#define ON_PATH(name, parameters, arguments)                                   \
    int name parameters {                                                      \
        static int(*next) parameters;                                          \
        if (next == NULL) next = dlsym(RTLD_NEXT, #name);                      \
        of_path(path);                                                         \
        return next arguments;                                                 \
    }

#define OPENING(name, parameters, arguments)                                   \
    int name parameters {                                                      \
        static int(*next) parameters;                                          \
        if (next == NULL) next = dlsym(RTLD_NEXT, #name);                      \
        va_list rest;                                                          \
        va_start(rest, flags);                                                 \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                          \
        of_path(path);                                                         \
        return next arguments;                                                 \
    }

OPENING(open, (const char *path, int flags, ...), (path, flags, mode))
OPENING(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENING(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPENING(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))
ON_FILE(ssize_t, read, (int file, void *to, size_t size), (file, to, size))
ON_FILE(ssize_t, pread, (int file, void *to, size_t size, off_t at), (file, to, size, at))
ON_FILE(ssize_t, pread64, (int file, void *to, size_t size, off64_t at), (file, to, size, at))
ON_FILE(ssize_t, write, (int file, const void *from, size_t size), (file, from, size))
ON_FILE(ssize_t, pwrite, (int file, const void *from, size_t size, off_t at), (file, from, size, at))
ON_FILE(ssize_t, pwrite64, (int file, const void *from, size_t size, off64_t at), (file, from, size, at))
ON_FILE(int, fsync, (int file), (file))
ON_FILE(int, fdatasync, (int file), (file))
ON_FILE(int, ftruncate, (int file, off_t size), (file, size))
ON_FILE(int, ftruncate64, (int file, off64_t size), (file, size))
ON_PATH(unlink, (const char *path), (path))
ON_PATH(rename, (const char *path, const char *to), (path, to))
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))
