// Preloaded: one call of a kind, or every one from it on, fails below given folders, or the process is killed at it.
//   kinds   write pwrite fsync fdatasync rename unlink ftruncate open pread mmap (each with its relatives), and
//           allocations by given modules, `operator new` of the C++ library included
//   mode    0 fails with `err`; 1, 2 SIGKILL before, after the call
// Counts only while armed, so what comes before (imports) has no number.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum Kind { WRITE, PWRITE, FSYNC, FDATASYNC, RENAME, UNLINK, FTRUNCATE, OPEN, PREAD, MMAP, ALLOC, KINDS };
static atomic_long seen[KINDS];
static int armed, kind = -1, err = EIO, sticky, mode;
static long nth = -1;
static char roots[8][512];
static int n_roots;
static struct { char *from, *to; } code[8];
static int n_code;

void failing_roots(const char *list) { // separated by ':'
    n_roots = 0;
    while (*list && n_roots < 8) {
        size_t n = strcspn(list, ":");
        snprintf(roots[n_roots++], sizeof roots[0], "%.*s", (int)n, list);
        list += n + (list[n] == ':');
    }
}
void failing_code(char *from, char *to) { // allocations called for from there count
    if (n_code < 8) code[n_code].from = from, code[n_code++].to = to;
}
void failing_arm(int k, long n, int e, int s, int m) {
    kind = k, nth = n, err = e, sticky = s, mode = m;
    for (int i = 0; i < KINDS; ++i) atomic_store(&seen[i], 0);
    armed = 1;
}
void failing_disarm(void) { armed = 0; }
long failing_seen(int k) { return atomic_load(&seen[k]); }

static int below(const char *path) {
    for (int i = 0; i < n_roots; ++i)
        if (strncmp(path, roots[i], strlen(roots[i])) == 0) return 1;
    return 0;
}
static int ours(int fd) {
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return below(path);
}
// 0: go on; 1: fail; 2: go on, then die
static int hit(int k) {
    long n = atomic_fetch_add(&seen[k], 1);
    if (k != kind || nth < 0 || !(n == nth || (sticky && n > nth))) return 0;
    if (mode == 1) kill(getpid(), SIGKILL);
    return mode == 2 ? 2 : 1;
}
#define REAL(ret, name, ...) static ret (*real)(__VA_ARGS__); if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)
#define CALL(k, mine, fail, call)                                                                                      \
    do {                                                                                                               \
        int h = armed && (mine) ? hit(k) : 0;                                                                          \
        if (h == 1) { errno = err; return fail; }                                                                      \
        __typeof__(call) result = call;                                                                                \
        if (h == 2) kill(getpid(), SIGKILL);                                                                           \
        return result;                                                                                                 \
    } while (0)

