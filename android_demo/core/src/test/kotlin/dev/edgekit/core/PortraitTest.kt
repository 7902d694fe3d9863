package dev.edgekit.core

import dev.edgekit.engine.DeviceEngines
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.File
import kotlin.math.abs

/**
 * The restorer that ships and the nets that find faces, through the classes that the app runs. -Dedgekit.bundles names a
 * folder that Python made: `assets` (what an app holds) and `portraits.json` (photos of rendered heads and what
 * `edgekit restore` made of them).
 */
class PortraitTest {
    private val place = folder("edgekit.bundles")
    private val assets = FolderSource(File(place, "assets"))
    private val list = File(place, "assets/bundles.json").readText()
    private val bundle = Bundle(FolderSource(File(place, "assets/" + JsonObject.parse(list).objects("bundles").single().text("path"))))
    private val nets = NetFiles.parse(assets, list)
    private val expected = parseJson(File(place, "portraits.json").readText()).map()

    private fun open(engines: Engines = DeviceEngines, nets: NetFiles? = this.nets) =
        Editor.open(bundle, bundle.manifest.runnable(engines.formats).first(), engines, 1, Accelerator.CPU, nets)

    private fun photo(name: String, kind: String = "photo") =
        expected[name].map()[kind].map().let { Photo(it["width"].int(), it["height"].int(), it["data"].base64()) }

    private fun differences(one: Photo, two: Photo) =
        one.data.indices.map { abs((one.data[it].toInt() and 0xff) - (two.data[it].toInt() and 0xff)) }

    /** Mean and largest difference, and how many levels differ by more than one. */
    private fun assertLikePython(name: String, made: Photo) {
        val apart = differences(photo(name, "restored"), made)
        val words = "$name: mean ${apart.average()}, largest ${apart.maxOf { it }}"
        assertTrue(words, apart.average() < 0.01 && apart.maxOf { it } <= 3)
    }

    @Test
    fun `faces are found where Python finds them, the largest first`() {
        open().use { editor ->
            FaceNets(nets, DeviceEngines, 1).use { finder ->
                for (name in listOf("one", "several", "close", "wall")) {
                    val wanted = expected[name].map()["faces"].rowsOfPoints()
                    val found = foundFaces(photo(name), finder::run).filter { it.side >= LEAST_PX }
                    assertEquals(name, wanted.size, found.size)
                    for ((points, face) in wanted.zip(found)) {
                        for ((one, two) in points.zip(face.five)) assertTrue("$name: $one $two", (one - two).length < 0.02)
                    }
                }
            }
            assertEquals(128, editor.tile.height)
        }
    }

    private fun Any?.rowsOfPoints() = (this as List<*>).map { row -> row.doubles().chunked(2).map { (x, y) -> Point(x, y) } }

    @Test
    fun `a restored photo is what edgekit restore makes of it, and a crop off by a pixel would be seen`() {
        open().use { editor ->
            val made = editor.edit(photo("one"))

            assertLikePython("one", made.photo)
            assertEquals(1, made.faces)
            assertEquals(emptyList<String>(), made.notes)
            val off = differences(photo("one", "off by a pixel"), made.photo)
            assertTrue("${off.average()} ${off.maxOf { it }}", off.average() > 0.2 && off.maxOf { it } > 20)
            val changed = differences(photo("one"), made.photo).count { it > 0 } / made.photo.data.size.toDouble()
            assertTrue("$changed", changed in 0.1..0.5)
        }
    }

    @Test
    fun `a photo that its face fills is restored as a whole`() {
        open().use { assertLikePython("close", it.edit(photo("close")).photo) }
    }

