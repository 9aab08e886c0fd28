// web: the page of the shop. It asks the catalog for its items and counts each visit there, and tells the sidecar
// beside it how long every request took.
#define _GNU_SOURCE
#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Change this line and `portolan up` again: the new revision answers on the same address.
#define HEADLINE "Charts, compasses and cordage"

enum { CALL_MS = 2000 };

static const char *host_name(void) {
    static char name[256];
    if (gethostname(name, sizeof name - 1) != 0)
        return "unknown";
    return name;
}

static const char *catalog(void) {
    return setting("CATALOG_URL", "http://catalog:8080");
}

// The style sheet that the manifest's `files` put here; the page does without where there is none.
static void add_style(struct text *page) {
    char bytes[4096];
    FILE *file = fopen(setting("STYLE_FILE", "/etc/shop/style.css"), "r");
    if (file == NULL)
        return;
    size_t length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    text_format(page, "<style>\n");
    text_add(page, bytes, length);
    text_format(page, "</style>\n");
}

static void add_items(struct text *page) {
    struct text items = {0};
    int status = http_call("GET", catalog(), "/items", "", &items, CALL_MS);
    if (status != 200) {
        text_format(page, "<p class=\"fault\">The catalog does not answer: ");
        text_html(page, items.bytes ? items.bytes : "");
        text_format(page, "</p>\n");
    } else {
        text_format(page, "<ul>\n");
        char *rest = NULL;
        for (char *line = strtok_r(items.bytes, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
            text_format(page, "<li>");
            text_html(page, line);
            text_format(page, "</li>\n");
        }
        text_format(page, "</ul>\n");
    }
    text_free(&items);
}

static void add_visits(struct text *page) {
    struct text visits = {0};
    if (http_call("POST", catalog(), "/visits", "", &visits, CALL_MS) == 200)
        text_format(page, "<p>You are visitor number <b>%d</b>.</p>\n", visits.bytes ? atoi(visits.bytes) : 0);
    text_free(&visits);
}

static void add_stats(struct text *page) {
    struct text stats = {0};
    if (http_call("GET", setting("STATS_URL", "http://127.0.0.1:9100"), "/", "", &stats, CALL_MS) == 200) {
        text_format(page, "<pre>");
        text_html(page, stats.bytes ? stats.bytes : "");
        text_format(page, "</pre>\n");
    }
    text_free(&stats);
}

static void page(struct reply *reply) {
    struct text *page = &reply->body;
    reply->type = "text/html";
    // A browser keeps its connections, and with them its replica. This way each visit may meet another one.
    reply->close = true;
    text_format(page, "<!doctype html>\n<html lang=\"en\">\n<head>\n<title>The Portolan shop</title>\n");
    add_style(page);
    text_format(page, "</head>\n<body>\n<h1>" HEADLINE "</h1>\n<p>");
    text_html(page, setting("GREETING", "Welcome."));
    text_format(page, "</p>\n");
    add_items(page);
    add_visits(page);
    text_format(page, "<footer>Answered by replica <b>");
    text_html(page, host_name());
    text_format(page, "</b>, revision <b>");
    text_html(page, setting("PORTOLAN_REVISION", "unknown"));
    text_format(page, "</b>. Its sidecar has counted:</footer>\n");
    add_stats(page);
    text_format(page, "</body>\n</html>\n");
}

static void who_am_i(struct reply *reply) {
    text_format(&reply->body, "replica %s\nrevision %s\nheadline %s\n", host_name(),
                setting("PORTOLAN_REVISION", "unknown"), HEADLINE);
}

// Compares all of both, however early they differ: the time it takes tells nothing about the token.
static bool is_token(const char *given) {
    const char *token = setting("ADMIN_TOKEN", "");
    size_t length = strlen(token);
    if (length == 0 || strncmp(given, "Bearer ", 7) != 0 || strlen(given + 7) != length)
        return false;
    unsigned char different = 0;
    for (size_t at = 0; at < length; at++)
        different |= (unsigned char)(given[7 + at] ^ token[at]);
    return different == 0;
}

static void add_item(const struct request *request, struct reply *reply) {
    if (!is_token(request->authorization)) {
        reply->status = 401;
        text_format(&reply->body, "only with the token of the secret `admin`\n");
        return;
    }
    int status = http_call("POST", catalog(), "/items", request->body, &reply->body, CALL_MS);
    reply->status = status < 0 ? 502 : status;
}

// Ready once the catalog answers: a page without items is no page.
static void ready(struct reply *reply) {
    if (http_call("GET", catalog(), "/ready", "", &reply->body, CALL_MS / 4) != 200)
        reply->status = 503;
}

static bool route(const struct request *request, struct reply *reply) {
    bool get = strcmp(request->method, "GET") == 0;
    if (get && strcmp(request->path, "/") == 0)
        page(reply);
    else if (get && strcmp(request->path, "/whoami") == 0)
        who_am_i(reply);
    else if (get && strcmp(request->path, "/ready") == 0)
        ready(reply);
    else if (get && strcmp(request->path, "/live") == 0)
        text_format(&reply->body, "yes\n");
    else if (strcmp(request->method, "POST") == 0 && strcmp(request->path, "/items") == 0)
        add_item(request, reply);
    else
        return false;
    return true;
}

static long microseconds_since(struct timespec start) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - start.tv_sec) * 1000000L + (now.tv_nsec - start.tv_nsec) / 1000;
}

static void tell_sidecar(long microseconds) {
    char sent[32];
    struct text body = {0};
    snprintf(sent, sizeof sent, "%ld", microseconds);
    http_call("POST", setting("STATS_URL", "http://127.0.0.1:9100"), "/hit", sent, &body, CALL_MS / 4);
    text_free(&body);
}

static void handle(const struct request *request, struct reply *reply) {
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (!route(request, reply)) {
        reply->status = 404;
        text_format(&reply->body, "there is no %s\n", request->path);
    }
    bool probe = strcmp(request->path, "/ready") == 0 || strcmp(request->path, "/live") == 0;
    if (probe)
        return;
    printf("%s %s %d\n", request->method, request->path, reply->status);
    tell_sidecar(microseconds_since(start));
}

int main(void) {
    return http_serve("web", 8080, handle);
}
