package dev.edgekit.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** A concept of a base, as its file holds it. `parts` maps norms, factors and text to their values. */
class Concept(
    val name: String,
    val baseSha256: String,
    val layoutSha256: String,
    val ranks: Map<String, Int>,
    val parts: Map<String, FloatArray>,
)

/** What concepts with weights became: the adapter input, and whether nothing was cut to the base's capacity. */
class Blend(val vector: FloatArray, val exact: Boolean)

private const val FORMAT = "edgekit.concept.1"
private val PARTS = mapOf("norms" to "F32", "factors" to "F16", "text" to "F16")

private class Damaged(message: String) : Exception(message)

/** Read the file of a concept: safetensors with three flat tensors. `name` is for messages. */
fun readConcept(bytes: ByteArray, name: String): Concept {
    val why = try {
        return parsed(bytes, name)
    } catch (error: Damaged) {
        error.message
    } catch (error: JsonError) {
        error.message
    }
    throw EdgekitError("$name is not a concept of edgekit: $why", "write it with `edgekit adapters add BASE RUN`, or copy it again")
}

private fun parsed(bytes: ByteArray, name: String): Concept {
    val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
    val length = if (bytes.size < 8) -1 else buffer.getLong(0)
    if (length < 0 || length > bytes.size - 8) throw Damaged("its header is longer than the file")
    val header = JsonObject.parse(String(bytes, 8, length.toInt(), Charsets.UTF_8))
    val facts = header.obj("__metadata__")
    if (facts.text("format") != FORMAT) throw Damaged("its format is ${facts.text("format")}")
    val start = 8 + length.toInt()
    return Concept(
        name,
        facts.text("base_sha256"),
        facts.text("layout_sha256"),
        JsonObject.parse(facts.text("ranks")).ints(),
        PARTS.mapValues { (part, dtype) -> values(buffer, start, header.obj(part), dtype, part) },
    )
}

private fun values(buffer: ByteBuffer, start: Int, entry: JsonObject, dtype: String, part: String): FloatArray {
    val (from, to) = entry.longs("data_offsets").takeIf { it.size == 2 } ?: throw Damaged("its part '$part' lies nowhere")
    val size = entry.longs("shape").fold(1L) { all, side -> all * side }
    val width = if (dtype == "F32") 4 else 2
    if (entry.text("dtype") != dtype || from < 0 || to - from != size * width || start + to > buffer.capacity()) {
        throw Damaged("its part '$part' is cut short or of another type")
    }
    val at = start + from.toInt()
    val out = FloatArray(size.toInt()) {
        if (width == 4) buffer.getFloat(at + 4 * it) else fromHalf(buffer.getShort(at + 2 * it).toInt() and 0xffff)
    }
    if (out.any { it.isNaN() || it.isInfinite() }) throw Damaged("its part '$part' holds values that are not finite")
    return out
}

/** Widen an IEEE half-precision number, given by its bits. */
fun fromHalf(bits: Int): Float {
    val sign = if (bits and 0x8000 != 0) -1f else 1f
    val exponent = bits shr 10 and 0x1f
    val fraction = bits and 0x3ff
    return when (exponent) {
        0 -> sign * fraction * Math.scalb(1f, -24)
        31 -> if (fraction != 0) Float.NaN else sign * Float.POSITIVE_INFINITY
        else -> sign * Math.scalb(1f + fraction / 1024f, exponent - 15)
    }
}

/** How many rows of a block the file of a concept with these ranks holds. */
private fun Block.rowsHeld(ranks: Map<String, Int>): Int = if (group.isEmpty()) rows else minOf(ranks[group] ?: 0, most)

