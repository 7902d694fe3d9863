package dev.edgekit.core

import kotlin.math.abs
import kotlin.math.hypot
import kotlin.math.max

/** A place in a picture, in pixels: the centre of the first one is (0.5, 0.5), x to the right, y down. */
class Point(val x: Double, val y: Double) {
    operator fun plus(other: Point) = Point(x + other.x, y + other.y)
    operator fun minus(other: Point) = Point(x - other.x, y - other.y)
    operator fun times(factor: Double) = Point(x * factor, y * factor)
    val length: Double get() = hypot(x, y)

    override fun toString(): String = "($x, $y)"
}

fun mean(points: Collection<Point>): Point = Point(points.sumOf { it.x } / points.size, points.sumOf { it.y } / points.size)

internal fun corners(size: Double) = listOf(Point(0.0, 0.0), Point(size, 0.0), Point(0.0, size), Point(size, size))

/** Two rows of three, from pixels of a photo to pixels of what is cut out of it. */
class Matrix(val a: Double, val b: Double, val c: Double, val d: Double, val e: Double, val f: Double) {
    fun moved(point: Point) = Point(a * point.x + b * point.y + c, d * point.x + e * point.y + f)

    /** The way back. It is solved as numpy does, so that ends that lie between two pixels fall on the same side. */
    fun inverse(): Matrix {
        val swap = abs(d) > abs(a)
        val (p, q) = if (swap) d to e else a to b
        val (r, s) = if (swap) a to b else d to e
        val factor = r * (1 / p)
        val last = 1 / (s - factor * q)
        val first = 1 / p
        val below = doubleArrayOf(-factor * last, last)
        val above = doubleArrayOf((1 - q * below[0]) * first, (-q * below[1]) * first)
        val (i, j) = if (swap) 1 to 0 else 0 to 1
        return Matrix(
            above[i], above[j], -(above[i] * c + above[j] * f),
            below[i], below[j], -(below[i] * c + below[j] * f),
        )
    }

    /** How many pixels of the crop a pixel of the photo is wide; below 1 it is enlarged when it is put back. */
    val scale: Double get() = hypot(a, d)
}

/**
 * Return three corners (upper left, upper right, lower left) of the square around a face: turned with it, four distances
 * of the eyes wide, or 3.6 times the way from eyes to mouth. `five`: right eye, left eye, nose, right and left corner of
 * the mouth, as seen from left to right.
 */
fun cropSquare(five: List<Point>): List<Point> {
    val eyes = mean(five.take(2))
    val across = five[1] - five[0]
    val down = mean(five.takeLast(2)) - eyes
    val axis = across + Point(down.y, -down.x)
    val half = max(2 * across.length, 1.8 * down.length)
    val x = axis * (half / max(axis.length, 1e-6))
    val y = Point(-x.y, x.x)
    val center = eyes + down * 0.1
    return listOf(center - x - y, center + x - y, center - x + y).map { Point(it.x.single(), it.y.single()) }
}

/** Return the matrix that cuts that square out as `size` pixels. */
fun cropTransform(five: List<Point>, size: Int): Matrix {
    val (corner, right, below) = cropSquare(five)
    val x = (right - corner) * (1.0 / size)
    val y = (below - corner) * (1.0 / size)
    val made = Matrix(x.x, y.x, corner.x, x.y, y.y, corner.y).inverse()
    return Matrix(made.a.single(), made.b.single(), made.c.single(), made.d.single(), made.e.single(), made.f.single())
}

/** Python holds points and matrices in float32. */
internal fun Double.single(): Double = toFloat().toDouble()

/** Return the share of the square that lies outside a photo. */
fun outsideShare(photo: Photo, matrix: Matrix, size: Int): Double {
    val back = matrix.inverse()
    var inside = 0
    for (i in 0 until GRID * GRID) {
        val place = back.moved(Point((i % GRID + 0.5) * size / GRID, (i / GRID + 0.5) * size / GRID))
        if (place.x >= 0 && place.x < photo.width && place.y >= 0 && place.y < photo.height) inside++
    }
    return 1 - inside.toDouble() / (GRID * GRID)
}

private const val GRID = 32

/** Whether a square photo is the crop of its face already, but for a change that is not worth it. */
fun isCrop(photo: Photo, five: List<Point>): Boolean {
    if (photo.width != photo.height) return false
    val side = photo.width.toDouble()
    return cropSquare(five).zip(corners(side)).all { (one, two) -> max(abs(one.x - two.x), abs(one.y - two.y)) < READY * side }
}

private const val READY = 0.03
