// voyage: three steps of a small pipeline, one program. Each reads what the step before it has left in a folder.
//
//   voyage log      writes the log of a fleet: one leg a line, `ship miles`
//   voyage sum      adds up the miles of each ship
//   voyage report   prints a table of the sums
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHIPS = 3 };
static const char *const NAMES[SHIPS] = {"Aquila", "Santa-Clara", "Zefiro"};

static FILE *open_file(const char *name, const char *mode) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", getenv("VOYAGE_FOLDER") ?: "/data", name);
    FILE *file = fopen(path, mode);
    if (file == NULL) {
        fprintf(stderr, "voyage: cannot open %s: %s\n", path, strerror(errno));
        exit(1);
    }
    return file;
}

static void finish(FILE *file) {
    if (fclose(file) != 0) {
        perror("voyage: cannot write");
        exit(1);
    }
}

static void write_log(void) {
    int legs = atoi(getenv("LEGS") ?: "12");
    FILE *log = open_file("log", "w");
    for (int leg = 0; leg < legs; leg++)
        fprintf(log, "%s %d\n", NAMES[leg % SHIPS], 20 + leg * 37 % 80);
    finish(log);
    printf("voyage: %d legs\n", legs);
}

static void sum(void) {
    long miles[SHIPS] = {0};
    char name[64];
    int leg;
    FILE *log = open_file("log", "r");
    while (fscanf(log, "%63s %d", name, &leg) == 2)
        for (int ship = 0; ship < SHIPS; ship++)
            if (strcmp(name, NAMES[ship]) == 0)
                miles[ship] += leg;
    fclose(log);
    FILE *sums = open_file("sums", "w");
    for (int ship = 0; ship < SHIPS; ship++)
        fprintf(sums, "%s %ld\n", NAMES[ship], miles[ship]);
    finish(sums);
}

static void report(void) {
    char name[64];
    long miles;
    FILE *sums = open_file("sums", "r");
    while (fscanf(sums, "%63s %ld", name, &miles) == 2)
        printf("%-12s %6ld miles\n", name, miles);
    fclose(sums);
}

int main(int count, char **arguments) {
    const char *step = count == 2 ? arguments[1] : "";
    if (strcmp(step, "log") == 0)
        write_log();
    else if (strcmp(step, "sum") == 0)
        sum();
    else if (strcmp(step, "report") == 0)
        report();
    else {
        fputs("usage: voyage log|sum|report\n", stderr);
        return 64;
    }
    return 0;
}
