/** A landscape painted here, so that the page has a picture before the user gives one. */

/** @returns {HTMLCanvasElement} */
export function sampleScene(width = 640, height = 480) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const c = canvas.getContext("2d");
  const sky = c.createLinearGradient(0, 0, 0, height * 0.7);
  sky.addColorStop(0, "#5b9bd8");
  sky.addColorStop(1, "#dcebf5");
  c.fillStyle = sky;
  c.fillRect(0, 0, width, height);
  c.fillStyle = "#fff3c4";
  c.beginPath();
  c.arc(width * 0.78, height * 0.2, height * 0.07, 0, 7);
  c.fill();
  const ridge = (base, rough, color, seed) => {
    c.fillStyle = color;
    c.beginPath();
    c.moveTo(0, height);
    for (let x = 0; x <= width; x += 4) {
      const y = base + rough * (Math.sin(x / 61 + seed) + 0.5 * Math.sin(x / 23 + 2 * seed) + 0.25 * Math.sin(x / 9 + 3 * seed));
      c.lineTo(x, height * y);
    }
    c.lineTo(width, height);
    c.fill();
  };
  ridge(0.5, 0.08, "#8aa3b8", 1);
  ridge(0.6, 0.05, "#5f7f72", 2);
  ridge(0.72, 0.03, "#49733f", 3);
  c.fillStyle = "#3f7fae";
  c.fillRect(0, height * 0.82, width, height);
  for (let i = 0; i < 60; i++) {
    const x = ((i * 97) % width) + 5;
    const y = height * (0.72 + 0.1 * ((i * 53) % 10) * 0.1);
    c.fillStyle = i % 3 ? "#2f5a2b" : "#3c6b34";
    c.beginPath();
    c.moveTo(x, y - 26);
    c.lineTo(x + 8, y);
    c.lineTo(x - 8, y);
    c.fill();
  }
  c.fillStyle = "#b5523b";
  c.fillRect(width * 0.2, height * 0.66, 58, 40);
  c.fillStyle = "#6d3a2c";
  c.beginPath();
  c.moveTo(width * 0.2 - 8, height * 0.66);
  c.lineTo(width * 0.2 + 29, height * 0.59);
  c.lineTo(width * 0.2 + 66, height * 0.66);
  c.fill();
  return canvas;
}
