/**
 * The camera that meshes are seen with, and its light: those of the renders that the generator learned from
 * (distill/render/views.py), so that the page shows what training saw.
 */
export const AMBIENT = 0.55;
export const DIFFUSE = 0.45;
/** Direction to the light in the camera's axes: from above and from the left, in front. */
export const LIGHT = [-0.45, 0.65, 0.61];
export const DISTANCE = 2.8;
export const FIELD_DEG = 40;
const [NEAR, FAR] = [0.05, 20];

/**
 * Right, up and backwards of a camera in the world; at yaw 0 it stands at +z, at yaw pi / 2 at +x.
 *
 * @param {number} yaw radians
 * @param {number} pitch radians
 */
export function axes(yaw, pitch) {
  const [siny, cosy, sinp, cosp] = [Math.sin(yaw), Math.cos(yaw), Math.sin(pitch), Math.cos(pitch)];
  return {
    right: [cosy, 0, -siny],
    up: [-siny * sinp, cosp, -cosy * sinp],
    back: [siny * cosp, sinp, cosy * cosp],
  };
}

/**
 * The matrix from the world to clip space, column by column as WebGL wants it, for a square picture.
 *
 * @param {{yaw: number, pitch: number, distance: number}} camera
 * @returns {Float32Array}
 */
export function worldToClip({ yaw, pitch, distance }) {
  const { right, up, back } = axes(yaw, pitch);
  const scale = 1 / Math.tan((FIELD_DEG * Math.PI) / 360);
  const a = (FAR + NEAR) / (NEAR - FAR);
  const b = (2 * FAR * NEAR) / (NEAR - FAR);
  const columns = [];
  for (let i = 0; i < 3; i++) columns.push(scale * right[i], scale * up[i], a * back[i], -back[i]);
  return Float32Array.of(...columns, 0, 0, b - a * distance, distance);
}

/** Direction to the light in the world, a unit vector. */
export function lightFrom({ yaw, pitch }) {
  const { right, up, back } = axes(yaw, pitch);
  const length = Math.hypot(...LIGHT);
  return [0, 1, 2].map((i) => (LIGHT[0] * right[i] + LIGHT[1] * up[i] + LIGHT[2] * back[i]) / length);
}
