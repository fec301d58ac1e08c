/* Two back ends in one process, or two copies of one: the same names, each its own contexts. Takes a path and options
 * for each.
 */
#include <dlfcn.h>
#include <math.h>
#include <panamoe.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    int32_t (*open)(pm_context **, const char *);
    void (*close)(pm_context *);
    const char *(*error)(const pm_context *);
    int32_t (*allocate)(pm_context *, void **, int64_t);
    int32_t (*copy)(pm_context *, void *, const void *, int64_t);
    int32_t (*add)(pm_context *, void *, const void *, int32_t, int32_t, int32_t);
    pm_context *ctx;
    float *y, *x; /* in the memory of ctx */
} library;

static int load(library *lib, const char *path, const char *options) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL), *y, *x;
    float one = 1, two = 2;
    if (handle == NULL) {
        printf("%s\n", dlerror());
        return 0;
    }
    /* C99 has no conversion from void * to a function; POSIX has. */
    *(void **)&lib->open = dlsym(handle, "pm_open");
    *(void **)&lib->close = dlsym(handle, "pm_close");
    *(void **)&lib->error = dlsym(handle, "pm_error");
    *(void **)&lib->allocate = dlsym(handle, "pm_allocate");
    *(void **)&lib->copy = dlsym(handle, "pm_copy");
    *(void **)&lib->add = dlsym(handle, "pm_add");
    if (lib->open(&lib->ctx, options) != PM_OK) {
        printf("%s: %s\n", path, lib->error(lib->ctx));
        return 0;
    }
    if (lib->allocate(lib->ctx, &y, sizeof one) != PM_OK || lib->allocate(lib->ctx, &x, sizeof two) != PM_OK) return 0;
    lib->y = y;
    lib->x = x;
    return lib->copy(lib->ctx, y, &one, sizeof one) == PM_OK && lib->copy(lib->ctx, x, &two, sizeof two) == PM_OK;
}

/* y += x; the new y, or a NaN. */
static float add(const library *lib) {
    float y;
    if (lib->add(lib->ctx, lib->y, lib->x, PM_F32, 1, 1) != PM_OK) return NAN;
    return lib->copy(lib->ctx, &y, lib->y, sizeof y) == PM_OK ? y : NAN;
}

int main(int argc, char **argv) {
    library a, b;
    if (argc != 5 || !load(&a, argv[1], argv[2]) || !load(&b, argv[3], argv[4])) return 1;
    if (a.add == b.add) return printf("both paths are one library\n"), 1;
    if (add(&a) != 3 || add(&b) != 3 || add(&b) != 5) return 2;
    /* A context of the other library is refused, not followed. */
    if (a.add(b.ctx, a.y, a.x, PM_F32, 1, 1) != PM_FAILED || b.add(a.ctx, b.y, b.x, PM_F32, 1, 1) != PM_FAILED)
        return 3;
    if (strstr(a.error(b.ctx), "not an open context") == NULL) return 4;
    a.close(b.ctx);
    if (add(&b) != 7 || add(&a) != 5) return 5;
    a.close(a.ctx);
    b.close(b.ctx);
    printf("two libraries, two contexts\n");
    return 0;
}
