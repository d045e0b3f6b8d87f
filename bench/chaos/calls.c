/* Preloaded into a command, this library counts the calls of the system that write below a folder, and strikes at one.

   CHAOS_FOLDER   paths that begin with it count; without it nothing happens
   CHAOS_COUNT    a file of 16 bytes: how many calls were made so far, by all processes of the command; then 1 if the
                  fault struck one of them, else 0
   CHAOS_CALLS    a file that gets a line for each of them: call and path
   CHAOS_AT       the number of the call at which the fault strikes; the first has number 0
   CHAOS_FAULT    before: the process is killed before it makes the call; after: once it has made it;
                  full: from here on the disk is full; read-only: it cannot be written;
                  vanish: the folder that CHAOS_GONE names is renamed
   CHAOS_CLOCK    seconds by which the clock of this process differs from the machine's
   CHAOS_HOST     what this process takes for the name of its machine

   strace and faketime do the same, but slowly, or not to all processes of a command together. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum verdict { GO, FAIL, DIE_AFTER };
enum kind { NEEDS_SPACE, FREES_SPACE };

static const char *folder, *fault, *gone, *calls, *host;
static long at, *count;
static double clock_offset;

/* Reads the settings again: a process that was forked has other ones than its parent. */
__attribute__((constructor)) void chaos_arm(void) {
    const char *number = getenv("CHAOS_AT"), *counter = getenv("CHAOS_COUNT"), *seconds = getenv("CHAOS_CLOCK");
    folder = NULL;
    fault = getenv("CHAOS_FAULT");
    gone = getenv("CHAOS_GONE");
    calls = getenv("CHAOS_CALLS");
    host = getenv("CHAOS_HOST");
    at = number ? atol(number) : LONG_MAX;
    clock_offset = seconds ? atof(seconds) : 0;
    if (!counter) return;
    int file = syscall(SYS_openat, AT_FDCWD, counter, O_RDWR);
    if (file < 0) return;
    count = mmap(NULL, 2 * sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (count != MAP_FAILED) folder = getenv("CHAOS_FOLDER");
}

static void list(const char *call, const char *path) {
    char line[PATH_MAX + 32];
    int file = syscall(SYS_openat, AT_FDCWD, calls, O_WRONLY | O_APPEND);
    if (file < 0) return;
    int length = snprintf(line, sizeof line, "%s %s\n", call, path);
    syscall(SYS_write, file, line, length);
    syscall(SYS_close, file);
}

/* Whether there was something to rename. */
static int vanish(void) {
    char other[PATH_MAX];
    snprintf(other, sizeof other, "%s.gone", gone);
    return syscall(SYS_renameat, AT_FDCWD, gone, AT_FDCWD, other) == 0;
}

/* What happens to a call on this path. errno is kept, or set where the verdict is FAIL. */
static enum verdict meet(const char *call, const char *path, enum kind kind) {
    if (!folder || !path || strncmp(path, folder, strlen(folder))) return GO;
    int before = errno;
    long number = __atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
    if (calls) list(call, path);
    errno = before;
    if (!fault || number < at) return GO;
    if (!strcmp(fault, "full") && kind == NEEDS_SPACE) return count[1] = 1, errno = ENOSPC, FAIL;
    if (!strcmp(fault, "read-only")) return count[1] = 1, errno = EROFS, FAIL;
    if (number > at) return GO;
    int dies = !strcmp(fault, "before") || !strcmp(fault, "after");
    if (dies || (!strcmp(fault, "vanish") && gone && vanish())) count[1] = 1;
    if (!strcmp(fault, "before")) kill(getpid(), SIGKILL);
    errno = before;
    return strcmp(fault, "after") ? GO : DIE_AFTER;
}

/* The path of an open file; empty if it has none. */
static const char *path_of(int file, char *buffer) {
    char link[32];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = folder ? readlink(link, buffer, PATH_MAX - 1) : -1;
    buffer[length < 0 ? 0 : length] = 0;
    errno = before;
    return buffer;
}

/* The whole path of a name within an open folder, or the folder that this process is in. */
static const char *path_at(int within, const char *name, char *buffer) {
    if (!folder || !name || name[0] == '/') return name;
    int before = errno;
    if (within != AT_FDCWD) path_of(within, buffer);
    else if (!getcwd(buffer, PATH_MAX)) buffer[0] = 0;
    errno = before;
    size_t length = strlen(buffer);
    snprintf(buffer + length, PATH_MAX - length, "/%s", name);
    return buffer;
}

/* The system's own function of that name. */
#define NEXT(name)                                                          \
    ({                                                                      \
        static __typeof__(&name) next;                                      \
        if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name);       \
        next;                                                               \
    })
#define MEET(call, path, kind, make)                        \
    do {                                                    \
        enum verdict verdict = meet(call, path, kind);      \
        if (verdict == FAIL) return -1;                     \
        __typeof__(make) result = make;                     \
        if (verdict == DIE_AFTER) kill(getpid(), SIGKILL);  \
        return result;                                      \
    } while (0)

#define HERE(path) path_at(AT_FDCWD, path, buffer)
#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))
#define MODE(flags)                           \
    mode_t mode = 0;                          \
    if ((flags) & (O_CREAT | O_TMPFILE)) {    \
        va_list arguments;                    \
        va_start(arguments, flags);           \
        mode = va_arg(arguments, mode_t);     \
        va_end(arguments);                    \
    }
