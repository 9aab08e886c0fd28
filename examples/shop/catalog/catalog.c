// catalog: what the shop sells, and how many have visited it. Both are files on the volume, so that they outlive every
// replica and every revision. The migration makes the folder and the first items.
//
//   catalog          serve
//   catalog stop     ask the one that serves to end, as if it had failed
//   catalog check    ask the one that serves whether it is ready; exits 0 or 1 (the manifest's `exec` probe)
#define _GNU_SOURCE
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { MAX_FILE = 256 * 1024, MAX_ITEM = 200 };

static const char *path_of(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", setting("SHOP_FOLDER", "/data/shop"), name);
    return path;
}

// While an update goes on two revisions serve at once, so that each change holds this lock.
static int lock(void) {
    int file = open(path_of("lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0 && flock(file, LOCK_EX) != 0) {
        close(file);
        return -1;
    }
    return file;
}

// Adds a file's content to `text`. False where it cannot be read.
static bool read_file(const char *name, struct text *text) {
    FILE *file = fopen(path_of(name), "re");
    if (file == NULL)
        return false;
    char bytes[4096];
    for (size_t count; (count = fread(bytes, 1, sizeof bytes, file)) > 0 && text->length < MAX_FILE;)
        text_add(text, bytes, count);
    bool good = ferror(file) == 0;
    fclose(file);
    return good;
}

// Replaces a file as a whole: a reader, and a crash, find the old content or the new one.
static bool write_file(const char *name, const struct text *text) {
    char temporary[520], final[512];
    strcpy(final, path_of(name));
    snprintf(temporary, sizeof temporary, "%s.new", final);
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0)
        return false;
    bool good = write(file, text->bytes, text->length) == (ssize_t)text->length && fsync(file) == 0;
    close(file);
    return good && rename(temporary, final) == 0;
}

static void storage_failed(struct reply *reply) {
    reply->status = 503;
    text_format(&reply->body, "%s: %s\n", setting("SHOP_FOLDER", "/data/shop"), strerror(errno));
}

static void list_items(struct reply *reply) {
    if (!read_file("items", &reply->body))
        storage_failed(reply);
}

static void add_item(const struct request *request, struct reply *reply) {
    size_t length = strcspn(request->body, "\r\n");
    if (length == 0 || length > MAX_ITEM) {
        reply->status = 400;
        text_format(&reply->body, "an item is one line of at most %d bytes\n", MAX_ITEM);
        return;
    }
    int held = lock();
    struct text items = {0};
    bool good = held >= 0 && read_file("items", &items) && items.length + length < MAX_FILE;
    text_add(&items, request->body, length);
    text_add(&items, "\n", 1);
    if (good && write_file("items", &items)) {
        reply->status = 201;
        text_format(&reply->body, "added %.*s\n", (int)length, request->body);
    } else {
        storage_failed(reply);
    }
    text_free(&items);
    if (held >= 0)
        close(held);
}

static void visits(struct reply *reply, int more) {
    int held = lock();
    struct text count = {0};
    read_file("visits", &count);
    long visits = (count.bytes ? atol(count.bytes) : 0) + more;
    text_free(&count);
    text_format(&count, "%ld\n", visits);
    if (held >= 0 && (more == 0 || write_file("visits", &count)))
        text_add(&reply->body, count.bytes, count.length);
    else
        storage_failed(reply);
    text_free(&count);
    if (held >= 0)
        close(held);
}

// Ready once the migration has made the items.
static void ready(struct reply *reply) {
    if (access(path_of("items"), R_OK) != 0)
        storage_failed(reply);
}

static void handle(const struct request *request, struct reply *reply) {
    bool get = strcmp(request->method, "GET") == 0, post = strcmp(request->method, "POST") == 0;
    const char *path = request->path;
    if (get && strcmp(path, "/items") == 0)
        list_items(reply);
    else if (post && strcmp(path, "/items") == 0)
        add_item(request, reply);
    else if ((get || post) && strcmp(path, "/visits") == 0)
        visits(reply, post);
    else if (get && strcmp(path, "/ready") == 0)
        ready(reply);
    else {
        reply->status = 404;
        text_format(&reply->body, "there is no %s\n", path);
    }
}

static int check(void) {
    char url[64];
    struct text body = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%s", setting("PORT", "8080"));
    int status = http_call("GET", url, "/ready", "", &body, 500);
    if (status != 200)
        fprintf(stderr, "catalog: not ready: %s\n", body.bytes ? body.bytes : "");
    text_free(&body);
    return status == 200 ? 0 : 1;
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "check") == 0)
        return check();
    // The first process of a container has the number 1, and this one was started beside it.
    if (count > 1 && strcmp(arguments[1], "stop") == 0)
        return kill(1, SIGTERM) == 0 ? 0 : 1;
    return http_serve("catalog", 8080, handle);
}
