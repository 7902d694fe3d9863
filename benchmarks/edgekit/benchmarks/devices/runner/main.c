/* edgekit-runner: calls one model file again and again and writes what it saw, one JSON object a line, to stdout.
 *
 * Protocol edgekit-runner-1. Events: start, load (one for each time the file is opened), first, warm, run (one a timed
 * call), sensors (once a second, between calls), end, error. Nothing is averaged here: the host keeps every line.
 * Each call takes the next golden sample as a camera would bring the next frame; the outputs that are written at the
 * end are those of timed calls. Exit codes: 0 done, 2 usage, 3 the model or its runtime failed, 5 a file of ours. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "runner.h"

enum { MOST_FILES = MOST_PORTS, SECOND = 1000000000 };

typedef struct {
  const char *port, *path;
  char *data; /* one sample after another */
} File;

typedef struct {
  const char *engine, *library, *model, *pid_file, *root;
  File inputs[MOST_FILES], outputs[MOST_FILES];
  int num_inputs, num_outputs;
  int samples, warmup, calls, threads, loads;
  double min_seconds, budget_seconds, limit_seconds;
} Options;

static char reason_where[64], reason[512];
static volatile sig_atomic_t stop_signal;
static const char *pid_file;

int failed(const char *where, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  snprintf(reason_where, sizeof reason_where, "%s", where);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  return 1;
}

int open_library(const char *path, void **library) {
  *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  return *library ? 0 : failed("dlopen", "%s", dlerror());
}

int find(void *library, const char *symbol, void *function) {
  void *found = dlsym(library, symbol);
  memcpy(function, &found, sizeof found);
  return found ? 0 : failed("dlsym", "the library has no %s", symbol);
}

static void print_text(const char *text) {
  putchar('"');
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if (*c == '"' || *c == '\\') printf("\\%c", *c);
    else if (*c < 32) printf("\\u%04x", *c);
    else putchar(*c);
  }
  putchar('"');
}

/* End an event's line. Nobody reads any more (cable pulled, host killed): stop instead of heating a phone. */
static void end_line(void) {
  putchar('\n');
  if (fflush(stdout)) _exit(5);
}

static int error_event(int code) {
  printf("{\"event\":\"error\",\"where\":");
  print_text(reason_where);
  printf(",\"reason\":");
  print_text(reason);
  putchar('}');
  end_line();
  return code;
}

static void on_signal(int number) { stop_signal = number; }

static void remove_pid_file(void) {
  if (pid_file) unlink(pid_file);
}

/* A call that never returns cannot be asked to stop. */
static void on_alarm(int number) {
  (void)number;
  remove_pid_file();
  _exit(5);
}

static int write_pid_file(const char *path) {
  FILE *file = fopen(path, "w");
  if (!file || fprintf(file, "%d\n", (int)getpid()) < 0 || fclose(file)) return failed("pid file", "%s: %s", path, strerror(errno));
  pid_file = path;
  atexit(remove_pid_file);
  return 0;
}

static int usage(const char *problem, const char *word) {
  fprintf(stderr,
          "edgekit-runner: %s %s\n"
          "usage: edgekit-runner --engine onnxruntime|litert --library FILE --model FILE\n"
          "  [--input PORT=FILE]... [--output PORT=FILE]... [--samples N] [--loads N] [--warmup N] [--calls N]\n"
          "  [--min-seconds S] [--budget-seconds S] [--limit-seconds S] [--threads N] [--pid-file FILE] [--sysfs-root DIR]\n",
          problem, word);
  return 2;
}

static int parse_file(char *word, File *files, int *count) {
  char *equals = strchr(word, '=');
  if (!equals || *count == MOST_FILES) return 1;
  *equals = 0;
  files[(*count)++] = (File){word, equals + 1, NULL};
  return 0;
}

