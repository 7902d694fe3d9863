package dev.edgekit.core

/** How to fill or read one buffer of a model: the manifest states it, so that no model file is opened to learn it. */
class Port(
    val name: String,
    val shape: List<Int>,
    val dtype: String,
    val layout: String,
    val low: Double,
    val high: Double,
) {
    /** Height and width if the port holds one RGB picture, null otherwise. */
    val tile: Tile? =
        if (shape.size != 4 || shape[0] != 1) null
        else if (layout == "nchw" && shape[1] == 3) Tile(shape[2], shape[3])
        else if (layout != "nchw" && shape[3] == 3) Tile(shape[1], shape[2])
        else null

    override fun toString(): String = "$name $shape"
}

class Tile(val height: Int, val width: Int)

/** A file of the bundle and the hash that it must have. */
open class FileEntry(val path: String, val sha256: String)

class ModelEntry(
    path: String,
    sha256: String,
    val format: String,
    val precision: String,
    val bytes: Long,
    val inputs: List<Port>,
    val outputs: List<Port>,
) : FileEntry(path, sha256) {
    /** Whether every buffer is float32: what the engines fill and read. */
    val floats: Boolean = (inputs + outputs).all { it.dtype == "float32" }

    /** "onnx int8, 1.02 MB" */
    val title: String get() = "$format $precision, ${"%.2f".format(bytes / 1e6)} MB"
}

class GoldenEntry(path: String, sha256: String, val samples: Int) : FileEntry(path, sha256)

class ConceptEntry(path: String, sha256: String, val name: String, val prompt: String) : FileEntry(path, sha256)

/** Another file that the model needs, such as a table of words. */
class AssetEntry(path: String, sha256: String, val name: String) : FileEntry(path, sha256)

/** A whole bundle in the folder [path] of this one; the hash is that of its manifest.json. */
class PartEntry(path: String, sha256: String, val name: String, val form: String) : FileEntry(path, sha256)

/** One run of values of the adapter input, and where in a concept's file they stand. */
class Block(
    val name: String,
    val part: String,
    val group: String,
    val offset: Int,
    val rows: Int,
    val most: Int,
    val columns: Int,
)

/** The second input of a base: how to fill it from the file of a concept. */
class AdapterInput(
    val port: String,
    val length: Int,
    val baseSha256: String,
    val layoutSha256: String,
    val capacity: Map<String, Int>,
    val blocks: List<Block>,
)

