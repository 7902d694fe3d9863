package dev.edgekit.demo

import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Canvas
import android.graphics.LinearGradient
import android.graphics.Paint
import android.graphics.Path
import android.graphics.Shader
import android.media.ExifInterface
import android.net.Uri
import dev.edgekit.core.EdgekitError
import dev.edgekit.core.Photo
import dev.edgekit.core.fitted
import java.io.File
import java.io.IOException
import java.io.OutputStream
import kotlin.math.sin

fun Photo.toBitmap(): Bitmap = Bitmap.createBitmap(toArgb(), width, height, Bitmap.Config.ARGB_8888)

fun Bitmap.toPhoto(): Photo {
    val pixels = IntArray(width * height)
    getPixels(pixels, 0, width, 0, 0, width, height)
    return Photo.ofArgb(width, height, pixels)
}

/** Return a bitmap whose longer side is at most `longest` pixels (0: as it is). */
fun Bitmap.limited(longest: Int): Bitmap {
    val (wide, tall) = fitted(width, height, longest)
    return if (wide == width && tall == height) this else Bitmap.createScaledBitmap(this, wide, tall, true)
}

/** Read a photo that another app gave, upright; throws [EdgekitError] if it is none. */
fun readPhoto(context: Context, uri: Uri, longest: Int): Photo {
    val copy = File.createTempFile("photo", null, context.cacheDir)
    try {
        val stream = context.contentResolver.openInputStream(uri) ?: throw IOException("no answer")
        stream.use { from -> copy.outputStream().use { from.copyTo(it) } }
        val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        BitmapFactory.decodeFile(copy.path, bounds)
        val options = BitmapFactory.Options().apply { inSampleSize = sampling(maxOf(bounds.outWidth, bounds.outHeight), longest) }
        val bitmap = BitmapFactory.decodeFile(copy.path, options)
            ?: throw EdgekitError("this is not a picture that the device can read", "choose a JPEG, PNG or WebP")
        return bitmap.limited(longest).toPhoto().upright(orientation(copy))
    } catch (error: IOException) {
        throw EdgekitError("the photo cannot be read (${error.message})", "choose it again", error)
    } catch (error: SecurityException) {
        throw EdgekitError("the photo may no longer be read", "choose it again", error)
    } finally {
        copy.delete()
    }
}

fun Photo.writePng(out: OutputStream) {
    toBitmap().compress(Bitmap.CompressFormat.PNG, 100, out)
}

/** Write a photo where the user chose; throws [EdgekitError] if nothing can be written there. */
fun writePhoto(context: Context, photo: Photo, place: Uri) {
    try {
        val stream = context.contentResolver.openOutputStream(place) ?: throw IOException("no answer")
        stream.use { photo.writePng(it) }
    } catch (error: IOException) {
        throw EdgekitError("the photo cannot be saved there (${error.message})", "choose another place", error)
    } catch (error: SecurityException) {
        throw EdgekitError("the photo may not be saved there", "choose another place", error)
    }
}

/** Power of two by which a photo is read smaller, never below twice the wanted size: the last step is filtered. */
private fun sampling(side: Int, longest: Int): Int {
    var step = 1
    while (longest > 0 && side / (step * 2) >= 2 * longest) step *= 2
    return step
}

private fun orientation(file: File): Int =
    try {
        ExifInterface(file.path).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
    } catch (error: IOException) {
        ExifInterface.ORIENTATION_NORMAL
    }

/** A landscape painted here, so that there is a photo before the user gives one. */
fun sampleScene(width: Int = 640, height: Int = 480): Bitmap {
    val bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888)
    val canvas = Canvas(bitmap)
    val paint = Paint(Paint.ANTI_ALIAS_FLAG)
    val (wide, tall) = width.toFloat() to height.toFloat()
    paint.shader = LinearGradient(0f, 0f, 0f, tall * 0.7f, 0xff5b9bd8.toInt(), 0xffdcebf5.toInt(), Shader.TileMode.CLAMP)
    canvas.drawRect(0f, 0f, wide, tall, paint)
    paint.shader = null
    paint.color = 0xfffff3c4.toInt()
    canvas.drawCircle(wide * 0.78f, tall * 0.2f, tall * 0.07f, paint)
    val ridges = listOf(
        Ridge(0.5, 0.08, 0xff8aa3b8, 1), Ridge(0.6, 0.05, 0xff5f7f72, 2), Ridge(0.72, 0.03, 0xff49733f, 3),
    )
    for (ridge in ridges) {
        paint.color = ridge.colour.toInt()
        canvas.drawPath(ridge.path(wide, tall), paint)
    }
    paint.color = 0xff3f7fae.toInt()
    canvas.drawRect(0f, tall * 0.82f, wide, tall, paint)
    paint.color = 0xffb5523b.toInt()
    canvas.drawRect(wide * 0.2f, tall * 0.66f, wide * 0.2f + 58, tall * 0.66f + 40, paint)
    return bitmap
}

private class Ridge(val base: Double, val rough: Double, val colour: Long, val seed: Int) {
    fun path(wide: Float, tall: Float): Path {
        val path = Path()
        path.moveTo(0f, tall)
        var x = 0
        while (x <= wide) {
            val y = base + rough * (sin(x / 61.0 + seed) + 0.5 * sin(x / 23.0 + 2 * seed) + 0.25 * sin(x / 9.0 + 3 * seed))
            path.lineTo(x.toFloat(), (tall * y).toFloat())
            x += 4
        }
        path.lineTo(wide, tall)
        path.close()
        return path
    }
}
