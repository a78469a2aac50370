/* What wheel.c (the files of one wheel) and listed.c (those of a layer, in its order) share. */

#ifndef LISTED_H
#define LISTED_H

#include "pipeline.h"

/* Of a path, in bytes: one more is a folder's slash. */
#define LONGEST_PATH 250u

typedef struct {
    const uint8_t *path;
    uint32_t path_size, mode;
    int folder;
    operation stream;    /* what lies in a file; op is 0 where nothing does */
    const uint8_t *data; /* fresh bytes, after that */
    uint64_t data_size;
} listed;

typedef struct layout {
    listed *files, *folders;
    size_t files_count, files_room, folders_count, folders_room;
    listed **order; /* all of them; made by layout_arrange */
    size_t count;
    void **owned; /* memory that paths, hashes and bytes lie in */
    size_t owned_count, owned_room;
    /* the operations that were not yet fed, of which those before `cut` can be */
    buffer ops, listing;
    size_t cut;
    uint64_t group;
} layout;

/* Memory that goes when the layout does; NULL where there is none. */
void *layout_memory(layout *l, size_t size);
/* A new file of the layout, all zeros; NULL where there is no room for it. */
listed *layout_file(layout *l);
/* Whether bytes are a path as it can be in a layer, of printable ASCII; a stranger's may not have a backslash. */
int plain_path(const uint8_t *path, size_t size);

typedef struct {
    uint64_t offset;
    uint32_t csize, size, crc;
    int32_t method; /* as zip has it; -1: there is no such member */
} wheel_member;

/* What Python has to know of a wheel, to make what is not in it. */
typedef struct {
    wheel_member record, wheel, points;
    uint32_t listed, ended; /* RECORD: whether it lists itself; whether it ends with a line's end */
    uint8_t info[256];      /* the name of the .dist-info folder, and a zero */
} wheel_facts;

#endif
