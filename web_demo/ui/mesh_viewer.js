/** A mesh in WebGL2, turned by touch, mouse and keys. It draws when something changes and rests otherwise. */
import { AMBIENT, DIFFUSE, DISTANCE, lightFrom, worldToClip } from "../core/mesh_camera.js";
import { EdgekitError } from "../core/errors.js";

const VERTEX = `#version 300 es
uniform mat4 toClip;
in vec3 position;
in vec3 normal;
in vec3 color;
out vec3 facing;
out vec3 albedo;
void main() {
  gl_Position = toClip * vec4(position, 1.0);
  facing = normal;
  albedo = color;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 light;
in vec3 facing;
in vec3 albedo;
out vec4 pixel;
void main() {
  float lit = max(dot(normalize(facing), light), 0.0);
  pixel = vec4(albedo * (${AMBIENT} + ${DIFFUSE} * lit), 1.0);
}`;
const PLACES = ["position", "normal", "color"];
const [NEAREST, FARTHEST] = [1.3, 6];
const STEEPEST = Math.PI / 2 - 0.01;
const HOME = { yaw: 0.6, pitch: 0.3, distance: DISTANCE };
const STEP = Math.PI / 18; // an arrow key: 10 degrees
const SLOW = 0.5; // of the turntable, radians a second

export class Viewer {
  #canvas;
  #gl;
  #parts = null;
  #mesh = null;
  #frame = 0;
  #last = 0;
  #touches = new Map();

  /** @param {HTMLCanvasElement} canvas it can be focused; arrow keys, + and -, Home and space act on it */
  constructor(canvas) {
    this.#canvas = canvas;
    this.camera = { ...HOME };
    this.turning = false;
    this.#gl = canvas.getContext("webgl2", { antialias: true });
    if (!this.#gl) throw new EdgekitError("this browser draws no 3D (WebGL 2 is missing)", "save the mesh and open it elsewhere");
    this.#prepare();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault()); // or it is never given back
    canvas.addEventListener("webglcontextrestored", () => {
      this.#prepare();
      if (this.#mesh) this.show(this.#mesh);
    });
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.#touches.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#again()).observe(canvas);
  }

  /** Show a mesh (positions and normals as floats, colours from 0 to 1, triangles as indices), or none. */
  show(mesh) {
    const gl = this.#gl;
    this.#mesh = mesh;
    if (!mesh) return this.draw();
    [mesh.positions, mesh.normals, mesh.colors].forEach((values, i) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.#parts.buffers[i]);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    });
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.#parts.indices);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.triangles, gl.STATIC_DRAW);
    this.draw();
  }

  /** Turn by angles, move by a factor. */
  orbit(yaw, pitch, nearer = 1) {
    const { camera } = this;
    camera.yaw = (camera.yaw + yaw) % (2 * Math.PI);
    camera.pitch = Math.min(STEEPEST, Math.max(-STEEPEST, camera.pitch + pitch));
    camera.distance = Math.min(FARTHEST, Math.max(NEAREST, camera.distance / nearer));
    this.#again();
  }

  /** Go back to where the camera stood first. */
  home() {
    Object.assign(this.camera, HOME);
    this.#again();
  }

  /** Let the object turn by itself, or stop it. */
  turn(on) {
    this.turning = on;
    this.#last = 0;
    this.#again();
  }

  /** Draw at once; what the canvas holds can be read right after. */
  draw() {
    const gl = this.#gl;
    const side = Math.max(1, Math.round(this.#canvas.clientWidth * devicePixelRatio));
    if (this.#canvas.width !== side) this.#canvas.width = this.#canvas.height = side;
    gl.viewport(0, 0, side, side);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!this.#mesh || gl.isContextLost()) return;
    gl.uniformMatrix4fv(this.#parts.toClip, false, worldToClip(this.camera));
    gl.uniform3fv(this.#parts.light, lightFrom(this.camera));
    gl.drawElements(gl.TRIANGLES, this.#mesh.triangles.length, gl.UNSIGNED_INT, 0);
  }

  #prepare() {
    const gl = this.#gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    PLACES.forEach((name, i) => gl.bindAttribLocation(program, i, name));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program) ?? "shaders");
    gl.useProgram(program);
    const buffers = PLACES.map((_, i) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(i);
      gl.vertexAttribPointer(i, 3, gl.FLOAT, false, 0, 0);
      return buffer;
    });
    this.#parts = {
      buffers,
      indices: gl.createBuffer(),
      toClip: gl.getUniformLocation(program, "toClip"),
      light: gl.getUniformLocation(program, "light"),
    };
    gl.enable(gl.DEPTH_TEST);
  }

  #again() {
    this.#frame ||= requestAnimationFrame((now) => {
      this.#frame = 0;
      if (this.turning && !this.#touches.size) {
        if (this.#last) this.camera.yaw += (SLOW * Math.min(100, now - this.#last)) / 1000;
        this.#last = now;
      }
      this.draw();
      if (this.turning) this.#again();
    });
  }

  #down(event) {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#touches.set(event.pointerId, [event.offsetX, event.offsetY]);
  }

  #move(event) {
    const before = this.#touches.get(event.pointerId);
    if (!before) return;
    const now = [event.offsetX, event.offsetY];
    const other = [...this.#touches].find(([id]) => id !== event.pointerId)?.[1];
    this.#touches.set(event.pointerId, now);
    const apart = (a) => Math.max(1, Math.hypot(a[0] - other[0], a[1] - other[1]));
    if (other) return this.orbit(0, 0, apart(now) / apart(before));
    const side = this.#canvas.clientWidth;
    this.orbit(((before[0] - now[0]) / side) * Math.PI * 1.5, ((now[1] - before[1]) / side) * Math.PI);
  }

  /** Without the focus the wheel scrolls the page. */
  #wheel(event) {
    if (document.activeElement !== this.#canvas && !event.ctrlKey) return;
    event.preventDefault();
    this.orbit(0, 0, Math.exp(-event.deltaY / 500));
  }

  #key(event) {
    const acts = {
      ArrowLeft: () => this.orbit(-STEP, 0),
      ArrowRight: () => this.orbit(STEP, 0),
      ArrowUp: () => this.orbit(0, STEP),
      ArrowDown: () => this.orbit(0, -STEP),
      "+": () => this.orbit(0, 0, 1.15),
      "=": () => this.orbit(0, 0, 1.15),
      "-": () => this.orbit(0, 0, 1 / 1.15),
      Home: () => this.home(),
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  }
}
