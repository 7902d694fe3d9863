package dev.edgekit.bench;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.FileReader;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The runner for Android without the NDK: bytecode that app_process starts from a shell, as scrcpy's server does. Same
 * options, same lines as main.c (protocol edgekit-runner-1), ONNX Runtime by its Java API. Java 8, no lambdas: the
 * dexer takes nothing newer.
 */
public final class EdgekitRunner {
  private static final long SECOND = 1_000_000_000L;

  private final PrintStream out = System.out;
  private final Map<String, String> inputs = new LinkedHashMap<>(), outputs = new LinkedHashMap<>();
  private String model = "", pidFile = "", root = "";
  private int samples = 1, warmup = 5, calls = 50, threads = 1, loads = 1;
  private double minSeconds = 0, budgetSeconds = 120, limitSeconds = 600;

  private OrtEnvironment environment;
  private OrtSession session;
  private final Map<String, ByteBuffer> feeds = new LinkedHashMap<>();
  private final Map<String, byte[]> given = new LinkedHashMap<>(), kept = new LinkedHashMap<>();
  private final Map<String, OnnxTensor> tensors = new LinkedHashMap<>();

  public static void main(String[] words) {
    EdgekitRunner runner = new EdgekitRunner();
    int code = runner.parse(words);
    if (code == 0) code = runner.guarded();
    System.out.flush();
    Runtime.getRuntime().halt(code); // threads of the runtime and of Android go on otherwise
  }

  private int parse(String[] words) {
    for (int i = 0; i < words.length; i += 2) {
      if (i + 1 == words.length) return usage("no value after " + words[i]);
      String value = words[i + 1];
      int equals = value.indexOf('=');
      try {
        switch (words[i]) {
          case "--engine":
            if (!value.equals("onnxruntime")) return usage("unknown engine " + value);
            break;
          case "--model": model = value; break;
          case "--pid-file": pidFile = value; break;
          case "--sysfs-root": root = value; break;
          case "--samples": samples = Integer.parseInt(value); break;
          case "--loads": loads = Integer.parseInt(value); break;
          case "--warmup": warmup = Integer.parseInt(value); break;
          case "--calls": calls = Integer.parseInt(value); break;
          case "--threads": threads = Integer.parseInt(value); break;
          case "--min-seconds": minSeconds = Double.parseDouble(value); break;
          case "--budget-seconds": budgetSeconds = Double.parseDouble(value); break;
          case "--limit-seconds": limitSeconds = Double.parseDouble(value); break;
          case "--input":
          case "--output":
            if (equals < 1) return usage("not PORT=FILE: " + value);
            (words[i].equals("--input") ? inputs : outputs).put(value.substring(0, equals), value.substring(equals + 1));
            break;
          default: return usage("unknown option " + words[i]);
        }
      } catch (NumberFormatException error) {
        return usage("no number: " + value);
      }
    }
    if (model.isEmpty()) return usage("--model is needed");
    if (samples < 1 || calls < 1 || warmup < 0 || threads < 1 || loads < 1) return usage("a count is too small");
    return 0;
  }

  private static int usage(String problem) {
    System.err.println("edgekit-runner: " + problem);
    return 2;
  }

  private int guarded() {
    String where = "start";
    Thread watch = new Thread("edgekit-watch") {
      @Override
      public void run() {
        try {
          Thread.sleep((long) (1000 * limitSeconds));
        } catch (InterruptedException error) {
          return;
        }
        Runtime.getRuntime().halt(5); // a call that never returns cannot be asked to stop
      }
    };
    watch.setDaemon(true);
    watch.start();
    try {
      if (!pidFile.isEmpty()) write(pidFile, (new File("/proc/self").getCanonicalFile().getName() + "\n").getBytes());
      start();
      where = "load";
      load();
      where = "input";
      prepare();
      where = "run";
      measure();
      where = "output";
      for (Map.Entry<String, String> output : outputs.entrySet()) write(output.getValue(), kept.get(output.getKey()));
      if (!pidFile.isEmpty()) new File(pidFile).delete();
      line(end);
      return 0;
    } catch (Throwable error) { // also what a missing native library throws
      line("{\"event\":\"error\",\"where\":" + text(where) + ",\"reason\":" + text(String.valueOf(error.getMessage())) + "}");
      return where.equals("input") || where.equals("output") ? 5 : 3;
    }
  }