/** A bundle, as Python wrote it: checked before anything in it is used. */
class Manifest(
    val name: String,
    val prompt: String,
    val form: String,
    val models: List<ModelEntry>,
    val golden: GoldenEntry,
    val adapter: AdapterInput?,
    val concepts: List<ConceptEntry>,
    val parts: List<PartEntry>,
    val assets: List<AssetEntry>,
) {
    /** Whether the model restores faces, which are found and cut out for it; others edit whole photos. */
    val restores: Boolean get() = form == RESTORER

    /** The models of these formats, the fastest on a processor first; throws for what this app cannot show. */
    fun runnable(formats: Collection<String>): List<ModelEntry> {
        if (form !in SHOWN) {
            val what = PURPOSES[form] ?: "is of the form $form"
            throw EdgekitError("$name $what, and this app edits photos", WEB)
        }
        val told = models.flatMap { model -> model.inputs.map { it.name } }.distinct() - IMAGE
        if (restores && told.isNotEmpty()) {
            throw EdgekitError("$name is told of a person by ${told.joinToString()}, and this app enrols nobody", WEB)
        }
        val found = models.filter { it.format in formats && it.precision in PREFERENCE && it.floats }
        if (found.isEmpty()) {
            throw EdgekitError("$name holds no file that this app runs (${formats.joinToString()})", "export it with --target onnx")
        }
        return found.sortedBy { PREFERENCE.indexOf(it.precision) }
    }

    companion object {
        private const val VERSION = 1
        private const val SEGMENT = "[A-Za-z0-9_-][A-Za-z0-9_.-]*"
        private val PATH = Regex("$SEGMENT(/$SEGMENT)*")
        private val SHA256 = Regex("[0-9a-f]{64}")
        private val PREFERENCE = listOf("mixed", "int8", "fp32", "fp16")
        private const val RESTORER = "restorer"
        private val SHOWN = setOf("concept", "base", "other", RESTORER)
        private val PURPOSES = mapOf(
            "mesh" to "makes meshes of words",
            "enroller" to "is a part of a restorer",
            "identity" to "makes codes of faces",
            "field" to "is a part of a mesh generator",
        )
        private const val SEAL = "manifest_sha256"
        private const val IMAGE = "image"
        private const val WEB = "open it in the web demo: edgekit app --target web"
        private const val AGAIN = "export the bundle again"

        /**
         * Return the manifest if it is one that this app understands and that nobody changed; throws [EdgekitError]
         * for any other text.
         */
        fun parse(text: String): Manifest =
            try {
                val fields = parseJson(text) as? Map<*, *> ?: throw JsonError("it is no object")
                val manifest = read(JsonObject(fields))
                val seal = fields[SEAL]
                if (seal != null && seal != sealOf(fields)) {
                    throw EdgekitError("the manifest was changed after it was written", "copy the whole bundle again")
                }
                manifest
            } catch (error: JsonError) {
                throw EdgekitError("the manifest cannot be read: ${error.message}", AGAIN, error)
            }

        /** The hash that a manifest states of itself. */
        fun sealOf(fields: Map<*, *>): String = sha256(canonicalJson(fields.filterKeys { it != SEAL }).toByteArray())

        private fun read(value: JsonObject): Manifest {
            if (value.textOr("kind", "") != "bundle") {
                throw EdgekitError("this is not the manifest of a bundle", "export it with `edgekit export`")
            }
            val version = value.int("schema_version")
            if (version != VERSION) {
                throw EdgekitError(
                    "the bundle's schema is version $version, this app knows $VERSION",
                    "update the app, or export the bundle with the app's version of edgekit",
                )
            }
            if (!value.has("models") || !value.has("golden")) throw EdgekitError("the manifest lists no models", AGAIN)
            val golden = value.obj("golden")
            return Manifest(
                name = value.text("name"),
                prompt = value.text("prompt"),
                form = value.textOr("form", if (value.has("adapter_input")) "base" else "concept"),
                models = value.objects("models").map { model(it) },
                golden = GoldenEntry(path(golden), hash(golden), golden.int("samples")),
                adapter = value.objOrNull("adapter_input")?.let { adapterInput(it) },
                concepts = value.objects("concepts").map { ConceptEntry(path(it), hash(it), it.text("name"), it.text("prompt")) },
                parts = value.objects("parts").map { PartEntry(path(it), hash(it), it.text("name"), it.text("form")) },
                assets = value.objects("assets").map { AssetEntry(path(it), hash(it), it.text("name")) },
            )
        }

        fun model(value: JsonObject) = ModelEntry(
            path(value),
            hash(value),
            value.text("format"),
            value.text("precision"),
            value.long("bytes"),
            value.objects("inputs").map { port(it) },
            value.objects("outputs").map { port(it) },
        )

        private fun port(value: JsonObject) = Port(
            value.text("name"),
            value.longs("shape").map { it.toInt() },
            value.text("dtype"),
            value.text("layout"),
            value.double("low"),
            value.double("high"),
        )

        fun adapterInput(value: JsonObject) = AdapterInput(
            value.text("port"),
            value.int("length"),
            value.text("base_sha256"),
            value.text("layout_sha256"),
            value.obj("capacity").ints(),
            value.objects("blocks").map {
                Block(
                    it.text("name"), it.text("part"), it.text("group"),
                    it.int("offset"), it.int("rows"), it.int("most"), it.int("columns"),
                )
            },
        )

        private fun path(value: JsonObject): String {
            val path = value.textOr("path", "")
            if (!PATH.matches(path)) throw EdgekitError("the manifest names an unsafe path: $path", AGAIN)
            return path
        }

        private fun hash(value: JsonObject): String {
            val sha256 = value.textOr("sha256", "")
            if (!SHA256.matches(sha256)) throw EdgekitError("${value.textOr("path", "")} has no sha256", AGAIN)
            return sha256
        }
    }
}

/** The one port among `ports` that holds a picture; `adapter` names the port that does not count. */
fun picturePort(ports: List<Port>, adapter: String? = null): Port =
    ports.filter { it.name != adapter && it.tile != null }.singleOrNull()
        ?: throw EdgekitError("this model is not from one photo to one photo: ${ports.joinToString()}", "open a bundle of a picture editor")
