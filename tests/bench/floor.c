// The least that running one container takes: what the kernel has to be asked for a container in OCI's default
// configuration, and nothing else. `floor ROOT PROGRAM HIERARCHY...` makes the namespaces, the file systems, the masks, the
// capabilities, a filter and a cgroup in each hierarchy, runs PROGRAM below ROOT in them, and removes the cgroups.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call) do { if ((call) < 0) { perror(#call); _exit(1); } } while (0)

static char *path(const char *folder, const char *name) {
    char *joined;
    MUST(asprintf(&joined, "%s/%s", folder, name));
    return joined;
}

static void put(const char *folder, const char *name, const char *value) {
    int file = open(path(folder, name), O_WRONLY | O_CLOEXEC);
    MUST(file);
    MUST(write(file, value, strlen(value)));
    close(file);
}

static int is_unified(const char *hierarchy) { return access(path(hierarchy, "cgroup.controllers"), F_OK) == 0; }

static char *cgroup_in(const char *hierarchy) {
    char name[32];
    snprintf(name, sizeof name, "portolan-floor-%d", getpid());
    return path(hierarchy, name);
}

static void make_cgroup(const char *hierarchy, const char *cgroup) {
    MUST(mkdir(cgroup, 0755));
    for (int which = 0; which < 2; which++) {
        const char *name = which ? "cpuset.mems" : "cpuset.cpus";
        char value[256];
        int file = is_unified(hierarchy) ? -1 : open(path(hierarchy, name), O_RDONLY | O_CLOEXEC);
        if (file < 0) continue;
        ssize_t length = read(file, value, sizeof value - 1);
        MUST(length);
        value[length] = 0;
        put(cgroup, name, value);
        close(file);
    }
}

static void fill_dev(void) {
    static const struct { const char *name; int major, minor; } nodes[] = {
        {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
    };
    for (int i = 0; i < 6; i++) MUST(mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
    MUST(symlink("/proc/self/fd", "dev/fd"));
    MUST(symlink("/proc/self/fd/0", "dev/stdin"));
    MUST(symlink("/proc/self/fd/1", "dev/stdout"));
    MUST(symlink("/proc/self/fd/2", "dev/stderr"));
    MUST(symlink("pts/ptmx", "dev/ptmx"));
}

static void mount_all(const char *root) {
    const int plain = MS_NOSUID | MS_NOEXEC | MS_NODEV;
    umask(0);
    MUST(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    MUST(mount(root, root, NULL, MS_BIND | MS_REC, NULL));
    MUST(chdir(root));
    MUST(mount("proc", "proc", "proc", 0, NULL));
    MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
    MUST(mkdir("dev/pts", 0755));
    MUST(mkdir("dev/shm", 0755));
    MUST(mkdir("dev/mqueue", 0755));
    MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    MUST(mount("shm", "dev/shm", "tmpfs", plain, "mode=1777,size=65536k"));
    MUST(mount("mqueue", "dev/mqueue", "mqueue", plain, NULL));
    MUST(mount("sysfs", "sys", "sysfs", plain | MS_RDONLY, NULL));
    MUST(mount("cgroup", "sys/fs/cgroup", "cgroup2", plain | MS_RDONLY, NULL));
    fill_dev();
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", MNT_DETACH));
    MUST(chdir("/"));
}

static void hide(void) {
    static const char *fixed[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
    static const char *masked[] = {
        "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
        "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    };
    for (int i = 0; i < 5; i++)
        if (mount(fixed[i], fixed[i], NULL, MS_BIND | MS_REC, NULL) == 0)
            MUST(mount(NULL, fixed[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    for (int i = 0; i < 10; i++) {
        struct stat found;
        if (stat(masked[i], &found) < 0) continue;
        if (S_ISDIR(found.st_mode)) MUST(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL));
        else MUST(mount("/dev/null", masked[i], NULL, MS_BIND, NULL));
    }
}

static void drop_rights(void) {
    const uint64_t kept = 1ull << CAP_KILL | 1ull << CAP_NET_BIND_SERVICE | 1ull << CAP_AUDIT_WRITE;
    const struct rlimit files = {1024, 1024};
    MUST(setrlimit(RLIMIT_NOFILE, &files));
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
        if (!(kept >> capability & 1)) MUST(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0));
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2] = {{kept, kept, 0}, {0, 0, 0}};
    MUST(syscall(SYS_capset, &header, sets));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

// A tree over the numbers of system calls, as long as the one of a default profile: about 300 instructions.
static int tree(struct sock_filter *at, int from, int to) {
    if (to - from <= 3) {
        at[0] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        return 1;
    }
    int middle = (from + to) / 2, length = tree(at + 1, from, middle);
    at[0] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, middle, length, 0);
    return 1 + length + tree(at + 1 + length, middle, to);
}

static void install_filter(void) {
    struct sock_filter filter[1024] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
    struct sock_fprog program = {.filter = filter};
    program.len = 1 + tree(filter + 1, 0, 400);
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program));
}

int main(int count, char **words) {
    if (count < 4) return 64;
    char **hierarchies = words + 3;
    struct clone_args how = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
        .exit_signal = SIGCHLD,
    };
    int tasks[64], joined = 0;
    for (int i = 0; hierarchies[i]; i++) {
        char *cgroup = cgroup_in(hierarchies[i]);
        make_cgroup(hierarchies[i], cgroup);
        if (is_unified(hierarchies[i])) {
            how.flags |= CLONE_INTO_CGROUP;
            MUST(how.cgroup = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        } else {
            MUST(tasks[joined++] = open(path(cgroup, "tasks"), O_WRONLY | O_CLOEXEC));
        }
    }
    long child = syscall(SYS_clone3, &how, sizeof how);
    MUST(child);
    if (child == 0) {
        for (int i = 0; i < joined; i++) MUST(write(tasks[i], "0", 1));
        MUST(unshare(CLONE_NEWCGROUP));
        MUST(sethostname("floor", 5));
        mount_all(words[1]);
        hide();
        drop_rights();
        install_filter();
        execl(words[2], words[2], NULL);
        _exit(127);
    }
    int status;
    MUST(waitpid(child, &status, 0));
    for (int i = 0; hierarchies[i]; i++)
        for (int tries = 0; rmdir(cgroup_in(hierarchies[i])) < 0 && tries < 1000; tries++) usleep(50);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