static int parse(int argc, char **argv, Options *o) {
  *o = (Options){.samples = 1, .warmup = 5, .calls = 50, .threads = 1, .loads = 1, .budget_seconds = 120, .limit_seconds = 600, .root = ""};
  for (int i = 1; i < argc; i += 2) {
    const char *name = argv[i];
    char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (!value) return usage("no value after", name);
    if (!strcmp(name, "--engine")) o->engine = value;
    else if (!strcmp(name, "--library")) o->library = value;
    else if (!strcmp(name, "--model")) o->model = value;
    else if (!strcmp(name, "--pid-file")) o->pid_file = value;
    else if (!strcmp(name, "--sysfs-root")) o->root = value;
    else if (!strcmp(name, "--samples")) o->samples = atoi(value);
    else if (!strcmp(name, "--loads")) o->loads = atoi(value);
    else if (!strcmp(name, "--warmup")) o->warmup = atoi(value);
    else if (!strcmp(name, "--calls")) o->calls = atoi(value);
    else if (!strcmp(name, "--threads")) o->threads = atoi(value);
    else if (!strcmp(name, "--min-seconds")) o->min_seconds = atof(value);
    else if (!strcmp(name, "--budget-seconds")) o->budget_seconds = atof(value);
    else if (!strcmp(name, "--limit-seconds")) o->limit_seconds = atof(value);
    else if (!strcmp(name, "--input")) {
      if (parse_file(value, o->inputs, &o->num_inputs)) return usage("not PORT=FILE:", value);
    } else if (!strcmp(name, "--output")) {
      if (parse_file(value, o->outputs, &o->num_outputs)) return usage("not PORT=FILE:", value);
    } else return usage("unknown option", name);
  }
  if (!o->engine || !o->library || !o->model) return usage("--engine, --library and --model are needed", "");
  if (o->samples < 1 || o->calls < 1 || o->warmup < 0 || o->threads < 1 || o->loads < 1) return usage("a count is too small", "");
  return 0;
}

static Port *port_named(Port *ports, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (!strcmp(ports[i].name, name)) return &ports[i];
  failed("ports", "the model has no port called %s", name);
  return NULL;
}

/* Read every sample of every input; make room for every output of every sample. */
static int prepare(Options *o, Ports *ports) {
  if (o->num_inputs && o->num_inputs != ports->num_inputs)
    return failed("ports", "%d inputs were given, the model has %d", o->num_inputs, ports->num_inputs);
  for (int i = 0; i < o->num_inputs; i++) {
    Port *port = port_named(ports->inputs, ports->num_inputs, o->inputs[i].port);
    if (!port) return 1;
    size_t bytes = port->bytes * (size_t)o->samples;
    FILE *file = fopen(o->inputs[i].path, "rb");
    if (!file) return failed("input", "%s: %s", o->inputs[i].path, strerror(errno));
    o->inputs[i].data = malloc(bytes);
    if (!o->inputs[i].data || fread(o->inputs[i].data, 1, bytes, file) != bytes || fgetc(file) != EOF)
      return failed("input", "%s does not hold %zu bytes", o->inputs[i].path, bytes);
    fclose(file);
  }
  for (int i = 0; i < o->num_outputs; i++) {
    Port *port = port_named(ports->outputs, ports->num_outputs, o->outputs[i].port);
    if (!port) return 1;
    o->outputs[i].data = calloc((size_t)o->samples, port->bytes);
    if (!o->outputs[i].data) return failed("memory", "no room for the outputs");
  }
  return 0;
}

static void feed(Options *o, Ports *ports, int sample) {
  for (int i = 0; i < o->num_inputs; i++) {
    Port *port = port_named(ports->inputs, ports->num_inputs, o->inputs[i].port);
    memcpy(port->data, o->inputs[i].data + port->bytes * (size_t)sample, port->bytes);
  }
}

static void keep(Options *o, Ports *ports, int sample) {
  for (int i = 0; i < o->num_outputs; i++) {
    Port *port = port_named(ports->outputs, ports->num_outputs, o->outputs[i].port);
    memcpy(o->outputs[i].data + port->bytes * (size_t)sample, port->data, port->bytes);
  }
}

static int write_outputs(Options *o, Ports *ports) {
  for (int i = 0; i < o->num_outputs; i++) {
    size_t bytes = port_named(ports->outputs, ports->num_outputs, o->outputs[i].port)->bytes * (size_t)o->samples;
    FILE *file = fopen(o->outputs[i].path, "wb");
    if (!file || fwrite(o->outputs[i].data, 1, bytes, file) != bytes || fclose(file))
      return failed("output", "%s: %s", o->outputs[i].path, strerror(errno));
  }
  return 0;
}

static int call(const Engine *engine, Options *o, Ports *ports, const char *event, int index) {
  int sample = index % o->samples;
  feed(o, ports, sample);
  int64_t cpu = cpu_ns(), wall = wall_ns();
  int code = engine->run();
  wall = wall_ns() - wall;
  cpu = cpu_ns() - cpu;
  if (code) return code;
  keep(o, ports, sample);
  printf("{\"event\":\"%s\",\"index\":%d,\"ns\":%lld,\"cpu_ns\":%lld}", event, index, (long long)wall, (long long)cpu);
  end_line();
  return 0;
}

