package dev.edgekit.demo

import android.Manifest.permission.CAMERA
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.content.pm.PackageManager
import android.graphics.Bitmap
import android.net.Uri
import android.os.Bundle as State
import android.view.View
import android.view.WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON
import android.widget.Button
import android.widget.SeekBar
import android.widget.Spinner
import android.widget.TextView
import dev.edgekit.core.Bundle
import dev.edgekit.core.Edited
import dev.edgekit.core.Editor
import dev.edgekit.core.Photo
import dev.edgekit.core.mixed
import dev.edgekit.engine.DeviceEngines
import java.io.File
import java.util.concurrent.CountDownLatch

/** The editor: a photo or the camera, a model, its concepts, and what an edit took. */
class MainActivity : Activity() {
    private val studio get() = (application as DemoApp).studio
    private val picture: BeforeAfterView by lazy { findViewById(R.id.picture) as BeforeAfterView }
    private var bundles: List<Bundle> = emptyList()
    private var source: Uri? = null
    private var sample: Bitmap? = null
    private var edited: Photo? = null
    private var camera: CameraFeed? = null
    private var busy = false
    private var again = false

    override fun onCreate(saved: State?) {
        super.onCreate(saved)
        setContentView(R.layout.main)
        button(R.id.choose) { choosePhoto() }
        button(R.id.sample) {
            stopCamera()
            show(null, sampleScene())
        }
        button(R.id.camera) { if (camera == null) askForCamera() else stopCamera() }
        button(R.id.share) { share() }
        button(R.id.bench) {
            stopCamera()
            startActivity(Intent(this, BenchActivity::class.java))
        }
        spinner(R.id.side).fill(SIDES.map { if (it == 0) getString(R.string.as_it_is) else getString(R.string.side_px, it) }, 1) { showAgain() }
        spinner(R.id.accelerator).fill(DeviceEngines.accelerators.map { it.title }, 0) { openModel() }
        spinner(R.id.accelerator).setSelection(DeviceEngines.accelerators.indexOf(studio.accelerator))
        (findViewById(R.id.mix) as SeekBar).setOnSeekBarChangeListener(whenMoved { useConcepts() })
        source = saved?.getParcelable(SOURCE)
        studio.run(::failed, { found: List<Bundle> -> fillBundles(found) }) { studio.bundles() }
        received(intent)
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        received(intent)
    }

    /** A photo that was shared with the app, or a benchmark that was asked for by `adb shell am start`. */
    @Suppress("DEPRECATION")
    private fun received(intent: Intent) {
        if (intent.getBooleanExtra(BenchActivity.AUTORUN, false)) {
            startActivity(Intent(this, BenchActivity::class.java).putExtras(intent))
        } else if (intent.action == Intent.ACTION_SEND) {
            source = intent.getParcelableExtra(Intent.EXTRA_STREAM)
            if (bundles.isNotEmpty()) showAgain()
        }
    }

    override fun onSaveInstanceState(state: State) {
        super.onSaveInstanceState(state)
        state.putParcelable(SOURCE, source)
    }

    override fun onStop() {
        super.onStop()
        stopCamera()
    }

    private fun fillBundles(found: List<Bundle>) {
        bundles = found
        findViewById(R.id.bundles).visibility = if (found.size < 2) View.GONE else View.VISIBLE
        spinner(R.id.bundle).fill(found.map { it.name }, 0) { fillModels() }
        fillModels()
        if (source != null) showAgain()
    }

    private fun bundle(): Bundle? = bundles.getOrNull(spinner(R.id.bundle).selectedItemPosition)

    private fun fillModels() = guarded {
        val manifest = (bundle() ?: return@guarded).manifest
        text(R.id.title).text = if (manifest.adapter != null) getString(R.string.base_title) else manifest.prompt.ifEmpty { manifest.name }
        spinner(R.id.file).fill(manifest.runnable(DeviceEngines.formats).map { it.title }, 0) { openModel() }
        findViewById(R.id.concepts).visibility = if (manifest.adapter == null) View.GONE else View.VISIBLE
        val prompts = manifest.concepts.map { it.prompt }
        spinner(R.id.first).fill(prompts, 0) { useConcepts() }
        spinner(R.id.second).fill(listOf(getString(R.string.none)) + prompts, 0) { useConcepts() }
        openModel()
    }

    /** Load the chosen file; the one before goes when the new one is there. */
    private fun openModel() = guarded {
        val bundle = bundle() ?: return@guarded
        val entry = bundle.manifest.runnable(DeviceEngines.formats)[spinner(R.id.file).selectedItemPosition]
        val weights = weights()
        studio.accelerator = DeviceEngines.accelerators[spinner(R.id.accelerator).selectedItemPosition]
        say(getString(R.string.loading))
        studio.run(::failed, { editor: Editor -> opened(editor) }) {
            studio.open(bundle, entry).also { if (weights.isNotEmpty()) studio.slot.use(weights) }
        }
    }

    private fun opened(editor: Editor) {
        val engine = editor.engine
        text(R.id.engine).text = getString(R.string.engine, editor.entry.title, engine.accelerator.title, editor.loadMs, engine.note)
        say(getString(R.string.ready))
        edit()
    }

    private fun weights(): Map<String, Double> {
        val names = bundle()?.manifest?.takeIf { it.adapter != null }?.concepts?.map { it.name }.orEmpty()
        val first = names.getOrNull(spinner(R.id.first).selectedItemPosition) ?: return emptyMap()
        val second = names.getOrNull(spinner(R.id.second).selectedItemPosition - 1)
        findViewById(R.id.mixing).visibility = if (second == null || second == first) View.GONE else View.VISIBLE
        return mixed(first, second, (findViewById(R.id.mix) as SeekBar).progress)
    }

