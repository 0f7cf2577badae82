/* A device that computes nothing and takes its time: preloaded before ggml, for bench_host.py.
 *
 * A graph is handed over in SIM_LAUNCH_US microseconds a node, one thread at a time, as drivers do it. It is
 * done SIM_TOKEN_US microseconds a token after the graph before it, and at least SIM_FLOOR_MS milliseconds.
 * Waiting is that of llama.cpp: where it asks for results. Logits are whatever the memory holds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum { MOST = 64 };

static pthread_mutex_t handing_over = PTHREAD_MUTEX_INITIALIZER, counting = PTHREAD_MUTEX_INITIALIZER;
static double free_at, busy;
static struct { void *scheduler; double done_at; } known[MOST];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double setting(const char *name) {
    const char *value = getenv(name);
    return value ? atof(value) : 0.0;
}

static void *ggml(const char *name) {
    static void *library;
    if (!library) library = dlopen(getenv("SIM_GGML"), RTLD_NOW);
    void *found = library ? dlsym(library, name) : NULL;
    if (!found) abort();
    return found;
}

static double *done_at(void *scheduler) {
    for (int i = 0; i < MOST; i++) {
        if (!known[i].scheduler) known[i].scheduler = scheduler;
        if (known[i].scheduler == scheduler) return &known[i].done_at;
    }
    abort();
}

/* Seconds that the device has worked since the call before. */
double simulated_busy(void) {
    pthread_mutex_lock(&counting);
    double seconds = busy;
    busy = 0.0;
    pthread_mutex_unlock(&counting);
    return seconds;
}

int ggml_backend_sched_graph_compute_async(void *scheduler, void *graph) {
    int (*n_nodes)(void *) = ggml("ggml_graph_n_nodes");
    void *(*node)(void *, int) = ggml("ggml_graph_node");
    int64_t (*n_rows)(void *) = ggml("ggml_nrows");
    pthread_mutex_lock(&handing_over);
    for (double end = now() + 1e-6 * setting("SIM_LAUNCH_US") * n_nodes(graph); now() < end;) {}
    pthread_mutex_unlock(&handing_over);
    /* The first node looks the tokens of the batch up. */
    double seconds = 1e-6 * setting("SIM_TOKEN_US") * (double)n_rows(node(graph, 0));
    double least = 1e-3 * setting("SIM_FLOOR_MS"), start = now();
    if (seconds < least) seconds = least;
    pthread_mutex_lock(&counting);
    if (start < free_at) start = free_at;
    busy += seconds;
    *done_at(scheduler) = free_at = start + seconds;
    pthread_mutex_unlock(&counting);
    return 0;
}

void ggml_backend_sched_synchronize(void *scheduler) {
    pthread_mutex_lock(&counting);
    double seconds = *done_at(scheduler) - now();
    pthread_mutex_unlock(&counting);
    if (seconds <= 0.0) return;
    struct timespec wait = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    nanosleep(&wait, NULL);
}
