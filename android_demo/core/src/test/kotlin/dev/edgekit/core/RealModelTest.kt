package dev.edgekit.core

import dev.edgekit.engine.DeviceEngines
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotSame
import org.junit.Assert.assertSame
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.File
import kotlin.math.abs

/**
 * Real models through the classes that the app runs. -Dedgekit.bundles names a folder that Python made: `single` and
 * `base` (bundles), `photo.json` (a photo and what Python's runtime made of it).
 */
class RealModelTest {
    private val place = folder("edgekit.bundles")
    private val single = Bundle(FolderSource(File(place, "single")))
    private val base = Bundle(FolderSource(File(place, "base")))
    private val expected = parseJson(File(place, "photo.json").readText()).map()

    private fun entry(bundle: Bundle, precision: String) =
        bundle.manifest.runnable(DeviceEngines.formats).first { it.precision == precision }

    private fun open(bundle: Bundle, entry: ModelEntry = entry(bundle, "fp32"), accelerator: Accelerator = Accelerator.CPU) =
        Editor.open(bundle, entry, DeviceEngines, 1, accelerator)

    private fun assertLike(name: String, made: Photo) {
        val wanted = expected[name].bytes()
        val worst = wanted.indices.maxOf { abs((wanted[it].toInt() and 0xff) - (made.data[it].toInt() and 0xff)) }
        assertTrue("$name: $worst levels apart", worst <= 1) // another version of the runtime may round the other way
    }

    @Test
    fun `every file of the bundle is as near to PyTorch as its precision allows`() {
        val bars = mapOf("fp32" to 60.0, "fp16" to 50.0, "int8" to 30.0, "mixed" to 30.0)
        for (bundle in listOf(single, base)) {
            for (entry in bundle.manifest.runnable(DeviceEngines.formats)) {
                open(bundle, entry).use { editor ->
                    val golden = editor.golden()
                    assertTrue("${entry.path}: ${golden.psnrDb} dB", golden.psnrDb >= bars.getValue(entry.precision))
                    if (entry.precision == "fp32") assertTrue("${entry.path}: ${golden.worst}", golden.worst <= 1e-4)
                }
            }
        }
    }

    @Test
    fun `a photo of any size becomes what Python makes of it, and the parts are timed`() {
        open(single).use { editor ->
            val told = ArrayList<Int>()
            val made = editor.edit(expected.photo()) { done, _ -> told.add(done) }

            assertLike("single", made.photo)
            assertEquals(told.size, made.spent.tiles)
            assertTrue(made.spent.pre > 0 && made.spent.model > 0 && made.spent.post > 0)
            assertTrue(checkNotNull(editor.firstMs) <= made.spent.model && editor.loadMs > 0)
        }
    }

    @Test
    fun `a base is switched and blended without loading anything again`() {
        open(base).use { editor ->
            assertRefused("needs a concept") { editor.edit(expected.photo()) }
            val (first, second) = base.manifest.concepts.map { it.name }
            editor.use(mixed(first, null, 0))
            assertLike("first", editor.edit(expected.photo()).photo)
            editor.use(mixed(first, second, 40))
            assertLike("blend", editor.edit(expected.photo()).photo)
            editor.use(mixed(second, null, 0))
            assertLike("second", editor.edit(expected.photo()).photo)
            assertRefused("no concept nowhere") { editor.use(mixed("nowhere", null, 0)) }
        }
    }

    @Test
    fun `an accelerator that is not there is replaced by the processor, and the app says so`() {
        open(single, accelerator = Accelerator.NNAPI).use { editor ->
            assertEquals(Accelerator.CPU, editor.engine.accelerator)
            assertTrue(editor.engine.note, "so the processor runs it" in editor.engine.note)
            assertLike("single", editor.edit(expected.photo()).photo)
        }
    }

    @Test
    fun `a file that is no model is refused with a sentence`() {
        val wrong = object : BundleSource {
            override val name = "wrong"
            val bytes = "not a model".toByteArray()
            override fun read(path: String): ByteArray {
                if (path != "manifest.json") return bytes
                val text = jsonText(Cases["manifests"].rows()[1]["manifest"])
                return text.replace("0123456789abcdef".repeat(4), sha256(bytes)).toByteArray()
            }
        }
        val bundle = Bundle(wrong)
        assertRefused("refuses onnx/base.fp32.onnx") { open(bundle) }
    }

    @Test
    fun `one model is in memory, the new one before the old one goes, and memory pressure gives it back`() {
        val opened = ArrayList<Editor>()
        var broken = false
        val slot = ModelSlot { bundle, entry ->
            if (broken) throw EdgekitError("no memory", "close other apps")
            open(bundle, entry).also { opened.add(it) }
        }
        assertRefused("no model is chosen") { slot.current() }
        slot.switch(base, entry(base, "fp32"))
        val concept = base.manifest.concepts[1].name
        slot.use(mapOf(concept to 1.0))
        slot.unload()
        assertFalse(slot.loaded)

        assertLike("second", slot.current().edit(expected.photo()).photo) // loaded again, with its concept
        assertEquals(2, opened.size)
        broken = true
        assertRefused("no memory") { slot.switch(single, entry(single, "fp32")) }
        assertSame(opened[1], slot.current())
        broken = false
        slot.switch(single, entry(single, "fp32"))
        assertNotSame(opened[1], slot.current())
        slot.unload()
    }

    @Test
    fun `a benchmark writes lines that can be read, with raw samples`() {
        val lines = ArrayList<Map<*, *>>()
        val found = open(single).use { Bench(it, BenchPlan(warmup = 2, runs = 12), { mapOf("status" to 1) }) { line -> lines.add(parseJson(line).map()) }.run() }

        File(checkNotNull(System.getProperty("edgekit.lines"))).writeText(lines.joinToString("\n") { jsonText(it) })
        val runs = lines.filter { it["event"] == "run" }
        assertEquals(listOf("start", "load", "first", "accuracy", "warm", "warm", "sensors"), lines.take(7).map { it["event"] })
        assertEquals(PROTOCOL, lines[0]["protocol"])
        assertEquals(12, runs.size)
        assertEquals(found.model.p50, percentile(runs.map { it["ns"].number() / 1e6 }, 50.0), 1e-9)
        assertTrue(runs.sumOf { it["cpu_ns"].number() } > 0 && runs.all { it["pre_ns"].number() > 0 && it["post_ns"].number() > 0 })
        assertEquals("done", lines.last()["ended"])
        assertEquals(1, lines.first { it["event"] == "sensors" }["status"].int())
        assertTrue(found.golden.worst <= 1e-4 && found.complete)
    }

    @Test
    fun `a benchmark that is stopped keeps what it has and says so`() {
        val lines = ArrayList<Map<*, *>>()
        val stop = { lines.count { it["event"] == "run" } >= 3 }
        val found = open(single).use { Bench(it, BenchPlan(runs = 500), stop = stop) { line -> lines.add(parseJson(line).map()) }.run() }

        assertFalse(found.complete)
        assertEquals("signal", lines.last()["ended"])
        assertEquals(3, found.model.calls)
        assertRefused("runs 0") { BenchPlan(runs = 0) }
    }
}
