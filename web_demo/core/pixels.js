/** Photos to tensors and back, in the ranges and layouts that the manifest states. */

/**
 * A photo without alpha: 3 bytes a pixel, row by row.
 * @typedef {{width: number, height: number, data: Uint8Array | Uint8ClampedArray}} Photo
 */

/**
 * Lay the pixels of a canvas over white and drop their alpha.
 *
 * @param {{width: number, height: number, data: Uint8ClampedArray}} image RGBA
 * @returns {Photo}
 */
export function overWhite(image) {
  const { width, height, data } = image;
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0, o = 0; i < data.length; i += 4, o += 3) {
    const alpha = data[i + 3];
    if (alpha === 255) {
      rgb[o] = data[i];
      rgb[o + 1] = data[i + 1];
      rgb[o + 2] = data[i + 2];
    } else {
      for (let k = 0; k < 3; k++) rgb[o + k] = Math.round((data[i + k] * alpha + 255 * (255 - alpha)) / 255);
    }
  }
  return { width, height, data: rgb };
}

/** Round half to even, as Python does. */
export function rounded(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/**
 * Return [height, width] scaled down so that the longer side is at most `most` pixels (0: as it is); never up.
 *
 * @returns {[number, number]}
 */
export function limited(height, width, most) {
  const factor = most / Math.max(height, width);
  if (!most || factor >= 1) return [height, width];
  return [Math.max(1, rounded(height * factor)), Math.max(1, rounded(width * factor))];
}

/**
 * Cut a rectangle out of a photo.
 *
 * @param {Photo} photo
 * @returns {Photo}
 */
export function cut(photo, left, top, width, height) {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * photo.width + left) * 3;
    data.set(photo.data.subarray(start, start + width * 3), y * width * 3);
  }
  return { width, height, data };
}

/**
 * Fill a port's buffer with a photo of exactly its size.
 *
 * @param {Photo} photo
 * @param {any} port
 * @returns {Float32Array}
 */
export function toPort(photo, port) {
  const count = photo.width * photo.height;
  const scale = Math.fround((port.high - port.low) / 255);
  const low = Math.fround(port.low);
  const out = new Float32Array(count * 3);
  const planar = port.layout === "nchw";
  for (let i = 0, o = 0; i < count; i++) {
    for (let k = 0; k < 3; k++, o++) {
      out[planar ? k * count + i : o] = Math.fround(photo.data[o] * scale) + low;
    }
  }
  return out;
}

/**
 * Return what a picture port gave as levels, row by row, 0 for black and 255 for white, not rounded.
 *
 * @param {Float32Array} values
 * @param {any} port
 * @returns {Float32Array}
 */
export function toLevels(values, port) {
  const count = values.length / 3;
  const scale = Math.fround(255 / (port.high - port.low));
  const low = Math.fround(port.low);
  const out = new Float32Array(values.length);
  const planar = port.layout === "nchw";
  for (let i = 0, o = 0; i < count; i++) {
    for (let k = 0; k < 3; k++, o++) {
      out[o] = Math.fround(values[planar ? k * count + i : o] - low) * scale;
    }
  }
  return out;
}

/**
 * Round levels to bytes: half to even, clipped, no number becomes black, as in Python.
 *
 * @param {Float32Array} levels
 * @returns {Uint8ClampedArray}
 */
export function toBytes(levels) {
  return Uint8ClampedArray.from(levels);
}

/**
 * Return a photo as a canvas wants it.
 *
 * @param {Photo} photo
 * @returns {Uint8ClampedArray} RGBA
 */
export function toCanvas(photo) {
  const out = new Uint8ClampedArray(photo.width * photo.height * 4);
  for (let i = 0, o = 0; o < out.length; i += 3, o += 4) {
    out[o] = photo.data[i];
    out[o + 1] = photo.data[i + 1];
    out[o + 2] = photo.data[i + 2];
    out[o + 3] = 255;
  }
  return out;
}
