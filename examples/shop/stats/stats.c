// stats: a sidecar. Each replica of web has one beside it, in the same network, and tells it about every request.
#include "http.h"

#include <stdlib.h>
#include <string.h>

static long requests, microseconds, longest;

static void hit(const char *body) {
    long took = atol(body);
    requests += 1;
    microseconds += took;
    if (took > longest)
        longest = took;
}

static void handle(const struct request *request, struct reply *reply) {
    if (strcmp(request->method, "POST") == 0 && strcmp(request->path, "/hit") == 0) {
        hit(request->body);
        return;
    }
    long mean = requests == 0 ? 0 : microseconds / requests;
    text_format(&reply->body, "requests %ld\nmean_us %ld\nlongest_us %ld\n", requests, mean, longest);
}

int main(void) {
    return http_serve("stats", 9100, handle);
}
