// Says its host's name over HTTP on port 8080; or, with `ask HOST PORT`, asks another and says what that answers.
// Linked statically, it is all that an image needs to hold; glibc resolves names without further files.

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int serve(int port) {
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int on = 1, listener = socket(AF_INET6, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 64)) {
        perror("listen");
        return 1;
    }
    for (;;) {
        char name[256] = "", request[4096], answer[512];
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) continue;
        read(connection, request, sizeof request);
        gethostname(name, sizeof name - 1);
        int length = snprintf(answer, sizeof answer,
                              "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(name), name);
        write(connection, answer, length);
        shutdown(connection, SHUT_WR);
        while (read(connection, request, sizeof request) > 0) {}
        close(connection);
    }
}

static int ask(const char *host, const char *port) {
    struct addrinfo *found, wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    int failed = getaddrinfo(host, port, &wanted, &found);
    if (failed) {
        fprintf(stderr, "%s: %s\n", host, gai_strerror(failed));
        return 1;
    }
    int connection = socket(found->ai_family, found->ai_socktype, 0);
    if (connect(connection, found->ai_addr, found->ai_addrlen)) {
        perror(host);
        return 1;
    }
    dprintf(connection, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
    char answer[4096] = "";
    size_t length = 0;
    for (ssize_t got; (got = read(connection, answer + length, sizeof answer - 1 - length)) > 0;) length += got;
    char *body = strstr(answer, "\r\n\r\n");
    puts(body ? body + 4 : answer);
    return !body;
}

int main(int count, char **arguments) {
    return count == 4 && !strcmp(arguments[1], "ask") ? ask(arguments[2], arguments[3]) : serve(8080);
}
