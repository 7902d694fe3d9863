/* LiteRT by the C API of libLiteRt.so 2.x: the CPU accelerator (XNNPACK), called by the names of the first signature. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"

typedef int Status;
typedef void *Handle;

/* LiteRtRankedTensorType: 72 bytes, asserted by LiteRT's own headers. */
typedef struct {
  int element;
  unsigned rank : 7, has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
} TensorType;
_Static_assert(sizeof(TensorType) == 72, "LiteRtRankedTensorType");

enum { FLOAT = 1, INT32 = 2, UINT8 = 3, FLOAT16 = 10, CPU = 1, HOST_MEMORY = 1, READ = 0, WRITE = 1 };

#define FUNCTIONS(X)                                                                                    \
  X(Status, CreateEnvironment, (int, const void *, Handle *))                                           \
  X(Status, CreateModelFromFile, (Handle, const char *, Handle *))                                      \
  X(void, DestroyModel, (Handle))                                                                       \
  X(Status, CreateOptions, (Handle *))                                                                  \
  X(void, DestroyOptions, (Handle))                                                                     \
  X(Status, SetOptionsHardwareAccelerators, (Handle, int))                                              \
  X(Status, CreateOpaqueOptions, (const char *, void *, void (*)(void *), Handle *))                    \
  X(Status, AddOpaqueOptions, (Handle, Handle))                                                         \
  X(Status, CreateCompiledModel, (Handle, Handle, Handle, Handle *))                                    \
  X(void, DestroyCompiledModel, (Handle))                                                               \
  X(Status, RunCompiledModel, (Handle, size_t, size_t, Handle *, size_t, Handle *))                     \
  X(Status, GetNumModelSignatures, (Handle, size_t *))                                                  \
  X(Status, GetModelSignature, (Handle, size_t, Handle *))                                              \
  X(Status, GetNumSignatureInputs, (Handle, size_t *))                                                  \
  X(Status, GetNumSignatureOutputs, (Handle, size_t *))                                                 \
  X(Status, GetSignatureInputName, (Handle, size_t, const char **))                                     \
  X(Status, GetSignatureOutputName, (Handle, size_t, const char **))                                    \
  X(Status, GetSignatureInputTensorByIndex, (Handle, size_t, Handle *))                                 \
  X(Status, GetSignatureOutputTensorByIndex, (Handle, size_t, Handle *))                                \
  X(Status, GetRankedTensorType, (Handle, TensorType *))                                                \
  X(Status, GetCompiledModelInputBufferRequirements, (Handle, size_t, size_t, Handle *))                \
  X(Status, GetCompiledModelOutputBufferRequirements, (Handle, size_t, size_t, Handle *))               \
  X(Status, CreateManagedTensorBufferFromRequirements, (Handle, const TensorType *, Handle, Handle *))  \
  X(void, DestroyTensorBuffer, (Handle))                                                                \
  X(Status, LockTensorBuffer, (Handle, void **, int))                                                   \
  X(Status, UnlockTensorBuffer, (Handle))

