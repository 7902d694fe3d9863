package dev.edgekit.engine

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import ai.onnxruntime.providers.NNAPIFlags
import dev.edgekit.core.Accelerator
import dev.edgekit.core.EdgekitError
import dev.edgekit.core.Engine
import dev.edgekit.core.Engines
import dev.edgekit.core.ModelEntry
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer
import java.util.EnumSet

/** ONNX Runtime, which runs the .onnx files of a bundle. */
object DeviceEngines : Engines {
    override val formats = listOf("onnx")
    override val accelerators = listOf(Accelerator.CPU, Accelerator.XNNPACK, Accelerator.NNAPI)

    override fun open(model: ByteArray, entry: ModelEntry, threads: Int, accelerator: Accelerator): Engine {
        val runtime = OrtEnvironment.getEnvironment()
        runtime.setTelemetry(false)
        if (accelerator != Accelerator.CPU) {
            val why = try {
                return engine(runtime, model, entry, threads, accelerator, "")
            } catch (error: OrtException) {
                error.message.orEmpty().lineSequence().first()
            }
            return onProcessor(runtime, model, entry, threads, "The ${accelerator.title} is not usable here ($why), so the processor runs it.")
        }
        return onProcessor(runtime, model, entry, threads, "")
    }

    private fun onProcessor(runtime: OrtEnvironment, model: ByteArray, entry: ModelEntry, threads: Int, note: String): Engine =
        try {
            engine(runtime, model, entry, threads, Accelerator.CPU, note)
        } catch (error: OrtException) {
            val why = error.message.orEmpty().lineSequence().first()
            throw EdgekitError("ONNX Runtime ${runtime.version} refuses ${entry.path}: $why", "export the bundle again", error)
        }

    private fun engine(
        runtime: OrtEnvironment,
        model: ByteArray,
        entry: ModelEntry,
        threads: Int,
        accelerator: Accelerator,
        note: String,
    ): Engine = OrtSession.SessionOptions().use { options ->
        // XNNPACK brings threads of its own; both at once would fight for the cores.
        options.setIntraOpNumThreads(if (accelerator == Accelerator.XNNPACK) 1 else threads)
        options.setInterOpNumThreads(1)
        when (accelerator) {
            Accelerator.XNNPACK -> options.addXnnpack(mapOf("intra_op_num_threads" to threads.toString()))
            Accelerator.NNAPI -> options.addNnapi(EnumSet.noneOf(NNAPIFlags::class.java))
            else -> Unit
        }
        OnnxEngine(runtime, runtime.createSession(model, options), entry, accelerator, note)
    }
}

private class OnnxEngine(
    private val environment: OrtEnvironment,
    private val session: OrtSession,
    entry: ModelEntry,
    override val accelerator: Accelerator,
    override val note: String,
) : Engine {
    override val runtime: String = "onnxruntime ${environment.version}"
    private val inputs: Map<String, Input>

    init {
        val made = LinkedHashMap<String, Input>()
        try {
            for (port in entry.inputs) made[port.name] = Input(environment, LongArray(port.shape.size) { port.shape[it].toLong() })
            val wanted = session.inputNames
            if (wanted != made.keys) {
                throw EdgekitError("${entry.path} takes $wanted, the manifest says ${made.keys}", "export the bundle again")
            }
        } catch (error: Throwable) {
            made.values.forEach { it.tensor.close() }
            session.close()
            throw error
        }
        inputs = made
    }

    override fun run(feeds: Map<String, FloatArray>): Map<String, FloatArray> {
        for ((name, input) in inputs) {
            val values = feeds.getValue(name)
            require(values.size == input.values.capacity()) { "$name takes ${input.values.capacity()} values, got ${values.size}" }
            input.values.clear()
            input.values.put(values)
        }
        session.run(inputs.mapValues { it.value.tensor }).use { made ->
            return made.associate { (name, value) -> name to copied((value as OnnxTensor).floatBuffer) }
        }
    }

    private fun copied(values: FloatBuffer) = FloatArray(values.remaining()).also { values.get(it) }

    override fun close() {
        inputs.values.forEach { it.tensor.close() }
        session.close()
    }
}

/** A tensor over memory outside the Java heap, filled anew for each call. */
private class Input(environment: OrtEnvironment, shape: LongArray) {
    val values: FloatBuffer = ByteBuffer.allocateDirect(4 * shape.fold(1L) { a, b -> a * b }.toInt())
        .order(ByteOrder.nativeOrder()).asFloatBuffer()
    val tensor: OnnxTensor = OnnxTensor.createTensor(environment, values, shape)
}
