/* ONNX Runtime by its C API.
 *
 * OrtApi is a table of functions whose order never changes: new ones are added at its end. So the few that are used
 * here are declared by their places in the table of version 11 (1.11), and no header is needed. */
#include <stdlib.h>
#include <string.h>

#include "runner.h"

enum { OLDEST_API = 11, FLOAT = 1, UINT8 = 2, INT32 = 6, FLOAT16 = 10, LOG_ERRORS = 3, EVERY_REWRITE = 99, ARENA = 1 };

enum {
  GetErrorMessage = 2,
  CreateEnv = 3,
  DisableTelemetryEvents = 6,
  CreateSession = 7,
  Run = 9,
  CreateSessionOptions = 10,
  SetSessionGraphOptimizationLevel = 23,
  SetIntraOpNumThreads = 24,
  SetInterOpNumThreads = 25,
  SessionGetInputCount = 30,
  SessionGetOutputCount = 31,
  SessionGetInputTypeInfo = 33,
  SessionGetOutputTypeInfo = 34,
  SessionGetInputName = 36,
  SessionGetOutputName = 37,
  CreateTensorWithDataAsOrtValue = 49,
  CastTypeInfoToTensorInfo = 55,
  GetTensorElementType = 60,
  GetDimensionsCount = 61,
  GetDimensions = 62,
  CreateCpuMemoryInfo = 69,
  GetAllocatorWithDefaultOptions = 78,
  ReleaseEnv = 92,
  ReleaseStatus = 93,
  ReleaseMemoryInfo = 94,
  ReleaseSession = 95,
  ReleaseValue = 96,
  ReleaseTypeInfo = 98,
  ReleaseSessionOptions = 100,
  AddSessionConfigEntry = 130,
};

typedef struct {
  const void *const *(*get_api)(uint32_t version);
  const char *(*version)(void);
} ApiBase;

static const ApiBase *base;
static const void *const *table;
static void *env, *options, *session, *memory;
static char *input_names[MOST_PORTS], *output_names[MOST_PORTS];
static void *input_values[MOST_PORTS], *output_values[MOST_PORTS];
static int num_inputs, num_outputs;
static Ports *opened;

/* Called without a prototype: whatever is size_t in the API must be size_t here, too. */
#define CALL(place, ...) ((void *(*)())table[place])(__VA_ARGS__)
/* Every function that can fail returns NULL or a status that holds a sentence. */
#define TRY(place, ...)                                                                   \
  do {                                                                                    \
    void *status = CALL(place, __VA_ARGS__);                                              \
    if (status) {                                                                         \
      int code = failed(#place, "%s", (const char *)CALL(GetErrorMessage, status));       \
      CALL(ReleaseStatus, status);                                                        \
      return code;                                                                        \
    }                                                                                     \
  } while (0)

static int start(const char *library) {
  void *handle;
  const ApiBase *(*get_base)(void);
  if (open_library(library, &handle) || find(handle, "OrtGetApiBase", &get_base)) return 1;
  base = get_base();
  table = base->get_api(OLDEST_API);
  if (!table) return failed("OrtGetApiBase", "ONNX Runtime %s is too old", base->version());
  TRY(CreateEnv, LOG_ERRORS, "edgekit", &env);
  TRY(DisableTelemetryEvents, env);
  TRY(CreateCpuMemoryInfo, ARENA, 0, &memory);
  return 0;
}

static const char *version(void) { return base->version(); }

static size_t element_bytes(int type) {
  switch (type) {
    case FLOAT: case INT32: return 4;
    case FLOAT16: return 2;
    case UINT8: return 1;
    default: return 0;
  }
}

/* Allocate a port and bind a tensor to its memory, so that a run copies nothing. */
static int bind(int place_of_type, int place_of_name, size_t index, Port *port, char **name, void **value) {
  void *type_info, *allocator;
  const void *info;
  int type;
  size_t rank, bytes;
  int64_t shape[16];
  TRY(GetAllocatorWithDefaultOptions, &allocator);
  TRY(place_of_name, session, index, allocator, name);
  TRY(place_of_type, session, index, &type_info);
  TRY(CastTypeInfoToTensorInfo, type_info, &info);
  TRY(GetTensorElementType, info, &type);
  TRY(GetDimensionsCount, info, &rank);
  if (rank > 16) return failed("model", "%s has %zu dimensions", *name, rank);
  TRY(GetDimensions, info, shape, rank);
  bytes = element_bytes(type);
  if (!bytes) return failed("model", "%s has elements of a type that no port has (%d)", *name, type);
  for (size_t i = 0; i < rank; i++) {
    if (shape[i] < 1) shape[i] = 1; /* left open by the file: one picture */
    bytes *= (size_t)shape[i];
  }
  CALL(ReleaseTypeInfo, type_info);
  strncpy(port->name, *name, sizeof port->name - 1);
  port->bytes = bytes;
  port->data = calloc(1, bytes);
  if (!port->data) return failed("memory", "no room for %zu bytes", bytes);
  TRY(CreateTensorWithDataAsOrtValue, memory, port->data, bytes, shape, rank, type, value);
  return 0;
}

static int open_model(const char *model, int threads, Ports *ports) {
  size_t inputs, outputs;
  TRY(CreateSessionOptions, &options);
  TRY(SetIntraOpNumThreads, options, threads);
  TRY(SetInterOpNumThreads, options, 1);
  TRY(SetSessionGraphOptimizationLevel, options, EVERY_REWRITE);
  /* Sums of int8 products in 32 bits on x86 without VNNI too, as edgekit.core.onnx_settings has them. */
  TRY(AddSessionConfigEntry, options, "session.x64quantprecision", "1");
  TRY(CreateSession, env, model, options, &session);
  TRY(SessionGetInputCount, session, &inputs);
  TRY(SessionGetOutputCount, session, &outputs);
  if (inputs > MOST_PORTS || outputs > MOST_PORTS) return failed("model", "more than %d ports", MOST_PORTS);
  opened = ports;
  num_inputs = num_outputs = 0;
  for (size_t i = 0; i < inputs; i++, num_inputs++)
    if (bind(SessionGetInputTypeInfo, SessionGetInputName, i, &ports->inputs[i], &input_names[i], &input_values[i])) return 1;
  for (size_t i = 0; i < outputs; i++, num_outputs++)
    if (bind(SessionGetOutputTypeInfo, SessionGetOutputName, i, &ports->outputs[i], &output_names[i], &output_values[i])) return 1;
  ports->num_inputs = num_inputs;
  ports->num_outputs = num_outputs;
  return 0;
}

static int run(void) {
  TRY(Run, session, NULL, (const char *const *)input_names, input_values, (size_t)num_inputs,
      (const char *const *)output_names, (size_t)num_outputs, output_values);
  return 0;
}

static void close_model(void) {
  for (int i = 0; i < num_inputs; i++) CALL(ReleaseValue, input_values[i]), free(opened->inputs[i].data);
  for (int i = 0; i < num_outputs; i++) CALL(ReleaseValue, output_values[i]), free(opened->outputs[i].data);
  CALL(ReleaseSession, session);
  CALL(ReleaseSessionOptions, options);
}

const Engine onnxruntime_engine = {"onnxruntime", start, version, open_model, run, close_model};
