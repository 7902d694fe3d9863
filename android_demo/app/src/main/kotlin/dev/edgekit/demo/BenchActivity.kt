package dev.edgekit.demo

import android.app.Activity
import android.content.Intent
import android.os.Bundle as State
import android.util.Log
import android.view.WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import dev.edgekit.core.Bench
import dev.edgekit.core.BenchPlan
import dev.edgekit.core.EdgekitError
import dev.edgekit.core.Editor
import dev.edgekit.core.Golden
import dev.edgekit.core.History
import dev.edgekit.core.Measured
import dev.edgekit.core.errorLine
import dev.edgekit.core.jsonLine
import dev.edgekit.core.mixed
import dev.edgekit.core.row
import dev.edgekit.engine.DeviceEngines
import java.io.File

/**
 * Latency of the loaded model, and how far it is from PyTorch. Started with the extra `autorun` it measures at once and
 * writes every line to the log (tag edgekit) and to `bench.jsonl` in the app's external files:
 *
 *     adb shell am start -n dev.edgekit.demo/.MainActivity --ez autorun true --ei runs 100
 *
 * More extras: bundle, precision, concept, accelerator (texts), warmup, threads, min_seconds, max_seconds (numbers).
 */
class BenchActivity : Activity() {
    private val studio get() = (application as DemoApp).studio
    private val device by lazy { Device(this) }
    private val lines = ArrayList<String>()

    @Volatile
    private var stopped = false
    private var running = false

    override fun onCreate(saved: State?) {
        super.onCreate(saved)
        setContentView(R.layout.bench)
        button(R.id.measure) { if (running) stopped = true else measure() }
        button(R.id.check) { check() }
        button(R.id.export) { export() }
        addRow(listOf(R.string.head_file, R.string.head_on, R.string.head_load, R.string.head_first, R.string.head_p50, R.string.head_p90).map { getString(it) })
        for (row in history().readRows()) addRow(row)
        window.addFlags(FLAG_KEEP_SCREEN_ON) // a dark screen slows the processor
        if (intent.getBooleanExtra(AUTORUN, false)) autorun(intent) else describe()
    }

    override fun onDestroy() {
        super.onDestroy()
        stopped = true
    }

    private fun describe() = studio.run(::failed, { editor: Editor ->
        text(R.id.engine).text = getString(
            R.string.engine, "${editor.bundle.name}: ${editor.entry.title}", editor.engine.accelerator.title, editor.loadMs, editor.engine.note,
        )
    }) { studio.slot.current() }

    private fun measure() = guarded(::failed) {
        val calls = (findViewById(R.id.calls) as EditText).text.toString().toIntOrNull() ?: 0
        run(BenchPlan(runs = calls, threads = studio.threads)) { studio.slot.current() }
    }

    private fun run(plan: BenchPlan, write: (String) -> Unit = {}, open: () -> Editor) {
        started()
        val total = plan.runs
        var done = 0
        val keep = { line: String ->
            synchronized(lines) { lines.add(line) }
            write(line)
            if (line.startsWith(RUN) && ++done % 5 == 0) studio.onScreen { text(R.id.status).say(getString(R.string.call_of, done, total), false) }
        }
        studio.run({ words -> ended(); failed(words) }, { found: Measured -> measured(found) }) {
            try {
                keep(jsonLine("device", "name" to Device.name()))
                val editor = open()
                Bench(editor, plan, device::facts, { stopped }, keep).run().also { history().add(it.row(editor)) }
            } catch (error: Exception) {
                keep(errorLine(error))
                throw error
            }
        }
    }

    private fun started() {
        running = true
        stopped = false
        (findViewById(R.id.measure) as Button).setText(R.string.stop)
        findViewById(R.id.check).isEnabled = false
    }

    private fun ended() {
        running = false
        (findViewById(R.id.measure) as Button).setText(R.string.measure)
        findViewById(R.id.check).isEnabled = true
        findViewById(R.id.export).isEnabled = true
    }

    private fun measured(found: Measured) {
        ended()
        addRow(history().readRows().last())
        showGolden(found.golden)
        val warnings = found.model.warnings
        text(R.id.status).say(if (warnings.isEmpty()) getString(R.string.measured) else getString(R.string.measured_but, warnings.joinToString("; ")), false)
        describe()
    }

    private fun check() = studio.run(::failed, { golden: Golden -> showGolden(golden) }) { studio.slot.current().golden() }

    private fun showGolden(golden: Golden) = studio.run(::failed, { precision: String ->
        val verdict = if (precision != "fp32") "" else getString(if (golden.worst <= BAR) R.string.passes else R.string.fails)
        text(R.id.checked).text = getString(R.string.checked, golden.samples, golden.worst, verdict)
    }) { studio.slot.current().entry.precision }

    /** Measure what the intent asks for; the lines go to the log and to a file that `adb pull` reads. */
    private fun autorun(intent: Intent) {
        val file = File(getExternalFilesDir(null) ?: filesDir, "bench.jsonl")
        file.delete()
        fun write(line: String) {
            Log.i(Studio.TAG, line)
            file.appendText(line + "\n")
        }
        val plan = try {
            BenchPlan(
                intent.getIntExtra("warmup", 5), intent.getIntExtra("runs", 50), intent.getIntExtra("min_seconds", 0).toDouble(),
                intent.getIntExtra("max_seconds", 120).toDouble(), intent.getIntExtra("threads", Studio.usualThreads()),
            )
        } catch (error: EdgekitError) {
            write(errorLine(error))
            return failed(error.message.orEmpty())
        }
        run(plan, ::write) {
            studio.threads = plan.threads
            studio.accelerator = asked(intent, "accelerator", DeviceEngines.accelerators) { it.name.lowercase() }
            val bundle = asked(intent, "bundle", studio.bundles()) { it.name }
            val entry = asked(intent, "precision", bundle.manifest.runnable(DeviceEngines.formats)) { it.precision }
            studio.open(bundle, entry).also {
                if (bundle.manifest.adapter != null) {
                    studio.slot.use(mixed(asked(intent, "concept", bundle.manifest.concepts) { it.name }.name, null, 0))
                }
            }
        }
    }

    /** The row whose name an extra gives; the first without the extra. */
    private fun <T> asked(intent: Intent, extra: String, rows: List<T>, name: (T) -> String): T {
        val wanted = intent.getStringExtra(extra)
        return rows.find { wanted == null || name(it) == wanted }
            ?: throw EdgekitError("there is no $extra '$wanted'", "known: ${rows.joinToString { name(it) }}")
    }

    private fun export() {
        val file = File(ShareProvider.folder(this), "edgekit-bench.json")
        studio.run(::failed, { _: Unit -> startActivity(ShareProvider.intent(this, file)) }) {
            file.writeText(synchronized(lines) { lines.joinToString(",\n", "[\n", "\n]\n") })
        }
    }

    private fun addRow(cells: List<String>) {
        val table = findViewById(R.id.results) as LinearLayout
        val row = layoutInflater.inflate(R.layout.result, table, false)
        for ((id, cell) in CELLS.zip(cells)) (row.findViewById(id) as TextView).text = cell
        table.addView(row)
    }

    private fun history() = History(File(filesDir, "history.jsonl"))

    private fun failed(words: String) = text(R.id.status).say(words, true)

    companion object {
        const val AUTORUN = "autorun"
        private const val RUN = "{\"event\":\"run\""
        private const val BAR = 1e-4
        private val CELLS = listOf(R.id.cell0, R.id.cell1, R.id.cell2, R.id.cell3, R.id.cell4, R.id.cell5)
    }
}
