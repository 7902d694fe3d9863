package dev.edgekit.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Assert.fail
import java.io.File
import kotlin.math.abs

/** The cases that Python made for every language: tests/golden/golden.json. */
object Cases {
    val all: Map<*, *> = parseJson(File(folder("edgekit.golden"), "golden.json").readText()) as Map<*, *>

    operator fun get(name: String): Any? = all[name]
}

fun folder(property: String): File =
    File(checkNotNull(System.getProperty(property)) { "start the tests with -D$property=FOLDER" })

fun Any?.map(): Map<*, *> = this as Map<*, *>
fun Any?.rows(): List<Map<*, *>> = (this as List<*>).map { it as Map<*, *> }
fun Any?.number(): Double = (this as JsonNumber).text.toDouble()
fun Any?.int(): Int = (this as JsonNumber).text.toInt()
fun Any?.doubles(): List<Double> = (this as List<*>).map { it.number() }
fun Any?.floats(): FloatArray = doubles().map { it.toFloat() }.toFloatArray()
fun Any?.bytes(): ByteArray = (this as List<*>).map { it.int().toByte() }.toByteArray()
fun Any?.base64(): ByteArray = java.util.Base64.getDecoder().decode(this as String)
fun Map<*, *>.photo(name: String = "photo") = Photo(this["width"].int(), this["height"].int(), this[name].bytes())

fun port(row: Map<*, *>): Port = Port(
    row["name"] as? String ?: "image",
    (row["shape"] as? List<*>)?.map { it.int() } ?: listOf(1, 1, 1, 1),
    row["dtype"] as? String ?: "float32",
    row["layout"] as String,
    row["low"]?.number() ?: -1.0,
    row["high"]?.number() ?: 1.0,
)

fun assertNear(what: String, wanted: List<Double>, got: FloatArray, tolerance: Double) {
    assertEquals(what, wanted.size, got.size)
    for (i in got.indices) assertTrue("$what[$i]: ${got[i]} is not ${wanted[i]}", abs(got[i] - wanted[i]) <= tolerance)
}

/** Assert that `work` throws an [EdgekitError] that says `words` and what to do. */
fun assertRefused(words: String, work: () -> Unit) {
    try {
        work()
    } catch (error: EdgekitError) {
        assertTrue("'${error.what}' does not say '$words'", words in error.what)
        assertTrue("no hint", error.hint.isNotEmpty())
        return
    }
    fail("not refused: $words")
}