  private String end = "";

  private void start() throws Exception {
    long begin = System.nanoTime();
    environment = OrtEnvironment.getEnvironment();
    environment.setTelemetry(false);
    long library = System.nanoTime() - begin;
    String system = System.getProperty("java.vm.name") + " " + System.getProperty("java.vm.version");
    line("{\"event\":\"start\",\"protocol\":\"edgekit-runner-1\",\"engine\":\"onnxruntime-java\",\"version\":" + text(environment.getVersion())
        + ",\"machine\":" + text(System.getProperty("os.arch")) + ",\"system\":" + text(system)
        + ",\"cpus\":" + Runtime.getRuntime().availableProcessors() + ",\"threads\":" + threads + ",\"library_ns\":" + library + "}");
  }

  private void load() throws Exception {
    for (int i = 0; i < loads; i++) {
      if (session != null) session.close();
      OrtSession.SessionOptions options = new OrtSession.SessionOptions();
      options.setIntraOpNumThreads(threads);
      options.setInterOpNumThreads(1);
      long cpu = cpuNs(), begin = System.nanoTime();
      session = environment.createSession(model, options);
      long wall = System.nanoTime() - begin;
      line("{\"event\":\"load\",\"index\":" + i + ",\"ns\":" + wall + ",\"cpu_ns\":" + since(cpu) + ",\"rss_kb\":" + memoryKb("VmRSS") + "}");
    }
  }

  private void prepare() throws Exception {
    for (Map.Entry<String, NodeInfo> port : session.getInputInfo().entrySet()) {
      String name = port.getKey();
      TensorInfo info = (TensorInfo) port.getValue().getInfo();
      long[] shape = info.getShape().clone();
      int bytes = info.type.size;
      for (int i = 0; i < shape.length; i++) {
        if (shape[i] < 1) shape[i] = 1; // left open by the file: one picture
        bytes *= (int) shape[i];
      }
      if (!inputs.isEmpty()) {
        if (!inputs.containsKey(name)) throw new IOException("no input was given for " + name);
        byte[] all = read(inputs.get(name));
        if (all.length != bytes * samples) throw new IOException(inputs.get(name) + " does not hold " + bytes * samples + " bytes");
        given.put(name, all);
      }
      ByteBuffer buffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
      feeds.put(name, buffer);
      tensors.put(name, OnnxTensor.createTensor(environment, buffer, shape, info.type));
    }
    for (String name : inputs.keySet()) if (!feeds.containsKey(name)) throw new IOException("the model has no port called " + name);
  }

  private void measure() throws Exception {
    call("first", 0);
    for (int i = 0; i < warmup; i++) call("warm", i);
    long begin = System.nanoTime(), sensed = begin - SECOND;
    String ended = "done";
    int done = 0;
    for (;; done++) {
      long now = System.nanoTime();
      double seconds = (now - begin) / (double) SECOND;
      if (done >= calls && seconds >= minSeconds) break;
      if (seconds >= budgetSeconds) {
        ended = "budget";
        break;
      }
      if (now - sensed >= SECOND) {
        sensors(begin);
        sensed = now;
      }
      call("run", done);
    }
    long wall = System.nanoTime() - begin;
    sensors(begin);
    for (int i = done; i < samples; i++) call("check", i); // the outputs are complete
    end = "{\"event\":\"end\",\"ended\":\"" + ended + "\",\"calls\":" + done + ",\"wall_ns\":" + wall
        + ",\"rss_kb\":" + memoryKb("VmRSS") + ",\"peak_rss_kb\":" + memoryKb("VmHWM") + "}";
  }

