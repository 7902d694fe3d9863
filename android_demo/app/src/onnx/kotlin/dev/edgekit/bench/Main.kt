package dev.edgekit.bench

import ai.onnxruntime.NodeInfo
import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import dev.edgekit.core.PROTOCOL
import dev.edgekit.core.Process
import dev.edgekit.core.jsonLine
import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.system.exitProcess

/**
 * edgekit's runner as bytecode: calls one model file again and again and writes what it saw, one JSON object a line.
 * It takes the options of the runner in C and writes the same events, but needs no NDK and no installed app:
 *
 *     CLASSPATH=edgekit-runner.jar app_process -Djava.library.path=FOLDER / dev.edgekit.bench.Main --model FILE ...
 *
 * Exit codes: 0 done, 2 usage, 3 the model or its runtime failed, 5 a file of ours.
 */
object Main {
    @JvmStatic
    fun main(arguments: Array<String>) {
        exitProcess(run(arguments.toList()) { println(it) })
    }

    fun run(arguments: List<String>, write: (String) -> Unit): Int =
        try {
            Runner(Options.parse(arguments), write).run()
            0
        } catch (error: Failed) {
            if (error.code == 2) System.err.println("edgekit-runner: ${error.message}")
            else write(jsonLine("error", "where" to error.where, "reason" to error.message))
            error.code
        } catch (error: OrtException) {
            write(jsonLine("error", "where" to "onnxruntime", "reason" to error.message.orEmpty().lineSequence().first()))
            3
        }
}

private class Failed(val code: Int, val where: String, message: String) : Exception(message)

private class Options(private val given: Map<String, List<String>>) {
    val model = File(text("--model") ?: throw Failed(2, "usage", "--model is needed"))
    val pidFile = text("--pid-file")?.let { File(it) }
    val root = text("--sysfs-root").orEmpty()
    val samples = count("--samples", 1, 1)
    val loads = count("--loads", 1, 1)
    val warmup = count("--warmup", 5, 0)
    val calls = count("--calls", 50, 1)
    val threads = count("--threads", 1, 1)
    val minSeconds = seconds("--min-seconds", 0.0)
    val budgetSeconds = seconds("--budget-seconds", 120.0)
    val inputs = files("--input")
    val outputs = files("--output")

    init {
        val engine = text("--engine") ?: "onnxruntime"
        if (engine != "onnxruntime") throw Failed(2, "usage", "this runner has onnxruntime, not $engine")
    }

    private fun text(name: String) = given[name]?.last()

    private fun count(name: String, otherwise: Int, least: Int): Int =
        (text(name) ?: return otherwise).toIntOrNull()?.takeIf { it >= least } ?: throw Failed(2, "usage", "$name takes a number from $least")

    private fun seconds(name: String, otherwise: Double): Double =
        (text(name) ?: return otherwise).toDoubleOrNull() ?: throw Failed(2, "usage", "$name takes seconds")

    private fun files(name: String): Map<String, File> = given[name].orEmpty().associate {
        if ('=' !in it) throw Failed(2, "usage", "not PORT=FILE: $it")
        it.substringBefore('=') to File(it.substringAfter('='))
    }

    companion object {
        private val KNOWN = setOf(
            "--engine", "--library", "--model", "--input", "--output", "--samples", "--loads", "--warmup", "--calls",
            "--min-seconds", "--budget-seconds", "--threads", "--pid-file", "--sysfs-root",
        )

        fun parse(arguments: List<String>): Options {
            val given = LinkedHashMap<String, MutableList<String>>()
            for (pair in arguments.chunked(2)) {
                if (pair[0] !in KNOWN) throw Failed(2, "usage", "unknown option ${pair[0]}")
                if (pair.size < 2) throw Failed(2, "usage", "no value after ${pair[0]}")
                given.getOrPut(pair[0]) { ArrayList() }.add(pair[1])
            }
            return Options(given)
        }
    }
}

/** One input: its buffer, which the tensor is a view of, and the samples that it is fed. */
private class Input(environment: OrtEnvironment, node: NodeInfo, file: File?, samples: Int) {
    private val info = node.info as TensorInfo
    private val bytes = floatBytes(node.name, info)
    private val buffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
    private val data = file?.let { read(it, bytes.toLong() * samples) }
    val tensor: OnnxTensor = OnnxTensor.createTensor(environment, buffer.asFloatBuffer(), info.shape)

    fun feed(sample: Int) {
        if (data == null) return
        buffer.clear()
        buffer.put(data, sample * bytes, bytes)
    }
}

private fun floatBytes(name: String, info: TensorInfo): Int {
    if (info.type != OnnxJavaType.FLOAT || info.shape.any { it < 1 }) {
        throw Failed(3, "ports", "$name is ${info.type} ${info.shape.toList()}, expected float32 of a fixed shape")
    }
    return 4 * info.shape.fold(1L) { all, side -> all * side }.toInt()
}

private fun read(file: File, bytes: Long): ByteArray {
    val found = try {
        file.readBytes()
    } catch (error: IOException) {
        throw Failed(5, "input", "$file: ${error.message}")
    }
    if (found.size.toLong() != bytes) throw Failed(5, "input", "$file does not hold $bytes bytes")
    return found
}

