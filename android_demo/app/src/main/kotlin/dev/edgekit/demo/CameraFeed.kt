package dev.edgekit.demo

import android.annotation.SuppressLint
import android.content.Context
import android.graphics.ImageFormat
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.media.Image
import android.media.ImageReader
import android.os.Handler
import android.os.HandlerThread
import android.util.Size
import dev.edgekit.core.EdgekitError
import dev.edgekit.core.Frame
import dev.edgekit.core.Latest
import dev.edgekit.core.Photo
import dev.edgekit.core.Plane
import dev.edgekit.core.square
import kotlin.concurrent.thread

/**
 * The live camera. `edit` is called with one square photo after another, on a thread of its own; frames that come
 * while it works are dropped, so that what is shown is never older than one edit.
 */
class CameraFeed(
    private val context: Context,
    private val side: Int,
    private val shownDegrees: Int,
    private val failed: (String) -> Unit,
    private val edit: (Photo) -> Unit,
) {
    private val manager = context.getSystemService(Context.CAMERA_SERVICE) as CameraManager
    private val frames = Latest<Image> { it.close() }
    private val looper = HandlerThread("camera").apply { start() }
    private val handler = Handler(looper.looper)
    private var camera: CameraDevice? = null
    private var reader: ImageReader? = null

    /** How many frames were dropped. */
    val dropped: Int get() = frames.dropped

    /** The app must hold the camera permission. Throws [EdgekitError] without a usable camera. */
    @SuppressLint("MissingPermission")
    fun start() {
        try {
            val name = manager.cameraIdList.minByOrNull { if (facing(it) == CameraCharacteristics.LENS_FACING_BACK) 0 else 1 }
                ?: throw EdgekitError("this device has no camera", "choose a photo")
            val facts = manager.getCameraCharacteristics(name)
            val size = frameSize(facts)
            val rotation = rotation(facts, name)
            val images = ImageReader.newInstance(size.width, size.height, ImageFormat.YUV_420_888, IMAGES)
            reader = images
            images.setOnImageAvailableListener({ it.acquireLatestImage()?.let(frames::offer) }, handler)
            manager.openCamera(name, opened(images), handler)
            thread(name = "live") { editFrames(rotation) }
        } catch (error: CameraAccessException) {
            frames.close()
            release()
            throw EdgekitError("the camera cannot be used (${error.message})", "close the app that uses it", error)
        } catch (error: EdgekitError) {
            frames.close()
            release()
            throw error
        }
    }

    private fun facing(name: String) = manager.getCameraCharacteristics(name).get(CameraCharacteristics.LENS_FACING)

    /** The smallest frame that is not smaller than what the model takes. */
    private fun frameSize(facts: CameraCharacteristics): Size {
        val sizes = facts.get(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP)?.getOutputSizes(ImageFormat.YUV_420_888).orEmpty()
        val enough = sizes.filter { minOf(it.width, it.height) >= side }
        return enough.minByOrNull { it.width * it.height }
            ?: sizes.maxByOrNull { it.width * it.height }
            ?: throw EdgekitError("the camera gives no frames that can be read", "choose a photo")
    }

    /** How far a frame is to be turned clockwise to be upright on the screen. */
    private fun rotation(facts: CameraCharacteristics, name: String): Int {
        val sensor = facts.get(CameraCharacteristics.SENSOR_ORIENTATION) ?: 0
        val front = facing(name) == CameraCharacteristics.LENS_FACING_FRONT
        return (sensor + (if (front) shownDegrees else -shownDegrees) + 360) % 360
    }

    private fun opened(images: ImageReader) = object : CameraDevice.StateCallback() {
        override fun onOpened(device: CameraDevice) {
            if (reader == null) return device.close() // stopped before it was open
            camera = device
            device.createCaptureSession(listOf(images.surface), started(device, images), handler)
        }

        override fun onDisconnected(device: CameraDevice) = lost("another app took the camera — start it again")

        override fun onError(device: CameraDevice, error: Int) = lost("the camera failed (error $error) — start it again")
    }

    private fun started(device: CameraDevice, images: ImageReader) = object : CameraCaptureSession.StateCallback() {
        override fun onConfigured(session: CameraCaptureSession) {
            val request = device.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW)
            request.addTarget(images.surface)
            session.setRepeatingRequest(request.build(), null, handler)
        }

        override fun onConfigureFailed(session: CameraCaptureSession) = lost("the camera cannot be set up — choose a photo")
    }

    private fun lost(words: String) {
        stop()
        failed(words)
    }

    private fun editFrames(rotation: Int) {
        try {
            while (true) {
                val image = frames.take() ?: return
                edit(image.use { square(it.frame(), rotation, side) })
            }
        } finally {
            release()
        }
    }

    private fun Image.frame(): Frame {
        val (y, u, v) = planes.map { Plane(it.buffer, it.rowStride, it.pixelStride) }
        return Frame(width, height, y, u, v)
    }

    /** Take no more frames. The camera goes when the one that is being edited is done: its memory is the camera's. */
    fun stop() = frames.close()

    private fun release() {
        handler.post {
            camera?.close()
            camera = null
            reader?.close()
            reader = null
            looper.quitSafely()
        }
    }

    private companion object {
        /** One being edited, one waiting, one that replaces it, one being filled. */
        const val IMAGES = 4
    }
}
