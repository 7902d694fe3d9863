package dev.edgekit.core

import kotlin.math.PI
import kotlin.math.ceil
import kotlin.math.cos
import kotlin.math.max
import kotlin.math.min

/** Share of a tile's side that it has in common with its neighbour. */
const val OVERLAP = 0.25

/** Share of a tile's side, at an inner border, that is thrown away. */
const val MARGIN = 0.0625

/** Where tiles lie along one axis, and what their pixels weigh: at each pixel the weights sum to 1. */
class Axis(val starts: IntArray, val weights: List<FloatArray>)

/** Cover `length` pixels with the fewest evenly spread tiles of `side` pixels. */
fun axis(length: Int, side: Int, overlap: Double = OVERLAP, margin: Double = MARGIN): Axis {
    require(side in 1..length && margin >= 0 && 2 * margin < overlap && overlap < 1) { "no tiles of $side for $length pixels" }
    val step = side - ceil(side * overlap).toInt()
    val count = 1 + ceil((length - side) / max(step, 1).toDouble()).toInt()
    val starts = IntArray(count) { Math.rint(it * (length - side) / max(count - 1, 1).toDouble()).toInt() }
    val total = DoubleArray(length)
    val raw = starts.indices.map { i ->
        val before = if (i > 0) starts[i - 1] + side - starts[i] else 0
        val after = if (i + 1 < count) starts[i] + side - starts[i + 1] else 0
        window(side, (side * margin).toInt(), before, after).also { row ->
            for (x in row.indices) total[starts[i] + x] += row[x]
        }
    }
    return Axis(starts, raw.mapIndexed { i, row -> FloatArray(side) { (row[it] / total[starts[i] + it]).toFloat() } })
}

private fun window(side: Int, margin: Int, before: Int, after: Int): DoubleArray {
    val weight = DoubleArray(side) { 1.0 }
    fun ramp(shared: Int, at: (Int) -> Int) {
        val rising = max(shared - 2 * margin, 1)
        for (i in 0 until shared) {
            val t = ((i - margin + 0.5) / rising).coerceIn(0.0, 1.0)
            weight[at(i)] = min(weight[at(i)], 0.5 - 0.5 * cos(PI * t))
        }
    }
    ramp(before) { it }
    ramp(after) { side - 1 - it }
    return weight
}

/** Continue a photo by reflection until it is at least `height` x `width`. */
fun continued(photo: Photo, height: Int, width: Int): Photo {
    if (photo.height >= height && photo.width >= width) return photo
    val tall = max(photo.height, height)
    val wide = max(photo.width, width)
    val data = ByteArray(tall * wide * 3)
    for (y in 0 until tall) {
        for (x in 0 until wide) {
            val from = (mirrored(y, photo.height) * photo.width + mirrored(x, photo.width)) * 3
            System.arraycopy(photo.data, from, data, (y * wide + x) * 3, 3)
        }
    }
    return Photo(wide, tall, data)
}

private fun mirrored(i: Int, size: Int): Int {
    if (size == 1) return 0
    val at = i % (2 * (size - 1))
    return if (at < size) at else 2 * (size - 1) - at
}

/**
 * Edit a photo of any size with a model that takes tiles of one size.
 *
 * `editTile` gives levels. Rows of tiles are added into one band that moves down the photo, so the memory is that of
 * the photo, the result and a band of one tile's height. `report` is told the tiles done and their number.
 */
fun editTiled(photo: Photo, tile: Tile, report: (Int, Int) -> Unit = { _, _ -> }, editTile: (Photo) -> FloatArray): Photo {
    val whole = continued(photo, tile.height, tile.width)
    val rows = axis(whole.height, tile.height)
    val columns = axis(whole.width, tile.width)
    val line = whole.width * 3
    val band = FloatArray(tile.height * line)
    val made = ByteArray(whole.height * line)
    val total = rows.starts.size * columns.starts.size
    var done = 0
    for ((i, top) in rows.starts.withIndex()) {
        for ((j, left) in columns.starts.withIndex()) {
            add(editTile(whole.cut(left, top, tile.width, tile.height)), tile, rows.weights[i], columns.weights[j], band, line, left)
            report(++done, total)
        }
        val following = if (i + 1 < rows.starts.size) rows.starts[i + 1] else top + tile.height
        val ready = (following - top) * line // what no later tile touches
        for (at in 0 until ready) made[top * line + at] = toByte(band[at])
        System.arraycopy(band, ready, band, 0, band.size - ready)
        band.fill(0f, band.size - ready)
    }
    val result = Photo(whole.width, whole.height, made)
    return if (whole === photo) result else result.cut(0, 0, photo.width, photo.height)
}

private fun add(levels: FloatArray, tile: Tile, rows: FloatArray, columns: FloatArray, band: FloatArray, line: Int, left: Int) {
    var from = 0
    for (y in 0 until tile.height) {
        var to = y * line + left * 3
        for (x in 0 until tile.width) {
            val weight = rows[y] * columns[x]
            for (k in 0 until 3) band[to++] += levels[from++] * weight
        }
    }
}
