/* A kept handler that works on a message by sleeping: MILLISECONDS HISTORY. It reads one line of JSON for each message
   and answers with one; the history gets 32 bytes a message, as history.py says. */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct handled {
    uint32_t partition, key;
    uint64_t offset, start, end;
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* What follows the first `"name":` of the line. */
static const char *field(const char *line, const char *name) {
    const char *at = strstr(line, name);
    return at ? at + strlen(name) : "";
}

int main(int count, char **arguments) {
    if (count != 3) {
        return 64;
    }
    long milliseconds = atol(arguments[1]);
    struct timespec work = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    int history = open(arguments[2], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    char *line = NULL;
    size_t room = 0;
    while (history >= 0 && getline(&line, &room, stdin) > 0) {
        struct handled one = {.start = now()};
        nanosleep(&work, NULL);
        const char *id = field(line, "\"id\":\"");
        one.partition = (uint32_t)atol(field(line, "\"partition\":"));
        one.offset = (uint64_t)atoll(field(line, "\"offset\":"));
        one.key = (uint32_t)atol(field(line, "\"key\":\"key-"));
        one.end = now();
        if (write(history, &one, sizeof one) != sizeof one) {
            return 1;
        }
        printf("{\"id\":\"%.*s\",\"ok\":true}\n", (int)strcspn(id, "\""), id);
        fflush(stdout);
    }
    return 0;
}