#define DECLARE(result, name, arguments) static result(*name) arguments;
FUNCTIONS(DECLARE)
#define FIND(result, name, arguments) \
  if (find(library, "LiteRt" #name, &name)) return 1;

static Handle environment, model, options, compiled;
static Handle inputs[MOST_PORTS], outputs[MOST_PORTS];
static Ports *opened;

/* The library says more on stderr; its codes are in litert_common.h. */
static const char *meaning(Status status) {
  switch (status) {
    case 1: return "invalid argument";
    case 2: return "out of memory";
    case 3: return "the runtime failed";
    case 5: return "unsupported";
    case 6: return "not found";
    case 500: return "the file cannot be read";
    case 501: return "this is no TFLite file";
    case 504: return "the model cannot be compiled";
    default: return "error";
  }
}

#define TRY(name, ...)                                                                        \
  do {                                                                                        \
    Status status = name(__VA_ARGS__);                                                        \
    if (status) return failed("LiteRt" #name, "%s (status %d)", meaning(status), status);     \
  } while (0)

static int start(const char *path) {
  void *library;
  if (open_library(path, &library)) return 1;
  FUNCTIONS(FIND)
  TRY(CreateEnvironment, 0, NULL, &environment);
  return 0;
}

/* The library does not tell its version; the host knows which one it sent. */
static const char *version(void) { return ""; }

static size_t type_bytes(const TensorType *type) {
  size_t bytes = type->element == FLOAT || type->element == INT32 ? 4
               : type->element == FLOAT16                         ? 2
               : type->element == UINT8                           ? 1
                                                                  : 0;
  for (unsigned i = 0; i < type->rank; i++) bytes *= type->dimensions[i] > 0 ? (size_t)type->dimensions[i] : 1;
  return bytes;
}

static int bind(Handle signature, size_t index, int is_input, Port *port, Handle *buffer) {
  const char *name;
  Handle tensor, requirements;
  TensorType type;
  if (is_input) {
    TRY(GetSignatureInputName, signature, index, &name);
    TRY(GetSignatureInputTensorByIndex, signature, index, &tensor);
    TRY(GetCompiledModelInputBufferRequirements, compiled, 0, index, &requirements);
  } else {
    TRY(GetSignatureOutputName, signature, index, &name);
    TRY(GetSignatureOutputTensorByIndex, signature, index, &tensor);
    TRY(GetCompiledModelOutputBufferRequirements, compiled, 0, index, &requirements);
  }
  TRY(GetRankedTensorType, tensor, &type);
  strncpy(port->name, name, sizeof port->name - 1);
  port->bytes = type_bytes(&type);
  if (!port->bytes) return failed("model", "%s has elements of a type that no port has (%d)", name, type.element);
  TRY(CreateManagedTensorBufferFromRequirements, environment, &type, requirements, buffer);
  /* Host memory does not move: its address is asked for once. */
  TRY(LockTensorBuffer, *buffer, &port->data, is_input ? WRITE : READ);
  TRY(UnlockTensorBuffer, *buffer);
  return 0;
}

static int open_model(const char *path, int threads, Ports *ports) {
  Handle signature, cpu;
  size_t signatures, num_inputs, num_outputs;
  char settings[40];
  /* The CPU accelerator takes its settings as a line of TOML under this name. */
  snprintf(settings, sizeof settings, "num_threads = %d\n", threads);
  TRY(CreateModelFromFile, environment, path, &model);
  TRY(CreateOptions, &options);
  TRY(SetOptionsHardwareAccelerators, options, CPU);
  TRY(CreateOpaqueOptions, "xnnpack", strdup(settings), free, &cpu);
  TRY(AddOpaqueOptions, options, cpu);
  TRY(CreateCompiledModel, environment, model, options, &compiled);
  TRY(GetNumModelSignatures, model, &signatures);
  if (!signatures) return failed("model", "it has no signature, so its ports have no names");
  TRY(GetModelSignature, model, 0, &signature);
  TRY(GetNumSignatureInputs, signature, &num_inputs);
  TRY(GetNumSignatureOutputs, signature, &num_outputs);
  if (num_inputs > MOST_PORTS || num_outputs > MOST_PORTS) return failed("model", "more than %d ports", MOST_PORTS);
  for (size_t i = 0; i < num_inputs; i++)
    if (bind(signature, i, 1, &ports->inputs[i], &inputs[i])) return 1;
  for (size_t i = 0; i < num_outputs; i++)
    if (bind(signature, i, 0, &ports->outputs[i], &outputs[i])) return 1;
  ports->num_inputs = (int)num_inputs;
  ports->num_outputs = (int)num_outputs;
  opened = ports;
  return 0;
}

static int run(void) {
  TRY(RunCompiledModel, compiled, 0, (size_t)opened->num_inputs, inputs, (size_t)opened->num_outputs, outputs);
  return 0;
}

static void close_model(void) {
  for (int i = 0; i < opened->num_inputs; i++) DestroyTensorBuffer(inputs[i]);
  for (int i = 0; i < opened->num_outputs; i++) DestroyTensorBuffer(outputs[i]);
  DestroyCompiledModel(compiled);
  DestroyOptions(options);
  DestroyModel(model);
}

const Engine litert_engine = {"litert", start, version, open_model, run, close_model};
