package dev.edgekit.core

import java.io.ByteArrayInputStream
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipEntry
import java.util.zip.ZipInputStream

private const val AGAIN = "export the bundle again, or copy it again"

/** Read the arrays of an NPZ file, all of them float32 in row order: name -> values, samples one after another. */
fun readNpz(bytes: ByteArray): Map<String, FloatArray> {
    val found = LinkedHashMap<String, FloatArray>()
    try {
        ZipInputStream(ByteArrayInputStream(bytes)).use { zip ->
            while (true) {
                val entry = zip.nextEntry ?: break
                if (entry.method != ZipEntry.STORED) throw EdgekitError("${entry.name} is compressed", AGAIN)
                found[entry.name.removeSuffix(".npy")] = npy(zip.readBytes(), entry.name)
            }
        }
    } catch (error: IOException) {
        throw EdgekitError("the golden vectors are cut short (${error.message})", AGAIN, error)
    }
    if (found.isEmpty()) throw EdgekitError("the golden vectors are cut short", AGAIN)
    return found
}

private fun npy(bytes: ByteArray, name: String): FloatArray {
    val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
    val wide = bytes[6] > 1
    val length = if (wide) buffer.getInt(8) else buffer.getShort(8).toInt() and 0xffff
    val start = (if (wide) 12 else 10) + length
    val header = String(bytes, start - length, length, Charsets.ISO_8859_1)
    if ("'<f4'" !in header || "'fortran_order': True" in header) {
        throw EdgekitError("$name does not hold float32 in row order", AGAIN)
    }
    buffer.position(start)
    return FloatArray((bytes.size - start) / 4).also { buffer.asFloatBuffer().get(it) }
}
