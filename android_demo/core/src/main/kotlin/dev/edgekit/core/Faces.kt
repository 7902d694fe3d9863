package dev.edgekit.core

import kotlin.math.PI
import kotlin.math.atan2
import kotlin.math.exp
import kotlin.math.max
import kotlin.math.min

/** A face of a photo, in the photo's pixels. */
class Face(
    /** Right eye, left eye, nose, right and left corner of the mouth, as seen from left to right. */
    val five: List<Point>,
    /** How sure the mesh net is that this is a face, from 0 to 1. */
    val score: Double,
    /** Side of the face's box. */
    val side: Double,
    /** Degrees that it is turned to the picture's right. */
    val yaw: Double,
    internal val middle: Point,
)

/** Runs a net of [FACE_NETS] on a picture (NHWC) and returns its two outputs, the longer one first. */
typealias RunNet = (net: String, picture: FloatArray) -> Pair<FloatArray, FloatArray>

private const val NEAR = "face_detection_short_range"
private const val FAR = "face_detection_full_range"
private const val MESH = "face_landmark"
val FACE_NETS = listOf(NEAR, FAR, MESH)

private const val MESH_PX = 192
private const val MESH_POINTS = 468
private const val ROOM = 1.5
private const val SURE = 0.5
private const val SAME_FACE = 0.3

private val RIGHT_EYE = 36..41
private val LEFT_EYE = 42..47
private const val NOSE = 30
private val MOUTH = listOf(48, 54)
private val MIRRORED_FIVE = listOf(1, 0, 2, 4, 3)

/** Points of the mesh whose mean is each of 68 landmarks: jaw, brows, nose, eyes, mouth. */
private val DENSE: List<List<Int>> = (
    "127 234 93 132,58 58,172 136 150 176 152 400 379 365 288,397 361,288 323 454 356 " +
        "70 63 105 66 107 336 296 334 293 300 6,168 195,197 5 4 75 97 2 326 305 " +
        "33 160 158 133 153 144 362 385 387 263 373 380 " +
        "61 39 37 0 267 269 291 321 314 17 84 91 78 82 13 312 308 317 14 87"
    ).split(' ').map { some -> some.split(',').map { it.toInt() } }

/**
 * Return the faces of a photo, the largest first, as edgekit/distill/faces/detect.py finds them: BlazeFace for near and
 * for far faces proposes boxes, the mesh net places the points, looking twice and once in the mirror.
 */
fun foundFaces(photo: Photo, run: RunNet): List<Face> {
    val distinct = ArrayList<Face>()
    val sure = boxes(photo, run).map { meshed(photo, it.eyes, it.side, run) }.filter { it.score >= SURE }
    for (face in sure.sortedByDescending { it.side }) {
        if (distinct.all { (face.middle - it.middle).length > 0.4 * it.side }) distinct.add(face)
    }
    return distinct
}

private class Box(val logit: Float, val low: Point, val high: Point, val eyes: List<Point>) {
    val side: Double get() = max(high.x - low.x, high.y - low.y)

    fun overlap(other: Box): Double {
        val shared = max(0.0, min(high.x, other.high.x) - max(low.x, other.low.x)) *
            max(0.0, min(high.y, other.high.y) - max(low.y, other.low.y))
        return shared / max(area + other.area - shared, 1e-6)
    }

    private val area get() = (high.x - low.x) * (high.y - low.y)
}

private fun boxes(photo: Photo, run: RunNet): List<Box> {
    val found = candidates(photo, NEAR, 0.0, run) + candidates(photo, NEAR, 0.5, run) + candidates(photo, FAR, 0.0, run)
    val kept = ArrayList<Box>()
    for (box in found.sortedByDescending { it.logit }) if (kept.all { box.overlap(it) < SAME_FACE }) kept.add(box)
    return kept
}

/** What one net proposes; `border` is the empty room left around the photo, in its longer sides. */
private fun candidates(photo: Photo, net: String, border: Double, run: RunNet): List<Box> {
    val px = if (net == FAR) 192 else 128
    val side = max(photo.height, photo.width) * (1 + border)
    val scale = px / side
    val offset = Point((side - photo.width) / 2, (side - photo.height) / 2)
    val seen = cutOut(photo, Matrix(scale, 0.0, offset.x * scale, 0.0, scale, offset.y * scale), px)
    val picture = FloatArray(seen.data.size) { (seen.data[it].toInt() and 0xff) / 127.5f - 1 }
    for (y in 0 until px) {
        for (x in 0 until px) {
            val (across, down) = (x + 0.5) / scale to (y + 0.5) / scale
            val outside = across < offset.x || across > side - offset.x || down < offset.y || down > side - offset.y
            if (outside) picture.fill(-1f, 3 * (y * px + x), 3 * (y * px + x) + 3)
        }
    }
    val (values, logits) = run(net, picture)
    val centers = anchors(net)
    return logits.indices.filter { logits[it] > 0 }.map { i ->
        fun point(n: Int) = Point(
            (values[16 * i + 2 * n] / px + centers[i].x) * side - offset.x,
            (values[16 * i + 2 * n + 1] / px + centers[i].y) * side - offset.y,
        )
        val half = Point(values[16 * i + 2] / px * side / 2, values[16 * i + 3] / px * side / 2)
        Box(logits[i], point(0) - half, point(0) + half, listOf(point(2), point(3)))
    }
}

