// What LiteRtEngine.kt uses of LiteRT 2.3's Kotlin interface, described from its public documentation: signatures without code.
package com.google.ai.edge.litert

enum class Accelerator { CPU, GPU, NPU }

class LiteRtException(message: String) : Exception(message)

abstract class TensorBuffer : AutoCloseable {
    abstract fun writeFloat(data: FloatArray)

    abstract fun readFloat(): FloatArray
}

abstract class CompiledModel : AutoCloseable {
    class CpuOptions(val numThreads: Int? = null)

    class Options(vararg val accelerators: Accelerator) {
        var cpuOptions: CpuOptions? = null
    }

    abstract fun createInputBuffer(inputName: String, signature: String? = null): TensorBuffer

    abstract fun createOutputBuffer(outputName: String, signature: String? = null): TensorBuffer

    abstract fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String? = null)

    companion object {
        fun create(filePath: String, options: Options): CompiledModel = TODO("$filePath $options")
    }
}
