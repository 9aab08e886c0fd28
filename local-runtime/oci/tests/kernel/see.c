// What containers of the tests run: `see VERB [VALUE]`. Without a verb it prints what it sees around itself.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int end(const char *code) { return atoi(code); }

static int die(const char *signal) {
    kill(getpid(), atoi(signal));
    pause();
    return 0;
}

static int write_file(const char *path) {
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    if (fd >= 0 && write(fd, "x", 1) == 1) return 0;
    perror(path);
    return 1;
}

static int cat(const char *path) {
    char text[65536];
    int fd = open(path, O_RDONLY);
    long n = fd < 0 ? -1 : 0;
    while (fd >= 0 && (n = read(fd, text, sizeof text)) > 0) fwrite(text, 1, n, stdout);
    if (n < 0) perror(path);
    return n < 0;
}

static int look(const char *path) {
    struct stat found;
    if (lstat(path, &found) < 0) return perror(path), 1;
    printf("%o %u:%u of %u:%u\n", found.st_mode, major(found.st_rdev), minor(found.st_rdev), found.st_uid, found.st_gid);
    return 0;
}

static void bye(int signal) { _exit(40 + signal); }

// Until a signal comes: 40 + its number is the exit code then.
static int wait_for_signal(const char *unused) {
    (void)unused;
    signal(SIGTERM, bye), signal(SIGUSR1, bye), signal(SIGINT, bye);
    printf("waiting\n");
    while (pause()) continue;
    return 0;
}

static int env(const char *unused) {
    (void)unused;
    for (char **entry = environ; *entry; entry++) puts(*entry);
    return 0;
}

static int namespaces(const char *unused) {
    (void)unused;
    const char *kinds[] = {"net", "pid", "ipc", "uts", "mnt", "cgroup"};
    for (int i = 0; i < 6; i++) {
        char path[64], target[64] = "";
        snprintf(path, 64, "/proc/self/ns/%s", kinds[i]);
        if (readlink(path, target, 63) > 0) puts(target);
    }
    return 0;
}

static int eat(const char *megabytes) {
    size_t size = (size_t)atoi(megabytes) << 20;
    volatile char *memory = malloc(size);
    for (size_t i = 0; i < size; i += 4096) memory[i] = 1;
    printf("ate\n");
    return 0;
}

static int burn(const char *milliseconds) {
    struct timespec used;
    do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < atoi(milliseconds));
    printf("burnt\n");
    return 0;
}

// What an administrator could do to a read-only mount.
static int remount(const char *path) {
    struct mount_attr writable = {.attr_clr = MOUNT_ATTR_RDONLY};
    printf("remount: %s\n", strerror(mount(0, path, 0, MS_REMOUNT | MS_BIND, 0) < 0 ? errno : 0));
    printf("setattr: %s\n",
           strerror(mount_setattr(AT_FDCWD, path, AT_RECURSIVE, &writable, sizeof writable) < 0 ? errno : 0));
    printf("umount: %s\n", strerror(umount2(path, MNT_DETACH) < 0 ? errno : 0));
    mkdir("/copy", 0755);
    printf("bind: %s\n", strerror(mount(path, "/copy", 0, MS_BIND, 0) < 0 ? errno : 0));
    printf("remount of it: %s\n", strerror(mount(0, "/copy", 0, MS_REMOUNT | MS_BIND, 0) < 0 ? errno : 0));
    printf("mount: %s\n", strerror(mount("none", "/copy", "tmpfs", 0, 0) < 0 ? errno : 0));
    printf("write: %s\n", strerror(open("/volume/secret", O_WRONLY | O_TRUNC) < 0 ? errno : 0));
    return 0;
}

// A release agent is run by the host's kernel outside: looks for one, with the rights of a user namespace, too.
static int agent(const char *unused) {
    const char *controllers[] = {"rdma", "memory", "pids", "freezer", "devices", "name=systemd"};
    int found = 0;
    (void)unused;
    mkdir("/hierarchy", 0755);
    for (int rights = 0; rights < 2; rights++) {
        for (int i = 0; i < 6; i++)
            if (mount("none", "/hierarchy", "cgroup", 0, controllers[i]) == 0) {
                found += open("/hierarchy/release_agent", O_WRONLY) >= 0;
                umount2("/hierarchy", MNT_DETACH);
            }
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP) < 0) printf("unshare: %s\n", strerror(errno));
    }
    for (int i = 0; i < 6; i++) {
        char path[128];
        const char *name = strchr(controllers[i], '=');
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/release_agent", name ? name + 1 : controllers[i]);
        found += access(path, F_OK) == 0;
    }
    printf("release agents %d\n", found);
    return 0;
}

// As many children as there may be; they stay until this process ends.
static int fork_children(const char *wanted) {
    int made = 0;
    for (; made < atoi(wanted); made++) {
        int child = fork();
        if (child < 0) {
            printf("fork %d: %s\n", made, strerror(errno));
            return 0;
        }
        if (child == 0) {
            pause();
            _exit(0);
        }
    }
    printf("forked %d\n", made);
    return 0;
}

static int terminal(const char *unused) {
    (void)unused;
    struct winsize size = {0};
    struct stat own = {0}, console = {0};
    int same = isatty(0) && isatty(1) && isatty(2) && !fstat(0, &own) && !stat("/dev/console", &console);
    ioctl(0, TIOCGWINSZ, &size);
    printf("terminal %s of user %d\n", isatty(0) ? ttyname(0) : "none", own.st_uid);
    printf("size %dx%d\n", size.ws_row, size.ws_col);
    printf("console %s\n", same && own.st_rdev == console.st_rdev ? "is it" : "is another");
    printf("leader %d foreground %d\n", getsid(0) == getpid(), tcgetpgrp(0) == getpgrp());
    int controlling = open("/dev/tty", O_RDWR);
    printf("controlling %s\n", controlling >= 0 ? "yes" : strerror(errno));
    return 0;
}

static void show(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY);
    printf("%s: %s\n", path, fd < 0 ? "absent" : read(fd, &byte, 1) == 0 ? "empty" : "readable");
    if (fd >= 0) close(fd);
}

static int look_around(void) {
    const char *wanted[] = {"Cap", "Seccomp:", "NoNewPrivs", "SigIgn", "SigBlk", "Groups"};
    char line[256], host[65] = "", cwd[256] = "";
    int open_fds = 0;
    for (int fd = 3; fd < 64; fd++) open_fds += fcntl(fd, F_GETFD) >= 0;
    printf("extra descriptors %d\n", open_fds);
    if (readlink("/proc/self/fd/0", cwd, 255) > 0) printf("input %s\n", cwd);
    memset(cwd, 0, sizeof cwd);
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        for (int i = 0; i < 6; i++)
            if (!strncmp(line, wanted[i], strlen(wanted[i]))) fputs(line, stdout);
    gethostname(host, 64);
    if (!getcwd(cwd, 255)) cwd[0] = 0;
    printf("pid %d uid %d gid %d host %s cwd %s\n", getpid(), getuid(), getgid(), host, cwd);
    show("/proc/kcore");
    show("/proc/timer_list");
    printf("proc/sys %s\n", open("/proc/sys/kernel/domainname", O_WRONLY) < 0 ? "read-only" : "writable");
    struct stat null;
    printf("null %d\n", stat("/dev/null", &null) == 0 && null.st_rdev == 0x103);
    return 0;
}

// Not in a container: runs a command without streams, and says how much memory it had at most, in KiB.
static int peak(char **command) {
    int status;
    struct rusage use;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t child = vfork();
    if (child == 0) {
        for (int stream = 0; stream < 3; stream++) dup2(null, stream);
        execv(command[0], command);
        _exit(127);
    }
    if (wait4(child, &status, 0, &use) < 0) return 1;
    printf("%ld\n", use.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(const char *);
    } verbs[] = {
        {"exit", end}, {"die", die}, {"write", write_file}, {"cat", cat}, {"wait", wait_for_signal}, {"env", env},
        {"ns", namespaces}, {"eat", eat}, {"fork", fork_children}, {"terminal", terminal}, {"burn", burn}, {"remount", remount}, {"look", look},
        {"agent", agent},
    };
    setvbuf(stdout, 0, _IONBF, 0);
    if (argc > 2 && !strcmp(argv[1], "peak")) return peak(argv + 2);
    for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(argv[1], verbs[i].name)) return verbs[i].run(argc > 2 ? argv[2] : "");
    return argc > 1 ? 64 : look_around();
}