/** The centres, as shares of the side, that a net's outputs are relative to. */
private fun anchors(net: String): List<Point> {
    val layers = if (net == FAR) listOf(48 to 1) else listOf(16 to 2, 8 to 6)
    return layers.flatMap { (cells, repeats) ->
        List(cells * cells * repeats) { Point((it / repeats % cells + 0.5) / cells, (it / repeats / cells + 0.5) / cells) }
    }
}

/** Place the mesh on the face whose eyes and box side are about known. */
private fun meshed(photo: Photo, about: List<Point>, boxSide: Double, run: RunNet): Face {
    var eyes = about
    var side = boxSide
    var center = direction(eyes).let { mean(eyes) + Point(-it.y, it.x) * (side * 0.18) }
    var found: Face? = null
    for (look in 0 until 2) {
        val along = direction(eyes)
        val scale = MESH_PX / (side * ROOM)
        val (a, b) = along.x * scale to along.y * scale
        val matrix = Matrix(a, b, MESH_PX / 2 - (a * center.x + b * center.y), -b, a, MESH_PX / 2 - (a * center.y - b * center.x))
        val back = matrix.inverse()
        val seen = cutOut(photo, matrix, MESH_PX)
        val mesh = mesh(seen, run)
        var five = mesh.five
        var middle = mesh.middle
        var yaw = mesh.yaw
        if (look == 1) {
            val other = mesh(mirrored(seen), run)
            fun unflipped(point: Point) = Point(MESH_PX - point.x, point.y)
            five = five.mapIndexed { i, point -> mean(listOf(point, unflipped(other.five[MIRRORED_FIVE[i]]))) }
            middle = mean(listOf(middle, unflipped(other.middle)))
            yaw = (yaw - other.yaw) / 2
        }
        val there = five.map { back.moved(it) }
        eyes = there.take(2)
        side = max(mesh.high.x - mesh.low.x, mesh.high.y - mesh.low.y) / scale
        center = back.moved(mean(listOf(mesh.low, mesh.high)))
        found = Face(there.map { Point(it.x.single(), it.y.single()) }, mesh.score, side, yaw, back.moved(middle))
    }
    return checkNotNull(found)
}

/** What the mesh net says of a picture, in its pixels. */
private class Mesh(val five: List<Point>, val score: Double, val yaw: Double, val low: Point, val high: Point, val middle: Point)

private fun mesh(seen: Photo, run: RunNet): Mesh {
    val (values, flag) = run(MESH, FloatArray(seen.data.size) { (seen.data[it].toInt() and 0xff) / 255f })
    val points = List(MESH_POINTS) { Point(values[3 * it].toDouble(), values[3 * it + 1].toDouble()) }
    val dense = DENSE.map { some -> mean(some.map { points[it] }) }
    fun beside(one: Int, two: Int, k: Int) = (values[3 * one + k].toDouble() + values[3 * two + k]) / 2
    val across = Point(beside(454, 356, 0) - beside(234, 127, 0), beside(454, 356, 2) - beside(234, 127, 2))
    return Mesh(
        listOf(mean(dense.slice(RIGHT_EYE)), mean(dense.slice(LEFT_EYE)), dense[NOSE], dense[MOUTH[0]], dense[MOUTH[1]]),
        1 / (1 + exp(-flag[0].toDouble())),
        atan2(across.y, across.x) * 180 / PI,
        Point(points.minOf { it.x }, points.minOf { it.y }),
        Point(points.maxOf { it.x }, points.maxOf { it.y }),
        mean(dense),
    )
}

private fun mirrored(seen: Photo): Photo {
    val out = ByteArray(seen.data.size)
    for (y in 0 until seen.height) {
        for (x in 0 until seen.width) {
            System.arraycopy(seen.data, 3 * (y * seen.width + x), out, 3 * (y * seen.width + seen.width - 1 - x), 3)
        }
    }
    return Photo(seen.width, seen.height, out)
}

private fun direction(eyes: List<Point>): Point = (eyes[1] - eyes[0]).let { it * (1 / max(it.length, 1e-6)) }
