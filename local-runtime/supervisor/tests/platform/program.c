// The one program of the test images, static: `serve PORT TEXT`, `serve-many PORT TEXT`, or a word that ends at once.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *greeting;
static char host[65];

static void stop(int signal) { (void)signal; _exit(0); }

static void read_file(const char *path, char *into, size_t size) {
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, into, size - 1);
    if (got < 0) got = snprintf(into, size, "cannot read %s: %s", path, strerror(errno));
    into[got] = 0;
    if (fd >= 0) close(fd);
}

// What `name:port` answers to GET /.
static void fetch(const char *name, const char *port, char *into, size_t size) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = 0;
    int failed = getaddrinfo(name, port, &hints, &found);
    if (failed) { snprintf(into, size, "%s: %s", name, gai_strerror(failed)); return; }
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char answer[4096] = "";
    if (connect(fd, found->ai_addr, found->ai_addrlen) < 0) snprintf(answer, sizeof answer, "\r\n\r\nconnect: %s", strerror(errno));
    else {
        dprintf(fd, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", name);
        size_t total = 0; ssize_t got;
        while (total < sizeof answer - 1 && (got = read(fd, answer + total, sizeof answer - 1 - total)) > 0) total += got;
        answer[total] = 0;
    }
    close(fd); freeaddrinfo(found);
    char *body = strstr(answer, "\r\n\r\n");
    snprintf(into, size, "%s", body ? body + 4 : "no answer");
}

static void eat(void) { for (;;) { char *page = malloc(1 << 20); if (page) memset(page, 1, 1 << 20); } }

static void answer(int client) {
    char request[2048], path[1024] = "/", body[8192]; int status = 200;
    ssize_t got = read(client, request, sizeof request - 1);
    if (got <= 0) return;
    request[got] = 0;
    sscanf(request, "GET %1023s", path);
    char *rest = strchr(path + 1, '/');
    if (!strncmp(path, "/env/", 5)) { const char *value = getenv(path + 5); snprintf(body, sizeof body, "%s", value ? value : "unset"); }
    else if (!strncmp(path, "/file/", 6)) read_file(path + 5, body, sizeof body);
    else if (!strncmp(path, "/fetch/", 7)) { char *name = rest + 1, *port = strchr(name, '/'); *port++ = 0; fetch(name, port, body, sizeof body); }
    else if (!strcmp(path, "/ready")) { status = access("/tmp/unready", F_OK) ? 200 : 503; snprintf(body, sizeof body, "%d", status); }
    else if (!strcmp(path, "/crash")) _exit(3);
    else if (!strcmp(path, "/eat")) eat();
    else snprintf(body, sizeof body, "%s from %s", greeting, host);
    dprintf(client, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status, strlen(body), body);
}

static int serve(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) { perror("listen"); return 1; }
    printf("listening on %d\n", port); fflush(stdout);
    fprintf(stderr, "a word on stderr\n");
    for (;;) {
        int client = accept(listener, 0, 0);
        if (client < 0) continue;
        answer(client);
        shutdown(client, SHUT_WR);
        close(client);
    }
}

static volatile sig_atomic_t stopping;
static void begin_stop(int signal) { (void)signal; stopping = 1; }

// False once the connection is over. A request comes in one piece, its answer fits the socket.
static int answer_once(int client, const char *text) {
    char request[2048], body[256];
    ssize_t got = read(client, request, sizeof request - 1);
    if (got <= 0) return 0;
    request[got] = 0;
    int last = stopping || strstr(request, "Connection: close");
    snprintf(body, sizeof body, "%s from %s", text, host);
    dprintf(client, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%s\r\n%s", strlen(body), last ? "Connection: close\r\n" : "", body);
    return !last;
}

// Many connections that stay; after SIGTERM each is ended by its next answer, and the last of them ends the program.
static int serve_many(int port, const char *text) {
    static struct pollfd fds[1024];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, used = 1;
    signal(SIGTERM, begin_stop);
    fds[0] = (struct pollfd){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .events = POLLIN};
    setsockopt(fds[0].fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fds[0].fd, (struct sockaddr *)&address, sizeof address) || listen(fds[0].fd, 1024)) { perror("listen"); return 1; }
    while (!stopping || used > 1) {
        if (poll(fds, used, -1) < 0) continue;
        for (int at = used - 1; at > 0; at--)
            if (fds[at].revents && !answer_once(fds[at].fd, text)) { close(fds[at].fd); fds[at] = fds[--used]; }
        if (fds[0].revents && used < 1024) {
            int client = accept(fds[0].fd, 0, 0);
            if (client >= 0) fds[used++] = (struct pollfd){.fd = client, .events = POLLIN};
        }
    }
    return 0;
}

