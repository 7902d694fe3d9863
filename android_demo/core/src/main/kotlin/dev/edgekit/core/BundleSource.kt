package dev.edgekit.core

import java.io.File
import java.io.FileNotFoundException
import java.io.IOException
import java.security.MessageDigest

/** Where a bundle's files come from: the app's assets, or a folder on the device. */
interface BundleSource {
    val name: String

    @Throws(IOException::class)
    fun read(path: String): ByteArray
}

class FolderSource(private val folder: File) : BundleSource {
    override val name: String get() = folder.name

    override fun read(path: String): ByteArray = File(folder, path).readBytes()
}

/** A bundle whose manifest was read and checked; its files are compared with their sha256 as they are read. */
class Bundle(private val source: BundleSource) {
    val manifest: Manifest = Manifest.parse(String(source.reading("manifest.json"), Charsets.UTF_8))
    val name: String get() = source.name

    /** Return the bytes of a listed file; throws [EdgekitError] if it is missing or was changed. */
    fun read(entry: FileEntry): ByteArray = source.checked(entry)
}

/** Return the bytes of a file whose hash is known; throws [EdgekitError] if it is missing or was changed. */
internal fun BundleSource.checked(entry: FileEntry): ByteArray {
    val bytes = reading(entry.path)
    if (sha256(bytes) != entry.sha256) {
        throw EdgekitError("${entry.path} is not the file that was exported", "copy the bundle to the device again")
    }
    return bytes
}

private fun BundleSource.reading(path: String): ByteArray =
    try {
        read(path)
    } catch (error: FileNotFoundException) {
        throw EdgekitError("$name: $path is missing", "copy the whole bundle to the device", error)
    } catch (error: IOException) {
        throw EdgekitError("$name: $path cannot be read (${error.message})", "copy the bundle to the device again", error)
    } catch (error: OutOfMemoryError) {
        throw EdgekitError("$name: $path does not fit into memory", "close other apps, or choose a smaller file", error)
    }

fun sha256(bytes: ByteArray): String =
    MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }
