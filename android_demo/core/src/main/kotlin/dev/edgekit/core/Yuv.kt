package dev.edgekit.core

import java.nio.ByteBuffer

/** One plane of a camera's frame. */
class Plane(val bytes: ByteBuffer, val rowStride: Int, val pixelStride: Int) {
    fun at(x: Int, y: Int): Int = bytes.get(y * rowStride + x * pixelStride).toInt() and 0xff
}

/** A frame in YUV 4:2:0, full range (JFIF), as Android's cameras give it. */
class Frame(val width: Int, val height: Int, val y: Plane, val u: Plane, val v: Plane)

/**
 * Return the square in the middle of a frame, turned clockwise by `rotation` degrees (a multiple of 90) and scaled to
 * `side` pixels. Each pixel is the nearest of the frame.
 */
fun square(frame: Frame, rotation: Int, side: Int): Photo {
    require(rotation % 90 == 0) { "rotation by $rotation" }
    val whole = minOf(frame.width, frame.height)
    val left = (frame.width - whole) / 2
    val top = (frame.height - whole) / 2
    val data = ByteArray(side * side * 3)
    val turn = (rotation % 360 + 360) % 360
    var to = 0
    for (row in 0 until side) {
        for (column in 0 until side) {
            val a = (2 * column + 1) * whole / (2 * side)
            val b = (2 * row + 1) * whole / (2 * side)
            val x = left + when (turn) { 0 -> a; 90 -> b; 180 -> whole - 1 - a; else -> whole - 1 - b }
            val y = top + when (turn) { 0 -> b; 90 -> whole - 1 - a; 180 -> whole - 1 - b; else -> a }
            val luma = frame.y.at(x, y).toFloat()
            val blue = frame.u.at(x / 2, y / 2) - 128
            val red = frame.v.at(x / 2, y / 2) - 128
            data[to++] = toByte(luma + 1.402f * red)
            data[to++] = toByte(luma - 0.344136f * blue - 0.714136f * red)
            data[to++] = toByte(luma + 1.772f * blue)
        }
    }
    return Photo(side, side, data)
}
