package dev.edgekit.core

/**
 * The one model in memory. A switch loads the new file before it lets the old one go, so that there is always a usable
 * one; what was unloaded under memory pressure comes back, with its concepts, when it is needed. Used by one thread.
 */
class ModelSlot(private val open: (Bundle, ModelEntry) -> Editor) {
    private var chosen: Pair<Bundle, ModelEntry>? = null
    private var weights: Map<String, Double> = emptyMap()
    private var editor: Editor? = null

    val loaded: Boolean get() = editor != null

    /** Load a file of a bundle; if that fails, what was loaded before stays. */
    fun switch(bundle: Bundle, entry: ModelEntry): Editor {
        val made = open(bundle, entry)
        editor?.close()
        editor = made
        chosen = bundle to entry
        weights = emptyMap()
        return made
    }

    /** Switch the base to concepts; see [Editor.use]. */
    fun use(weights: Map<String, Double>): Boolean {
        val exact = current().use(weights)
        this.weights = weights
        return exact
    }

    /** The loaded model; loaded again if it was unloaded. */
    fun current(): Editor {
        editor?.let { return it }
        val (bundle, entry) = chosen ?: throw EdgekitError("no model is chosen", "choose a model")
        val made = open(bundle, entry)
        if (weights.isNotEmpty()) made.use(weights)
        editor = made
        return made
    }

    /** Give the model's memory back. */
    fun unload() {
        editor?.close()
        editor = null
    }
}
