package dev.edgekit.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test

/** Kotlin computes what Python, JavaScript and Swift compute: every case of tests/golden/golden.json. */
class GoldenTest {
    @Test
    fun `every kind of case is tested here, but for folders, which only Apple's models are`() {
        val tested = setOf(
            "pixels", "tiles", "sizes", "statistics", "parity", "concepts", "vectors", "hashes", "seals",
            "orientations", "manifests", "ports",
        )
        assertEquals(tested + "folders", Cases.all.keys)
    }

    @Test
    fun `a photo fills every kind of port, and comes back`() {
        val cases = Cases["pixels"].map()
        val photo = cases.photo()
        for (row in cases["ports"].rows()) {
            val values = fillPort(photo, port(row))
            assertNear(row["layout"] as String, row["values"].doubles(), values, 1e-7)
            val back = levels(row["values"].floats(), port(row))
            assertArrayEquals(photo.data, ByteArray(back.size) { toByte(back[it]) })
        }
    }

    @Test
    fun `levels are rounded half to even and clipped`() {
        val cases = Cases["pixels"].map()
        val levels = cases["levels"].floats()
        assertArrayEquals(cases["bytes"].bytes(), ByteArray(levels.size) { toByte(levels[it]) })
        assertEquals(0.toByte(), toByte(Float.NaN))
    }

    @Test
    fun `tiles lie and weigh the same`() {
        for (row in Cases["tiles"].map()["axes"].rows()) {
            val found = axis(row["length"].int(), row["side"].int())
            assertEquals((row["starts"] as List<*>).map { it.int() }, found.starts.toList())
            for ((i, weights) in (row["weights"] as List<*>).withIndex()) {
                assertNear("tile $i", weights.doubles(), found.weights[i], 1e-6)
            }
        }
    }

    @Test
    fun `a photo of any size is edited through tiles`() {
        for (row in Cases["tiles"].map()["photos"].rows()) {
            val side = row["tile"].int()
            val told = ArrayList<Pair<Int, Int>>()
            val made = editTiled(row.photo(), Tile(side, side), { done, total -> told.add(done to total) }) { tile ->
                FloatArray(tile.data.size) { (tile.data[it].toInt() and 0xff) * 0.75f + 8 * (it / 3 % tile.width % 4) }
            }
            val wanted = row["edited"].bytes()
            val apart = wanted.indices.filter { wanted[it] != made.data[it] }
            // Sums in another order may round the other way.
            assertTrue(apart.all { kotlin.math.abs((wanted[it].toInt() and 0xff) - (made.data[it].toInt() and 0xff)) == 1 })
            assertTrue("${apart.size} bytes differ", apart.size <= wanted.size / 100)
            assertEquals(told.last().second, told.last().first)
        }
    }

    @Test
    fun `a photo is scaled to the same size`() {
        for (row in Cases["sizes"].rows()) {
            val found = fitted(row["width"].int(), row["height"].int(), row["max_side"].int())
            assertEquals(row["made_width"].int() to row["made_height"].int(), found)
        }
    }

    @Test
    fun `percentiles and summaries are numpy's`() {
        for (row in Cases["statistics"].rows()) {
            val ms = row["ms"].doubles()
            for ((percent, value) in row["percentiles"].map()) {
                assertEquals(value.number(), percentile(ms, (percent as String).toDouble()), 1e-9)
            }
            val found = Summary(ms)
            assertEquals(row["p50_ms"].number(), found.p50, 1e-9)
            assertEquals(row["spread"].number(), found.spread, 1e-9)
            assertEquals(row["drift"].number(), found.drift, 1e-9)
            assertEquals(row["warnings"].int(), found.warnings.size)
            if (row["p90_ms"] == null) assertNull(found.p90) else assertEquals(row["p90_ms"].number(), checkNotNull(found.p90), 1e-9)
            val p99 = row["percentiles"].map()["99"].number()
            if (ms.size < 100) assertNull(found.p99) else assertEquals(p99, checkNotNull(found.p99), 1e-9)
        }
    }

    @Test
    fun `pictures are compared as edgekit verify does`() {
        for (row in Cases["parity"].rows()) {
            val found = Parity(row["reference"].floats(), row["candidate"].floats())
            assertEquals(row["max_abs"].number(), found.maxAbs, 1e-9)
            assertEquals(row["psnr_db"].number(), found.psnrDb, 1e-2)
        }
    }

    @Test
    fun `a concept's file fills the adapter input`() {
        val cases = Cases["concepts"].map()
        val entry = Manifest.adapterInput(JsonObject(cases["entry"].map()))
        for ((i, file) in (cases["files"] as List<*>).withIndex()) {
            val wanted = (cases["vectors"] as List<*>)[i].floats()
            assertArrayEquals(wanted, inputVector(readConcept(file.base64(), "concept $i"), entry), 0f)
        }
    }

