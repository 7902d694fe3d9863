package dev.edgekit.core

/** A photo without alpha: 3 bytes a pixel, row by row. */
class Photo(val width: Int, val height: Int, val data: ByteArray) {
    init {
        require(data.size == width * height * 3) { "$width x $height photo with ${data.size} bytes" }
    }

    /** Cut out a rectangle. */
    fun cut(left: Int, top: Int, width: Int, height: Int): Photo {
        val out = ByteArray(width * height * 3)
        for (y in 0 until height) {
            System.arraycopy(data, ((top + y) * this.width + left) * 3, out, y * width * 3, width * 3)
        }
        return Photo(width, height, out)
    }

    /** Return the pixels as Android's bitmaps want them: opaque ARGB. */
    fun toArgb(): IntArray = IntArray(width * height) {
        val at = it * 3
        OPAQUE or (level(at) shl 16) or (level(at + 1) shl 8) or level(at + 2)
    }

    /** Turn a stored photo the way that its EXIF orientation (1 to 8) says it is to be shown. */
    fun upright(orientation: Int): Photo {
        if (orientation !in 2..8) return this
        val lying = orientation >= 5
        val wide = if (lying) height else width
        val tall = if (lying) width else height
        val out = ByteArray(data.size)
        for (y in 0 until tall) {
            for (x in 0 until wide) {
                val (column, row) = when (orientation) {
                    2 -> width - 1 - x to y
                    3 -> width - 1 - x to height - 1 - y
                    4 -> x to height - 1 - y
                    5 -> y to x
                    6 -> y to height - 1 - x
                    7 -> width - 1 - y to height - 1 - x
                    else -> width - 1 - y to x
                }
                System.arraycopy(data, (row * width + column) * 3, out, (y * wide + x) * 3, 3)
            }
        }
        return Photo(wide, tall, out)
    }

    private fun level(at: Int) = data[at].toInt() and 0xff

    companion object {
        private const val OPAQUE = 0xff shl 24

        /** Lay ARGB pixels (not premultiplied) over white and drop their alpha. */
        fun ofArgb(width: Int, height: Int, pixels: IntArray): Photo {
            val data = ByteArray(width * height * 3)
            for (i in pixels.indices) {
                val alpha = pixels[i] ushr 24
                for (k in 0 until 3) {
                    val level = (pixels[i] shr (16 - 8 * k)) and 0xff
                    val laid = if (alpha == 255) level else (level * alpha + 255 * (255 - alpha) + 127) / 255
                    data[i * 3 + k] = laid.toByte()
                }
            }
            return Photo(width, height, data)
        }
    }
}

/** Fill `out`, the buffer of a picture port, with a photo of exactly the port's size. */
fun fillPort(photo: Photo, port: Port, out: FloatArray = FloatArray(photo.data.size)): FloatArray {
    val count = photo.width * photo.height
    val scale = ((port.high - port.low) / 255).toFloat()
    val low = port.low.toFloat()
    val (pixel, channel) = strides(port, count)
    var at = 0
    for (i in 0 until count) {
        for (k in 0 until 3) out[i * pixel + k * channel] = (photo.data[at++].toInt() and 0xff) * scale + low
    }
    return out
}

/** Return what a picture port gave as levels, row by row: 0 is black and 255 white, not rounded. */
fun levels(values: FloatArray, port: Port): FloatArray {
    val count = values.size / 3
    val scale = (255 / (port.high - port.low)).toFloat()
    val low = port.low.toFloat()
    val (pixel, channel) = strides(port, count)
    val out = FloatArray(values.size)
    var at = 0
    for (i in 0 until count) {
        for (k in 0 until 3) out[at++] = (values[i * pixel + k * channel] - low) * scale
    }
    return out
}

/** How far apart the next pixel and the next channel are in the buffer of a port. */
private fun strides(port: Port, count: Int): Pair<Int, Int> = if (port.layout == "nchw") 1 to count else 3 to 1

/** Round a level to a byte: half to even, clipped, no number becomes black, as in Python. */
fun toByte(level: Float): Byte =
    if (level.isNaN()) 0 else Math.rint(level.toDouble()).coerceIn(0.0, 255.0).toInt().toByte()
