/* What main.c and the two engines share. An engine is one runtime, opened by dlopen: this program links neither. */
#ifndef EDGEKIT_RUNNER_H
#define EDGEKIT_RUNNER_H

#include <stddef.h>
#include <stdint.h>

#define MOST_PORTS 8

/* One input or output of the model; `data` stays in place while the engine is open. */
typedef struct {
  char name[128];
  size_t bytes;
  void *data;
} Port;

typedef struct {
  Port inputs[MOST_PORTS], outputs[MOST_PORTS];
  int num_inputs, num_outputs;
} Ports;

/* Functions of an engine return 0, or another number after `failed` was called with the reason. */
typedef struct {
  const char *name;
  /* Load the shared library; called once. */
  int (*start)(const char *library);
  const char *(*version)(void);
  /* Load the model with `threads` threads and allocate its ports. */
  int (*open)(const char *model, int threads, Ports *ports);
  /* Compute the outputs from the inputs; the only function that is timed besides `open`. */
  int (*run)(void);
  void (*close)(void);
} Engine;

extern const Engine onnxruntime_engine, litert_engine;

/* Keep the reason for the error event; returns 1. */
int failed(const char *where, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Find a function of a shared library, or fail. */
int find(void *library, const char *symbol, void *function);
/* Open a shared library, or fail. */
int open_library(const char *path, void **library);

/* system.c: clocks in nanoseconds, memory in KiB (-1 if the system hides it), sensors below `root`. */
int64_t wall_ns(void);
int64_t cpu_ns(void);
long memory_kb(const char *field);
/* Write the `"milli_c":[...],"khz":[...]` part of an event to stdout. */
void print_sensors(const char *root);

#endif