/** Throws [EdgekitError] unless `concept` can be loaded into the base that `entry` describes. */
private fun check(concept: Concept, entry: AdapterInput) {
    val again = "add the concept again from its run"
    if (concept.baseSha256 != entry.baseSha256) {
        throw EdgekitError(
            "${concept.name} belongs to base ${concept.baseSha256.take(12)}, this one is ${entry.baseSha256.take(12)}",
            "use the base that it was trained on, or distil the concept again",
        )
    }
    if (concept.layoutSha256 != entry.layoutSha256) {
        throw EdgekitError("${concept.name} has its values in another order than this base", again)
    }
    for ((group, rank) in concept.ranks) {
        val room = entry.capacity[group] ?: 0
        if (rank > room) {
            throw EdgekitError(
                "${concept.name} has rank $rank in $group, this base has room for $room",
                "export the base with a larger --capacity",
            )
        }
    }
    for ((part, held) in concept.parts) {
        val expected = entry.blocks.filter { it.part == part }.sumOf { it.rowsHeld(concept.ranks) * it.columns }
        if (held.size != expected) {
            throw EdgekitError("${concept.name} holds ${held.size} values of $part, expected $expected", again)
        }
    }
}

/** Return block name -> the concept's values of it. */
private fun blocksOf(concept: Concept, entry: AdapterInput): Map<String, FloatArray> {
    val at = HashMap<String, Int>()
    return entry.blocks.associate { block ->
        val start = at[block.part] ?: 0
        val end = start + block.rowsHeld(concept.ranks) * block.columns
        at[block.part] = end
        block.name to concept.parts.getValue(block.part).copyOfRange(start, end)
    }
}

private fun filled(values: Map<String, FloatArray>, entry: AdapterInput): FloatArray {
    val vector = FloatArray(entry.length)
    for (block in entry.blocks) {
        val held = values.getValue(block.name)
        System.arraycopy(held, 0, vector, block.offset, held.size)
    }
    return vector
}

/** Return the adapter input of one concept: zeros where its rank is below the base's capacity. */
fun inputVector(concept: Concept, entry: AdapterInput): FloatArray {
    check(concept, entry)
    return filled(blocksOf(concept, entry), entry)
}

/** Blend concepts with weights above 0; what that means stands in docs/adapters.md. */
fun blended(rows: List<Pair<Concept, Double>>, entry: AdapterInput): Blend {
    for ((concept, weight) in rows) {
        if (!(weight > 0 && weight < Double.POSITIVE_INFINITY)) {
            throw EdgekitError("weight $weight of ${concept.name}", "give each concept a weight above 0")
        }
        check(concept, entry)
    }
    val total = rows.sumOf { it.second }
    val held = rows.map { (concept, weight) -> blocksOf(concept, entry) to weight }
    val values = HashMap<String, FloatArray>()
    var exact = true
    for (block in entry.blocks) {
        val layer = block.name.substringBeforeLast(".")
        if (block.part != "factors") {
            values[block.name] = FloatArray(block.rows * block.columns) { i ->
                held.sumOf { (blocks, weight) -> weight / total * blocks.getValue(block.name)[i] }.toFloat()
            }
        } else if (block.name.endsWith(".A")) {
            val up = entry.blocks.first { it.name == "$layer.B" }
            val downs = held.flatMap { (blocks, _) -> split(blocks.getValue("$layer.A"), block.columns, 1.0) }
            val ups = held.flatMap { (blocks, weight) -> split(blocks.getValue("$layer.B"), up.columns, weight) }
            val fits = downs.size <= block.rows
            exact = exact && fits
            val (a, b) = if (fits) downs to ups else truncatedProduct(downs, ups, block.rows)
            values["$layer.A"] = joined(a)
            values["$layer.B"] = joined(b)
        }
    }
    return Blend(filled(values, entry), exact)
}

private fun split(values: FloatArray, columns: Int, weight: Double): List<DoubleArray> =
    List(values.size / columns) { row -> DoubleArray(columns) { weight * values[row * columns + it] } }

private fun joined(rows: List<DoubleArray>): FloatArray =
    FloatArray(rows.sumOf { it.size }).also { out ->
        var at = 0
        for (row in rows) for (value in row) out[at++] = value.toFloat()
    }
