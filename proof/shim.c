/* What a process does to the files below one folder, written down in order; and two faults that need a hand in libc.
 *
 * Preloaded. SHIM_LOG and SHIM_ROOT: every change below SHIM_ROOT is appended to SHIM_LOG, one record an append, so that
 * other processes may put marks of their own between them. A change and its record are made under one lock; a flush has
 * two records, for what is written while it runs may miss it. SHIM_SYNC=N,M: flushes N to N+M-1 fail with EIO.
 * SHIM_CONTROL: a file of two numbers of eight bytes that may change at any time: the nanoseconds by which the wall
 * clock is wrong, and whether the disk is full.
 *
 * Record: op (1), 3 unused, pid (4), fd (4), length of the path (4), offset (8), length of the data (8), path, data;
 * little-endian. Ops: O open (offset: flags), W write, T truncate, S flush begins, s flush has ended, C close,
 * U unlink, R rename (data: the new path), D mkdir, X rmdir, ! something that an image cannot tell of (data: what).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS 65536
#define REAL(name) ((__typeof__(&name))real(#name))

struct record {
    uint8_t op, unused[3];
    uint32_t pid;
    int32_t fd;
    uint32_t path;
    uint64_t offset, length;
} __attribute__((packed));

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char root[4096];
static size_t root_length;
static int journal = -1;
static uint8_t tracked[FDS]; /* 1: below the root; 2: a file that says nothing about what is durable (-shm) */
static long syncs, first_failing, failing;
static const volatile int64_t *control;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("SHIM_LOG"), *under = getenv("SHIM_ROOT"), *sync = getenv("SHIM_SYNC");
    const char *hand = getenv("SHIM_CONTROL");
    if (under && strlen(under) < sizeof root) root_length = strlen(strcpy(root, under));
    if (log) journal = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (sync) {
        char *rest;
        first_failing = strtol(sync, &rest, 10);
        failing = *rest ? strtol(rest + 1, NULL, 10) : 1;
    }
    if (hand) {
        int fd = syscall(SYS_openat, AT_FDCWD, hand, O_RDONLY | O_CLOEXEC);
        void *at = fd < 0 ? MAP_FAILED : REAL(mmap)(NULL, 2 * sizeof *control, PROT_READ, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED) control = at;
    }
}

static void note(char op, int fd, const char *path, uint64_t offset, const void *data, size_t length) {
    int saved = errno;
    if (journal < 0) return;
    size_t named = path ? strlen(path) : 0;
    struct record head = {op, {0}, getpid(), fd, named, offset, length};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)path, named}, {(void *)data, length}};
    if (syscall(SYS_writev, journal, parts, 3) != (long)(sizeof head + named + length)) abort();
    errno = saved;
}

static int below(const char *path) {
    return root_length && path && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int follows(int fd) { return fd >= 0 && fd < FDS && tracked[fd] == 1; }

static void cannot(int fd, const char *what) {
    if (follows(fd)) note('!', fd, NULL, 0, what, strlen(what));
}

static int opened(int fd, const char *path, int flags) {
    if (fd >= 0 && fd < FDS) {
        size_t n = path ? strlen(path) : 0;
        tracked[fd] = !below(path) ? 0 : n > 4 && !strcmp(path + n - 4, "-shm") ? 2 : 1;
        if (follows(fd)) note('O', fd, path, flags, NULL, 0);
    }
    return fd;
}

#define OPEN(type, at)                                                        \
    type {                                                                    \
        mode_t mode = 0;                                                      \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                \
            va_list rest;                                                     \
            va_start(rest, flags);                                            \
            mode = va_arg(rest, mode_t);                                      \
            va_end(rest);                                                     \
        }                                                                     \
        pthread_mutex_lock(&lock);                                            \
        int fd = opened(syscall(SYS_openat, at, path, flags, mode), path, flags); \
        pthread_mutex_unlock(&lock);                                          \
        return fd;                                                            \
    }
OPEN(int open(const char *path, int flags, ...), AT_FDCWD)
OPEN(int open64(const char *path, int flags, ...), AT_FDCWD)
OPEN(int openat(int dir, const char *path, int flags, ...), dir)
OPEN(int openat64(int dir, const char *path, int flags, ...), dir)

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (follows(fd)) note('C', fd, NULL, 0, NULL, 0);
    if (fd >= 0 && fd < FDS) tracked[fd] = 0;
    pthread_mutex_unlock(&lock);
    return syscall(SYS_close, fd);
}

static int full(void) {
    if (control && control[1]) errno = ENOSPC;
    return control && control[1];
}

static off_t place(int fd) {
    struct stat now;
    if (syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND) return fstat(fd, &now) ? 0 : now.st_size;
    return syscall(SYS_lseek, fd, 0, SEEK_CUR);
}

#define CHANGE(fd, call, ...)                     \
    pthread_mutex_lock(&lock);                    \
    __typeof__(call) result = call;               \
    __VA_ARGS__;                                  \
    pthread_mutex_unlock(&lock);                  \
    return result

