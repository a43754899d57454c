// A plugin for QEMU's user mode: puts before each line of the program's standard output how many instructions the
// program executed since the line before.
//
// Debian has no qemu-plugin.h, so what is used of it is declared here. The interface's version is the build's to say
// (`-DVERSION=1`): each release of QEMU takes a range of them, and these few functions are the same in all.

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t plugin_id;
struct block;
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct block *, void (*)(unsigned, void *), int flags, void *);
size_t qemu_plugin_tb_n_insns(const struct block *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t number, uint64_t, uint64_t,
                                                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                              uint64_t));

int qemu_plugin_version = VERSION;

static uint64_t executed;

static void on_execution(unsigned cpu, void *instructions) { executed += (uintptr_t)instructions; }

static void on_translation(plugin_id id, struct block *block) {
    uintptr_t instructions = qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_cb(block, on_execution, 0, (void *)instructions);
}

static void on_syscall(plugin_id id, unsigned cpu, int64_t number, uint64_t file, uint64_t a2, uint64_t a3, uint64_t a4,
                       uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    enum { AARCH64_WRITE = 64 };
    if (number == AARCH64_WRITE && file == 1) {
        printf("%" PRIu64 " ", executed);
        fflush(stdout);
        executed = 0;
    }
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    return 0;
}
