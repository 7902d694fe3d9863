package dev.edgekit.core

import dev.edgekit.engine.DeviceEngines
import java.io.File

/**
 * What the app's own classes make of a photo, for the drawn screens in the documentation:
 * `Picture BUNDLE WIDTH HEIGHT PIXELS FIRST SECOND PERCENT` overwrites PIXELS (raw RGB) and prints facts as JSON; for a
 * restorer ASSETS, the app's own files, stand in place of concepts.
 */
object Picture {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val (folder, width, height, pixels) = arguments
        val bundle = Bundle(FolderSource(File(folder)))
        val entry = bundle.manifest.runnable(DeviceEngines.formats).first()
        val assets = if (bundle.manifest.restores) FolderSource(File(arguments[4])) else null
        val nets = assets?.let { NetFiles.parse(it, String(it.read("bundles.json"))) }
        Editor.open(bundle, entry, DeviceEngines, 1, Accelerator.CPU, nets).use { editor ->
            if (bundle.manifest.adapter != null) editor.use(mixed(arguments[4], arguments[5], arguments[6].toInt()))
            val photo = Photo(width.toInt(), height.toInt(), File(pixels).readBytes())
            editor.edit(photo)
            val made = editor.edit(photo)
            File(pixels).writeBytes(made.photo.data)
            val spent = made.spent
            val measured = Bench(editor, BenchPlan(warmup = 3, runs = 30)) { }.run()
            println(
                jsonLine(
                    "picture", "title" to entry.title, "accelerator" to editor.engine.accelerator.title, "load" to editor.loadMs,
                    "pre" to spent.pre, "model" to spent.model, "post" to spent.post, "tiles" to spent.tiles,
                    "find" to spent.find, "faces" to made.faces, "notes" to made.notes, "first" to editor.firstMs, "row" to measured.row(editor), "golden" to measured.golden.worst,
                    "samples" to measured.golden.samples, "precision" to entry.precision,
                ),
            )
        }
    }
}
