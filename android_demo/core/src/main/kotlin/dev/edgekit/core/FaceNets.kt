package dev.edgekit.core

import java.io.Closeable

/** The app's files of the nets that find faces: a restorer's bundle works with them, whichever it is. */
class NetFiles(private val source: BundleSource, private val entries: Map<String, List<ModelEntry>>) {
    /** The file of a net that this build's runtime runs. */
    fun entry(net: String, formats: Collection<String>): ModelEntry =
        entries[net].orEmpty().firstOrNull { it.format in formats }
            ?: throw EdgekitError("the app holds no net that finds faces ($net)", "build it with the restorer: `edgekit app --target android BUNDLE`")

    fun read(entry: FileEntry): ByteArray = source.checked(entry)

    companion object {
        /** Read what bundles.json lists; throws [JsonError] or [EdgekitError] for any other text. */
        fun parse(source: BundleSource, list: String): NetFiles {
            val rows = JsonObject.parse(list).objects("nets")
            return NetFiles(source, rows.groupBy({ it.text("name") }, { Manifest.model(it) }))
        }
    }
}

/** Nets that find faces, each loaded when it is first asked; on the processor, which all of them take milliseconds of. */
class FaceNets(private val files: NetFiles, private val engines: Engines, private val threads: Int) : Closeable {
    private val opened = HashMap<String, Engine>()

    fun run(net: String, picture: FloatArray): Pair<FloatArray, FloatArray> {
        val entry = files.entry(net, engines.formats)
        val engine = opened.getOrPut(net) { engines.open(files.read(entry), entry, threads, Accelerator.CPU) }
        val (first, second) = engine.run(mapOf(entry.inputs.single().name to picture)).values.sortedByDescending { it.size }
        return first to second
    }

    override fun close() {
        opened.values.forEach { it.close() }
        opened.clear()
    }
}
