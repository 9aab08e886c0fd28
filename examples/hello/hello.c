// hello: answers every connection with one line, then closes it.
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

static int listen_on(unsigned short port) {
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 64) != 0) {
        perror("hello: cannot listen");
        exit(1);
    }
    return listener;
}

static void answer(int client) {
    struct timeval limit = {.tv_sec = 1};
    char request[4096], line[256], reply[512];
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (recv(client, request, sizeof request, 0) <= 0)
        return;
    snprintf(line, sizeof line, "hello from %s, revision %s\n", getenv("PORTOLAN_SERVICE") ?: "nobody",
             getenv("PORTOLAN_REVISION") ?: "unknown");
    int length = snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                          strlen(line), line);
    send(client, reply, (size_t)length, MSG_NOSIGNAL);
}

int main(void) {
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    int listener = listen_on((unsigned short)atoi(getenv("PORT") ?: "8090"));
    puts("hello: listening");
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            continue;
        answer(client);
        close(client);
    }
}
