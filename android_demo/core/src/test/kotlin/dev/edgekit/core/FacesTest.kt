package dev.edgekit.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs

/** Faces are found, cut out and put back as in Python: every case of tests/golden/faces.json. */
class FacesTest {
    private val golden = parseJson(File(folder("edgekit.golden"), "faces.json").readText()).map()
    private val photo = golden["photo"].map().let { Photo(it["width"].int(), it["height"].int(), it["data"].base64()) }

    private fun points(values: Any?) = values.doubles().chunked(2).map { (x, y) -> Point(x, y) }

    private fun matrix(values: Any?) = values.doubles().let { Matrix(it[0], it[1], it[2], it[3], it[4], it[5]) }

    private fun square(row: Map<*, *>, name: String) = Photo(row["size"].int(), row["size"].int(), row[name].base64())

    private fun differences(one: ByteArray, two: ByteArray) = one.indices.map { abs((one[it].toInt() and 0xff) - (two[it].toInt() and 0xff)) }

    @Test
    fun `five points make Python's matrix`() {
        for (row in golden["cases"].rows()) {
            val found = cropTransform(points(row["points"]), row["size"].int())
            val wanted = row["matrix"].doubles()
            for ((i, value) in listOf(found.a, found.b, found.c, found.d, found.e, found.f).withIndex()) {
                assertEquals("${row["name"]}", wanted[i], value, 1e-5 * maxOf(1.0, abs(wanted[i])))
            }
        }
    }

    @Test
    fun `a face is cut out as Pillow does it, to the last bit`() {
        for (row in golden["cases"].rows()) {
            val found = cutOut(photo, matrix(row["matrix"]), row["size"].int())
            assertArrayEquals("${row["name"]}", row["crop"].base64(), found.data)
        }
    }

    @Test
    fun `a face is put back as Python does it, and the rest of the photo stays`() {
        for (row in golden["cases"].rows()) {
            val out = Photo(photo.width, photo.height, photo.data.copyOf())
            paste(out, square(row, "crop"), square(row, "restored"), matrix(row["matrix"]))
            val apart = differences(row["pasted"].base64(), out.data)
            assertTrue("${row["name"]}: ${apart.maxOf { it }}", apart.all { it <= 1 }) // sums in another order
            assertTrue("${row["name"]}: ${apart.count { it > 0 }}", apart.count { it > 0 } <= apart.size / 1000)
        }
    }

    @Test
    fun `nets are given what Python gives them, and what they say becomes the same faces`() {
        val cases = golden["found"].map()
        val calls = ArrayList<Pair<String, Double>>()
        val found = foundFaces(photo) { net, picture ->
            val number = calls.count { it.first == net }
            calls.add(net to picture.sumOf { it.toDouble() } / picture.size)
            if (net == FACE_NETS.last()) mesh(cases["mesh"].map(), number) else boxes(cases["nets"].rows().first { it["name"] == net })
        }

        for ((row, call) in cases["calls"].rows().zip(calls)) {
            assertEquals(row["net"], call.first)
            assertEquals(row["net"] as String, row["mean"].number(), call.second, 2e-5)
        }
        assertEquals(cases["calls"].rows().size, calls.size)
        assertEquals(cases["faces"].rows().size, found.size)
        for ((row, face) in cases["faces"].rows().zip(found)) {
            for ((one, two) in points(row["points"]).zip(face.five)) assertTrue("$one $two", (one - two).length < 1e-3)
            assertEquals(row["score"].number(), face.score, 1e-6)
            assertEquals(row["side"].number(), face.side, 1e-3)
            assertEquals(row["yaw"].number(), face.yaw, 1e-3)
        }
    }

    private fun boxes(net: Map<*, *>): Pair<FloatArray, FloatArray> {
        val places = net["places"].int()
        val values = FloatArray(16 * places)
        val logits = FloatArray(places) { net["quiet"].number().toFloat() }
        for (row in net["said"].rows()) {
            val place = row["place"].int()
            row["values"].floats().copyInto(values, 16 * place)
            logits[place] = row["logit"].number().toFloat()
        }
        return values to logits
    }

    private fun mesh(said: Map<*, *>, number: Int): Pair<FloatArray, FloatArray> {
        val held = ByteBuffer.wrap(said["values"].base64()).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        val flags = said["flags"].floats()
        val values = FloatArray(held.remaining()) { (if (it % 3 == 2 && number % 3 == 2) -held.get(it) else held.get(it)) + said["step"].number().toFloat() * number }
        return values to floatArrayOf(flags[number % flags.size])
    }

