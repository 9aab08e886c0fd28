// greeter: answers every connection with its greeting and who says it, then closes it. Without a greeting it gives up.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

// The first process of a container ends at a signal only if it says so.
static void stop(int signal) {
    (void)signal;
    _exit(0);
}

static const char *greeting(void) {
    const char *text = getenv("GREETING");
    if (text == NULL || *text == '\0') {
        fputs("greeter: GREETING is empty, and there is nothing to say\n", stderr);
        exit(3);
    }
    return text;
}

static int listen_on(unsigned short port) {
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 64) != 0) {
        perror("greeter: cannot listen");
        exit(1);
    }
    return listener;
}

static void answer(int client, const char *greeting) {
    struct timeval limit = {.tv_sec = 1};
    char request[4096], line[512], reply[1024];
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (recv(client, request, sizeof request, 0) <= 0)
        return;
    snprintf(line, sizeof line, "%.400s from revision %s\n", greeting, getenv("PORTOLAN_REVISION") ?: "unknown");
    int length = snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                          strlen(line), line);
    send(client, reply, (size_t)length, MSG_NOSIGNAL);
}

int main(void) {
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    const char *text = greeting();
    int listener = listen_on((unsigned short)atoi(getenv("PORT") ?: "8091"));
    printf("greeter: saying \"%s\"\n", text);
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            continue;
        answer(client, text);
        close(client);
    }
}
