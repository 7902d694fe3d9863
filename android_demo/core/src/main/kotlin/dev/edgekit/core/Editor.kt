package dev.edgekit.core

import java.io.Closeable
import kotlin.math.max
import kotlin.math.min

/** Milliseconds that an edit spent before, in and after the model; `find` is what finding and cutting out faces took. */
class Spent(var pre: Double = 0.0, var model: Double = 0.0, var post: Double = 0.0, var tiles: Int = 0, var find: Double = 0.0)

/** What an edit made; of a restorer also how many faces it restored, and sentences about the others. */
class Edited(val photo: Photo, val spent: Spent, val faces: Int = 0, val notes: List<String> = emptyList())

/** How far the model is from PyTorch on the bundle's golden vectors; black to white is 2; of the worst sample. */
class Golden(val worst: Double, val psnrDb: Double, val samples: Int)

/**
 * One loaded model of a bundle, switched between concepts, timed in its parts. That of a restorer comes with the nets that
 * find faces. Used by one thread at a time.
 */
class Editor private constructor(
    val bundle: Bundle,
    val entry: ModelEntry,
    val engine: Engine,
    val loadMs: Double,
    private val nets: FaceNets?,
) : Closeable {
    private val adapter = bundle.manifest.adapter
    private val input = picturePort(entry.inputs, adapter?.port)
    private val output = picturePort(entry.outputs)
    private val concepts = HashMap<String, Concept>()
    private var vector: FloatArray? = null
    private val buffer: FloatArray

    /** What the model takes. */
    val tile: Tile = checkNotNull(input.tile)

    /** Milliseconds of the model's first call, null before it. */
    var firstMs: Double? = null
        private set

    init {
        buffer = FloatArray(3 * tile.height * tile.width)
    }

    /** Switch a base to concepts with weights (name -> weight above 0). Returns whether nothing was cut off the blend. */
    fun use(weights: Map<String, Double>): Boolean {
        if (adapter == null) return true
        if (weights.isEmpty()) throw EdgekitError("this base needs a concept", "choose one")
        val rows = weights.map { (name, weight) -> concept(name) to weight }
        if (rows.size == 1 && rows[0].second == 1.0) {
            vector = inputVector(rows[0].first, adapter)
            return true
        }
        val blend = blended(rows, adapter)
        vector = blend.vector
        return blend.exact
    }

    private fun concept(name: String): Concept = concepts.getOrPut(name) {
        val entry = bundle.manifest.concepts.find { it.name == name }
            ?: throw EdgekitError("the base holds no concept $name", "choose one of the list")
        readConcept(bundle.read(entry), name)
    }

    /** Edit a photo of any size; `report` is told the tiles, or the faces, done and their number. */
    fun edit(photo: Photo, report: (Int, Int) -> Unit = { _, _ -> }): Edited {
        val spent = Spent()
        val start = System.nanoTime()
        val made = if (bundle.manifest.restores) {
            val run = (nets ?: throw EdgekitError("${bundle.name} needs nets that find faces", "build the app with this bundle"))::run
            restoredFaces(photo, tile.height, run, report, spent) { Photo(it.width, it.height, bytes(timed(it, spent))) }
        } else {
            Edited(editTiled(photo, tile, report) { timed(it, spent) }, spent)
        }
        spent.post = (System.nanoTime() - start) / 1e6 - spent.find - spent.pre - spent.model
        return made
    }

    /** Run the model on a picture of its size; returns levels. */
    private fun timed(part: Photo, spent: Spent): FloatArray {
        val t0 = System.nanoTime()
        val given = feeds(part)
        val t1 = System.nanoTime()
        val values = call(given)
        val t2 = System.nanoTime()
        spent.pre += (t1 - t0) / 1e6
        spent.model += (t2 - t1) / 1e6
        spent.tiles += 1
        return levelsOf(values)
    }

    /** A picture of the golden vectors, which no training saw: what a restorer can be tried with. */
    fun sample(index: Int = 0): Photo {
        val golden = bundle.manifest.golden
        val all = readNpz(bundle.read(golden))[input.name] ?: throw EdgekitError("the golden vectors hold no ${input.name}", AGAIN)
        val values = ofGolden(part(all, index % golden.samples, golden.samples), input)
        return Photo(tile.width, tile.height, bytes(levels(values, input)))
    }

    /** Restore a picture that is the crop of a face already, as [sample] is. */
    fun editCrop(crop: Photo): Edited {
        val spent = Spent()
        val start = System.nanoTime()
        val made = Photo(tile.width, tile.height, bytes(timed(crop, spent)))
        spent.post = (System.nanoTime() - start) / 1e6 - spent.pre - spent.model
        return Edited(made, spent, faces = 1)
    }

    /** What the model is fed for one tile; the buffer is filled anew by the next call. */
    fun feeds(part: Photo): Map<String, FloatArray> {
        val picture = input.name to fillPort(part, input, buffer)
        if (adapter == null) return mapOf(picture)
        return mapOf(picture, adapter.port to (vector ?: throw EdgekitError("this base needs a concept", "choose one")))
    }

    /** Run the model alone. */
    fun call(feeds: Map<String, FloatArray>): FloatArray {
        val start = System.nanoTime()
        val values = try {
            engine.run(feeds).getValue(output.name)
        } catch (error: OutOfMemoryError) {
            throw EdgekitError("there is not enough memory for this photo", "choose a smaller size", error)
        }
        if (firstMs == null) firstMs = (System.nanoTime() - start) / 1e6
        return values
    }

    fun levelsOf(values: FloatArray): FloatArray = levels(values, output)

    /** Run the golden vectors that Python wrote. */
    fun golden(): Golden {
        val arrays = readNpz(bundle.read(bundle.manifest.golden))
        val samples = bundle.manifest.golden.samples
        fun sample(port: Port, i: Int): FloatArray {
            val values = part(arrays[port.name] ?: throw EdgekitError("the golden vectors hold no ${port.name}", AGAIN), i, samples)
            return if (port.tile == null) values else ofGolden(values, port)
        }
        var worst = 0.0
        var decibels = Double.POSITIVE_INFINITY
        for (i in 0 until samples) {
            val got = call(entry.inputs.associate { it.name to sample(it, i) })
            val found = Parity(asGolden(sample(output, i), output), asGolden(got, output))
            worst = max(worst, found.maxAbs)
            decibels = min(decibels, found.psnrDb)
        }
        return Golden(worst, decibels, samples)
    }

    override fun close() {
        engine.close()
        nets?.close()
    }

    companion object {
        /** Load one file of a bundle; `nets` are the app's that find faces, which a restorer loads when it needs them. */
        fun open(
            bundle: Bundle,
            entry: ModelEntry,
            engines: Engines,
            threads: Int,
            accelerator: Accelerator,
            nets: NetFiles? = null,
        ): Editor {
            val start = System.nanoTime()
            val model = bundle.read(entry)
            val engine = try {
                engines.open(model, entry, threads, accelerator)
            } catch (error: OutOfMemoryError) {
                throw EdgekitError("${entry.path} does not fit into memory", "close other apps, or choose a smaller file", error)
            }
            try {
                val finder = nets?.takeIf { bundle.manifest.restores }?.let { FaceNets(it, engines, threads) }
                return Editor(bundle, entry, engine, (System.nanoTime() - start) / 1e6, finder)
            } catch (error: EdgekitError) {
                engine.close()
                throw error
            }
        }
    }
}

private const val AGAIN = "export the bundle again"

private fun part(all: FloatArray, index: Int, samples: Int): FloatArray =
    (all.size / samples).let { size -> all.copyOfRange(index * size, (index + 1) * size) }

private fun bytes(levels: FloatArray) = ByteArray(levels.size) { toByte(levels[it]) }

/** Golden pictures are NCHW with black at -1 and white at 1; return one as a port wants it. */
private fun ofGolden(values: FloatArray, port: Port): FloatArray {
    val count = values.size / 3
    val scale = (port.high - port.low) / 2
    val out = FloatArray(values.size)
    for (i in 0 until count) {
        for (k in 0 until 3) {
            val value = ((values[k * count + i] + 1) * scale + port.low).toFloat()
            out[if (port.layout == "nchw") k * count + i else i * 3 + k] = value
        }
    }
    return out
}

/** Return values of a port in the range of golden pictures, in any order of pixels. */
private fun asGolden(values: FloatArray, port: Port): FloatArray {
    val scale = 2 / (port.high - port.low)
    return FloatArray(values.size) { ((values[it] - port.low) * scale - 1).toFloat() }
}