    @Test
    fun `blends change each layer the same way, also those cut to the capacity`() {
        val cases = Cases["concepts"].map()
        val entry = Manifest.adapterInput(JsonObject(cases["entry"].map()))
        val concepts = (cases["files"] as List<*>).mapIndexed { i, file -> readConcept(file.base64(), "concept $i") }
        for (row in cases["blends"].rows()) {
            val weights = row["weights"].doubles()
            val blend = blended(concepts.zip(weights).filter { it.second > 0 }, entry)
            val held = entry.blocks.associate { it.name to blend.vector.copyOfRange(it.offset, it.offset + it.rows * it.columns) }
            assertEquals(row["lost"].number() == 0.0, blend.exact)
            for ((name, values) in row["plain"].map()) assertNear(name as String, values.doubles(), held.getValue(name), 1e-6)
            for ((layer, values) in row["products"].map()) {
                val (a, b) = entry.blocks.first { it.name == "$layer.A" } to entry.blocks.first { it.name == "$layer.B" }
                val product = FloatArray(b.columns * a.columns) { at ->
                    val (o, i) = at / a.columns to at % a.columns
                    (0 until a.rows).sumOf { r ->
                        held.getValue(b.name)[r * b.columns + o].toDouble() * held.getValue(a.name)[r * a.columns + i]
                    }.toFloat()
                }
                assertNear(layer as String, values.doubles(), product, 2e-5)
            }
        }
    }

    @Test
    fun `files that no base may load are refused with a sentence`() {
        val cases = Cases["concepts"].map()
        val entry = Manifest.adapterInput(JsonObject(cases["entry"].map()))
        for (row in cases["refused"].rows()) {
            assertRefused(row["words"] as String) { inputVector(readConcept(row["file"].base64(), row["name"] as String), entry) }
        }
        val good = readConcept((cases["files"] as List<*>)[0].base64(), "night")
        assertRefused("weight 0.0") { blended(listOf(good to 0.0), entry) }
    }

    @Test
    fun `golden vectors are read, and damaged ones refused`() {
        val cases = Cases["vectors"].map()
        val found = readNpz(cases["npz"].base64())
        assertEquals(cases["arrays"].map().keys, found.keys)
        for ((name, row) in cases["arrays"].map()) {
            assertNear(name as String, row.map()["values"].doubles(), found.getValue(name), 1e-7)
        }
        for (row in cases["refused"].rows()) assertRefused(row["words"] as String) { readNpz(row["npz"].base64()) }
    }

    @Test
    fun `hashes are the same`() {
        for (row in Cases["hashes"].rows()) assertEquals(row["sha256"], sha256(row["bytes"].base64()))
    }

    @Test
    fun `the seal of a manifest is the same however it was written`() {
        for (row in Cases["seals"].rows()) assertEquals(row["sha256"], Manifest.sealOf(parseJson(row["text"] as String).map()))
    }

    @Test
    fun `photos are turned as EXIF says`() {
        val cases = Cases["orientations"].map()
        for (row in cases["upright"].rows()) {
            val found = cases.photo().upright(row["orientation"].int())
            assertEquals(row["width"].int() to row["height"].int(), found.width to found.height)
            assertArrayEquals("orientation ${row["orientation"]}", row["photo"].bytes(), found.data)
        }
    }

    @Test
    fun `manifests are accepted and refused as everywhere`() {
        for (row in Cases["manifests"].rows()) {
            val text = jsonText(row["manifest"])
            val words = row["refused"] as String?
            if (words == null) assertEquals("base", Manifest.parse(text).name) else assertRefused(words) { Manifest.parse(text) }
        }
    }

    @Test
    fun `forms, parts and assets are read, and what the app cannot do is refused in words`() {
        val read = Cases["manifests"].rows().filter { it["refused"] == null }.map { Manifest.parse(jsonText(it["manifest"])) }
        val restorer = read.single { it.form == "restorer" }

        assertEquals(setOf("base", "restorer"), read.map { it.form }.toSet())
        assertEquals(listOf("enroller" to "enroller"), restorer.parts.map { it.name to it.path })
        assertEquals(listOf("words" to "words.safetensors"), restorer.assets.map { it.name to it.path })
        assertRefused("is told of a person by adapter, and this app enrols nobody") { restorer.runnable(listOf("onnx")) }
    }

    @Test
    fun `the port of the picture is found`() {
        for (row in Cases["ports"].rows()) {
            val ports = row["ports"].rows().map { port(it) }
            val sides = row["sides"] as List<*>?
            if (sides == null) {
                assertRefused("not from one photo to one photo") { picturePort(ports, row["adapter"] as String?) }
            } else {
                val tile = checkNotNull(picturePort(ports, row["adapter"] as String?).tile)
                assertEquals(sides.map { it.int() }, listOf(tile.height, tile.width))
            }
        }
    }
}
