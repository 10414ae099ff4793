// A QEMU TCG plugin that counts executed arm64 instructions, block by block, in windows the guest marks.
//
//   gcc -O2 -shared -fPIC count.c -o count.so
//   qemu-aarch64 -plugin ./count.so,out=PREFIX -d plugin PROGRAM
//
// The guest opens a window by syscall(9990) and closes it by syscall(9991, k), which writes PREFIX.k: a line
// "executions address word word ..." for each translated block that ran. Linux answers both calls with ENOSYS.
// Counters are added to without a lock: mark windows in which one thread runs.
//
// Debian ships QEMU 7.2 without qemu-plugin.h. These are the functions used of plugin API 1; QEMU resolves them when
// it loads the plugin.
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
typedef uint64_t Id;
typedef struct qemu_info_t Info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*OnSyscall)(Id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                          uint64_t);
EXPORT int qemu_plugin_version = 1;
void qemu_plugin_register_vcpu_tb_trans_cb(Id, void (*)(Id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int op, void *counter, uint64_t addend);
void qemu_plugin_register_vcpu_syscall_cb(Id, OnSyscall);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

enum { ADD = 0, OPEN = 9990, CLOSE = 9991 };

struct block {
  struct block *next;
  uint64_t executions, address;
  uint32_t length, words[];
};
static struct block *blocks;
static const char *prefix = "count";

static void translated(Id id, struct qemu_plugin_tb *tb) {
  (void)id;
  const size_t n = qemu_plugin_tb_n_insns(tb);
  struct block *b = malloc(sizeof *b + n * 4);
  if (!b) abort();
  *b = (struct block){blocks, 0, qemu_plugin_tb_vaddr(tb), (uint32_t)n};
  for (size_t i = 0; i < n; i++) memcpy(&b->words[i], qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), 4);
  blocks = b; // a block translated again is a further entry; the reader adds them up
  qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &b->executions, 1);
}

static void write_window(uint64_t number) {
  char name[4096];
  snprintf(name, sizeof name, "%s.%" PRIu64, prefix, number);
  FILE *file = fopen(name, "w");
  if (!file) {
    perror(name);
    exit(1);
  }
  for (const struct block *b = blocks; b; b = b->next) {
    if (!b->executions) continue;
    fprintf(file, "%" PRIu64 " %" PRIx64, b->executions, b->address);
    for (uint32_t i = 0; i < b->length; i++) fprintf(file, " %08" PRIx32, b->words[i]);
    fputc('\n', file);
  }
  fclose(file);
}

static void called(Id id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                   uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number == CLOSE) write_window(a1);
  if (number == OPEN)
    for (struct block *b = blocks; b; b = b->next) b->executions = 0;
}

EXPORT int qemu_plugin_install(Id id, const Info *info, int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++)
    if (!strncmp(argv[i], "out=", 4)) prefix = strdup(argv[i] + 4);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  return 0;
}
