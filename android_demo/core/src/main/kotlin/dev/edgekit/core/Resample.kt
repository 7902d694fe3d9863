package dev.edgekit.core

import kotlin.math.PI
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min
import kotlin.math.sin

// Pictures resampled as Pillow does it, to the last bit: faces are cut out by it in training and by `edgekit restore`, so
// that a model sees here what it sees there. Source: Resample.c and Geometry.c of Pillow.

/** A rectangle of a photo; what lies outside of the photo is its mirror image. */
internal class Region(private val photo: Photo, private val top: Int, left: Int, val height: Int, val width: Int) {
    private val columns = IntArray(width) { 3 * reflected(left + it, photo.width) }

    /** Write a row as levels, 3 a pixel. */
    fun row(y: Int, out: IntArray) {
        val start = 3 * photo.width * reflected(top + y, photo.height)
        var to = 0
        for (column in columns) for (at in start + column until start + column + 3) out[to++] = photo.data[at].toInt() and 0xff
    }
}

/** The place of pixel `i` of a row of `length` pixels that is mirrored at both ends, again and again. */
private fun reflected(i: Int, length: Int): Int {
    val turn = i.mod(2 * length)
    return if (turn < length) turn else 2 * length - 1 - turn
}

/** Return the photo in another size, by a Lanczos filter. */
fun resized(photo: Photo, height: Int, width: Int): Photo = resized(Region(photo, 0, 0, photo.height, photo.width), height, width)

internal fun resized(region: Region, height: Int, width: Int): Photo {
    val row = IntArray(3 * region.width)
    val line = 3 * width
    val wide = ByteArray(region.height * line)
    val across = if (width == region.width) null else Weights(region.width, width)
    for (y in 0 until region.height) {
        region.row(y, row)
        if (across == null) for (at in 0 until line) wide[y * line + at] = row[at].toByte()
        else for (x in 0 until width) across.sum(x, row, wide, y * line + 3 * x)
    }
    if (height == region.height) return Photo(width, height, wide)
    val down = Weights(region.height, height)
    val column = IntArray(3 * region.height)
    val out = ByteArray(height * line)
    for (x in 0 until width) {
        for (y in 0 until region.height) for (k in 0 until 3) column[3 * y + k] = wide[y * line + 3 * x + k].toInt() and 0xff
        for (y in 0 until height) down.sum(y, column, out, y * line + 3 * x)
    }
    return Photo(width, height, out)
}

private const val LOBES = 3
private const val BITS = 22
private const val ONE = 1 shl BITS

/** What each of `count` pixels takes from a row of `length`: whole numbers, as Pillow has them. */
private class Weights(length: Int, count: Int) {
    private val first = IntArray(count)
    private val shares: List<IntArray>

    init {
        val scale = length.toDouble() / count
        val wide = max(scale, 1.0)
        shares = List(count) { i ->
            val center = (i + 0.5) * scale
            val low = max((center - LOBES * wide + 0.5).toInt(), 0)
            val high = min((center + LOBES * wide + 0.5).toInt(), length)
            first[i] = low
            val raw = DoubleArray(high - low) { lanczos((it + low - center + 0.5) * (1 / wide)) }
            val total = raw.sum()
            IntArray(raw.size) {
                val share = raw[it] / total * ONE
                (if (share < 0) share - 0.5 else share + 0.5).toInt()
            }
        }
    }

    /** Write the three levels of pixel `i`, made of `levels`, to `out`. */
    fun sum(i: Int, levels: IntArray, out: ByteArray, to: Int) {
        var red = ONE / 2
        var green = red
        var blue = red
        var at = 3 * first[i]
        for (share in shares[i]) {
            red += share * levels[at]
            green += share * levels[at + 1]
            blue += share * levels[at + 2]
            at += 3
        }
        out[to] = level(red)
        out[to + 1] = level(green)
        out[to + 2] = level(blue)
    }

    private fun level(sum: Int): Byte = (sum shr BITS).coerceIn(0, 255).toByte()

    private fun lanczos(x: Double) = if (x >= -LOBES && x < LOBES) sinc(x) * sinc(x / LOBES) else 0.0

    private fun sinc(x: Double) = if (x == 0.0) 1.0 else sin(x * PI) / (x * PI)
}

/** Return the square of `size` pixels whose pixel (x, y) lies at `place` of (x, y) in `photo`; black outside of it. */
internal fun warped(photo: Photo, place: Matrix, size: Int): Photo {
    val out = ByteArray(3 * size * size)
    val levels = IntArray(16)
    for (y in 0 until size) {
        for (x in 0 until size) {
            val u = place.a * (x + 0.5) + place.b * (y + 0.5) + place.c
            val v = place.d * (x + 0.5) + place.e * (y + 0.5) + place.f
            if (u < 0 || u >= photo.width || v < 0 || v >= photo.height) continue
            for (k in 0 until 3) out[3 * (y * size + x) + k] = bicubic(photo, u - 0.5, v - 0.5, k, levels).coerceIn(0.0, 255.0).toInt().toByte()
        }
    }
    return Photo(size, size, out)
}

private fun bicubic(photo: Photo, u: Double, v: Double, channel: Int, levels: IntArray): Double {
    val left = floor(u).toInt() - 1
    val top = floor(v).toInt() - 1
    for (j in 0 until 4) {
        val start = photo.width * (top + j).coerceIn(0, photo.height - 1)
        for (i in 0 until 4) levels[4 * j + i] = photo.data[3 * (start + (left + i).coerceIn(0, photo.width - 1)) + channel].toInt() and 0xff
    }
    val dx = u - (left + 1)
    fun along(j: Int) = cubic(levels[4 * j].toDouble(), levels[4 * j + 1].toDouble(), levels[4 * j + 2].toDouble(), levels[4 * j + 3].toDouble(), dx)
    return cubic(along(0), along(1), along(2), along(3), v - (top + 1))
}

/** The cubic through the middle two of four values. */
private fun cubic(one: Double, two: Double, three: Double, four: Double, part: Double): Double =
    two + part * ((-one + three) + part * ((2 * (one - two) + three - four) + part * (-one + two - three + four)))

/**
 * Cut out the square of `size` pixels that `matrix` maps to; what lies outside the photo is its mirror image. The photo
 * is first made smaller where it is finer than the square.
 */
fun cutOut(photo: Photo, matrix: Matrix, size: Int): Photo {
    val back = matrix.inverse()
    val ends = corners(size.toDouble()).map { back.moved(it) }
    val left = floor(ends.minOf { it.x }).toInt() - 2
    val top = floor(ends.minOf { it.y }).toInt() - 2
    val wide = ceil(ends.maxOf { it.x }).toInt() + 2 - left
    val tall = ceil(ends.maxOf { it.y }).toInt() + 2 - top
    val scale = min(1.0, 1 / kotlin.math.hypot(back.a, back.d))
    val height = max(2, Math.rint(tall * scale).toInt())
    val width = max(2, Math.rint(wide * scale).toInt())
    val small = resized(Region(photo, top, left, tall, wide), height, width)
    val (across, down) = width.toDouble() / wide to height.toDouble() / tall
    val place = Matrix(
        back.a * across, back.b * across, (back.c - left) * across,
        back.d * down, back.e * down, (back.f - top) * down,
    )
    return warped(small, place, size)
}