// Each datagram comes back with our name before it.
static int answer_datagrams(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)}, from;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) { perror("bind"); return 1; }
    for (;;) {
        char got[1024], answer[1200]; socklen_t size = sizeof from;
        ssize_t length = recvfrom(fd, got, sizeof got - 1, 0, (struct sockaddr *)&from, &size);
        if (length < 0) continue;
        got[length] = 0;
        snprintf(answer, sizeof answer, "%s: %s", host, got);
        sendto(fd, answer, strlen(answer), 0, (struct sockaddr *)&from, size);
    }
}

// What `name:port` answers to a datagram.
static int ask_datagram(const char *name, const char *port) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM}, *found = 0;
    struct timeval patience = {.tv_sec = 2};
    char answer[1200];
    int failed = getaddrinfo(name, port, &hints, &found), fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (failed) { printf("%s: %s\n", name, gai_strerror(failed)); return 1; }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, found->ai_addr, found->ai_addrlen) || send(fd, "hello", 5, 0) != 5) { perror(name); return 1; }
    ssize_t length = recv(fd, answer, sizeof answer - 1, 0);
    if (length < 0) { perror(name); return 1; }
    answer[length] = 0;
    puts(answer);
    return 0;
}

// A line with a number that grows by one, a thousand times a second.
static int count(void) {
    for (long number = 1;; number++) { printf("%ld\n", number); fflush(stdout); usleep(1000); }
}

static int lines(int count) {
    for (int number = 1; number <= count; number++) printf("line %d\n", number);
    return 0;
}

int main(int argc, char **argv) {
    gethostname(host, sizeof host - 1);
    signal(SIGTERM, stop); signal(SIGPIPE, SIG_IGN);
    const char *word = argc > 1 ? argv[1] : "";
    if (!strcmp(word, "serve") && argc > 3) { greeting = argv[3]; return serve(atoi(argv[2])); }
    if (!strcmp(word, "serve-many") && argc > 3) return serve_many(atoi(argv[2]), argv[3]);
    if (!strcmp(word, "answer-datagrams") && argc > 2) return answer_datagrams(atoi(argv[2]));
    if (!strcmp(word, "ask-datagram") && argc > 3) return ask_datagram(argv[2], argv[3]);
    if (!strcmp(word, "count")) return count();
    if (!strcmp(word, "lines") && argc > 2) return lines(atoi(argv[2]));
    if (!strcmp(word, "exit") && argc > 2) { printf("about to end\n"); return atoi(argv[2]); }
    if (!strcmp(word, "append") && argc > 3) { FILE *file = fopen(argv[2], "a"); if (!file) { perror(argv[2]); return 1; } fprintf(file, "%s\n", argv[3]); return fclose(file); }
    if (!strcmp(word, "cat") && argc == 2) { char text[4096]; ssize_t got; while ((got = read(0, text, sizeof text)) > 0) if (write(1, text, got) != got) return 1; return 0; }
    if (!strcmp(word, "is") && argc > 2) return access(argv[2], F_OK) != 0;
    if (!strcmp(word, "env") && argc > 2) { const char *value = getenv(argv[2]); printf("%s\n", value ? value : "unset"); return 0; }
    if (!strcmp(word, "tty")) { struct winsize size = {0}; ioctl(1, TIOCGWINSZ, &size); printf("%d %d %d\n", isatty(0), size.ws_row, size.ws_col); return 0; }
    if (!strcmp(word, "eat")) eat();
    if (!strcmp(word, "sleep")) for (;;) pause();
    fprintf(stderr, "what is `%s`?\n", word);
    return 64;
}