    private fun useConcepts() {
        val weights = weights()
        if (weights.isEmpty()) return
        studio.run(::failed, { exact: Boolean ->
            edit()
            if (!exact) say(getString(R.string.blend_cut))
        }) { studio.slot.use(weights) }
    }

    private fun choosePhoto() {
        stopCamera()
        val picker = Intent("android.provider.action.PICK_IMAGES").setType("image/*") // since Android 13
        val documents = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")
        try {
            startActivityForResult(picker, PHOTO)
        } catch (error: ActivityNotFoundException) {
            startActivityForResult(documents, PHOTO)
        }
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        if (request != PHOTO || result != RESULT_OK) return
        source = data?.data
        showAgain()
    }

    private fun side(): Int = SIDES[spinner(R.id.side).selectedItemPosition.coerceAtLeast(0)]

    /** Read the chosen photo, or take the sample, in the chosen size. */
    private fun showAgain() {
        if (camera != null) return
        val uri = source
        val longest = side()
        if (uri == null) {
            sample?.let { show(null, it) }
        } else {
            studio.run(::failed, { photo: Photo -> show(uri, photo.toBitmap()) }) { readPhoto(this, uri, longest) }
        }
    }

    private var before: Bitmap? = null

    private fun show(uri: Uri?, bitmap: Bitmap) {
        source = uri
        sample = if (uri == null) bitmap else null
        before = bitmap.limited(side())
        edited = null
        picture.show(before, null)
        edit()
    }

    /** Edit what is shown; a call during an edit makes one more, not a queue. */
    private fun edit() {
        val shown = before ?: return
        if (camera != null) return
        if (busy) {
            again = true
            return
        }
        busy = true
        studio.run(::failed, { made: Edited -> finished(shown, made) }) {
            studio.slot.current().edit(shown.toPhoto()) { done, total ->
                if (total > 4) studio.onScreen { say(getString(R.string.tile_of, done, total)) }
            }
        }
    }

    private fun finished(shown: Bitmap, made: Edited) {
        busy = false
        if (again) {
            again = false
            edit()
        }
        if (shown !== before) return
        present(shown, made)
        say(getString(R.string.done))
    }

    private fun present(shown: Bitmap, made: Edited) {
        edited = made.photo
        picture.show(shown, made.photo.toBitmap())
        findViewById(R.id.share).isEnabled = true
        val spent = made.spent
        studio.run(::failed, { first: Double ->
            text(R.id.latency).text = getString(
                R.string.latency, made.photo.width, made.photo.height, spent.pre, spent.model, spent.tiles,
                spent.model / spent.tiles, spent.post, first,
            )
        }) { studio.slot.current().firstMs ?: 0.0 }
    }

    private fun askForCamera() {
        if (checkSelfPermission(CAMERA) == PackageManager.PERMISSION_GRANTED) startCamera()
        else requestPermissions(arrayOf(CAMERA), PERMISSION)
    }

    override fun onRequestPermissionsResult(request: Int, names: Array<String>, results: IntArray) {
        if (request != PERMISSION) return
        if (results.firstOrNull() == PackageManager.PERMISSION_GRANTED) startCamera() else failed(getString(R.string.no_camera_permission))
    }

    @Suppress("DEPRECATION")
    private fun startCamera() {
        val shownDegrees = 90 * windowManager.defaultDisplay.rotation
        studio.run(::failed, { side: Int -> startCamera(side, shownDegrees) }) { studio.slot.current().tile.let { maxOf(it.width, it.height) } }
    }

    private fun startCamera(side: Int, shownDegrees: Int) = guarded {
        val feed = CameraFeed(this, side, shownDegrees, { words -> studio.onScreen { stopCamera(); failed(words) } }) { live(it) }
        feed.start()
        camera = feed
        window.addFlags(FLAG_KEEP_SCREEN_ON)
        (findViewById(R.id.camera) as Button).setText(R.string.camera_stop)
    }

    /** On the camera's thread: edit one frame, and come back for the next when it is shown. */
    private fun live(frame: Photo) {
        val shown = CountDownLatch(1)
        studio.run(
            { words -> stopCamera(); failed(words); shown.countDown() },
            { made: Edited ->
                val feed = camera
                if (feed != null) {
                    before = frame.toBitmap().also { present(it, made) }
                    say(getString(R.string.live, feed.dropped))
                }
                shown.countDown()
            },
        ) { studio.slot.current().edit(frame) }
        shown.await()
    }

    private fun stopCamera() {
        val feed = camera ?: return
        camera = null
        feed.stop()
        window.clearFlags(FLAG_KEEP_SCREEN_ON)
        (findViewById(R.id.camera) as Button).setText(R.string.camera)
        say(getString(R.string.done))
    }

    private fun share() {
        val made = edited ?: return
        val name = (bundle()?.name ?: "edgekit").replace(Regex("[^A-Za-z0-9_-]"), "-")
        val file = File(ShareProvider.folder(this), "$name.png")
        studio.run(::failed, { _: Boolean -> startActivity(ShareProvider.intent(this, file)) }) {
            file.outputStream().use { made.toBitmap().compress(Bitmap.CompressFormat.PNG, 100, it) }
        }
    }

    private fun failed(words: String) {
        busy = false
        again = false
        say(words, error = true)
    }

    private fun say(words: String, error: Boolean = false) = text(R.id.status).say(words, error)

    private fun guarded(work: () -> Unit) = guarded(::failed, work)

    private companion object {
        const val PHOTO = 1
        const val PERMISSION = 2
        const val SOURCE = "source"
        val SIDES = listOf(256, 512, 1024, 0)
    }
}
