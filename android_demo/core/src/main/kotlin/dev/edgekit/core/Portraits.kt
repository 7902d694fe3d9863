package dev.edgekit.core

import kotlin.math.abs

/** Faces beyond this many are left as they are: the largest come first. */
const val MOST_FACES = 8

/** Least side of a face in the photo's pixels: below, nothing of a person is left. */
const val LEAST_PX = 20
private const val MOST_YAW = 60
private const val MOST_OUTSIDE = 0.35

/** A face this much larger in the photo than the model's picture becomes visibly softer than its surroundings. */
private const val SOFT = 1.5

/** A face as the model sees it, and how to put it back. */
class Crop(val photo: Photo, val matrix: Matrix, val nativePx: Double)

/**
 * Cut a face out as `edgekit restore` does; throws [EdgekitError], with cause and remedy, for one that cannot be restored.
 */
fun cropped(photo: Photo, face: Face, size: Int): Crop {
    if (face.side < LEAST_PX) {
        throw EdgekitError("the face is %.0f pixels large, less than $LEAST_PX".format(face.side), "choose a larger size, or a photo taken from nearer")
    }
    if (abs(face.yaw) > MOST_YAW) {
        throw EdgekitError("the face is turned %.0f degrees to the side".format(abs(face.yaw)), "use a photo that shows both eyes")
    }
    if (isCrop(photo, face.five)) {
        val scale = (size.toDouble() / photo.width).single()
        return Crop(resized(photo, size, size), Matrix(scale, 0.0, 0.0, 0.0, scale, 0.0), photo.width.toDouble())
    }
    val matrix = cropTransform(face.five, size)
    val outside = outsideShare(photo, matrix, size)
    if (outside > MOST_OUTSIDE) {
        throw EdgekitError("%.0f%% of the crop lies outside the photo".format(outside * 100), "use a photo with room around the head")
    }
    val (corner, right) = cropSquare(face.five)
    return Crop(cutOut(photo, matrix, size), matrix, (right - corner).length)
}

/**
 * Restore the faces of a photo of any size, the largest first, each put back where it was. `restore` takes a crop and
 * returns it restored; `report` is told the faces done and their number. A face that cannot be restored is left as it
 * is, and [Edited.notes] say why; throws [EdgekitError] if none can.
 */
fun restoredFaces(photo: Photo, size: Int, run: RunNet, report: (Int, Int) -> Unit, spent: Spent, restore: (Photo) -> Photo): Edited {
    val start = System.nanoTime()
    val found = foundFaces(photo, run)
    if (found.isEmpty()) throw EdgekitError("no face was found", "use a photo in which the face is seen clearly")
    val notes = ArrayList<String>()
    var refused: EdgekitError? = null
    val crops = found.take(MOST_FACES).mapNotNull { face ->
        try {
            cropped(photo, face, size)
        } catch (error: EdgekitError) {
            refused = refused ?: error
            notes.add("a face is left as it is: ${error.what}")
            null
        }
    }
    if (crops.isEmpty()) throw checkNotNull(refused)
    if (found.size > MOST_FACES) notes.add("${found.size - MOST_FACES} smaller faces are left as they are, beyond $MOST_FACES")
    if (crops[0].nativePx > SOFT * size) {
        val filled = "%.0f".format(crops[0].nativePx)
        notes.add("the face fills $filled pixels of the photo and the restorer makes $size: where it changes much, it is softer than its surroundings")
    }
    spent.find = (System.nanoTime() - start) / 1e6
    val out = Photo(photo.width, photo.height, photo.data.copyOf())
    for ((i, crop) in crops.withIndex()) {
        paste(out, crop.photo, restore(crop.photo), crop.matrix)
        report(i + 1, crops.size)
    }
    return Edited(out, spent, crops.size, notes)
}
