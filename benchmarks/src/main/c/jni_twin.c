/* What CallOverheadBenchmark calls by JNI. jint and jlong are int32_t and int64_t wherever this runs, and the other two
 * arguments are not looked at, so no jni.h is needed. The callee is the function that the Panama twins call. */
#include <stdint.h>

typedef int32_t (*callee_function)(void);

__attribute__((visibility("default"))) int32_t Java_org_panamoe_benchmarks_CallOverheadBenchmark_call(void *environment,
                                                                                                      void *type,
                                                                                                      int64_t callee) {
    (void)environment;
    (void)type;
    return ((callee_function)(uintptr_t)callee)();
}
