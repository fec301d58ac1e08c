/* Two copies of a back end in one process, as a CPU and a CUDA library would be: the same names, each its own contexts.
 */
#include <dlfcn.h>
#include <panamoe.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    int32_t (*open)(pm_context **, const char *);
    void (*close)(pm_context *);
    const char *(*error)(const pm_context *);
    int32_t (*add)(pm_context *, void *, const void *, int32_t, int32_t, int32_t);
    pm_context *ctx;
} library;

static int load(library *lib, const char *path) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        printf("%s\n", dlerror());
        return 0;
    }
    /* C99 has no conversion from void * to a function; POSIX has. */
    *(void **)&lib->open = dlsym(handle, "pm_open");
    *(void **)&lib->close = dlsym(handle, "pm_close");
    *(void **)&lib->error = dlsym(handle, "pm_error");
    *(void **)&lib->add = dlsym(handle, "pm_add");
    return lib->open(&lib->ctx, "threads=2") == PM_OK;
}

int main(int argc, char **argv) {
    library a, b;
    float y = 1, x = 2;
    if (argc != 3 || !load(&a, argv[1]) || !load(&b, argv[2])) return 1;
    if (a.add == b.add) return printf("both paths are one library\n"), 1;
    if (a.add(a.ctx, &y, &x, PM_F32, 1, 1) != PM_OK || b.add(b.ctx, &y, &x, PM_F32, 1, 1) != PM_OK) return 2;
    if (y != 5) return printf("1 + 2 + 2 is %g\n", y), 3;
    /* A context of the other library is refused, not followed. */
    if (a.add(b.ctx, &y, &x, PM_F32, 1, 1) != PM_FAILED || b.add(a.ctx, &y, &x, PM_F32, 1, 1) != PM_FAILED) return 4;
    if (strstr(a.error(b.ctx), "not an open context") == NULL) return 5;
    a.close(b.ctx);
    if (y != 5 || b.add(b.ctx, &y, &x, PM_F32, 1, 1) != PM_OK || y != 7) return 6;
    a.close(a.ctx);
    b.close(b.ctx);
    printf("two libraries, two contexts\n");
    return 0;
}
