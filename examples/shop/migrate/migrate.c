// migrate: brings the data on the volume to the form that this revision of the shop wants, one numbered step after the
// other. Which step was the last one is kept beside the data, so that running it again does nothing; and each run adds
// a line to `runs`, so that you can see how often it ran: once for each revision.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const char *folder;

static _Noreturn void fail(const char *what, const char *name) {
    fprintf(stderr, "migrate: cannot %s %s/%s: %s\n", what, folder, name, strerror(errno));
    exit(1);
}

static void write_file(const char *name, const char *mode, const char *content) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, mode);
    if (file == NULL || fputs(content, file) < 0 || fclose(file) != 0)
        fail("write", name);
}

static int last_step(void) {
    char path[512];
    int step = 0;
    snprintf(path, sizeof path, "%s/step", folder);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%d", &step) != 1)
        fail("understand", "step");
    fclose(file);
    return step;
}

static void first_items(void) {
    write_file("items", "w", "A chart of the Mediterranean, 1467\nA dry compass in a walnut box\nForty fathoms of hemp cordage\n");
}

static void an_astrolabe(void) {
    write_file("items", "a", "A brass astrolabe, Lisbon work\n");
}

// Add a step at the end; never change one that has run somewhere.
static void (*const STEPS[])(void) = {first_items, an_astrolabe};

int main(void) {
    enum { STEP_COUNT = sizeof STEPS / sizeof *STEPS };
    const char *given = getenv("SHOP_FOLDER"), *revision = getenv("PORTOLAN_REVISION");
    folder = given != NULL ? given : "/data/shop";
    if (mkdir(folder, 0755) != 0 && errno != EEXIST)
        fail("make", "");
    for (int step = last_step(); step < STEP_COUNT; step++) {
        char done[16];
        STEPS[step]();
        snprintf(done, sizeof done, "%d\n", step + 1);
        write_file("step", "w", done);
        printf("migrate: step %d is done\n", step + 1);
    }
    char line[128];
    snprintf(line, sizeof line, "%lld revision %s\n", (long long)time(NULL), revision != NULL ? revision : "unknown");
    write_file("runs", "a", line);
    printf("migrate: the data is as revision %s wants it\n", revision != NULL ? revision : "unknown");
    return 0;
}
