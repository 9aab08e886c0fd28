#define _GNU_SOURCE
#include "http.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_CONNECTIONS = 128,
    MAX_REQUEST = 16 * 1024, // head and body together
    MAX_ANSWER = 1024 * 1024,
    IDLE_MS = 15 * 1000,  // a connection between two requests
    REQUEST_MS = 5 * 1000, // a request from its first byte to the last byte of its answer
    QUIET_MS = 1000,      // after a signal: a connection whose next request may be on its way
    DRAIN_MS = 10 * 1000, // after a signal: everything
};

// ---- text ----

static void text_reserve(struct text *text, size_t more) {
    if (text->length + more + 1 <= text->room)
        return;
    size_t room = (text->length + more + 1) * 2;
    char *bytes = realloc(text->bytes, room);
    if (bytes == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    text->bytes = bytes;
    text->room = room;
}

void text_add(struct text *text, const char *bytes, size_t length) {
    text_reserve(text, length);
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_format(struct text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    text_reserve(text, (size_t)length);
    va_start(arguments, format);
    vsnprintf(text->bytes + text->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t)length;
}

void text_html(struct text *text, const char *words) {
    for (; *words != '\0'; words++) {
        switch (*words) {
        case '&': text_format(text, "&amp;"); break;
        case '<': text_format(text, "&lt;"); break;
        case '>': text_format(text, "&gt;"); break;
        case '"': text_format(text, "&quot;"); break;
        case '\'': text_format(text, "&#39;"); break;
        default: text_add(text, words, 1);
        }
    }
}

void text_free(struct text *text) {
    free(text->bytes);
    *text = (struct text){0};
}

// ---- small things ----

const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : otherwise;
}

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static const char *phrase(int status) {
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Content Too Large";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    default: return "Internal Server Error";
    }
}

// The value of a header in a head whose lines end in CR LF: copied to `value`, "" where it is missing.
static void header(const char *head, const char *name, char *value, size_t room) {
    size_t length = strlen(name);
    *value = '\0';
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) != 0 || line[length] != ':')
            continue;
        const char *from = line + length + 1;
        from += strspn(from, " \t");
        size_t size = strcspn(from, "\r\n");
        if (size >= room)
            size = room - 1;
        memcpy(value, from, size);
        value[size] = '\0';
        return;
    }
}

// ---- server ----

struct connection {
    int socket;          // -1: this place is free
    struct text in;      // received and not yet answered
    struct text out;     // answered and not yet sent
    size_t sent;         // bytes of `out` that are gone
    long long deadline;  // when to give up on it
    bool close;          // whether it ends once `out` is sent
};

static volatile sig_atomic_t stopping;

static void stop(int signal) {
    (void)signal;
    stopping = 1;
}

static void forget(struct connection *connection) {
    close(connection->socket);
    text_free(&connection->in);
    text_free(&connection->out);
    *connection = (struct connection){.socket = -1};
}

static void write_answer(struct connection *connection, struct reply *reply, bool with_body) {
    bool close = reply->close || stopping;
    text_format(&connection->out,
                "HTTP/1.1 %d %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n%s\r\n",
                reply->status, phrase(reply->status), reply->type, reply->body.length,
                close ? "Connection: close\r\n" : "");
    if (with_body)
        text_add(&connection->out, reply->body.bytes ? reply->body.bytes : "", reply->body.length);
    connection->close = close;
}

static void refuse(struct connection *connection, int status) {
    struct reply reply = {.status = status, .type = "text/plain", .close = true};
    text_format(&reply.body, "%s\n", phrase(status));
    write_answer(connection, &reply, true);
    text_free(&reply.body);
}

// Answers the first request in `in` if all of it is there, and takes it out.
static void answer(struct connection *connection, handler *handle) {
    char *end = connection->in.bytes ? strstr(connection->in.bytes, "\r\n\r\n") : NULL;
    if (end == NULL) {
        if (connection->in.length >= MAX_REQUEST)
            refuse(connection, 413);
        return;
    }
    end[2] = '\0';
    char method[16], target[2048], version[16], length[32], authorization[256], coding[32], connection_header[64];
    const char *head = connection->in.bytes;
    header(head, "Content-Length", length, sizeof length);
    header(head, "Authorization", authorization, sizeof authorization);
    header(head, "Transfer-Encoding", coding, sizeof coding);
    header(head, "Connection", connection_header, sizeof connection_header);
    bool well_formed = sscanf(head, "%15[A-Z] %2047s %15s", method, target, version) == 3 && target[0] == '/' &&
                       strncmp(version, "HTTP/1.", 7) == 0 && coding[0] == '\0' &&
                       length[strspn(length, "0123456789")] == '\0' && strlen(length) < 10;
    end[2] = '\r';
    if (!well_formed) {
        refuse(connection, 400);
        return;
    }
    size_t body_length = (size_t)strtoul(length, NULL, 10);
    size_t body_at = (size_t)(end + 4 - connection->in.bytes);
    if (body_at + body_length > MAX_REQUEST) {
        refuse(connection, 413);
        return;
    }
    if (connection->in.length < body_at + body_length)
        return;
    struct text body = {0};
    text_add(&body, connection->in.bytes + body_at, body_length);
    target[strcspn(target, "?#")] = '\0';
    struct request request = {.method = method, .path = target, .authorization = authorization, .body = body.bytes};
    struct reply reply = {.status = 200, .type = "text/plain"};
    reply.close = strcasecmp(connection_header, "close") == 0 || strcmp(version, "HTTP/1.0") == 0;
    bool head_only = strcmp(method, "HEAD") == 0;
    if (head_only)
        request.method = "GET";
    handle(&request, &reply);
    write_answer(connection, &reply, !head_only);
    text_free(&reply.body);
    text_free(&body);
    size_t used = body_at + body_length;
    memmove(connection->in.bytes, connection->in.bytes + used, connection->in.length - used + 1);
    connection->in.length -= used;
}