ssize_t write(int fd, const void *b, size_t n) { REAL(ssize_t, write, int, const void *, size_t); CALL(WRITE, ours(fd), -1, real(fd, b, n)); }
#define PW(name, off) ssize_t name(int fd, const void *b, size_t n, off o) { REAL(ssize_t, name, int, const void *, size_t, off); CALL(PWRITE, ours(fd), -1, real(fd, b, n, o)); }
PW(pwrite, off_t) PW(pwrite64, off64_t)
#define PWV(name, off) ssize_t name(int fd, const struct iovec *v, int n, off o) { REAL(ssize_t, name, int, const struct iovec *, int, off); CALL(PWRITE, ours(fd), -1, real(fd, v, n, o)); }
PWV(pwritev, off_t) PWV(pwritev64, off64_t)
ssize_t writev(int fd, const struct iovec *v, int n) { REAL(ssize_t, writev, int, const struct iovec *, int); CALL(WRITE, ours(fd), -1, real(fd, v, n)); }
int fsync(int fd) { REAL(int, fsync, int); CALL(FSYNC, ours(fd), -1, real(fd)); }
int fdatasync(int fd) { REAL(int, fdatasync, int); CALL(FDATASYNC, ours(fd), -1, real(fd)); }
int msync(void *a, size_t n, int f) { REAL(int, msync, void *, size_t, int); CALL(FSYNC, 0, -1, real(a, n, f)); }
int rename(const char *a, const char *b) { REAL(int, rename, const char *, const char *); CALL(RENAME, below(a) || below(b), -1, real(a, b)); }
int renameat(int d, const char *a, int e, const char *b) { REAL(int, renameat, int, const char *, int, const char *); CALL(RENAME, below(a) || ours(d), -1, real(d, a, e, b)); }
int unlink(const char *a) { REAL(int, unlink, const char *); CALL(UNLINK, below(a), -1, real(a)); }
int unlinkat(int d, const char *a, int f) { REAL(int, unlinkat, int, const char *, int); CALL(UNLINK, below(a) || ours(d), -1, real(d, a, f)); }
int ftruncate(int fd, off_t n) { REAL(int, ftruncate, int, off_t); CALL(FTRUNCATE, ours(fd), -1, real(fd, n)); }
int ftruncate64(int fd, off64_t n) { REAL(int, ftruncate64, int, off64_t); CALL(FTRUNCATE, ours(fd), -1, real(fd, n)); }
#define OP(name) int name(const char *p, int f, ...) { REAL(int, name, const char *, int, ...); va_list a; va_start(a, f); int m = va_arg(a, int); va_end(a); CALL(OPEN, below(p), -1, real(p, f, m)); }
OP(open) OP(open64)
#define OPA(name) int name(int d, const char *p, int f, ...) { REAL(int, name, int, const char *, int, ...); va_list a; va_start(a, f); int m = va_arg(a, int); va_end(a); CALL(OPEN, below(p) || (p[0] != '/' && d >= 0 && ours(d)), -1, real(d, p, f, m)); }
OPA(openat) OPA(openat64)
#define PR(name, off) ssize_t name(int fd, void *b, size_t n, off o) { REAL(ssize_t, name, int, void *, size_t, off); CALL(PREAD, ours(fd), -1, real(fd, b, n, o)); }
PR(pread, off_t) PR(pread64, off64_t)
#define PRV(name, off) ssize_t name(int fd, const struct iovec *v, int c, off o, int f) { REAL(ssize_t, name, int, const struct iovec *, int, off, int); CALL(PREAD, ours(fd), -1, real(fd, v, c, o, f)); }
PRV(preadv2, off_t) PRV(preadv64v2, off64_t)
ssize_t read(int fd, void *b, size_t n) { REAL(ssize_t, read, int, void *, size_t); CALL(PREAD, ours(fd), -1, real(fd, b, n)); }
#define MM(name, off) void *name(void *a, size_t n, int p, int f, int fd, off o) { REAL(void *, name, void *, size_t, int, int, int, off); CALL(MMAP, fd >= 0 && ours(fd), MAP_FAILED, real(a, n, p, f, fd, o)); }
MM(mmap, off_t) MM(mmap64, off64_t)

// Allocations. glibc's own names do the work: dlsym would allocate. A failing `operator new` throws by itself.
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
static __thread int starved;
static int no_memory(void *caller) {
    if (starved) { starved = 0; return 1; }
    if (!armed) return 0;
    for (int i = 0; i < n_code; ++i)
        if ((char *)caller >= code[i].from && (char *)caller < code[i].to) return hit(ALLOC) == 1;
    return 0;
}
#define CALLER __builtin_return_address(0)
#define ALLOCATE(call) do { if (no_memory(CALLER)) { errno = ENOMEM; return NULL; } return call; } while (0)
void *malloc(size_t n) { ALLOCATE(__libc_malloc(n)); }
void *calloc(size_t n, size_t m) { ALLOCATE(__libc_calloc(n, m)); }
void *realloc(void *p, size_t n) { ALLOCATE(__libc_realloc(p, n)); }
void *aligned_alloc(size_t a, size_t n) { ALLOCATE(__libc_memalign(a, n)); }
void *memalign(size_t a, size_t n) { ALLOCATE(__libc_memalign(a, n)); }
int posix_memalign(void **p, size_t a, size_t n) {
    if (no_memory(CALLER)) return ENOMEM;
    void *got = __libc_memalign(a, n);
    if (!got) return ENOMEM;
    *p = got;
    return 0;
}
#define NEW(name, args, given, ...) \
    void *name args { REAL(void *, name, __VA_ARGS__); if (no_memory(CALLER)) starved = 1; void *p = real given; starved = 0; return p; }
NEW(_Znwm, (size_t n), (n), size_t)
NEW(_Znam, (size_t n), (n), size_t)
NEW(_ZnwmSt11align_val_t, (size_t n, size_t a), (n, a), size_t, size_t)
NEW(_ZnamSt11align_val_t, (size_t n, size_t a), (n, a), size_t, size_t)
NEW(_ZnwmRKSt9nothrow_t, (size_t n, const void *t), (n, t), size_t, const void *)
NEW(_ZnamRKSt9nothrow_t, (size_t n, const void *t), (n, t), size_t, const void *)