  private void call(String event, int index) throws Exception {
    int sample = index % samples;
    for (Map.Entry<String, byte[]> input : given.entrySet()) {
      ByteBuffer buffer = feeds.get(input.getKey());
      buffer.clear();
      buffer.put(input.getValue(), sample * buffer.capacity(), buffer.capacity());
    }
    long cpu = cpuNs(), begin = System.nanoTime();
    OrtSession.Result result = session.run(tensors);
    long wall = System.nanoTime() - begin, spent = since(cpu);
    int found = 0;
    for (Map.Entry<String, OnnxValue> output : result) {
      String name = output.getKey();
      if (!outputs.containsKey(name)) continue;
      found++;
      ByteBuffer made = ((OnnxTensor) output.getValue()).getByteBuffer();
      if (!kept.containsKey(name)) kept.put(name, new byte[made.remaining() * samples]);
      made.get(kept.get(name), sample * made.remaining(), made.remaining());
    }
    if (found < outputs.size()) throw new IOException("the model has no outputs called " + outputs.keySet());
    result.close();
    line("{\"event\":\"" + event + "\",\"index\":" + index + ",\"ns\":" + wall + ",\"cpu_ns\":" + spent + "}");
  }

  /** Write an event. Nobody reads any more: stop instead of heating a phone. */
  private void line(String json) {
    out.println(json);
    if (out.checkError()) Runtime.getRuntime().halt(5);
  }

  private void sensors(long begin) {
    line("{\"event\":\"sensors\",\"ns\":" + (System.nanoTime() - begin) + ",\"milli_c\":["
        + numbers("/sys/class/thermal", "thermal_zone", "/temp") + "],\"khz\":["
        + numbers("/sys/devices/system/cpu", "cpu", "/cpufreq/scaling_cur_freq") + "]}");
  }

  private String numbers(String folder, String prefix, String file) {
    StringBuilder made = new StringBuilder();
    String[] names = new File(root + folder).list();
    if (names == null) return "";
    Arrays.sort(names);
    for (String name : names) {
      if (!name.startsWith(prefix)) continue;
      String first = firstLine(root + folder + "/" + name + file);
      if (first != null && first.matches("-?\\d+")) made.append(made.length() == 0 ? "" : ",").append(first);
    }
    return made.toString();
  }

  /** Processor time of all threads, from the scheduler's own books; -1 where they are closed. */
  private static long cpuNs() {
    String[] tasks = new File("/proc/self/task").list();
    if (tasks == null) return -1;
    long sum = 0;
    for (String task : tasks) {
      String first = firstLine("/proc/self/task/" + task + "/schedstat");
      if (first == null) continue; // the thread has ended
      sum += Long.parseLong(first.substring(0, first.indexOf(' ')));
    }
    return sum > 0 ? sum : -1;
  }

  private static long since(long cpu) {
    return cpu < 0 ? -1 : Math.max(0, cpuNs() - cpu);
  }

  private static long memoryKb(String field) throws IOException {
    try (BufferedReader lines = new BufferedReader(new FileReader("/proc/self/status"))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (line.startsWith(field + ":")) return Long.parseLong(line.replaceAll("\\D", ""));
      }
    }
    return -1;
  }

  private static String firstLine(String path) {
    try (BufferedReader lines = new BufferedReader(new FileReader(path))) {
      return lines.readLine();
    } catch (IOException error) {
      return null;
    }
  }

  private static byte[] read(String path) throws IOException {
    File file = new File(path);
    byte[] all = new byte[(int) file.length()];
    try (FileInputStream stream = new FileInputStream(file)) {
      int done = 0;
      while (done < all.length) {
        int count = stream.read(all, done, all.length - done);
        if (count < 0) throw new IOException(path + " became shorter");
        done += count;
      }
    }
    return all;
  }

  private static void write(String path, byte[] bytes) throws IOException {
    try (FileOutputStream stream = new FileOutputStream(path)) {
      stream.write(bytes);
    }
  }

  private static String text(String words) {
    StringBuilder made = new StringBuilder("\"");
    for (char c : words.toCharArray()) {
      if (c == '"' || c == '\\') made.append('\\').append(c);
      else if (c < 32) made.append(String.format("\\u%04x", (int) c));
      else made.append(c);
    }
    return made.append('"').toString();
  }
}
