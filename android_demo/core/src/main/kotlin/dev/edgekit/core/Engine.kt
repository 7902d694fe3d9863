package dev.edgekit.core

import java.io.Closeable

/** What a model can be asked to run on. Where it cannot, the processor runs it and [Engine.note] says so. */
enum class Accelerator(val title: String) {
    CPU("processor"),
    XNNPACK("processor (XNNPACK)"),
    NNAPI("accelerator (NNAPI)"),
    GPU("graphics unit"),
}

/** A loaded model that can be called; the only seam that is timed. Called by one thread at a time. */
interface Engine : Closeable {
    /** Name and version, for reports. */
    val runtime: String

    /** What really runs the model. */
    val accelerator: Accelerator

    /** Why that is not what was asked for; empty if it is. */
    val note: String

    /** Map input names to values and return output names to values. */
    fun run(feeds: Map<String, FloatArray>): Map<String, FloatArray>
}

/** The runtime that this build of the app carries. */
interface Engines {
    /** Suffixes of the model files that it runs. */
    val formats: List<String>
    val accelerators: List<Accelerator>

    /** Load a model; throws [EdgekitError] if the runtime refuses it. */
    fun open(model: ByteArray, entry: ModelEntry, threads: Int, accelerator: Accelerator): Engine
}