// Takes what has arrived. False once the client has gone.
static bool receive(struct connection *connection) {
    char bytes[4096];
    ssize_t count = recv(connection->socket, bytes, sizeof bytes, MSG_DONTWAIT);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR;
    if (count == 0)
        return false;
    // A NUL has no place in a request's head, and would hide what follows it.
    if (memchr(bytes, '\0', (size_t)count) != NULL)
        return false;
    if (connection->in.length == 0)
        connection->deadline = now_ms() + REQUEST_MS;
    text_add(&connection->in, bytes, (size_t)count);
    return true;
}

// Sends what is there. False once the connection is at its end.
static bool transmit(struct connection *connection) {
    size_t left = connection->out.length - connection->sent;
    ssize_t count = send(connection->socket, connection->out.bytes + connection->sent, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR;
    connection->sent += (size_t)count;
    if (connection->sent < connection->out.length)
        return true;
    text_free(&connection->out);
    connection->sent = 0;
    connection->deadline = now_ms() + IDLE_MS;
    if (connection->close)
        shutdown(connection->socket, SHUT_WR);
    return !connection->close;
}

// One turn of one connection: receive, answer, send. Requests that came together are answered one after the other.
static void serve(struct connection *connection, short events, handler *handle) {
    bool open = true;
    if (events & (POLLIN | POLLHUP | POLLERR) && connection->out.length == 0)
        open = receive(connection);
    while (open && connection->out.length == 0 && connection->in.length > 0) {
        answer(connection, handle);
        if (connection->out.length == 0)
            break;
        open = transmit(connection);
    }
    if (open && connection->out.length > 0 && events & (POLLOUT | POLLHUP | POLLERR))
        open = transmit(connection);
    if (!open)
        forget(connection);
}

static void accept_all(int listener, struct connection *connections) {
    for (int at = 0; at < MAX_CONNECTIONS; at++) {
        if (connections[at].socket != -1)
            continue;
        int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (socket < 0)
            return;
        connections[at] = (struct connection){.socket = socket, .deadline = now_ms() + IDLE_MS};
    }
}

// Whether a connection is idle once the server is stopping, and has been for so long that nothing is on its way. One that
// is closed at once between two requests costs its client the second of them.
static bool is_done(const struct connection *connection, long long stopped_at) {
    bool idle = connection->in.length == 0 && connection->out.length == 0;
    return idle && now_ms() > stopped_at + QUIET_MS;
}

static int open_listener(unsigned short port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0)
        return -1;
    int yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 128) < 0) {
        close(listener);
        return -1;
    }
    return listener;
}

// Signals come only while ppoll waits, so that none is lost between a look at `stopping` and the wait.
static sigset_t hold_signals(void) {
    sigset_t held, before;
    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGINT);
    sigprocmask(SIG_BLOCK, &held, &before);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigdelset(&before, SIGTERM);
    sigdelset(&before, SIGINT);
    return before;
}

int http_serve(const char *program, unsigned short port, handler *handle) {
    static struct connection connections[MAX_CONNECTIONS];
    static struct pollfd polled[MAX_CONNECTIONS + 1];
    const char *given = setting("PORT", "");
    if (*given != '\0')
        port = (unsigned short)atoi(given);
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigset_t waiting = hold_signals();
    int listener = open_listener(port);
    if (listener < 0) {
        fprintf(stderr, "%s: cannot listen on port %d: %s\n", program, port, strerror(errno));
        return 1;
    }
    printf("%s: listening on port %d\n", program, port);
    for (int at = 0; at < MAX_CONNECTIONS; at++)
        connections[at].socket = -1;
    long long stopped_at = 0;
    for (;;) {
        if (stopping && stopped_at == 0) {
            // What waits in the queue has been promised an answer.
            accept_all(listener, connections);
            close(listener);
            listener = -1;
            stopped_at = now_ms();
            printf("%s: asked to stop, answering what is open\n", program);
        }
        int open = 0;
        for (int at = 0; at < MAX_CONNECTIONS; at++) {
            struct connection *connection = &connections[at];
            if (connection->socket != -1 &&
                (now_ms() > connection->deadline || (stopped_at != 0 && is_done(connection, stopped_at))))
                forget(connection);
            open += connection->socket != -1;
            polled[at] = (struct pollfd){.fd = connection->socket, .events = connection->out.length > 0 ? POLLOUT : POLLIN};
        }
        if (stopped_at != 0 && (open == 0 || now_ms() > stopped_at + DRAIN_MS)) {
            printf("%s: stopped\n", program);
            return 0;
        }
        polled[MAX_CONNECTIONS] = (struct pollfd){.fd = open < MAX_CONNECTIONS ? listener : -1, .events = POLLIN};
        struct timespec turn = {.tv_nsec = stopped_at != 0 ? 50 * 1000000L : 999 * 1000000L};
        if (ppoll(polled, MAX_CONNECTIONS + 1, &turn, &waiting) <= 0)
            continue;
        for (int at = 0; at < MAX_CONNECTIONS; at++)
            if (polled[at].fd != -1 && polled[at].revents != 0)
                serve(&connections[at], polled[at].revents, handle);
        if (listener != -1 && polled[MAX_CONNECTIONS].revents != 0)
            accept_all(listener, connections);
    }
}

// ---- client ----

static int fail(struct text *body, const char *what, const char *why) {
    text_free(body);
    text_format(body, "%s: %s", what, why);
    return -1;
}

// `http://catalog:8080` -> `catalog`, `8080`.
static bool split_url(const char *url, char host[256], char port[8]) {
    strcpy(port, "80");
    return sscanf(url, "http://%255[^:/]:%7[0-9]", host, port) >= 1;
}

static int wait_for(int socket, short events, long long deadline) {
    for (;;) {
        long long left = deadline - now_ms();
        if (left <= 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        int ready = poll(&(struct pollfd){.fd = socket, .events = events}, 1, (int)left);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return -1;
    }
}

static int connect_to(const struct addrinfo *address, long long deadline) {
    int socket_ = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket_ < 0)
        return -1;
    if (connect(socket_, address->ai_addr, address->ai_addrlen) < 0) {
        int error = errno;
        socklen_t size = sizeof error;
        if (error != EINPROGRESS || wait_for(socket_, POLLOUT, deadline) < 0 ||
            getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0) {
            if (error != EINPROGRESS && error != 0)
                errno = error;
            close(socket_);
            return -1;
        }
    }
    return socket_;
}

// Sends all of `request` and receives until the other side closes, which `Connection: close` asks of it.
static int exchange(int socket, const struct text *request, struct text *answer, long long deadline) {
    for (size_t sent = 0; sent < request->length;) {
        if (wait_for(socket, POLLOUT, deadline) < 0)
            return -1;
        ssize_t count = send(socket, request->bytes + sent, request->length - sent, MSG_NOSIGNAL);
        if (count < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        sent += count > 0 ? (size_t)count : 0;
    }
    for (;;) {
        char bytes[4096];
        if (wait_for(socket, POLLIN, deadline) < 0)
            return -1;
        ssize_t count = recv(socket, bytes, sizeof bytes, 0);
        if (count == 0)
            return 0;
        if (count < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (count > 0)
            text_add(answer, bytes, (size_t)count);
        if (answer->length > MAX_ANSWER) {
            errno = EMSGSIZE;
            return -1;
        }
    }
}

int http_call(const char *method, const char *url, const char *path, const char *sent, struct text *body, int timeout_ms) {
    char host[256], port[8];
    long long deadline = now_ms() + timeout_ms;
    if (!split_url(url, host, port))
        return fail(body, url, "not a URL like http://HOST:PORT");
    struct addrinfo *address, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    int lookup = getaddrinfo(host, port, &hints, &address);
    if (lookup != 0)
        return fail(body, host, gai_strerror(lookup));
    int socket = connect_to(address, deadline);
    freeaddrinfo(address);
    if (socket < 0)
        return fail(body, url, strerror(errno));
    struct text request = {0}, answer = {0};
    text_format(&request, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", method,
                path, host, strlen(sent), sent);
    int status = -1;
    if (exchange(socket, &request, &answer, deadline) < 0)
        fail(body, url, strerror(errno));
    else if (answer.bytes == NULL || sscanf(answer.bytes, "HTTP/1.%*d %d", &status) != 1)
        status = fail(body, url, "no answer");
    else {
        const char *end = strstr(answer.bytes, "\r\n\r\n");
        text_free(body);
        text_format(body, "%s", end ? end + 4 : "");
    }
    close(socket);
    text_free(&request);
    text_free(&answer);
    return status;
}