static void sensors_event(const Options *o, int64_t since) {
  printf("{\"event\":\"sensors\",\"ns\":%lld,", (long long)(wall_ns() - since));
  print_sensors(o->root);
  putchar('}');
  end_line();
}

static int load(const Engine *engine, const Options *o, Ports *ports) {
  for (int i = 0; i < o->loads; i++) {
    if (i) engine->close();
    memset(ports, 0, sizeof *ports);
    int64_t cpu = cpu_ns(), wall = wall_ns();
    if (engine->open(o->model, o->threads, ports)) return 1;
    wall = wall_ns() - wall;
    cpu = cpu_ns() - cpu;
    printf("{\"event\":\"load\",\"index\":%d,\"ns\":%lld,\"cpu_ns\":%lld,\"rss_kb\":%ld}", i, (long long)wall, (long long)cpu, memory_kb("VmRSS"));
    end_line();
  }
  return 0;
}

static int measure(const Engine *engine, Options *o) {
  Ports ports;
  struct utsname system;
  int64_t library = wall_ns();
  if (engine->start(o->library)) return error_event(3);
  library = wall_ns() - library;
  uname(&system);
  printf("{\"event\":\"start\",\"protocol\":\"edgekit-runner-1\",\"engine\":\"%s\",\"version\":\"%s\",\"machine\":\"%s\",\"system\":\"%s %s\",\"cpus\":%ld,\"threads\":%d,\"pid\":%d,\"library_ns\":%lld}",
         engine->name, engine->version(), system.machine, system.sysname, system.release, sysconf(_SC_NPROCESSORS_ONLN), o->threads, (int)getpid(), (long long)library);
  end_line();
  if (load(engine, o, &ports)) return error_event(3);
  if (prepare(o, &ports)) return error_event(5);
  if (call(engine, o, &ports, "first", 0)) return error_event(3);
  for (int i = 0; i < o->warmup && !stop_signal; i++)
    if (call(engine, o, &ports, "warm", i)) return error_event(3);

  int64_t since = wall_ns(), sensed = since - SECOND;
  int done = 0;
  const char *ended = "done";
  for (;; done++) {
    int64_t now = wall_ns();
    double seconds = (double)(now - since) / SECOND;
    if (stop_signal) { ended = "signal"; break; }
    if (done >= o->calls && seconds >= o->min_seconds) break;
    if (seconds >= o->budget_seconds) { ended = "budget"; break; }
    if (now - sensed >= SECOND) { sensors_event(o, since); sensed = now; }
    if (call(engine, o, &ports, "run", done)) return error_event(3);
  }
  int64_t wall = wall_ns() - since;
  sensors_event(o, since);
  /* Fewer calls than samples: the rest is computed untimed, so that the outputs are complete. */
  for (int i = done; i < o->samples; i++)
    if (call(engine, o, &ports, "check", i)) return error_event(3);
  if (write_outputs(o, &ports)) return error_event(5);
  printf("{\"event\":\"end\",\"ended\":\"%s\",\"calls\":%d,\"wall_ns\":%lld,\"rss_kb\":%ld,\"peak_rss_kb\":%ld}",
         ended, done, (long long)wall, memory_kb("VmRSS"), memory_kb("VmHWM"));
  end_line();
  engine->close();
  return 0;
}

int main(int argc, char **argv) {
  const Engine *engines[] = {&onnxruntime_engine, &litert_engine}, *engine = NULL;
  Options options;
  int code = parse(argc, argv, &options);
  if (code) return code;
  for (size_t i = 0; i < sizeof engines / sizeof *engines; i++)
    if (!strcmp(engines[i]->name, options.engine)) engine = engines[i];
  if (!engine) return usage("unknown engine", options.engine);
  signal(SIGTERM, on_signal);
  signal(SIGINT, on_signal);
  signal(SIGHUP, on_signal);
  signal(SIGPIPE, SIG_IGN); /* seen by end_line */
  signal(SIGALRM, on_alarm);
  alarm((unsigned)options.limit_seconds + 1);
  if (options.pid_file && write_pid_file(options.pid_file)) return error_event(5);
  return measure(engine, &options);
}
