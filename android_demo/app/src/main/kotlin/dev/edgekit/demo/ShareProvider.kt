package dev.edgekit.demo

import android.content.ClipData
import android.content.ContentProvider
import android.content.ContentValues
import android.content.Context
import android.content.Intent
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException

/** Lends the files of one folder to the app that the user shares with: to read, one by one, and nothing else. */
class ShareProvider : ContentProvider() {
    override fun onCreate(): Boolean = true

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor {
        if (mode != "r") throw SecurityException("files of edgekit can only be read")
        return ParcelFileDescriptor.open(file(uri), ParcelFileDescriptor.MODE_READ_ONLY)
    }

    override fun query(uri: Uri, projection: Array<String>?, selection: String?, arguments: Array<String>?, order: String?): Cursor {
        val file = file(uri)
        val columns = projection ?: arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)
        val row = columns.map {
            when (it) {
                OpenableColumns.DISPLAY_NAME -> file.name
                OpenableColumns.SIZE -> file.length()
                else -> null
            }
        }
        return MatrixCursor(columns, 1).apply { addRow(row) }
    }

    override fun getType(uri: Uri): String = typeOf(uri.lastPathSegment.orEmpty())

    private fun file(uri: Uri): File {
        val name = uri.lastPathSegment.orEmpty()
        val file = File(folder(checkNotNull(context)), name)
        if (uri.pathSegments.size != 1 || !NAME.matches(name) || !file.isFile) throw FileNotFoundException("nothing is shared as $uri")
        return file
    }

    override fun insert(uri: Uri, values: ContentValues?): Uri = refused()

    override fun delete(uri: Uri, selection: String?, arguments: Array<String>?): Int = refused()

    override fun update(uri: Uri, values: ContentValues?, selection: String?, arguments: Array<String>?): Int = refused()

    private fun refused(): Nothing = throw UnsupportedOperationException("files of edgekit can only be read")

    companion object {
        private const val AUTHORITY = "dev.edgekit.demo.share"
        private val NAME = Regex("[A-Za-z0-9_-][A-Za-z0-9_.-]*")

        /** Where shared files lie: the cache, which the system may empty. */
        fun folder(context: Context): File = File(context.cacheDir, "share").apply { mkdirs() }

        fun typeOf(name: String): String = if (name.endsWith(".png")) "image/png" else "application/json"

        /** Return what opens the share sheet for a file of [folder]. */
        fun intent(context: Context, file: File): Intent {
            val uri = Uri.parse("content://$AUTHORITY/${file.name}")
            val send = Intent(Intent.ACTION_SEND)
                .setType(typeOf(file.name))
                .putExtra(Intent.EXTRA_STREAM, uri)
                .addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
            send.clipData = ClipData.newUri(context.contentResolver, file.name, uri) // older systems grant by it
            return Intent.createChooser(send, null)
        }
    }
}
