// A small HTTP/1.1 server and client for the programs of this example: one thread, one poll loop, C11 and POSIX.
//
// The server keeps connections alive, bounds what a client may send and how long it may take, and ends gracefully:
// after SIGTERM or SIGINT it takes no new connection, answers every request that has begun, says `Connection: close`
// in each answer, and returns.
#ifndef SHOP_HTTP_H
#define SHOP_HTTP_H

#include <stdbool.h>
#include <stddef.h>

// Bytes that grow. `bytes` always ends in a NUL that `length` does not count.
struct text {
    char *bytes;
    size_t length;
    size_t room;
};

void text_add(struct text *text, const char *bytes, size_t length);
void text_format(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Adds `words` so that HTML shows them as they are.
void text_html(struct text *text, const char *words);
void text_free(struct text *text);

// What a client asked. The strings live until the handler returns.
struct request {
    const char *method;
    const char *path;          // without the query
    const char *authorization; // the header's value, or ""
    const char *body;          // "" where there is none
};

// What it gets. A handler fills it in; the server frees it.
struct reply {
    int status;       // 200 unless changed
    const char *type; // text/plain unless changed
    bool close;       // end the connection after this answer
    struct text body;
};

typedef void handler(const struct request *request, struct reply *reply);

// Serves on the port in the environment variable PORT, else on `port`, until a signal asks it to end. Answers the
// exit code of the program.
int http_serve(const char *program, unsigned short port, handler *handle);

// One request to `url` (http://HOST:PORT) and `path`. Answers the status, with the body in `body`; or -1 within
// `timeout_ms` where there was no answer, with the cause in `body`.
int http_call(const char *method, const char *url, const char *path, const char *sent, struct text *body, int timeout_ms);

// The value of an environment variable, or `otherwise` where it is not set or empty.
const char *setting(const char *name, const char *otherwise);

#endif
