package dev.edgekit.demo

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.RectF
import android.os.Bundle
import android.util.AttributeSet
import android.view.KeyEvent
import android.view.MotionEvent
import android.view.View
import android.view.accessibility.AccessibilityEvent
import android.view.accessibility.AccessibilityNodeInfo
import android.view.accessibility.AccessibilityNodeInfo.AccessibilityAction
import android.view.accessibility.AccessibilityNodeInfo.RangeInfo
import dev.edgekit.core.Split

/** A photo before and after its edit, with a line between that fingers, keys and screen readers move. */
class BeforeAfterView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val split = Split()
    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)
    private val text = Paint(Paint.ANTI_ALIAS_FLAG)
    private val line = Paint(Paint.ANTI_ALIAS_FLAG)
    private val place = RectF()
    private var before: Bitmap? = null
    private var after: Bitmap? = null
    private var startX = 0f

    init {
        isFocusable = true
        val dp = resources.displayMetrics.density
        text.color = context.resources.getColor(R.color.ink, context.theme)
        text.textSize = 16 * resources.displayMetrics.scaledDensity
        text.textAlign = Paint.Align.CENTER
        line.color = Color.WHITE
        line.strokeWidth = 2 * dp
        line.setShadowLayer(3 * dp, 0f, 0f, Color.BLACK)
        describe()
    }

    /** Show a photo; without `after` only the photo before the edit. */
    fun show(before: Bitmap?, after: Bitmap?) {
        val resized = this.before?.width != before?.width || this.before?.height != before?.height
        this.before = before
        this.after = after
        if (resized) requestLayout()
        describe()
        invalidate()
    }

    override fun onMeasure(widthMeasureSpec: Int, heightMeasureSpec: Int) {
        val width = MeasureSpec.getSize(widthMeasureSpec)
        val most = resources.displayMetrics.heightPixels * 3 / 5 // the controls below stay in sight
        val photo = before
        val height = if (photo == null) width * 9 / 16 else width * photo.height / maxOf(1, photo.width)
        setMeasuredDimension(width, resolveSize(minOf(height, most), heightMeasureSpec))
    }

    override fun onDraw(canvas: Canvas) {
        val photo = before
        if (photo == null) {
            val words = resources.getText(R.string.empty).toString()
            canvas.drawText(words, width / 2f, height / 2f, text)
            return
        }
        val scale = minOf(width.toFloat() / photo.width, height.toFloat() / photo.height)
        val (wide, tall) = photo.width * scale to photo.height * scale
        place.set((width - wide) / 2, (height - tall) / 2, (width + wide) / 2, (height + tall) / 2)
        canvas.drawBitmap(after ?: photo, null, place, smooth)
        if (after == null) return
        val x = place.left + place.width() * split.percent / 100
        canvas.save()
        canvas.clipRect(place.left, place.top, x, place.bottom)
        canvas.drawBitmap(photo, null, place, smooth)
        canvas.restore()
        canvas.drawLine(x, place.top, x, place.bottom, line)
    }

    override fun onTouchEvent(event: MotionEvent): Boolean {
        if (after == null) return super.onTouchEvent(event)
        when (event.actionMasked) {
            MotionEvent.ACTION_DOWN -> startX = event.x
            MotionEvent.ACTION_MOVE -> {
                val slop = 8 * resources.displayMetrics.density
                if (kotlin.math.abs(event.x - startX) > slop) parent.requestDisallowInterceptTouchEvent(true) // else the page scrolls
                moved(split.touch(event.x - place.left, place.width().toInt()))
            }
            MotionEvent.ACTION_UP -> {
                moved(split.touch(event.x - place.left, place.width().toInt()))
                performClick()
            }
        }
        return true
    }

    override fun performClick(): Boolean {
        super.performClick()
        return true
    }

    override fun onKeyDown(keyCode: Int, event: KeyEvent): Boolean {
        val step = when (keyCode) {
            KeyEvent.KEYCODE_DPAD_LEFT, KeyEvent.KEYCODE_MINUS -> -STEP
            KeyEvent.KEYCODE_DPAD_RIGHT, KeyEvent.KEYCODE_PLUS -> STEP
            else -> return super.onKeyDown(keyCode, event)
        }
        // At an end the key is not taken, so that the focus can move on.
        return (after != null && split.step(step)).also { moved(it) } || super.onKeyDown(keyCode, event)
    }

    override fun onInitializeAccessibilityNodeInfo(info: AccessibilityNodeInfo) {
        super.onInitializeAccessibilityNodeInfo(info)
        info.className = "android.widget.SeekBar" // what screen readers treat as adjustable
        if (after == null) return
        info.rangeInfo = RangeInfo.obtain(RangeInfo.RANGE_TYPE_INT, 0f, 100f, split.percent.toFloat())
        if (split.percent < 100) info.addAction(AccessibilityAction.ACTION_SCROLL_FORWARD)
        if (split.percent > 0) info.addAction(AccessibilityAction.ACTION_SCROLL_BACKWARD)
        info.addAction(AccessibilityAction(SET_PROGRESS, null))
    }

    override fun performAccessibilityAction(action: Int, arguments: Bundle?): Boolean {
        if (after == null) return super.performAccessibilityAction(action, arguments)
        return when (action) {
            AccessibilityNodeInfo.ACTION_SCROLL_FORWARD -> split.step(STEP).also { moved(it) }
            AccessibilityNodeInfo.ACTION_SCROLL_BACKWARD -> split.step(-STEP).also { moved(it) }
            SET_PROGRESS -> split.moveTo(arguments?.getFloat(PROGRESS)?.toInt() ?: return false).also { moved(it) }
            else -> super.performAccessibilityAction(action, arguments)
        }
    }

    private fun moved(really: Boolean) {
        if (!really) return
        describe()
        sendAccessibilityEvent(AccessibilityEvent.TYPE_VIEW_SELECTED)
        invalidate()
    }

    private fun describe() {
        contentDescription = resources.getString(R.string.before_after) + ": " +
            if (after == null) resources.getString(R.string.no_photo) else split.words
    }

    private companion object {
        const val STEP = 5

        /** android.R.id.accessibilityActionSetProgress and its argument, named since API 24. */
        const val SET_PROGRESS = 0x0102003d
        const val PROGRESS = "android.view.accessibility.action.ARGUMENT_PROGRESS_VALUE"
    }
}
