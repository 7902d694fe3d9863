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
import dev.edgekit.core.EdgekitError
import dev.edgekit.core.Edited
import dev.edgekit.core.Editor
import dev.edgekit.core.Manifest
import dev.edgekit.core.Photo
import dev.edgekit.core.mixed
import dev.edgekit.engine.DeviceEngines
import java.io.File
import java.util.concurrent.CountDownLatch

/** The editor: a photo or the camera, a model, its concepts, and what an edit took. Of a restorer: photos of faces alone. */
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
            showSample()
        }
        button(R.id.camera) { if (camera == null) askForCamera() else stopCamera() }
        button(R.id.share) { share() }
        button(R.id.save) { save() }
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
        text(R.id.title).text = title(manifest)
        text(R.id.subtitle).setText(if (manifest.restores) R.string.portrait_subtitle else R.string.subtitle)
        findViewById(R.id.camera).visibility = if (manifest.restores) View.GONE else View.VISIBLE
        if (manifest.restores) {
            stopCamera()
            if (side() in 1 until FACES_PX) spinner(R.id.side).setSelection(SIDES.indexOf(FACES_PX))
        }
        spinner(R.id.file).fill(manifest.runnable(DeviceEngines.formats).map { it.title }, 0) { openModel() }
        findViewById(R.id.concepts).visibility = if (manifest.adapter == null) View.GONE else View.VISIBLE
        val prompts = manifest.concepts.map { it.prompt }
        spinner(R.id.first).fill(prompts, 0) { useConcepts() }
        spinner(R.id.second).fill(listOf(getString(R.string.none)) + prompts, 0) { useConcepts() }
        openModel()
    }

    private fun title(manifest: Manifest): String = when {
        manifest.restores -> getString(R.string.portrait_title)
        manifest.adapter != null -> getString(R.string.base_title)
        else -> manifest.prompt.ifEmpty { manifest.name }
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
        val place = data?.data
        if (result != RESULT_OK || place == null) return
        if (request == SAVE) return saveTo(place)
        source = place
        showAgain()
    }

    private fun side(): Int = SIDES[spinner(R.id.side).selectedItemPosition.coerceAtLeast(0)]

    /** Read the chosen photo, or take the sample, in the chosen size. */
    private fun showAgain() {
        if (camera != null) return
        val uri = source
        val longest = side()
        if (uri == null) {
            sample?.let { show(null, it, isCrop) }
        } else {
            studio.run(::failed, { photo: Photo -> show(uri, photo.toBitmap()) }) { readPhoto(this, uri, longest) }
        }
    }

    /** A landscape, or for a restorer the next face of its golden vectors, which are crops already. */
    private fun showSample() {
        if (bundle()?.manifest?.restores != true) return show(null, sampleScene())
        val number = samples++
        studio.run(::failed, { crop: Photo -> show(null, crop.toBitmap(), crop = true) }) { studio.slot.current().sample(number) }
    }

    private var before: Bitmap? = null
    private var isCrop = false
    private var samples = 0

    private fun show(uri: Uri?, bitmap: Bitmap, crop: Boolean = false) {
        source = uri
        isCrop = crop
        sample = if (uri == null) bitmap else null
        before = bitmap.limited(side())
        unedited()
        edit()
    }

    private fun unedited() {
        edited = null
        picture.show(before, null)
        for (id in KEEP) findViewById(id).isEnabled = false
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
        val crop = isCrop
        if (bundle()?.manifest?.restores == true) say(getString(R.string.finding))
        studio.run({ words -> unedited(); failed(words) }, { made: Edited -> finished(shown, made) }) {
            val editor = studio.slot.current()
            val photo = shown.toPhoto()
            val restores = editor.bundle.manifest.restores
            if (crop && restores && photo.width == editor.tile.width) editor.editCrop(photo)
            else editor.edit(photo) { done, total ->
                if (restores || total > 4) {
                    studio.onScreen { say(getString(if (restores) R.string.face_of else R.string.tile_of, done, total)) }
                }
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
        say(if (made.faces == 0) getString(R.string.done) else (listOf(getString(R.string.faces_done, made.faces)) + made.notes).joinToString("; "))
    }

    private fun present(shown: Bitmap, made: Edited) {
        edited = made.photo
        picture.show(shown, made.photo.toBitmap())
        for (id in KEEP) findViewById(id).isEnabled = true
        val spent = made.spent
        val words = if (made.faces > 0) R.string.latency_faces else R.string.latency
        studio.run(::failed, { first: Double ->
            text(R.id.latency).text = getString(
                words, made.photo.width, made.photo.height, spent.find + spent.pre, spent.model, spent.tiles,
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

    private fun fileName() = (bundle()?.name ?: "edgekit").replace(Regex("[^A-Za-z0-9_-]"), "-") + ".png"

    private fun share() {
        val made = edited ?: return
        val file = File(ShareProvider.folder(this), fileName())
        studio.run(::failed, { _: Unit -> startActivity(ShareProvider.intent(this, file)) }) { file.outputStream().use { made.writePng(it) } }
    }

    /** Ask where the edited photo is to be kept; the system writes there for the app, so that no permission is needed. */
    private fun save() = guarded {
        try {
            val asked = Intent(Intent.ACTION_CREATE_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/png")
            startActivityForResult(asked.putExtra(Intent.EXTRA_TITLE, fileName()), SAVE)
        } catch (error: ActivityNotFoundException) {
            throw EdgekitError("this device has no app that keeps files", "use Share", error)
        }
    }

    private fun saveTo(place: Uri) {
        val made = edited ?: return failed(getString(R.string.nothing_to_save))
        studio.run(::failed, { _: Unit -> say(getString(R.string.saved)) }) { writePhoto(this, made, place) }
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
        const val SAVE = 3
        const val SOURCE = "source"
        val SIDES = listOf(256, 512, 1024, 0)

        /** Longer side of a photo in which faces are looked for: in a smaller one they are soon too small. */
        const val FACES_PX = 1024
        val KEEP = listOf(R.id.share, R.id.save)
    }
}