    @Test
    fun `all faces of a photo are restored, and one that is too small is left and named`() {
        open().use { editor ->
            val told = ArrayList<Pair<Int, Int>>()
            val made = editor.edit(photo("several")) { done, total -> told.add(done to total) }

            assertLikePython("several", made.photo)
            assertEquals(2, made.faces)
            assertEquals(listOf(1 to 2, 2 to 2), told)
            assertEquals(2, made.spent.tiles)
            assertEquals("${made.notes}", 1, made.notes.size)
            assertTrue(made.notes[0], Regex("a face is left as it is: the face is \\d+ pixels large, less than 20").matches(made.notes[0]))
            assertTrue(made.spent.find > 0 && made.spent.pre > 0 && made.spent.model > 0 && made.spent.post > 0)
        }
    }

    @Test
    fun `a photo is not changed by its edit, and a face finer than the model's picture is said to be softer`() {
        val given = resized(photo("one"), 540, 620)
        val copy = given.data.copyOf()
        val made = open().use { it.edit(given) }

        assertArrayEquals(copy, given.data)
        assertTrue("${made.notes}", made.notes.single().startsWith("the face fills 349 pixels") && made.notes.single().endsWith("softer than its surroundings"))
    }

    @Test
    fun `no face, a tiny face and missing nets are said in plain words`() {
        open().use { editor ->
            assertRefused("no face was found") { editor.edit(photo("wall")) }
            assertRefused("pixels large, less than 20") { editor.edit(photo("tiny")) }
        }
        open(nets = null).use { editor -> assertRefused("needs nets that find faces") { editor.edit(photo("one")) } }
        open(nets = NetFiles.parse(assets, "{}")).use { editor ->
            assertRefused("the app holds no net that finds faces (face_detection_short_range)") { editor.edit(photo("one")) }
        }
        val damaged = object : BundleSource {
            override val name = "app"
            override fun read(path: String) = assets.read(path).also { it[100]++ }
        }
        open(nets = NetFiles.parse(damaged, list)).use { editor -> assertRefused("is not the file that was exported") { editor.edit(photo("one")) } }
    }

    @Test
    fun `the nets are loaded when a face is first looked for, and go with the model`() {
        val engines = Counting()
        val slot = ModelSlot { bundle, _ -> open(engines).also { check(it.bundle.name == bundle.name) } }
        slot.switch(bundle, bundle.manifest.runnable(engines.formats).first())
        assertEquals(listOf(1, 0), engines.counts)

        val first = slot.current().edit(photo("one"))
        assertEquals(listOf(4, 0), engines.counts)
        slot.current().edit(photo("one"))
        assertEquals(listOf(4, 0), engines.counts)
        slot.unload()
        assertEquals(listOf(4, 4), engines.counts)
        assertFalse(slot.loaded)
        assertArrayEquals(first.photo.data, slot.current().edit(photo("one")).photo.data) // loaded again, with its nets
        slot.unload()
        assertEquals(listOf(8, 8), engines.counts)
    }

    /** The app's engines, counted. */
    private class Counting : Engines by DeviceEngines {
        private var opened = 0
        private var closed = 0
        val counts get() = listOf(opened, closed)

        override fun open(model: ByteArray, entry: ModelEntry, threads: Int, accelerator: Accelerator): Engine {
            val engine = DeviceEngines.open(model, entry, threads, accelerator)
            opened++
            return object : Engine by engine {
                override fun close() {
                    closed++
                    engine.close()
                }
            }
        }
    }

    @Test
    fun `a face of the golden vectors can be tried without a photo, and is what a benchmark measures`() {
        open(nets = null).use { editor ->
            val crop = editor.sample()
            val made = editor.editCrop(crop)
            assertEquals(128 to 1, made.photo.width to made.faces)
            assertTrue(differences(crop, made.photo).average() > 1)
            assertFalse(crop.data.contentEquals(editor.sample(1).data))
            assertArrayEquals(crop.data, editor.sample(bundle.manifest.golden.samples).data)

            val lines = ArrayList<Map<*, *>>()
            val found = Bench(editor, BenchPlan(warmup = 1, runs = 10)) { line -> lines.add(parseJson(line).map()) }.run()
            assertTrue("${found.golden.worst}", found.golden.worst <= 1e-4 && found.complete)
            assertEquals(10, lines.count { it["event"] == "run" })
        }
    }
}