#define OPEN(name)                                                                 \
    int name(const char *path, int flags, ...) {                                   \
        char buffer[PATH_MAX];                                                     \
        MODE(flags)                                                                \
        if (!WRITES(flags)) return NEXT(name)(path, flags, mode);                  \
        MEET("open", HERE(path), NEEDS_SPACE, NEXT(name)(path, flags, mode));      \
    }
#define OPEN_AT(name)                                                                                      \
    int name(int within, const char *path, int flags, ...) {                                               \
        char buffer[PATH_MAX];                                                                             \
        MODE(flags)                                                                                        \
        if (!WRITES(flags)) return NEXT(name)(within, path, flags, mode);                                  \
        MEET("open", path_at(within, path, buffer), NEEDS_SPACE, NEXT(name)(within, path, flags, mode));   \
    }
OPEN(open)
OPEN(open64)
OPEN_AT(openat)
OPEN_AT(openat64)

#define OF_FILE(type, name, kind, call, parameters, values)                  \
    type name parameters {                                                   \
        char buffer[PATH_MAX];                                               \
        MEET(call, path_of(file, buffer), kind, NEXT(name) values);          \
    }
OF_FILE(ssize_t, write, NEEDS_SPACE, "write", (int file, const void *bytes, size_t size), (file, bytes, size))
OF_FILE(ssize_t, writev, NEEDS_SPACE, "write", (int file, const struct iovec *parts, int size), (file, parts, size))
OF_FILE(ssize_t, pwrite, NEEDS_SPACE, "write", (int file, const void *bytes, size_t size, off_t place),
        (file, bytes, size, place))
OF_FILE(ssize_t, pwrite64, NEEDS_SPACE, "write", (int file, const void *bytes, size_t size, off64_t place),
        (file, bytes, size, place))
OF_FILE(int, fsync, NEEDS_SPACE, "fsync", (int file), (file))
OF_FILE(int, fdatasync, NEEDS_SPACE, "fsync", (int file), (file))
OF_FILE(int, ftruncate, FREES_SPACE, "truncate", (int file, off_t size), (file, size))
OF_FILE(int, ftruncate64, FREES_SPACE, "truncate", (int file, off64_t size), (file, size))

/* These return the error, and leave errno alone. */
#define ALLOCATE(name, offset)                                                  \
    int name(int file, offset place, offset size) {                             \
        char buffer[PATH_MAX];                                                  \
        int before = errno;                                                     \
        enum verdict verdict = meet("allocate", path_of(file, buffer), NEEDS_SPACE);\
        int error = errno;                                                      \
        errno = before;                                                         \
        if (verdict == FAIL) return error;                                      \
        int result = NEXT(name)(file, place, size);                             \
        if (verdict == DIE_AFTER) kill(getpid(), SIGKILL);                      \
        return result;                                                          \
    }
ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

#define OF_PATH(name, kind, call, parameters, values, path)              \
    int name parameters {                                                \
        char buffer[PATH_MAX];                                           \
        MEET(call, path, kind, NEXT(name) values);                       \
    }
OF_PATH(rename, FREES_SPACE, "rename", (const char *from, const char *to), (from, to), HERE(to))
OF_PATH(renameat, FREES_SPACE, "rename", (int old, const char *from, int new, const char *to), (old, from, new, to),
        path_at(new, to, buffer))
OF_PATH(link, NEEDS_SPACE, "link", (const char *from, const char *to), (from, to), HERE(to))
OF_PATH(linkat, NEEDS_SPACE, "link", (int old, const char *from, int new, const char *to, int flags),
        (old, from, new, to, flags), path_at(new, to, buffer))
OF_PATH(symlink, NEEDS_SPACE, "link", (const char *from, const char *to), (from, to), HERE(to))
OF_PATH(symlinkat, NEEDS_SPACE, "link", (const char *from, int new, const char *to), (from, new, to),
        path_at(new, to, buffer))
OF_PATH(truncate, FREES_SPACE, "truncate", (const char *path, off_t size), (path, size), HERE(path))
OF_PATH(truncate64, FREES_SPACE, "truncate", (const char *path, off64_t size), (path, size), HERE(path))
OF_PATH(unlink, FREES_SPACE, "unlink", (const char *path), (path), HERE(path))
OF_PATH(unlinkat, FREES_SPACE, "unlink", (int within, const char *path, int flags), (within, path, flags),
        path_at(within, path, buffer))
OF_PATH(rmdir, FREES_SPACE, "rmdir", (const char *path), (path), HERE(path))
OF_PATH(mkdir, NEEDS_SPACE, "mkdir", (const char *path, mode_t mode), (path, mode), HERE(path))
OF_PATH(mkdirat, NEEDS_SPACE, "mkdir", (int within, const char *path, mode_t mode), (within, path, mode),
        path_at(within, path, buffer))

int clock_gettime(clockid_t id, struct timespec *now) {
    int result = NEXT(clock_gettime)(id, now);
    if (result == 0 && id == CLOCK_REALTIME) now->tv_sec += (time_t)clock_offset;
    return result;
}

int gethostname(char *name, size_t size) {
    if (!host) return NEXT(gethostname)(name, size);
    strncpy(name, host, size);
    return 0;
}