    @Test
    fun `at most eight faces are restored, the largest, and the others are counted`() {
        val crowd = Photo(900, 600, ByteArray(900 * 600 * 3) { 90 })
        val cases = golden["found"].map()
        var calls = 0
        val made = restoredFaces(crowd, 144, { net, _ ->
            if (net == FACE_NETS.last()) mesh(cases["mesh"].map(), 0) else ten(net, first = calls++ == 0)
        }, { _, _ -> }, Spent()) { Photo(144, 144, ByteArray(144 * 144 * 3) { (it / 12 % 2 * 80).toByte() }) }

        assertEquals(MOST_FACES, made.faces)
        assertEquals(listOf("2 smaller faces are left as they are, beyond 8"), made.notes)
        val changed = (0 until 10).filter { i ->
            (0 until 225 * 225).any { at ->
                val x = 28 + 225 * (i % 4) + at % 225
                val y = 225 * (i / 4) - 9 + at / 225
                x in 0 until 900 && y in 0 until 600 && made.photo.data[3 * (900 * y + x)] != 90.toByte()
            }
        }
        assertEquals((2 until 10).toList(), changed) // each box is larger than the one before
    }

    /** Boxes of ten faces in four columns, if it is the `first` call. */
    private fun ten(net: String, first: Boolean): Pair<FloatArray, FloatArray> {
        val places = if (net == FACE_NETS[1]) 2304 else 896
        val values = FloatArray(16 * places)
        val logits = FloatArray(places) { -5f }
        for (i in 0 until if (first) 10 else 0) {
            val place = 2 * (16 * (4 + 4 * (i / 4)) + 2 + 4 * (i % 4))
            logits[place] = 3f
            floatArrayOf(0f, 0f, 14f + i, 14f + i, -3f, -2f, 3f, -2f).copyInto(values, 16 * place)
        }
        return values to logits
    }

    @Test
    fun `a matrix and its inverse lead back, turned by any quarter`() {
        for ((a, b) in listOf(2.0 to 0.0, 0.0 to 2.0, -1.5 to 0.5, 0.25 to -3.0)) {
            val there = Matrix(a, b, 7.0, -b, a, -3.0)
            val back = there.inverse().moved(there.moved(Point(5.0, 11.0)))
            assertTrue("$a $b: $back", (back - Point(5.0, 11.0)).length < 1e-9)
        }
    }

    @Test
    fun `a photo that is the crop of its face is only made larger or smaller`() {
        val side = 64.0
        val five = listOf(Point(24.0, 25.6), Point(40.0, 25.6), Point(32.0, 35.0), Point(25.0, 41.6), Point(39.0, 41.6))
        val whole = Photo(64, 64, ByteArray(64 * 64 * 3) { (it * 31 % 256).toByte() })
        val moved = five.map { it + Point(0.1 * side, 0.0) }
        val wide = Photo(80, 64, ByteArray(80 * 64 * 3))

        assertFalse(isCrop(whole, moved))
        assertFalse(isCrop(wide, five))
        val square = cropSquare(five)
        val fitting = five.map { (it - square[0]) * (side / (square[1] - square[0]).length) }
        assertTrue(isCrop(whole, fitting))
        assertArrayEquals(whole.data, cropped(whole, Face(fitting, 1.0, 40.0, 0.0, Point(32.0, 32.0)), 64).photo.data)
    }

    @Test
    fun `faces that cannot be restored are refused in words`() {
        val five = points(golden["cases"].rows()[0]["points"])
        fun face(side: Double, yaw: Double = 0.0, by: Double = 0.0) = Face(five.map { it + Point(by, 0.0) }, 1.0, side, yaw, mean(five))

        assertRefused("19 pixels large, less than 20") { cropped(photo, face(19.2), 32) }
        assertRefused("turned 71 degrees to the side") { cropped(photo, face(40.0, -71.0), 32) }
        assertRefused("of the crop lies outside the photo") { cropped(photo, face(40.0, by = -40.0), 32) }
        assertEquals(32, cropped(photo, face(40.0, 59.0), 32).photo.width)
        val quiet = { net: String, _: FloatArray -> (if (net == FACE_NETS[1]) 2304 else 896).let { FloatArray(16 * it) to FloatArray(it) { -5f } } }
        assertRefused("no face was found") { restoredFaces(photo, 32, quiet, { _, _ -> }, Spent()) { it } }
    }
}
