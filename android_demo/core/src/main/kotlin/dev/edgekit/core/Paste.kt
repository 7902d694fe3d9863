package dev.edgekit.core

import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min
import kotlin.math.sqrt

/** Width of the soft edge, as a share of the crop's side. */
const val FEATHER = 0.15

/** The crop's light is compared on so many cells a side: coarser than any feature of a face. */
const val CELLS = 4

/** Change of a face, in levels, up to which all of the photo's finer detail stays, and from which on none does. */
val KEPT = 4.0 to 8.0

/**
 * Put `restored` into `photo` in the place of `crop`, which `matrix` cut out, both squares of one size. Light and colour
 * stay the photo's; pixels outside the crop stay as they are. The same arithmetic as edgekit/runtime/paste.py.
 */
fun paste(photo: Photo, crop: Photo, restored: Photo, matrix: Matrix) {
    val size = crop.width
    require(crop.height == size && restored.width == size && restored.height == size) { "needs two squares of one size" }
    val face = inLightOf(restored, crop)
    val kept = detailKept(face, crop)
    for (at in face.indices) face[at] -= kept * (crop.data[at].toInt() and 0xff)
    val back = matrix.inverse()
    val ends = corners(size.toDouble()).map { back.moved(it) }
    val left = max(floor(ends.minOf { it.x }).toInt(), 0)
    val top = max(floor(ends.minOf { it.y }).toInt(), 0)
    val right = min(ceil(ends.maxOf { it.x }).toInt(), photo.width)
    val bottom = min(ceil(ends.maxOf { it.y }).toInt(), photo.height)
    val steps = max(1, ceil(matrix.scale).toInt())
    val sum = DoubleArray(3)
    for (y in top until bottom) {
        for (x in left until right) {
            sum.fill(0.0)
            var weights = 0.0
            for (i in 0 until steps * steps) {
                val px = x + (i % steps + 0.5) / steps
                val py = y + (i / steps + 0.5) / steps
                val u = matrix.a * px + matrix.b * py + matrix.c
                val v = matrix.d * px + matrix.e * py + matrix.f
                val weight = edge(u / size) * edge(v / size)
                if (weight == 0.0) continue
                bilinear(face, size, u, v, weight, sum)
                weights += weight
            }
            if (weights == 0.0) continue
            val share = weights / (steps * steps)
            val at = 3 * (y * photo.width + x)
            for (k in 0 until 3) {
                val before = photo.data[at + k].toInt() and 0xff
                val mixed = before + share * (sum[k] / weights - (1 - kept) * before)
                photo.data[at + k] = floor(mixed + 0.5).coerceIn(0.0, 255.0).toInt().toByte()
            }
        }
    }
}

/** Return how much of what is finer than the crop stays, from 0 to 1: all where the face changes little. */
private fun detailKept(face: DoubleArray, crop: Photo): Double {
    val inner = (crop.width / 8).let { it until crop.width - it }
    var sum = 0.0
    for (y in inner) {
        for (x in inner) {
            for (at in 3 * (y * crop.width + x)..3 * (y * crop.width + x) + 2) {
                val change = face[at] - (crop.data[at].toInt() and 0xff)
                sum += change * change
            }
        }
    }
    val change = sqrt(sum / (3.0 * inner.count() * inner.count()))
    return ((KEPT.second - change) / (KEPT.second - KEPT.first)).coerceIn(0.0, 1.0)
}

/** Return `restored` as levels with the light and colour of `crop`, which varies slowly. */
private fun inLightOf(restored: Photo, crop: Photo): DoubleArray {
    val size = crop.width
    fun level(photo: Photo, at: Int) = photo.data[at].toInt() and 0xff
    val edges = IntArray(CELLS + 1) { Math.rint(it * size / CELLS.toDouble()).toInt() }
    val means = Array(CELLS * CELLS) { cell ->
        val (top, left) = edges[cell / CELLS] to edges[cell % CELLS]
        val (bottom, right) = max(edges[cell / CELLS + 1], top + 1) to max(edges[cell % CELLS + 1], left + 1)
        DoubleArray(3) { k ->
            var sum = 0
            for (y in top until bottom) for (x in left until right) (3 * (y * size + x) + k).let { sum += level(crop, it) - level(restored, it) }
            sum.toDouble() / ((bottom - top) * (right - left))
        }
    }
    val places = DoubleArray(size) { ((it + 0.5) * CELLS / size - 0.5).coerceIn(0.0, CELLS - 1.0) }
    val out = DoubleArray(3 * size * size)
    for (y in 0 until size) {
        val i = min(places[y].toInt(), CELLS - 2)
        val b = places[y] - i
        for (x in 0 until size) {
            val j = min(places[x].toInt(), CELLS - 2)
            val a = places[x] - j
            for (k in 0 until 3) {
                fun along(row: Int) = means[row * CELLS + j][k] * (1 - a) + means[row * CELLS + j + 1][k] * a
                val at = 3 * (y * size + x) + k
                out[at] = level(restored, at) + along(i) * (1 - b) + along(i + 1) * b
            }
        }
    }
    return out
}

/** 0 at the crop's edge and outside, 1 further inside than the feather, smooth between. */
private fun edge(share: Double): Double {
    val inside = (min(share, 1 - share) / FEATHER).coerceIn(0.0, 1.0)
    return inside * inside * (3 - 2 * inside)
}

private fun bilinear(face: DoubleArray, size: Int, u: Double, v: Double, weight: Double, sum: DoubleArray) {
    val last = size - 1
    val x = (u - 0.5).coerceIn(0.0, last.toDouble())
    val y = (v - 0.5).coerceIn(0.0, last.toDouble())
    val i = min(x.toInt(), last - 1)
    val j = min(y.toInt(), last - 1)
    val (a, b) = x - i to y - j
    val at = 3 * (j * size + i)
    for (k in 0 until 3) {
        val above = face[at + k] * (1 - a) + face[at + 3 + k] * a
        val below = face[at + 3 * size + k] * (1 - a) + face[at + 3 * size + 3 + k] * a
        sum[k] += weight * (above * (1 - b) + below * b)
    }
}
