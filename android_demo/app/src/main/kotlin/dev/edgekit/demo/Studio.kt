package dev.edgekit.demo

import android.content.Context
import android.content.res.AssetManager
import android.os.Handler
import android.os.Looper
import android.util.Log
import dev.edgekit.core.Accelerator
import dev.edgekit.core.Bundle
import dev.edgekit.core.BundleSource
import dev.edgekit.core.EdgekitError
import dev.edgekit.core.Editor
import dev.edgekit.core.FolderSource
import dev.edgekit.core.JsonError
import dev.edgekit.core.JsonObject
import dev.edgekit.core.ModelEntry
import dev.edgekit.core.ModelSlot
import dev.edgekit.core.NetFiles
import dev.edgekit.engine.DeviceEngines
import java.io.File
import java.io.IOException
import java.util.concurrent.Executors

/**
 * What the screens share: the bundles, the one loaded model, and the one thread that uses it. The nets that find faces
 * come and go with a restorer's model.
 */
class Studio(private val context: Context) {
    private val worker = Executors.newSingleThreadExecutor { Thread(it, "edgekit") }
    private val screen = Handler(Looper.getMainLooper())

    @Volatile
    var threads: Int = usualThreads()

    @Volatile
    var accelerator: Accelerator = Accelerator.CPU

    /** Only the worker touches it. */
    val slot = ModelSlot { bundle, entry -> Editor.open(bundle, entry, DeviceEngines, threads, accelerator, nets) }

    /** The files of the nets that find faces: the app's own, for pushed bundles too. */
    private val nets: NetFiles? by lazy { listed { NetFiles.parse(AssetSource(context.assets, "app", ""), it) } }

    /** Folders that `adb push` fills: bundles that replace or join those of the app, without building it again. */
    private val pushed: File? = context.getExternalFilesDir("bundles")

    /** Run `work` on the worker and `done` on the screen's thread; what goes wrong becomes a sentence for `failed`. */
    fun <T> run(failed: (String) -> Unit, done: (T) -> Unit = {}, work: () -> T) {
        worker.execute {
            try {
                val made = work()
                screen.post { done(made) }
            } catch (error: EdgekitError) {
                screen.post { failed(error.message.orEmpty()) }
            } catch (error: OutOfMemoryError) {
                slot.unload()
                screen.post { failed("there is not enough memory — choose a smaller size") }
            } catch (error: LinkageError) {
                Log.e(TAG, "library", error)
                screen.post { failed("the runtime does not load on this processor — build the app with its --abi") }
            } catch (error: Exception) {
                Log.e(TAG, "unexpected", error)
                screen.post { failed("something failed: $error — send the log to edgekit's issues") }
            }
        }
    }

    fun onScreen(work: () -> Unit) {
        screen.post(work)
    }

    /** The app's own bundles and those that were pushed; a pushed one hides an own one of its name. */
    fun bundles(): List<Bundle> {
        val folders = pushed?.listFiles().orEmpty().filter { File(it, "manifest.json").isFile }.sortedBy { it.name }
        val own = assetPaths().map { (name, path) -> AssetSource(context.assets, name, path) }
        val names = folders.map { it.name }.toSet()
        val sources: List<BundleSource> = folders.map { FolderSource(it) } + own.filter { it.name !in names }
        if (sources.isEmpty()) throw EdgekitError("the app holds no bundle", "build it with `edgekit app --target android BUNDLE`")
        return sources.map { Bundle(it) }
    }

    private fun assetPaths(): List<Pair<String, String>> = listed { text ->
        JsonObject.parse(text).objects("bundles").map { it.text("name") to it.text("path") }
    }.orEmpty()

    /** What `read` makes of the list of the app's files; null if the app was built without one. */
    private fun <T> listed(read: (String) -> T): T? =
        try {
            read(String(context.assets.open(LIST).use { it.readBytes() }, Charsets.UTF_8))
        } catch (error: IOException) {
            null
        } catch (error: JsonError) {
            throw EdgekitError("$LIST cannot be read: ${error.message}", "build the app again", error)
        }

    /** Load a file unless it is the one that is loaded; only on the worker. */
    fun open(bundle: Bundle, entry: ModelEntry): Editor = slot.switch(bundle, entry)

    fun unload() {
        worker.execute { slot.unload() }
    }

    companion object {
        const val TAG = "edgekit"
        const val LIST = "bundles.json"

        /** Half of the cores: on phones the faster ones, and heat stays bearable. */
        fun usualThreads(): Int = maxOf(1, Runtime.getRuntime().availableProcessors() / 2)
    }
}

/** A folder among the app's assets; the empty path is all of them. */
private class AssetSource(private val assets: AssetManager, override val name: String, private val path: String) : BundleSource {
    override fun read(path: String): ByteArray = assets.open(File(this.path, path).path.trimStart('/')).use { it.readBytes() }
}