private class Runner(private val options: Options, private val write: (String) -> Unit) {
    private val environment: OrtEnvironment
    private val libraryNs: Long
    private lateinit var session: OrtSession
    private lateinit var inputs: Map<String, Input>
    private val kept = HashMap<String, Array<ByteArray?>>()

    @Volatile
    private var stopped = false

    init {
        val start = System.nanoTime()
        environment = OrtEnvironment.getEnvironment()
        environment.setTelemetry(false)
        libraryNs = System.nanoTime() - start
    }

    fun run() {
        options.pidFile?.let { file ->
            store(file, "pid file", "${File("/proc/self").canonicalFile.name}\n".toByteArray())
            Runtime.getRuntime().addShutdownHook(Thread { file.delete() })
        }
        Runtime.getRuntime().addShutdownHook(Thread { stopped = true })
        line(
            "start", "protocol" to PROTOCOL, "engine" to "onnxruntime", "version" to environment.version,
            "machine" to System.getProperty("os.arch"),
            "system" to "${System.getProperty("os.name")} ${System.getProperty("os.version")}",
            "cpus" to Runtime.getRuntime().availableProcessors(), "threads" to options.threads, "library_ns" to libraryNs,
            "runner" to "app-process",
        )
        for (i in 0 until options.loads) load(i)
        session.use {
            prepare()
            call("first", 0)
            for (i in 0 until options.warmup) if (!stopped) call("warm", i)
            measure()
            inputs.values.forEach { it.tensor.close() }
        }
    }

    private fun load(index: Int) {
        if (index > 0) session.close()
        val cpu = Process.cpuByThread()
        val start = System.nanoTime()
        session = OrtSession.SessionOptions().use {
            it.setIntraOpNumThreads(options.threads)
            it.setInterOpNumThreads(1)
            environment.createSession(options.model.path, it)
        }
        val wall = System.nanoTime() - start
        line("load", "index" to index, "ns" to wall, "cpu_ns" to Process.cpuSince(cpu), "rss_kb" to Process.memoryKb("VmRSS"))
    }

    private fun prepare() {
        val nodes = session.inputInfo
        for (name in options.inputs.keys - nodes.keys) throw Failed(5, "ports", "the model has no port called $name")
        if (options.inputs.isNotEmpty() && options.inputs.size != nodes.size) {
            throw Failed(5, "ports", "${options.inputs.size} inputs were given, the model has ${nodes.size}")
        }
        inputs = nodes.mapValues { (name, node) -> Input(environment, node, options.inputs[name], options.samples) }
        for (name in options.outputs.keys) {
            if (name !in session.outputNames) throw Failed(5, "ports", "the model has no port called $name")
            kept[name] = arrayOfNulls(options.samples)
        }
    }

    private fun measure() {
        val start = System.nanoTime()
        var sensed = start - SECOND
        var done = 0
        var ended: String? = null
        while (ended == null) {
            val now = System.nanoTime()
            val seconds = (now - start) / SECOND.toDouble()
            if (stopped) ended = "signal"
            else if (done >= options.calls && seconds >= options.minSeconds) ended = "done"
            else if (seconds >= options.budgetSeconds) ended = "budget"
            else {
                if (now - sensed >= SECOND) {
                    sensors(start)
                    sensed = now
                }
                call("run", done++)
            }
        }
        val wall = System.nanoTime() - start
        sensors(start)
        for (i in done until options.samples) call("check", i) // so that the outputs are complete
        for ((name, file) in options.outputs) {
            store(file, "output", kept.getValue(name).fold(ByteArray(0)) { all, sample -> all + (sample ?: ByteArray(0)) })
        }
        line(
            "end", "ended" to ended, "calls" to done, "wall_ns" to wall,
            "rss_kb" to Process.memoryKb("VmRSS"), "peak_rss_kb" to Process.memoryKb("VmHWM"),
        )
    }

    private fun call(event: String, index: Int) {
        val sample = index % options.samples
        inputs.values.forEach { it.feed(sample) }
        val tensors = inputs.mapValues { it.value.tensor }
        val cpu = Process.cpuByThread()
        val start = System.nanoTime()
        session.run(tensors).use { made ->
            val wall = System.nanoTime() - start
            val spent = Process.cpuSince(cpu)
            for ((name, value) in made) {
                val bytes = if (name in kept) (value as OnnxTensor).byteBuffer else continue
                kept.getValue(name)[sample] = ByteArray(bytes.remaining()).also { bytes.get(it) }
            }
            line(event, "index" to index, "ns" to wall, "cpu_ns" to spent)
        }
    }

    private fun sensors(start: Long) = line(
        "sensors", "ns" to System.nanoTime() - start,
        "milli_c" to Process.milliCelsius(options.root), "khz" to Process.kilohertz(options.root),
    )

    private fun store(file: File, where: String, bytes: ByteArray) =
        try {
            file.writeBytes(bytes)
        } catch (error: IOException) {
            throw Failed(5, where, "$file: ${error.message}")
        }

    private fun line(event: String, vararg values: Pair<String, Any?>) = write(jsonLine(event, *values))

    private companion object {
        const val SECOND = 1_000_000_000L
    }
}
