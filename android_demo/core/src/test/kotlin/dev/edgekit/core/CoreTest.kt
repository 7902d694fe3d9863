package dev.edgekit.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.File
import java.nio.ByteBuffer
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread

/** What is not a matter of agreement with Python: frames, the slider, files, JSON. */
class CoreTest {
    @Test
    fun `of frames that come while one is edited only the latest is kept`() {
        val dropped = ArrayList<Int>()
        val box = Latest<Int> { dropped.add(it) }
        for (frame in 1..5) box.offer(frame)

        assertEquals(5, box.take())
        assertEquals(listOf(1, 2, 3, 4), dropped)
        assertEquals(4, box.dropped)
    }

    @Test
    fun `whoever waits for a frame gets it, and is let go when the camera stops`() {
        val box = Latest<Int> { }
        val taken = ArrayList<Int?>()
        val done = CountDownLatch(1)
        thread {
            taken.add(box.take())
            taken.add(box.take())
            done.countDown()
        }
        box.offer(7)
        while (taken.isEmpty()) Thread.sleep(1)
        box.close()

        assertTrue(done.await(5, TimeUnit.SECONDS))
        assertEquals(listOf(7, null), taken)
        box.offer(8)
        assertEquals(1, box.dropped)
    }

    @Test
    fun `a camera's frame becomes an upright square`() {
        // Left half red, right half blue; the sensor lies on its side, so red is shown above blue.
        val (width, height) = 12 to 8
        fun plane(left: Int, right: Int, wide: Int, tall: Int, pixel: Int): Plane {
            val row = wide * pixel + 3 // planes may be padded
            val bytes = ByteBuffer.allocate(row * tall)
            for (y in 0 until tall) for (x in 0 until wide) bytes.put(y * row + x * pixel, (if (x < wide / 2) left else right).toByte())
            return Plane(bytes, row, pixel)
        }
        val frame = Frame(width, height, plane(76, 29, 12, 8, 1), plane(85, 255, 6, 4, 2), plane(255, 107, 6, 4, 2))
        fun colour(photo: Photo, x: Int, y: Int) = List(3) { photo.data[(y * photo.width + x) * 3 + it].toInt() and 0xff }
        fun near(wanted: List<Int>, got: List<Int>) = wanted.zip(got).all { (a, b) -> kotlin.math.abs(a - b) <= 2 }
        val (red, blue) = listOf(254, 0, 0) to listOf(0, 0, 254)

        assertTrue(near(red, colour(square(frame, 0, 8), 0, 4)) && near(blue, colour(square(frame, 0, 8), 7, 4)))
        assertTrue(near(red, colour(square(frame, 90, 8), 4, 0)) && near(blue, colour(square(frame, 90, 8), 4, 7)))
        assertTrue(near(blue, colour(square(frame, 180, 8), 0, 4)) && near(red, colour(square(frame, 180, 8), 7, 4)))
        assertTrue(near(blue, colour(square(frame, 270, 8), 4, 0)) && near(red, colour(square(frame, 270, 8), 4, 7)))
        assertEquals(16, square(frame, 90, 16).width)
    }

    @Test
    fun `the line between before and after moves by touch and by keys, and says where it is`() {
        val split = Split()

        assertTrue(split.touch(30f, 120))
        assertEquals("25 percent before, 75 percent after", split.words)
        assertTrue(split.step(-30))
        assertEquals(0, split.percent)
        assertFalse(split.step(-5))
        assertFalse(split.touch(3f, 0))
    }

    @Test
    fun `two concepts and a share become weights`() {
        assertEquals(mapOf("a" to 1.0), mixed("a", null, 50))
        assertEquals(mapOf("a" to 1.0), mixed("a", "a", 50))
        assertEquals(mapOf("a" to 1.0), mixed("a", "b", 0))
        assertEquals(mapOf("b" to 1.0), mixed("a", "b", 100))
        assertEquals(mapOf("a" to 0.75, "b" to 0.25), mixed("a", "b", 25))
    }

    @Test
    fun `transparent pixels lie over white, and pictures come back as they went`() {
        val photo = Photo.ofArgb(2, 1, intArrayOf(0x000a141e, 0x80000000.toInt()))

        assertArrayEquals(byteArrayOf(-1, -1, -1, 127, 127, 127), photo.data)
        assertArrayEquals(intArrayOf(-1, 0xff7f7f7f.toInt()), photo.toArgb())
    }

    @Test
    fun `a file that was changed or is missing is refused`() {
        val folder = File.createTempFile("bundle", "").also { it.delete() }
        File(folder, "onnx").mkdirs()
        val manifest = Cases["manifests"].rows()[0]["manifest"].map()
        File(folder, "manifest.json").writeText(jsonText(manifest))
        File(folder, "onnx/base.fp32.onnx").writeText("changed")
        val bundle = Bundle(FolderSource(folder))
        val entry = bundle.manifest.runnable(listOf("onnx")).single()

        assertRefused("base.fp32.onnx is not the file that was exported") { bundle.read(entry) }
        File(folder, "onnx/base.fp32.onnx").delete()
        assertRefused("base.fp32.onnx is missing") { bundle.read(entry) }
        File(folder, "manifest.json").writeText(jsonText(manifest + ("manifest_sha256" to "0".repeat(64))))
        assertRefused("changed after it was written") { Bundle(FolderSource(folder)) }
        assertRefused("manifest.json is missing") { Bundle(FolderSource(File(folder, "nowhere"))) }
        folder.deleteRecursively()
    }

    @Test
    fun `the fastest file that the app runs comes first, and a bundle without one is refused`() {
        val manifest = Manifest.parse(jsonText(Cases["manifests"].rows()[0]["manifest"]))

        assertEquals(listOf("onnx fp32, 4.00 MB"), manifest.runnable(listOf("onnx")).map { it.title })
        assertEquals(listOf("int8"), manifest.runnable(listOf("tflite")).map { it.precision })
        assertRefused("no file that this app runs") { manifest.runnable(listOf("aimodel")) } // its ports are float16
    }

    @Test
    fun `json is read strictly and written back`() {
        val text = """{"a":[1,-2.5e3,true,null,"\u00e9\n"],"b":{}}"""

        assertEquals("{\"a\":[1,-2.5e3,true,null,\"é\\n\"],\"b\":{}}", jsonText(parseJson(text)))
        for (wrong in listOf("", "{", "[1,]", "{'a':1}", "01", "[1] 2", "\"\\x\"", "nul", "[\"\u0001\"]", "[".repeat(99))) {
            try {
                parseJson(wrong)
                throw AssertionError("accepted: $wrong")
            } catch (error: JsonError) {
                assertTrue(error.message.orEmpty().isNotEmpty())
            }
        }
        assertEquals("""{"event":"run","ns":5,"x":null,"y":null}""", jsonLine("run", "ns" to 5L, "x" to Double.NaN, "y" to null))
    }

    @Test
    fun `the kernel's facts are read where there are some`() {
        val before = Process.cpuByThread()
        val end = System.nanoTime() + 30_000_000
        var turns = 0
        while (System.nanoTime() < end) turns++

        val spent = Process.cpuSince(before)
        assertTrue("$turns turns, $spent ns", turns > 0 && spent > 1_000_000)
        assertEquals(-1, Process.cpuSince(null))
        // Two reads: memory moves between them, and so the peak that is read may lie below the first.
        for (field in listOf("VmRSS", "VmHWM")) assertTrue(field, Process.memoryKb(field) in 1L..(1L shl 24))
        assertEquals(-1, Process.memoryKb("VmNothing"))
        assertNull(Process.milliCelsius("/nowhere").firstOrNull())
    }
}