ssize_t write(int fd, const void *data, size_t length) {
    if (!follows(fd)) return syscall(SYS_write, fd, data, length);
    if (full()) return -1;
    pthread_mutex_lock(&lock);
    off_t at = place(fd);
    ssize_t done = syscall(SYS_write, fd, data, length);
    if (done > 0) note('W', fd, NULL, at, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
    if (!follows(fd)) return syscall(SYS_pwrite64, fd, data, length, at);
    if (full()) return -1;
    CHANGE(fd, (ssize_t)syscall(SYS_pwrite64, fd, data, length, at),
           if (result > 0) note('W', fd, NULL, at, data, result));
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return pwrite(fd, data, length, at); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!follows(fd)) return syscall(SYS_writev, fd, parts, count);
    ssize_t all = 0;
    for (int n = 0; n < count; n++) {
        ssize_t done = write(fd, parts[n].iov_base, parts[n].iov_len);
        if (done < 0) return all ? all : done;
        all += done;
        if ((size_t)done < parts[n].iov_len) break;
    }
    return all;
}

int ftruncate(int fd, off_t length) {
    if (!follows(fd)) return syscall(SYS_ftruncate, fd, length);
    CHANGE(fd, (int)syscall(SYS_ftruncate, fd, length), if (!result) note('T', fd, NULL, length, NULL, 0));
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

static int flush(int fd, long number) {
    if (!follows(fd)) return syscall(number, fd);
    pthread_mutex_lock(&lock);
    long turn = ++syncs;
    note('S', fd, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    if (first_failing && turn >= first_failing && turn < first_failing + failing) {
        errno = EIO;
        return -1;
    }
    int result = syscall(number, fd);
    pthread_mutex_lock(&lock);
    if (!result) note('s', fd, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}
int fsync(int fd) { return flush(fd, SYS_fsync); }
int fdatasync(int fd) { return flush(fd, SYS_fdatasync); }

#define REMOVE(call, op, path) CHANGE(0, (int)(call), if (!result && below(path)) note(op, -1, path, 0, NULL, 0))
int unlink(const char *path) { REMOVE(syscall(SYS_unlink, path), 'U', path); }
int rmdir(const char *path) { REMOVE(syscall(SYS_rmdir, path), 'X', path); }
int mkdir(const char *path, mode_t mode) { REMOVE(syscall(SYS_mkdir, path, mode), 'D', path); }
int unlinkat(int dir, const char *path, int flags) {
    REMOVE(syscall(SYS_unlinkat, dir, path, flags), flags & AT_REMOVEDIR ? 'X' : 'U', path);
}
int mkdirat(int dir, const char *path, mode_t mode) { REMOVE(syscall(SYS_mkdirat, dir, path, mode), 'D', path); }

int rename(const char *from, const char *to) {
    CHANGE(0, (int)syscall(SYS_rename, from, to),
           if (!result && (below(from) || below(to))) note('R', -1, from, 0, to, strlen(to)));
}
int renameat(int one, const char *from, int two, const char *to) {
    CHANGE(0, (int)syscall(SYS_renameat, one, from, two, to),
           if (!result && (below(from) || below(to))) note('R', -1, from, 0, to, strlen(to)));
}
int link(const char *from, const char *to) {
    if (below(from) || below(to)) note('!', -1, from, 0, "link", 4);
    return syscall(SYS_link, from, to);
}

/* What no image can tell of is written down, so that the proof notices instead of passing. */
void *mmap(void *where, size_t length, int protection, int flags, int fd, off_t at) {
    if ((flags & MAP_SHARED) && (protection & PROT_WRITE)) cannot(fd, "mmap");
    return REAL(mmap)(where, length, protection, flags, fd, at);
}
void *mmap64(void *where, size_t length, int protection, int flags, int fd, off64_t at) {
    return mmap(where, length, protection, flags, fd, at);
}
int fallocate(int fd, int mode, off_t at, off_t length) {
    cannot(fd, "fallocate");
    return syscall(SYS_fallocate, fd, mode, at, length);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    cannot(out, "copy_file_range");
    return syscall(SYS_copy_file_range, in, from, out, to, length, flags);
}
ssize_t sendfile64(int out, int in, off64_t *from, size_t length) {
    cannot(out, "sendfile");
    return syscall(SYS_sendfile, out, in, from, length);
}
ssize_t sendfile(int out, int in, off_t *from, size_t length) { return sendfile64(out, in, from, length); }
int dup(int fd) {
    cannot(fd, "dup");
    return syscall(SYS_dup, fd);
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int result = REAL(clock_gettime)(which, now);
    if (!result && control && which == CLOCK_REALTIME) {
        int64_t all = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + control[0];
        now->tv_sec = all / 1000000000;
        now->tv_nsec = all % 1000000000;
    }
    return result;
}
