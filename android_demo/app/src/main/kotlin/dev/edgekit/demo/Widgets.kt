package dev.edgekit.demo

import android.app.Activity
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.SeekBar
import android.widget.Spinner
import android.widget.TextView
import dev.edgekit.core.EdgekitError

fun Activity.text(id: Int): TextView = findViewById(id) as TextView

fun Activity.spinner(id: Int): Spinner = findViewById(id) as Spinner

fun Activity.button(id: Int, work: () -> Unit): Button =
    (findViewById(id) as Button).apply { setOnClickListener { work() } }

/** Run `work` on the screen's thread; what goes wrong becomes a sentence. */
inline fun guarded(failed: (String) -> Unit, work: () -> Unit) {
    try {
        work()
    } catch (error: EdgekitError) {
        failed(error.message.orEmpty())
    }
}

fun TextView.say(words: String, error: Boolean) {
    text = words
    setTextColor(resources.getColor(if (error) R.color.error else R.color.ink, context.theme))
}

/** Fill a list and call `chosen` when the user takes another row: not for the row that stands there first. */
fun Spinner.fill(rows: List<String>, selected: Int, chosen: () -> Unit) {
    onItemSelectedListener = null
    val rowsAdapter = ArrayAdapter(context, android.R.layout.simple_spinner_item, rows)
    rowsAdapter.setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item)
    adapter = rowsAdapter
    setSelection(selected, false)
    var shown = selected
    onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
        override fun onItemSelected(parent: AdapterView<*>, view: View?, position: Int, id: Long) {
            if (position == shown) return
            shown = position
            chosen()
        }

        override fun onNothingSelected(parent: AdapterView<*>) = Unit
    }
}

/** Call `work` when the user moves a slider. */
fun whenMoved(work: () -> Unit) = object : SeekBar.OnSeekBarChangeListener {
    override fun onProgressChanged(bar: SeekBar, progress: Int, fromUser: Boolean) {
        if (fromUser) work()
    }

    override fun onStartTrackingTouch(bar: SeekBar) = Unit

    override fun onStopTrackingTouch(bar: SeekBar) = Unit
}
