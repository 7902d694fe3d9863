/* The engine of the benchmark's device runner, as it stands there. */
#include "crunner.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../../../../benchmarks/edgekit/benchmarks/devices/runner/litert.c"

static char reason[1024];
static Ports ports;
static int is_open;

int failed(const char *where, const char *format, ...) {
  va_list arguments;
  int length = snprintf(reason, sizeof reason, "%s: ", where);
  va_start(arguments, format);
  vsnprintf(reason + length, sizeof reason - (size_t)length, format, arguments);
  va_end(arguments);
  return 1;
}

int open_library(const char *path, void **library) {
  *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  return *library ? 0 : failed("library", "%s", dlerror());
}

int find(void *library, const char *symbol, void *function) {
  void *found = dlsym(library, symbol);
  memcpy(function, &found, sizeof found);
  return found ? 0 : failed("library", "it has no %s", symbol);
}

int crunner_start(const char *library) { return litert_engine.start(library); }

int crunner_open(const char *model, int threads) {
  if (is_open) litert_engine.close();
  memset(&ports, 0, sizeof ports);
  is_open = !litert_engine.open(model, threads, &ports);
  return !is_open;
}

int crunner_run(void) { return litert_engine.run(); }
const char *crunner_reason(void) { return reason; }
int crunner_num_inputs(void) { return ports.num_inputs; }
int crunner_num_outputs(void) { return ports.num_outputs; }

static Port *at(int is_input, int index) { return is_input ? &ports.inputs[index] : &ports.outputs[index]; }

const char *crunner_name(int is_input, int index) { return at(is_input, index)->name; }
void *crunner_data(int is_input, int index) { return at(is_input, index)->data; }
size_t crunner_bytes(int is_input, int index) { return at(is_input, index)->bytes; }
