package dev.edgekit.engine

import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBuffer
import dev.edgekit.core.Accelerator
import dev.edgekit.core.EdgekitError
import dev.edgekit.core.Engine
import dev.edgekit.core.Engines
import dev.edgekit.core.ModelEntry
import java.io.File

/**
 * LiteRT, which runs the .tflite files of a bundle. UNTESTED: its AAR is in no registry that the project's tests use,
 * so this file was only compiled against a description of LiteRT's Kotlin interface (tests/android/litert).
 */
object DeviceEngines : Engines {
    override val formats = listOf("tflite")
    override val accelerators = listOf(Accelerator.CPU, Accelerator.GPU)

    override fun open(model: ByteArray, entry: ModelEntry, threads: Int, accelerator: Accelerator): Engine {
        val file = File.createTempFile("model", ".tflite")
        file.writeBytes(model) // LiteRT opens files, not bytes
        if (accelerator == Accelerator.GPU) {
            // Asked for GPU and CPU together it runs on the processor and still says GPU: so GPU alone, or an error.
            val options = CompiledModel.Options(com.google.ai.edge.litert.Accelerator.GPU)
            val why = try {
                return LiteRtEngine(CompiledModel.create(file.path, options), entry, file, Accelerator.GPU, "")
            } catch (error: LiteRtException) {
                error.message.orEmpty()
            }
            return onProcessor(file, entry, threads, "The ${accelerator.title} is not usable here ($why), so the processor runs it.")
        }
        return onProcessor(file, entry, threads, "")
    }

    private fun onProcessor(file: File, entry: ModelEntry, threads: Int, note: String): Engine {
        val options = CompiledModel.Options(com.google.ai.edge.litert.Accelerator.CPU)
        options.cpuOptions = CompiledModel.CpuOptions(numThreads = threads)
        try {
            return LiteRtEngine(CompiledModel.create(file.path, options), entry, file, Accelerator.CPU, note)
        } catch (error: LiteRtException) {
            file.delete()
            throw EdgekitError("LiteRT refuses ${entry.path}: ${error.message}", "export the bundle again", error)
        }
    }
}

private class LiteRtEngine(
    private val model: CompiledModel,
    entry: ModelEntry,
    private val file: File,
    override val accelerator: Accelerator,
    override val note: String,
) : Engine {
    override val runtime = "litert 2.3.0"
    private val inputs: Map<String, TensorBuffer> = entry.inputs.associate { it.name to model.createInputBuffer(it.name) }
    private val outputs: Map<String, TensorBuffer> = entry.outputs.associate { it.name to model.createOutputBuffer(it.name) }

    override fun run(feeds: Map<String, FloatArray>): Map<String, FloatArray> {
        for ((name, buffer) in inputs) buffer.writeFloat(feeds.getValue(name))
        model.run(inputs, outputs)
        return outputs.mapValues { it.value.readFloat() }
    }

    override fun close() {
        (inputs.values + outputs.values).forEach { it.close() }
        model.close()
        file.delete()
    }
}
