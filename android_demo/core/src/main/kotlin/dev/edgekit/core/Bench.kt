package dev.edgekit.core

/** How a model is measured: at least `runs` calls and `minSeconds`, at most `maxSeconds`. */
class BenchPlan(
    val warmup: Int = 5,
    val runs: Int = 50,
    val minSeconds: Double = 0.0,
    val maxSeconds: Double = 120.0,
    val threads: Int = 1,
) {
    init {
        if (warmup !in 0..10_000 || runs !in 1..100_000 || threads !in 1..64 || !(maxSeconds > 0)) {
            throw EdgekitError(
                "warmup $warmup, runs $runs, threads $threads, at most $maxSeconds s cannot be measured",
                "give 0 to 10000, 1 to 100000, 1 to 64 and a time above 0",
            )
        }
    }
}

/** What a measurement found, beside the lines that it wrote. */
class Measured(val golden: Golden, val firstMs: Double, val model: Summary, val complete: Boolean)

/**
 * Measure a loaded model and write one JSON object a line, every sample raw: the protocol of edgekit's own runner
 * (start, load, first, warm, sensors, run, end), with an `accuracy` line and the times before and after the model
 * added. Accuracy is measured in the same run: a fast wrong accelerator must not get a number. Of a restorer the model
 * alone is measured, on the first face of its golden vectors; finding faces is not part of it.
 *
 * `device` is asked for more facts (thermal status, battery) whenever the sensors are read.
 */
class Bench(
    private val editor: Editor,
    private val plan: BenchPlan,
    private val device: () -> Map<String, Any?> = { emptyMap() },
    private val stop: () -> Boolean = { false },
    private val write: (String) -> Unit,
) {
    private val photo = if (editor.bundle.manifest.restores) editor.sample() else testPhoto(editor.tile)
    private var since = System.nanoTime()

    fun run(): Measured {
        val (entry, engine) = editor.entry to editor.engine
        line(
            "start", "protocol" to PROTOCOL, "engine" to engine.runtime.substringBefore(' '),
            "version" to engine.runtime.substringAfter(' '), "machine" to System.getProperty("os.arch"),
            "system" to "${System.getProperty("os.name")} ${System.getProperty("os.version")}",
            "cpus" to Runtime.getRuntime().availableProcessors(), "threads" to plan.threads,
            "runner" to "app", "bundle" to editor.bundle.name, "path" to entry.path, "sha256" to entry.sha256,
            "accelerator" to engine.accelerator.name.lowercase(), "note" to engine.note,
        )
        line("load", "index" to 0, "ns" to nanos(editor.loadMs), "rss_kb" to Process.memoryKb("VmRSS"))
        val earlier = editor.firstMs
        call("warm", -1, write = false)
        val first = earlier ?: checkNotNull(editor.firstMs)
        line("first", "index" to 0, "ns" to nanos(first), "cpu_ns" to -1L)
        val golden = editor.golden()
        line("accuracy", "max_abs" to golden.worst, "psnr_db" to golden.psnrDb, "samples" to golden.samples)
        for (i in 0 until plan.warmup) call("warm", i)
        return measured(golden, first)
    }

    private fun measured(golden: Golden, first: Double): Measured {
        val samples = ArrayList<Double>()
        since = System.nanoTime()
        var sensed = since - SECOND
        var ended = "done"
        while (true) {
            val now = System.nanoTime()
            val seconds = (now - since) / SECOND.toDouble()
            if (stop()) ended = "signal"
            else if (samples.size >= plan.runs && seconds >= plan.minSeconds) ended = "done"
            else if (seconds >= plan.maxSeconds) ended = "budget"
            else {
                if (now - sensed >= SECOND) {
                    sensors()
                    sensed = now
                }
                samples.add(call("run", samples.size))
                continue
            }
            break
        }
        val wall = System.nanoTime() - since
        sensors()
        line(
            "end", "ended" to ended, "calls" to samples.size, "wall_ns" to wall,
            "rss_kb" to Process.memoryKb("VmRSS"), "peak_rss_kb" to Process.memoryKb("VmHWM"),
        )
        if (samples.isEmpty()) throw EdgekitError("the measurement was stopped before its first call", "start it again")
        return Measured(golden, first, Summary(samples), ended == "done")
    }

    /** One tile from bytes to bytes; returns the milliseconds of the model. */
    private fun call(event: String, index: Int, write: Boolean = true): Double {
        val t0 = System.nanoTime()
        val feeds = editor.feeds(photo)
        val cpu = Process.cpuByThread()
        val t1 = System.nanoTime()
        val values = editor.call(feeds)
        val t2 = System.nanoTime()
        val used = Process.cpuSince(cpu)
        val t3 = System.nanoTime()
        val made = editor.levelsOf(values)
        ByteArray(made.size) { toByte(made[it]) }
        val t4 = System.nanoTime()
        if (write) {
            line(
                event, "index" to index, "ns" to t2 - t1, "cpu_ns" to used,
                "pre_ns" to t1 - t0, "post_ns" to t4 - t3,
            )
        }
        return (t2 - t1) / 1e6
    }

    private fun sensors() = line(
        "sensors", "ns" to System.nanoTime() - since, "milli_c" to Process.milliCelsius(), "khz" to Process.kilohertz(),
        *device().toList().toTypedArray(),
    )

    private fun line(event: String, vararg values: Pair<String, Any?>) = write(jsonLine(event, *values))

    private companion object {
        const val SECOND = 1_000_000_000L
    }
}

const val PROTOCOL = "edgekit-runner-1"

/** One line of the protocol. */
fun jsonLine(event: String, vararg values: Pair<String, Any?>): String = jsonText(mapOf("event" to event, *values))

/** The line of a measurement that failed. */
fun errorLine(error: Throwable): String =
    if (error is EdgekitError) jsonLine("error", "where" to "app", "reason" to error.what, "hint" to error.hint)
    else jsonLine("error", "where" to "app", "reason" to "something failed: $error", "hint" to "send this line to edgekit's issues")

private fun testPhoto(tile: Tile) = Photo(tile.width, tile.height, ByteArray(tile.width * tile.height * 3) { (it * 7).toByte() })

private fun nanos(ms: Double) = (ms * 1e6).toLong()

/** A measurement as a row of a table: file, unit, milliseconds of load, first call, p50 and p90. */
fun Measured.row(editor: Editor): List<String> {
    fun ms(value: Double?) = if (value == null) "–" else "%.1f".format(value)
    return listOf(
        "${editor.bundle.name} ${editor.entry.precision}", editor.engine.accelerator.name.lowercase(),
        ms(editor.loadMs), ms(firstMs), ms(model.p50), ms(model.p90),
    )
}
